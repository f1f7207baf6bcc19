//! `timestop lab`: every claim about speed or size is a command, and this is the command.
//!
//! Experiments are data (`experiments`): a name, a question, metrics, subjects. A *row* is an experiment with its
//! parameter settled. Each run of a row is a fresh process of this same binary (`subject`), so nothing leaks from one
//! run to the next; subjects take turns run by run (A B C A B C …), so that a machine that slows down for a while slows
//! all of them. What is reported is the median, with the least and the greatest beside it.
//!
//! # Names
//!
//! A row is `BENCH`, or `BENCH/PARAMETER` where the experiment has one: `yield`, `spawn_join/2` (workers),
//! `memory/100000` (fibers), `echo/64` (connections). One run may answer more than the first question: those rows add
//! the metric to the name of the bench, `echo_p99/64`. In JSON every row is one object a line,
//!
//! ```json
//! {"bench":"echo_p99/64","subject":"timestop","value":370.1,"unit":"us","runs":3,"min":366.0,"max":381.4,"at":64, …}
//! ```
//!
//! after a first line that tells of the machine and of what is measured (`record`). A cell that failed has
//! `"value":null` and `"error"`. `--quick` divides counts by ten, and a parameter that is such a count is
//! named as it was measured: `memory/10000`. A bench, a single row, or a family of benches can be asked for: `hog` for all
//! whose names begin with `hog_`.
//!
//! # What to keep in mind
//!
//! The subject `threads` is `std::thread` in this binary, whose libc calls pass through timestop's hooks: on an OS thread
//! a check before each system call, and the runtime's table for a lock that is contended. `echo` has a yardstick without
//! any, `epoll`: it and the load generator make their system calls directly.
//!
//! Rejected: a benchmark harness of the statistical kind (one process, thousands of iterations). The noise here is
//! between processes and between minutes, not between iterations.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

mod bench;
mod chaos;
mod child;
mod compare;
mod describe;
mod experiments;
mod interrupt;
mod lab_file;
mod lateness;
mod load;
mod machine;
mod measured;
mod preemption;
mod progress;
mod record;
mod report;
mod runner;
mod select;
mod stats;
pub(crate) mod subject;
mod threads;

use experiments::{Row, Subject};
use interrupt::Interrupt;
use lab_file::LabFile;
use progress::Progress;
use runner::{Cell, Runner};

/// What a mistyped name or an unknown option exits with.
const USAGE: u8 = 2;
/// What a program that ended by Ctrl-C exits with.
const INTERRUPTED: u8 = 130;

/// Arguments of `timestop lab`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    /// What to measure: a bench (`echo`), one row of it (`echo/64`), or `list`; everything when left out
    #[arg(value_name = "BENCH")]
    benches: Vec<String>,
    /// Only these subjects, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    subjects: Vec<String>,
    /// Runs of each cell; the median is reported
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// A tenth of the size, and short windows
    #[arg(long)]
    quick: bool,
    /// A lab file instead of a table: JSON, an object a line
    #[arg(long)]
    json: bool,
    /// Write a page with charts and verdicts too
    #[arg(long, value_name = "PAGE")]
    html: Option<PathBuf>,
    /// A Markdown table, for a page
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Show the benches with their questions, units and subjects
    #[arg(long)]
    list: bool,
}

/// What the lab does besides measuring.
#[derive(Debug, clap::Subcommand)]
enum Other {
    /// Preempt fibers at random while they do all that programs do, and check what they did
    Chaos(chaos::Args),
    /// Report what was measured before: a page, Markdown, the README's table
    Report(report::Args),
    /// Say what has become better or worse between two files, beyond noise
    Compare(compare::Args),
}

/// Measures what `args` asks for and prints it on standard output.
pub(crate) fn run(args: Args) -> ExitCode {
    match &args.other {
        Some(Other::Chaos(args)) => return chaos::run(args),
        Some(Other::Report(args)) => return report::run(args),
        Some(Other::Compare(args)) => return compare::run(args),
        None => {}
    }
    if args.list || args.benches.iter().any(|name| name == "list") {
        return finish(report::list(args.quick), ExitCode::SUCCESS);
    }
    let (rows, subjects) = match chosen(&args) {
        Ok(chosen) => chosen,
        Err(why) => {
            eprintln!("timestop lab: {why}");
            return ExitCode::from(USAGE);
        }
    };
    if let Some(Err(why)) = args.html.as_deref().map(report::can_write) {
        eprintln!("timestop lab: {why}");
        return ExitCode::from(USAGE);
    }
    match measure(&args, &rows, subjects) {
        Ok(Outcome { interrupted: true, .. }) => ExitCode::from(INTERRUPTED),
        Ok(Outcome { failed: 0, .. }) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => finish(Err(error), ExitCode::FAILURE),
    }
}

/// The rows and subjects that were asked for; they have at least one cell in common.
fn chosen(args: &Args) -> Result<(Vec<Row>, BTreeSet<Subject>), String> {
    let subjects = select::subjects(&args.subjects)?;
    let mut rows = select::rows(&args.benches, args.quick)?;
    rows.retain(|row| row.subjects.iter().any(|subject| subjects.contains(subject)));
    if rows.is_empty() {
        return Err("none of these benches has that subject; see `timestop lab list`".to_owned());
    }
    Ok((rows, subjects))
}

struct Outcome {
    failed: usize,
    interrupted: bool,
}

/// Runs and prints everything: JSON row by row, tables and the page in the end.
fn measure(args: &Args, rows: &[Row], subjects: BTreeSet<Subject>) -> io::Result<Outcome> {
    let runner = Runner::new(Interrupt::install()?, args.runs, subjects);
    let cells: usize = rows.iter().map(|row| runner.subjects_of(row).len()).sum();
    let progress = Progress::new(cells * args.runs as usize);
    let mut file = LabFile { header: describe::header(rows), records: Vec::new() };
    if args.json {
        file.write_header(&mut io::stdout().lock())?;
    }
    for row in rows {
        let records: Vec<_> = runner.measure(row, &progress)?.iter().map(Cell::record).collect();
        if args.json {
            lab_file::write(&mut io::stdout().lock(), &records)?;
        }
        file.records.extend(records);
        if runner.interrupted() {
            break;
        }
    }
    progress.finish();
    if let Some(page) = &args.html {
        report::write_page(page, &file).map_err(io::Error::other)?;
    }
    if args.markdown {
        report::markdown(&mut io::stdout().lock(), &file)?;
    } else if !args.json {
        report::table(&mut io::stdout().lock(), &file.records)?;
    }
    let failed = file.records.iter().filter(|record| record.is_failure()).count();
    Ok(Outcome { failed, interrupted: runner.interrupted() })
}

/// A reader that went away (`| head`) is no failure of ours.
fn finish(written: io::Result<()>, code: ExitCode) -> ExitCode {
    match written.and_then(|()| io::stdout().flush()) {
        Ok(()) => code,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => code,
        Err(error) => {
            eprintln!("timestop lab: {error}");
            ExitCode::FAILURE
        }
    }
}
