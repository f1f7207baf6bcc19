//! The lab's virtual environment: one for all folders, so that subjects in Python differ by what they are and not by
//! what they run on. Packages are pinned in the manifests.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::Places;
use crate::lab::child::{self, Failure};
use crate::lab::interrupt::Interrupt;

/// For `pip` to fetch and build packages.
const LIMIT: Duration = Duration::from_secs(900);

#[derive(Debug)]
pub(super) struct Python<'a> {
    places: &'a Places,
    interrupt: &'a Interrupt,
}

impl<'a> Python<'a> {
    /// The environment, made if it is not there.
    pub(super) fn make(places: &'a Places, interrupt: &'a Interrupt) -> Result<Self, Failure> {
        let python = Python { places, interrupt };
        if !python.interpreter().exists() {
            let mut command = Command::new("python3");
            command.args(["-m", "venv"]).arg(places.python());
            python.run(&mut command).map_err(|failure| match failure {
                Failure::Broken(why) => Failure::Broken(format!(
                    "no virtual environment ({why}): apt-get install python3-venv"
                )),
                interrupted => interrupted,
            })?;
        }
        Ok(python)
    }

    /// Installs those of `packages` that are not there, all in one go, so that `pip` sees what excludes what.
    pub(super) fn install(&self, packages: &[String]) -> Result<(), Failure> {
        let mut installed = self.installed();
        let missing: Vec<_> = packages.iter().filter(|name| !installed.contains(*name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut command = Command::new(self.interpreter());
        command.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
        ]);
        self.run(command.args(&missing))?;
        installed.extend(missing.into_iter().cloned());
        let list: Vec<_> = installed.into_iter().collect();
        Ok(fs::write(self.list(), list.join("\n"))?)
    }

    /// As they were asked for, with their versions.
    fn installed(&self) -> BTreeSet<String> {
        let list = fs::read_to_string(self.list()).unwrap_or_default();
        list.lines().map(str::to_owned).collect()
    }

    fn run(&self, command: &mut Command) -> Result<(), Failure> {
        let told = child::captured(command, LIMIT, self.interrupt)?;
        match told.status.success() {
            true => Ok(()),
            false => Err(Failure::Broken(format!("{}: {}", told.status, told.last_words()))),
        }
    }

    fn interpreter(&self) -> PathBuf {
        self.places.python().join("bin/python")
    }

    fn list(&self) -> PathBuf {
        self.places.python().join("installed.txt")
    }
}
