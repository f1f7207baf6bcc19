//! `timestop run PROGRAM ARGS…`: replaces this process by the program, with the hooks loaded first.
//!
//! The program keeps this process's id, descriptors, terminal and signals; its exit status is its
//! own. What cannot be hooked is refused here, with a reason: static programs (they have no dynamic
//! linker) and set-uid ones (their dynamic linker ignores the environment).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs, io};

/// The shared object's name, in the folder of this program or in `deps` beside it.
const PRELOAD: &str = "libtimestop_preload.so";
/// Shells' exit statuses for a program that cannot be run, and for one that is not there.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// The command line of `timestop run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many fibers may run at once [default: 1 for a Python or Ruby with a global lock, else the
    /// number of CPUs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    workers: Option<u32>,
    /// Fail where fibers cannot run, instead of running on plain threads
    #[arg(long)]
    strict: bool,
    /// The program, looked up in PATH
    program: OsString,
    /// What the program is given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Runs the program; returns only if that fails.
pub(crate) fn run(args: Args) -> ExitCode {
    match try_run(&args) {
        Ok(never) => match never {},
        Err((status, text)) => {
            eprintln!("timestop: {text}");
            ExitCode::from(status)
        }
    }
}

enum Never {}

fn try_run(args: &Args) -> Result<Never, (u8, String)> {
    let shown = args.program.to_string_lossy().into_owned();
    let program = find(&args.program)
        .ok_or_else(|| (NOT_FOUND, format!("{shown}: there is no such program")))?;
    check(&program).map_err(|reason| (CANNOT_RUN, format!("{}: {reason}", program.display())))?;
    let preload = preload().map_err(|error| (CANNOT_RUN, error))?;
    let mut list = preload.into_os_string();
    if let Some(before) = env::var_os("LD_PRELOAD").filter(|before| !before.is_empty()) {
        list.push(":");
        list.push(before);
    }
    let mut command = Command::new(&program);
    command.arg0(&args.program).args(&args.arguments);
    command.env("LD_PRELOAD", list).env("TIMESTOP_PRELOAD", "1");
    if let Some(workers) = args.workers {
        command.env("TIMESTOP_WORKERS", workers.to_string());
    }
    if args.strict {
        command.env("TIMESTOP_STRICT", "1");
    }
    let error = command.exec();
    let status = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN };
    Err((status, format!("{shown}: {error}")))
}

/// The program's file, as `execvp` would find it.
fn find(program: &OsStr) -> Option<PathBuf> {
    let runnable = |path: &Path| {
        fs::metadata(path)
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if program.as_bytes().contains(&b'/') {
        let path = PathBuf::from(program);
        return path.exists().then_some(path);
    }
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| runnable(path))
}

/// Why the hooks could not be loaded into this file, if so.
fn check(path: &Path) -> Result<(), String> {
    let file = fs::metadata(path).map_err(|error| error.to_string())?;
    if file.is_dir() {
        return Err("is a folder".to_owned());
    }
    if file.permissions().mode() & 0o111 == 0 {
        return Err("is not executable (chmod +x)".to_owned());
    }
    let gains = (file.mode() & 0o4000 != 0 && file.uid() != rustix::process::getuid().as_raw())
        || (file.mode() & 0o2000 != 0 && file.gid() != rustix::process::getgid().as_raw());
    if gains {
        return Err(
            "is set-uid or set-gid: its dynamic linker ignores what is to be loaded first. \
                    Run it as the user that it would become"
                .to_owned(),
        );
    }
    let head = read_head(path).map_err(|error| error.to_string())?;
    match elf::interpreter(&head) {
        elf::Kind::Dynamic | elf::Kind::NotElf => Ok(()),
        elf::Kind::Static => Err("is a static program: it has no dynamic linker that could load \
                                  the hooks. Link it dynamically"
            .to_owned()),
        elf::Kind::Foreign => {
            Err("is not for this machine: fibers run on x86-64 with glibc only".to_owned())
        }
    }
}

fn read_head(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut head = Vec::new();
    fs::File::open(path)?.take(64 * 1024).read_to_end(&mut head)?;
    Ok(head)
}

/// The few words of the ELF format (System V ABI, chapter 4) that tell whether a file is dynamic.
mod elf {
    /// What a file is.
    #[derive(Debug, PartialEq, Eq)]
    pub(super) enum Kind {
        /// With an interpreter, the dynamic linker.
        Dynamic,
        Static,
        /// Another machine's.
        Foreign,
        /// A script, say; the kernel will tell.
        NotElf,
    }

    const PT_INTERP: u32 = 3;
    const MACHINE_X86_64: u64 = 62;

    fn number(bytes: &[u8], offset: usize, size: usize) -> Option<u64> {
        let field = bytes.get(offset..offset.checked_add(size)?)?;
        Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    pub(super) fn interpreter(head: &[u8]) -> Kind {
        if !head.starts_with(b"\x7fELF") {
            return Kind::NotElf;
        }
        let is_64_bit = head.get(4) == Some(&2) && head.get(5) == Some(&1);
        if !is_64_bit || number(head, 18, 2) != Some(MACHINE_X86_64) {
            return Kind::Foreign;
        }
        let table = number(head, 32, 8).unwrap_or(0) as usize;
        let (size, count) = (number(head, 54, 2).unwrap_or(0), number(head, 56, 2).unwrap_or(0));
        let dynamic = (0..count as usize).any(|index| {
            number(head, table.saturating_add(index * size as usize), 4) == Some(PT_INTERP.into())
        });
        if dynamic { Kind::Dynamic } else { Kind::Static }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn this_test_is_a_dynamic_program() {
            let head = std::fs::read("/proc/self/exe").expect("a process has its file");
            assert_eq!(interpreter(&head), Kind::Dynamic);
            assert_eq!(interpreter(b"#!/bin/sh\n"), Kind::NotElf);
            assert_eq!(interpreter(b"\x7fELF"), Kind::Foreign);
        }
    }
}

/// The shared object beside this program.
fn preload() -> Result<PathBuf, String> {
    let program = env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    let folder = program.parent().unwrap_or(Path::new("/"));
    // Cargo keeps the one that it built with this program in `deps`; an installed one lies beside.
    let places = [folder.join("deps").join(PRELOAD), folder.join(PRELOAD)];
    places.iter().find(|path| path.is_file()).cloned().ok_or_else(|| {
        format!("{PRELOAD} is not beside {}: install both together", program.display())
    })
}
