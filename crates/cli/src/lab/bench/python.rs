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
    let python = interpreter()?;
    let mut command = match trial.subject {
        Subject::Run => {
            let this = std::env::current_exe().map_err(|error| error.to_string())?;
            let mut command = Command::new(this);
            command.arg("run").arg(python);
            command
        }
        _ => Command::new(python),
    };
    let script = script().map_err(|error| format!("script: {error}"))?;
    let server = Server::start(command.arg("-").stdin(script))?;
    let measured = echo::load(trial, CONNECTIONS).put_on(&server);
    server.unless_ended(measured)
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

fn script() -> io::Result<File> {
    let mut file: File = memfd_create(c"server.py", MemfdFlags::CLOEXEC)?.into();
    file.write_all(SCRIPT.as_bytes())?;
    file.rewind()?;
    Ok(file)
}
