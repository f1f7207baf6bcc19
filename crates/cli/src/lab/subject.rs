//! `timestop lab-subject ROW SUBJECT`: one run, in a process of its own, its numbers on standard output.
//!
//! With `--server` it is the other half of such a run: the server under test, whose CPU time is to be told from that of
//! the load generator; or, for a program outside, that program.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::process::{Command, ExitCode};

use rustix::process::{Signal, set_parent_process_death_signal};

use super::experiments::{Call, Pinned, Row, Subject};
use super::measured::Measured;
use super::outside::{self, Catalogue, Missing};
use super::{machine, select};

/// Rounds of a run that nobody said a number for, and of the first that finds out how many fill the time.
pub(crate) const FIRST: usize = 10_000;

/// Arguments of `timestop lab-subject`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    row: String,
    subject: String,
    #[arg(long)]
    quick: bool,
    /// How much is done, if not what the row says
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    amount: Option<u64>,
    /// How many cores it has, if not as many as the row says
    #[arg(long)]
    workers: Option<NonZeroUsize>,
    /// Be the server that the run of this name measures, or the program
    #[arg(long)]
    server: bool,
    #[command(flatten)]
    given: Given,
}

/// What a program is told that only this run knows.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Given {
    /// Where it writes how late its sleepers were
    #[arg(long)]
    pub(crate) late: Option<String>,
    /// Of the server that it asks
    #[arg(long)]
    pub(crate) port: Option<u16>,
}

/// One run of a row for one subject.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    pub(crate) row: Row,
    pub(crate) subject: Subject,
    /// How much is done, if not what the row says.
    pub(crate) amount: Option<usize>,
    /// How many cores it can use, if that is less than it has in this row.
    pub(crate) workers: Option<NonZeroUsize>,
}

impl Trial {
    /// The parameter of the row, or what of it the subject can bear.
    pub(crate) fn parameter(&self) -> usize {
        match self.row.experiment.amount {
            super::experiments::Amount::Parameter => self.amount(),
            _ => self.row.value,
        }
    }

    /// How much is done in this run.
    pub(crate) fn amount(&self) -> usize {
        self.amount.or(self.row.amount()).unwrap_or(FIRST)
    }

    /// How many cores it has.
    pub(crate) fn workers(&self) -> usize {
        self.workers.map_or(self.row.workers(), NonZeroUsize::get)
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
        if let Some(amount) = self.amount {
            command.args(["--amount", &amount.to_string()]);
        }
        if let Some(workers) = self.workers {
            command.args(["--workers", &workers.to_string()]);
        }
        if server {
            command.arg("--server");
        }
        Ok(command)
    }

    /// Confines this process to the cores of what it is.
    fn pin(&self, server: bool) {
        match self.row.experiment.pinned {
            Pinned::No => {}
            // The load pins itself when its server runs, which would inherit that.
            Pinned::Apart if !server => {}
            Pinned::Workers | Pinned::Apart => {
                let workers = NonZeroUsize::new(self.workers()).expect("at least one worker");
                machine::pin_to_first(workers);
            }
        }
    }
}

/// Measures once and prints what it measured.
pub(crate) fn run(args: Args) -> ExitCode {
    // A lab that is killed must not leave a million sleepers behind.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    machine::raise_descriptor_limit();
    let told = trial(&args).and_then(|trial| {
        trial.pin(args.server);
        match (args.server, trial.subject, trial.row.experiment.outside) {
            (true, Subject::Outside(program), _) => {
                Err(outside::call::become_it(&trial, program, &args.given))
            }
            (true, _, _) => Err((trial.row.experiment.serve)(&trial)),
            (false, Subject::Outside(_), Some(call @ Call { server: false, .. })) => {
                outside::call::measure(&trial, &call)
            }
            (false, _, _) => (trial.row.experiment.measure)(&trial),
        }
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
    let inside = row.subjects.iter().find(|subject| subject.name() == args.subject);
    let subject = match inside {
        Some(subject) => *subject,
        None => {
            let catalogue = Catalogue::read().map_err(Missing::why)?;
            let program = catalogue.find(&args.subject);
            Subject::Outside(program.ok_or_else(|| format!("no subject '{}'", args.subject))?)
        }
    };
    let amount = args.amount.map(|amount| amount as usize);
    Ok(Trial { row, subject, amount, workers: args.workers })
}

fn print(measured: &Measured) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    write!(stdout, "{measured}")?;
    stdout.flush()
}
