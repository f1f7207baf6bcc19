//! `timestop lab prepare`: has what can be had from the registries, builds, and says what is missing and the command
//! that installs it.
//!
//! Every step is taken each time: whether anything must be built is known to `cargo`, `go` and their like, and not to us.
//! Packages of the system are installed on `--install` only: a program that measures has no business changing a machine.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::process::{Command, ExitCode};
use std::time::Duration;

use indicatif::ProgressBar;

use super::manifest::{Need, Step};
use super::python::Python;
use super::{Catalogue, Folder, Places, needs, ready};
use crate::lab::child::{self, Failure};
use crate::lab::interrupt::Interrupt;
use crate::lab::{INTERRUPTED, USAGE, select};

/// For one step of a build: crates may have to be fetched, and toolchains are slow.
const LIMIT: Duration = Duration::from_secs(1800);

/// Arguments of `timestop lab prepare`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Subjects, or folders of lab/subjects; all when left out
    #[arg(value_name = "SUBJECT")]
    names: Vec<String>,
    /// Install packages of the system that are missing, by apt-get; for root
    #[arg(long)]
    install: bool,
}

/// Prepares what `args` names.
pub(crate) fn run(args: Args) -> ExitCode {
    let folders = match Catalogue::read().map_err(super::Missing::why) {
        Ok(catalogue) => select::folders(&catalogue, &args.names),
        Err(why) => Err(why),
    };
    let folders = match folders {
        Ok(folders) => folders,
        Err(why) => {
            eprintln!("timestop lab prepare: {why}");
            return ExitCode::from(USAGE);
        }
    };
    match prepare(&folders, args.install) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Failure::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(failure) => {
            eprintln!("timestop lab prepare: {}", failure.why());
            ExitCode::FAILURE
        }
    }
}

/// True if all of them are ready.
fn prepare(folders: &[&'static Folder], install: bool) -> Result<bool, Failure> {
    let interrupt = Interrupt::install()?;
    let packages: BTreeSet<String> =
        folders.iter().flat_map(|folder| folder.manifest.python.packages.clone()).collect();
    let mut all = true;
    // Together first. What fails is told by the folder that needs it, below.
    if let (Some(folder), false) = (folders.first(), packages.is_empty()) {
        let said = Saying::begin("python", "packages");
        let packages: Vec<_> = packages.into_iter().collect();
        let installed =
            Python::make(&folder.places, &interrupt).and_then(|python| python.install(&packages));
        drop(said);
        if installed == Err(Failure::Interrupted) {
            return Err(Failure::Interrupted);
        }
    }
    for folder in folders {
        let preparing = Preparing { folder, install, interrupt: &interrupt };
        let names: Vec<_> =
            folder.manifest.subjects.iter().map(|spec| spec.name.as_str()).collect();
        let names = names.join(", ");
        let line = match preparing.run() {
            Ok(Some(version)) => format!("{names}: ready ({version})"),
            Ok(None) => format!("{names}: ready"),
            Err(Failure::Broken(why)) => {
                all = false;
                format!("{names}: not ready: {why}")
            }
            Err(interrupted) => return Err(interrupted),
        };
        match writeln!(io::stdout(), "{line}") {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
            _ => {}
        }
    }
    Ok(all)
}

/// One folder.
struct Preparing<'a> {
    folder: &'a Folder,
    install: bool,
    interrupt: &'a Interrupt,
}

