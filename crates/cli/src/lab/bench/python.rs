//! A foreign program: a threaded Python server, as it is and under `timestop run`.
//!
//! Nothing is pinned: the program runs as a user would start it, beside its load. The script goes in by standard input,
//! so that there is no file to leave behind.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::process::Command;

use rustix::fs::{MemfdFlags, memfd_create};

use super::echo;
use crate::lab::child::Server;
use crate::lab::experiments::Subject;
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;

const SCRIPT: &str = include_str!("python.py");
const CONNECTIONS: usize = 1_000;

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    let server = Server::start(&mut command(trial.subject, SCRIPT)?)?;
    let measured = echo::load(trial, CONNECTIONS).put_on(&server);
    server.unless_ended(measured)
}

/// An interpreter, plain or under `timestop run`, that runs `script`; its arguments may follow.
pub(super) fn command(subject: Subject, script: &str) -> Result<Command, String> {
    let python = interpreter()?;
    let mut command = match subject {
        Subject::Run => {
            let this = std::env::current_exe().map_err(|error| error.to_string())?;
            let mut command = Command::new(this);
            command.arg("run").arg(python);
            command
        }
        _ => Command::new(python),
    };
    let script = file_of(script).map_err(|error| format!("script: {error}"))?;
    command.arg("-").stdin(script);
    Ok(command)
}

/// The interpreter itself: `python3` may be a shell script that looks for one.
fn interpreter() -> Result<String, String> {
    let output = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .map_err(|error| format!("python3 cannot be started: {error}"))?;
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match output.status.success() && !path.is_empty() {
        true => Ok(path),
        false => Err(format!("python3 does not run: {}", output.status)),
    }
}

/// What `python3` says that it is, if there is one.
pub(in crate::lab) fn version() -> Option<String> {
    let output = Command::new("python3").arg("--version").output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !said.is_empty()).then_some(said)
}

fn file_of(script: &str) -> io::Result<File> {
    let mut file: File = memfd_create(c"script.py", MemfdFlags::CLOEXEC)?.into();
    file.write_all(script.as_bytes())?;
    file.rewind()?;
    Ok(file)
}
