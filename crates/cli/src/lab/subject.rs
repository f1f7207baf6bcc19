//! `timestop lab-subject ROW SUBJECT`: one run, in a process of its own, its numbers on standard output.
//!
//! With `--server` it is the other half of such a run: the server under test, whose CPU time is to be told from that of
//! the load generator.

use std::io::{self, Write};
use std::process::{Command, ExitCode};

use rustix::process::{Signal, set_parent_process_death_signal};

use super::experiments::{Row, Subject};
use super::measured::Measured;
use super::{bench, machine, select};

/// Arguments of `timestop lab-subject`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    row: String,
    subject: String,
    #[arg(long)]
    quick: bool,
    /// Be the server that the run of this name measures
    #[arg(long)]
    server: bool,
}

/// One run of a row for one subject.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    pub(crate) row: Row,
    pub(crate) subject: Subject,
}

impl Trial {
    /// The parameter of the row.
    pub(crate) fn parameter(&self) -> usize {
        self.row.value
    }

    /// How many of something that is not the parameter: a tenth of it under `--quick`.
    pub(crate) fn count(&self, full: usize) -> usize {
        if self.row.quick { full / 10 } else { full }
    }

    /// One of two, such as a window of time.
    pub(crate) fn pick<T>(&self, full: T, quick: T) -> T {
        if self.row.quick { quick } else { full }
    }

    /// The command that is this run, or the server of it.
    pub(crate) fn command(&self, server: bool) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["lab-subject", &self.row.name(), self.subject.name()]);
        if self.row.quick {
            command.arg("--quick");
        }
        if server {
            command.arg("--server");
        }
        Ok(command)
    }
}

/// Measures once and prints what it measured.
pub(crate) fn run(args: Args) -> ExitCode {
    // A lab that is killed must not leave a million sleepers behind.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    machine::raise_descriptor_limit();
    let told = trial(&args).and_then(|trial| match args.server {
        true => Err(bench::serve(&trial)),
        false => (trial.row.experiment.measure)(&trial),
    });
    match told.and_then(|measured| print(&measured).map_err(|error| error.to_string())) {
        // By `exit`: fibers and threads may still sleep, and nobody waits for them.
        Ok(()) => std::process::exit(0),
        Err(why) => {
            eprintln!("{why}");
            std::process::exit(1);
        }
    }
}

fn trial(args: &Args) -> Result<Trial, String> {
    let rows = select::rows(std::slice::from_ref(&args.row), args.quick)?;
    let row = rows.into_iter().next().expect("a known name has a row");
    let subject = select::subject(&args.subject)?;
    Ok(Trial { row, subject })
}

fn print(measured: &Measured) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    write!(stdout, "{measured}")?;
    stdout.flush()
}
