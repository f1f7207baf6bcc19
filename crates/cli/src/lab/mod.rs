//! `timestop lab`: every claim about speed or size is a command, and this is the command.
//!
//! Experiments are data (`experiments`): a name, a question, metrics, subjects. A *row* is an experiment with its
//! parameter settled. A *subject* is a way to write the same program: in this binary, or outside of it (`outside`), in
//! whatever language. Each run of a row is a fresh process (`subject`), so nothing leaks from one run to the next;
//! subjects take turns run by run (A B C A B C …), so that a machine that slows down for a while slows all of them. What
//! is reported is the median, with the least and the greatest beside it, and whether others used the machine meanwhile
//! (`noise`).
//!
//! # Names
//!
//! A row is `BENCH`, or `BENCH/PARAMETER` where the experiment has one: `yield`, `spawn_join/2` (workers),
//! `memory_sleep/100000` (fibers), `echo/64` (connections). One run may answer more than the first question: those rows
//! add the metric to the name of the bench, `echo_p99/64`. In JSON the first line describes the machine and what is
//! measured, and then every row of a subject is one object a line (`record`). `--quick` divides counts by ten, and a
//! parameter that is such a count is named as it was measured: `memory_sleep/10000`. A bench, a single row, or a family
//! of benches can be asked for: `memory` for all whose names begin with `memory_`.
//!
//! # What to keep in mind
//!
//! The subject `threads` is a program of its own. Where none does the same it is `std::thread` in this binary, whose libc
//! calls pass through timestop's hooks: on an OS thread a check before each system call, and the runtime's table for a
//! lock that is contended. `echo` has a yardstick without any, `epoll`: it and the load generator make their system calls
//! directly.
//!
//! Rejected: a benchmark harness of the statistical kind (one process, thousands of iterations). The noise here is
//! between processes and between minutes, not between iterations.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

mod bench;
mod chaos;
mod child;
mod compare;
mod descent;
mod describe;
mod estimate;
mod experiments;
mod interrupt;
mod lab_file;
mod lateness;
mod load;
mod machine;
mod measured;
mod noise;
mod outside;
mod plan;
mod preemption;
mod progress;
mod record;
mod report;
mod runner;
mod select;
mod stats;
pub(crate) mod subject;
mod threads;
mod turn;

use estimate::Estimate;
use experiments::Row;
use interrupt::Interrupt;
use lab_file::LabFile;
use outside::{Catalogue, Missing};
use progress::Progress;
use record::Record;
use runner::Runner;

/// What a mistyped name or an unknown option exits with.
const USAGE: u8 = 2;
/// What a program that ended by Ctrl-C exits with.
const INTERRUPTED: u8 = 130;

/// Longer than any run should take on a slow machine.
const LIMIT: Duration = Duration::from_secs(180);
const QUICK_LIMIT: Duration = Duration::from_secs(60);

/// Three runs have a middle; two tell at least how far apart they lie, and fit into the ten minutes of `--quick`.
const RUNS: u32 = 3;
const QUICK_RUNS: u32 = 2;

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
    /// Runs of each cell; the median is reported [default: 3, or 2 with --quick]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// A tenth of the size, and short windows
    #[arg(long)]
    quick: bool,
    /// Seconds after which a run is ended, as one that hangs [default: 180, or 60 with --quick]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    limit: Option<u64>,
    /// A lab file instead of a table: JSON, an object a line
    #[arg(long)]
    json: bool,
    /// A Markdown table, for a page
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Write the JSON lines to this file as well, as they come
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write a page with charts and verdicts too
    #[arg(long, value_name = "PAGE")]
    html: Option<PathBuf>,
    /// Show the benches with their questions, units and subjects
    #[arg(long)]
    list: bool,
    /// Measure nothing: show what would be run, and how long each row would take
    #[arg(long)]
    dry_run: bool,
}

/// What the lab does besides measuring.
#[derive(Debug, clap::Subcommand)]
enum Other {
    /// Build the programs of lab/subjects, which timestop is measured beside
    Prepare(outside::PrepareArgs),
    /// Preempt fibers at random while they do all that programs do, and check what they did
    Chaos(chaos::Args),
    /// Report what was measured before: a page, Markdown, the README's table
    Report(report::Args),
    /// Say what has become better or worse between two files, beyond noise
    Compare(compare::Args),
}