impl Preparing<'_> {
    /// The version of what it was built with.
    fn run(&self) -> Result<Option<String>, Failure> {
        let manifest = &self.folder.manifest;
        ready::remove_stamp(self.folder)?;
        if self.folder.uses_python() {
            let _said = Saying::begin(&self.folder.name, "packages of Python");
            Python::make(self.places(), self.interrupt)?.install(&manifest.python.packages)?;
        }
        let mut version = None;
        for need in &manifest.needs {
            let told = self.have(need)?;
            version = version.or(told);
        }
        fs::create_dir_all(&self.folder.build)?;
        manifest.build.iter().try_for_each(|step| self.build(step))?;
        ready::leave_stamp(self.folder, version.clone())?;
        Ok(version)
    }

    fn places(&self) -> &Places {
        &self.folder.places
    }

    /// Looks for it, and installs it if that is in our power.
    fn have(&self, need: &Need) -> Result<Option<String>, Failure> {
        let look = || needs::look_for(self.folder, need, self.interrupt);
        match self.pip_install(&need.prefer) {
            Err(Failure::Broken(why)) => {
                eprintln!("{}: not by {}: {why}", self.folder.name, need.prefer);
            }
            other => other?,
        }
        let missing = match look() {
            Err(Failure::Broken(why)) => why,
            found => return found,
        };
        match self.pip_install(&need.install) {
            // If not by this way, then by the next.
            Err(Failure::Broken(_)) => {}
            other => other?,
        }
        match look() {
            Err(Failure::Broken(_)) => {}
            found => return found,
        }
        let from_apt = needs::packages(&need.install, "apt-get install");
        if from_apt.is_empty() {
            return Err(Failure::Broken(missing));
        }
        if !self.install {
            return Err(Failure::Broken(format!("{missing} (`--install` does that, for root)")));
        }
        self.apt_get(&from_apt)?;
        look()
    }

    /// Installs what `words` name after `pip install`, if anything.
    fn pip_install(&self, words: &str) -> Result<(), Failure> {
        let packages = needs::packages(words, "pip install");
        if packages.is_empty() {
            return Ok(());
        }
        let _said = Saying::begin(&self.folder.name, &packages.join(" "));
        let packages: Vec<_> = packages.into_iter().map(str::to_owned).collect();
        Python::make(self.places(), self.interrupt)?.install(&packages)
    }

    fn apt_get(&self, packages: &[&str]) -> Result<(), Failure> {
        let packages = packages.join(" ");
        if !rustix::process::geteuid().is_root() {
            return Err(Failure::Broken(format!(
                "only root may install: sudo apt-get install {packages}"
            )));
        }
        let _said = Saying::begin(&self.folder.name, &format!("apt-get install {packages}"));
        let apt_get = |arguments: &[&str], more: &[&str]| {
            let mut command = Command::new("apt-get");
            command.args(arguments).args(more).env("DEBIAN_FRONTEND", "noninteractive");
            self.step(&mut command, &format!("apt-get {}", arguments[0]))
        };
        let packages: Vec<_> = packages.split(' ').collect();
        let install = || apt_get(&["install", "--yes", "--quiet=2"], &packages);
        match install() {
            // A system that was just made, or has not been looked after, knows no packages or old ones.
            Err(Failure::Broken(_)) => {
                apt_get(&["update", "--quiet=2"], &[])?;
                install()
            }
            other => other,
        }
    }

    fn build(&self, step: &Step) -> Result<(), Failure> {
        let words = step.command.join(" ");
        let _said = Saying::begin(&self.folder.name, &words);
        let mut command = self.folder.command(&step.command).map_err(Failure::Broken)?;
        self.step(command.current_dir(&self.folder.path), &words)
    }

    /// Runs one; all that it said is shown if it failed.
    fn step(&self, command: &mut Command, words: &str) -> Result<(), Failure> {
        let told = match child::captured(command, LIMIT, self.interrupt) {
            Err(Failure::Broken(why)) => return Err(Failure::Broken(format!("`{words}`: {why}"))),
            told => told?,
        };
        if told.status.success() {
            return Ok(());
        }
        eprint!("{}", told.text);
        Err(Failure::Broken(format!("`{words}` failed ({}): {}", told.status, told.last_words())))
    }
}

/// What is being done just now, on standard error.
struct Saying(Option<ProgressBar>);

impl Saying {
    fn begin(folder: &str, what: &str) -> Self {
        if !io::stderr().is_terminal() {
            eprintln!("{folder}: {what}");
            return Saying(None);
        }
        let bar = ProgressBar::new_spinner().with_message(format!("{folder}: {what}"));
        bar.enable_steady_tick(Duration::from_millis(100));
        Saying(Some(bar))
    }
}

impl Drop for Saying {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
