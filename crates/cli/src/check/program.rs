//! Which file a command runs in the end: looked up in PATH, through scripts to their interpreters, as
//! the kernel and `execvp` would, and through `env`, as it would.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{env, io};

use super::Refusal;
use super::image::{self, Image, Kind};

/// Scripts whose interpreter is a script: as many as the kernel follows.
const MOST_SCRIPTS: usize = 5;
/// What `execvp` has run a text without `#!` by.
const SHELL: &str = "/bin/sh";

/// What a command comes down to.
#[derive(Debug)]
pub(crate) struct Program {
    /// The file that was named.
    pub(crate) path: PathBuf,
    /// Scripts on the way, each with what runs it.
    pub(crate) scripts: Vec<Script>,
    /// What is loaded.
    pub(crate) image: Image,
    pub(crate) metadata: Metadata,
}

/// A script, and the start of the command that runs it.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) path: PathBuf,
    /// Interpreter and its argument, `env` resolved.
    pub(crate) command: Vec<OsString>,
    /// Whether `env` would do more than to look a name up.
    pub(crate) by_env: bool,
}

/// Finds a program, as `execvp` would.
pub(crate) fn find(name: &OsStr) -> Result<PathBuf, Refusal> {
    let missing = |why: &str| Refusal::missing(format!("{}: {why}", name.to_string_lossy()));
    if name.as_bytes().contains(&b'/') {
        let path = PathBuf::from(name);
        return match fs::metadata(&path) {
            Ok(_) => Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(missing("there is no such program"))
            }
            Err(error) => Err(Refusal::unable(format!("{}: {error}", path.display()))),
        };
    }
    in_path(name).ok_or_else(|| missing("there is no such program in PATH"))
}

fn in_path(name: &OsStr) -> Option<PathBuf> {
    let runnable = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|file| file.is_file() && is_executable(&file))
    };
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(runnable)
}

fn is_executable(file: &Metadata) -> bool {
    file.permissions().mode() & 0o111 != 0
}

/// Follows a file to what is loaded for it.
pub(crate) fn follow(path: PathBuf) -> Result<Program, Refusal> {
    let mut scripts: Vec<Script> = Vec::new();
    let mut at = path.clone();
    loop {
        let unable = |why: String| Refusal::unable(format!("{}: {why}", shown(&path, &at)));
        let metadata = fs::metadata(&at).map_err(|error| unable(error.to_string()))?;
        if metadata.is_dir() {
            return Err(unable("is a folder".to_owned()));
        }
        if !is_executable(&metadata) {
            return Err(unable("is not executable (chmod +x)".to_owned()));
        }
        match image::look(&at).map_err(unable)? {
            Kind::Native(image) => return Ok(Program { path, scripts, image: *image, metadata }),
            Kind::Foreign(machine) => {
                let why = format!("is for {machine}: fibers run on x86-64 with glibc only");
                return Err(unable(why));
            }
            Kind::Other => {}
        }
        if scripts.len() == MOST_SCRIPTS {
            return Err(unable("its interpreter is a script too many".to_owned()));
        }
        let head = head(&at).map_err(|error| unable(error.to_string()))?;
        let (command, by_env) = interpreter(&head).map_err(unable)?;
        let next = PathBuf::from(&command[0]);
        scripts.push(Script { path: at.clone(), command, by_env });
        if !next.exists() {
            let why = format!("its interpreter {} is not there", next.display());
            return Err(Refusal::unable(format!("{}: {why}", at.display())));
        }
        at = next;
    }
}

/// A file on the way from `path`, for an error.
fn shown(path: &Path, at: &Path) -> String {
    if path == at {
        path.display().to_string()
    } else {
        format!("{} (for {})", at.display(), path.display())
    }
}

fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    fs::File::open(path)?.take(4096).read_to_end(&mut head)?;
    Ok(head)
}

/// The command that runs a script which begins so, and whether it is `env` that does.
fn interpreter(head: &[u8]) -> Result<(Vec<OsString>, bool), String> {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(line) = line.strip_prefix(b"#!") else {
        if line.contains(&0) {
            return Err("is neither a program nor a script".to_owned());
        }
        return Ok((vec![SHELL.into()], false));
    };
    let (name, argument) = {
        let line = line.trim_ascii();
        let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        (&line[..end], line[end..].trim_ascii())
    };
    if name.is_empty() {
        return Err("names no interpreter after #!".to_owned());
    }
    let mut command = vec![OsString::from_vec(name.to_vec())];
    if !argument.is_empty() {
        command.push(OsString::from_vec(argument.to_vec()));
    }
    if Path::new(&command[0]).file_name() != Some(OsStr::new("env")) || argument.is_empty() {
        return Ok((command, false));
    }
    resolve_env(argument).map(|command| (command, true))
}

/// What `env` runs for the rest of a script's first line, which the kernel passes as one argument.
fn resolve_env(argument: &[u8]) -> Result<Vec<OsString>, String> {
    let split = ["-S", "--split-string="]
        .iter()
        .find_map(|option| argument.strip_prefix(option.as_bytes()));
    let words: Vec<&[u8]> = match split {
        Some(rest) => rest.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect(),
        None => vec![argument],
    };
    // Options and assignments of `env` come first; what they change is not what is loaded.
    let is_own = |word: &&&[u8]| word.starts_with(b"-") || word.contains(&b'=');
    let own = words.iter().take_while(is_own).count();
    let Some((name, rest)) = words[own..].split_first() else {
        return Err("has env run nothing".to_owned());
    };
    let name = OsStr::from_bytes(name);
    let path = if name.as_bytes().contains(&b'/') { Some(name.into()) } else { in_path(name) };
    let path =
        path.ok_or_else(|| format!("its interpreter {} is not in PATH", name.to_string_lossy()))?;
    let rest = rest.iter().map(|word| OsString::from_vec(word.to_vec()));
    Ok([path.into_os_string()].into_iter().chain(rest).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(head: &[u8]) -> Vec<OsString> {
        interpreter(head).expect("a script").0
    }

    #[test]
    fn first_lines_are_read_as_the_kernel_does() {
        assert_eq!(command(b"#!/bin/sh\nexit 1\n"), ["/bin/sh"]);
        assert_eq!(command(b"#! /bin/sh  -e -u \n"), ["/bin/sh", "-e -u"]);
        assert_eq!(command(b"echo no line\n"), ["/bin/sh"]);
        assert_eq!(command(b""), ["/bin/sh"]);
        assert!(interpreter(b"#!\n").is_err());
        assert!(interpreter(b"\0\x01\x02").is_err());
    }

    #[test]
    fn env_is_followed() {
        let sh = in_path(OsStr::new("sh")).expect("every machine has one").into_os_string();
        assert_eq!(command(b"#!/usr/bin/env sh\n"), std::slice::from_ref(&sh));
        assert_eq!(
            command(b"#!/usr/bin/env -S sh -e -u\n"),
            [sh.clone(), "-e".into(), "-u".into()]
        );
        assert_eq!(command(b"#!/usr/bin/env -S -i A=1 sh -e\n"), [sh, "-e".into()]);
        assert_eq!(command(b"#!/usr/bin/env\n"), ["/usr/bin/env"]);
        let error =
            interpreter(b"#!/usr/bin/env nothing-is-called-this\n").expect_err("nothing is");
        assert!(error.contains("nothing-is-called-this is not in PATH"), "{error}");
    }
}
