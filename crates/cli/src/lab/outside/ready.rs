//! Whether a folder's subjects can be run, from a stamp that `prepare` left: a lab that asked every toolchain for its
//! version would do so before each measurement.

use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::{Folder, needs};
use crate::lab::interrupt::Interrupt;

/// What `prepare` leaves beside what it has built.
#[derive(Debug, Serialize, Deserialize)]
struct Stamp {
    version: Option<String>,
}

/// Can the subjects of a folder be run?
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Built with that.
    Ready { version: Option<String> },
    /// What is missing, and the command that helps.
    Not(String),
}

/// Of the folder that the subject `name` is in.
pub(crate) fn readiness(folder: &Folder, name: &str, interrupt: &Interrupt) -> Readiness {
    let prepare = |why: &str| Readiness::Not(format!("{why}: run `timestop lab prepare {name}`"));
    let stamped =
        stamp(folder).and_then(|file| Some((fs::metadata(&file).ok()?, fs::read(file).ok()?)));
    let Some((metadata, text)) = stamped else {
        if folder.uses_python() && !folder.places.python().exists() {
            return prepare("not built");
        }
        return match needs::version(folder, interrupt) {
            Ok(version) if !folder.is_built() => Readiness::Ready { version },
            Ok(_) => prepare("not built"),
            Err(failure) => Readiness::Not(failure.why().to_owned()),
        };
    };
    let built = metadata.modified().ok();
    match (built, newest_of_all(folder), serde_json::from_slice(&text)) {
        (Some(built), Ok(changed), Ok(Stamp { version })) if changed <= built => {
            Readiness::Ready { version }
        }
        (_, _, Err(_)) => prepare("not built"),
        _ => prepare("changed since it was built"),
    }
}

/// Says that all has been built.
pub(super) fn leave_stamp(folder: &Folder, version: Option<String>) -> io::Result<()> {
    fs::create_dir_all(&folder.build)?;
    fs::write(path(folder), serde_json::to_vec(&Stamp { version })?)
}

/// Takes it back, before building anew.
pub(super) fn remove_stamp(folder: &Folder) -> io::Result<()> {
    match fs::remove_file(path(folder)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn stamp(folder: &Folder) -> Option<PathBuf> {
    Some(path(folder)).filter(|path| path.is_file())
}

fn path(folder: &Folder) -> PathBuf {
    folder.build.join("ready.json")
}

/// When the last change was made to what it is built from.
fn newest_of_all(folder: &Folder) -> io::Result<SystemTime> {
    let shared = folder.manifest.shares.iter().map(|name| folder.places.subjects.join(name));
    let mut all = newest(&folder.path)?;
    for path in shared {
        let changed = match path.is_dir() {
            true => newest(&path)?,
            false => fs::metadata(&path)?.modified()?,
        };
        all = all.max(changed);
    }
    Ok(all)
}

/// When the last change was made below `folder`. What tools leave in hidden folders does not count.
fn newest(folder: &Path) -> io::Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") || name == "__pycache__" {
            continue;
        }
        let changed = match entry.file_type()?.is_dir() {
            true => self::newest(&entry.path())?,
            false => entry.metadata()?.modified()?,
        };
        newest = newest.max(changed);
    }
    Ok(newest)
}