/// Measures what `args` asks for and prints it on standard output.
pub(crate) fn run(mut args: Args) -> ExitCode {
    match args.other.take() {
        Some(Other::Chaos(args)) => return chaos::run(&args),
        Some(Other::Prepare(args)) => return outside::prepare(args),
        Some(Other::Report(args)) => return report::run(&args),
        Some(Other::Compare(args)) => return compare::run(&args),
        None => {}
    }
    let mistake = |why: String| {
        eprintln!("timestop lab: {why}");
        ExitCode::from(USAGE)
    };
    let catalogue = match catalogue(&args) {
        Ok(catalogue) => catalogue,
        Err(why) => return mistake(why),
    };
    if args.list || args.benches.iter().any(|name| name == "list") {
        return finish(report::list(args.quick, &catalogue), ExitCode::SUCCESS);
    }
    let rows = match chosen(&args, &catalogue) {
        Ok(rows) => rows,
        Err(why) => return mistake(why),
    };
    if args.dry_run {
        return finish(dry_run(&args, &rows), ExitCode::SUCCESS);
    }
    if let Some(Err(why)) = args.html.as_deref().map(report::can_write) {
        return mistake(why);
    }
    let sinks = match Sinks::open(&args) {
        Ok(sinks) => sinks,
        Err(why) => return mistake(why),
    };
    match measure(&args, &rows, sinks) {
        Ok(Outcome { interrupted: true, .. }) => ExitCode::from(INTERRUPTED),
        Ok(Outcome { failed: 0, .. }) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => finish(Err(error), ExitCode::FAILURE),
    }
}

/// The programs outside. A binary that was moved away from them measures what is in it, and says so.
fn catalogue(args: &Args) -> Result<Catalogue, String> {
    match Catalogue::read() {
        Ok(catalogue) => Ok(catalogue),
        Err(Missing::Moved(why)) if args.subjects.is_empty() => {
            eprintln!("timestop lab: {why}");
            Ok(Catalogue::default())
        }
        Err(Missing::Moved(why)) => {
            let inside = experiments::Subject::INSIDE;
            let is_inside = |name: &String| inside.iter().any(|subject| subject.name() == name);
            match args.subjects.iter().all(is_inside) {
                true => Ok(Catalogue::default()),
                false => Err(why),
            }
        }
        Err(Missing::Mistake(why)) => Err(why),
    }
}

/// The rows that were asked for, with the subjects that were: at least one cell.
fn chosen(args: &Args, catalogue: &Catalogue) -> Result<Vec<Row>, String> {
    let rows = select::rows(&args.benches, args.quick)?;
    let mut rows: Vec<Row> = rows.into_iter().map(|row| row.with(catalogue)).collect();
    select::subjects(&mut rows, &args.subjects, catalogue)?;
    Ok(rows)
}

struct Outcome {
    failed: usize,
    interrupted: bool,
}

/// Where JSON lines go, as they come.
struct Sinks {
    stdout: bool,
    file: Option<(PathBuf, File)>,
}

impl Sinks {
    fn open(args: &Args) -> Result<Self, String> {
        let file = match &args.output {
            Some(path) => {
                let file = File::create(path);
                let told = |error| format!("--output {}: {error}", path.display());
                Some((path.clone(), file.map_err(told)?))
            }
            None => None,
        };
        Ok(Sinks { stdout: args.json, file })
    }

    fn line(&mut self, line: &impl serde::Serialize) -> io::Result<()> {
        let line = serde_json::to_string(line)?;
        if self.stdout {
            let mut stdout = io::stdout().lock();
            writeln!(stdout, "{line}").and_then(|()| stdout.flush())?;
        }
        match &mut self.file {
            Some((path, file)) => writeln!(file, "{line}")
                .map_err(|error| io::Error::other(format!("{}: {error}", path.display()))),
            None => Ok(()),
        }
    }
}

/// How often and how long each cell is run.
fn runner(args: &Args, rows: &[Row]) -> io::Result<Runner> {
    let limit = if args.quick { QUICK_LIMIT } else { LIMIT };
    let limit = args.limit.map_or(limit, Duration::from_secs);
    let runs = args.runs.unwrap_or(if args.quick { QUICK_RUNS } else { RUNS });
    let mut runner = Runner::new(Interrupt::install()?, runs, limit, !args.subjects.is_empty());
    runner.look_at(rows);
    Ok(runner)
}

fn dry_run(args: &Args, rows: &[Row]) -> io::Result<()> {
    let estimate = Estimate::of(rows, &runner(args, rows)?);
    report::estimate(&mut io::stdout().lock(), &estimate)
}

/// Runs and prints everything: JSON row by row, tables and the page in the end.
fn measure(args: &Args, rows: &[Row], mut sinks: Sinks) -> io::Result<Outcome> {
    noise::adopt_orphans();
    let runner = runner(args, rows)?;
    let mut file = LabFile { header: describe::header(rows, &runner), records: Vec::new() };
    sinks.line(&file.header)?;
    let estimate = Estimate::of(rows, &runner);
    eprintln!("{estimate}");
    let progress = Progress::new(estimate.cells() * runner.runs as usize);
    let mut failed = 0;
    for row in rows {
        let cells = runner.measure(row, &progress)?;
        failed += cells.iter().filter(|cell| cell.is_failure()).count();
        let records: Vec<Record> = cells.iter().map(turn::Cell::record).collect();
        for record in report::sorted(&records) {
            sinks.line(record)?;
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
