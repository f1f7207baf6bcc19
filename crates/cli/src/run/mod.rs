//! `timestop run PROGRAM ARGS…`: replaces this process by the program, with the hooks loaded first.
//!
//! The program keeps this process's id, descriptors, terminal and signals; its exit status is its
//! own. What the hooks cannot be loaded into, or would break, is refused here, with the reason that
//! `timestop check` gives.
//!
//! The two processes in one meet in the environment: [`preload`] has the hooks loaded, and each option
//! is a variable, so that what is run by a shell script can be told as well.

mod page;
pub(crate) mod preload;

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::check::program::{self, Program};
use crate::check::{Refusal, verdict};

/// Our own failure, as of `env` and `timeout`.
const FAILED: u8 = 125;

/// A switch that has a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Whether {
    On,
    Off,
}

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
    /// Say at exit what fibers have done, and every SECS seconds if given
    #[arg(long, value_name = "SECS", num_args = 0..=1, require_equals = true,
          default_missing_value = "0", value_parser = clap::value_parser!(u32))]
    stats: Option<u32>,
    /// Say so at the end of a file instead of on standard error (implies --stats)
    #[arg(long, value_name = "FILE")]
    stats_file: Option<PathBuf>,
    /// Write what fibers do to a file that ui.perfetto.dev and chrome://tracing open
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// End the trace when its file has so many megabytes [default: 512]
    #[arg(long, value_name = "MB", requires = "trace",
          value_parser = clap::value_parser!(u32).range(1..))]
    trace_limit: Option<u32>,
    /// Show what its fibers do on a live page, at an address of this machine
    /// [default: 127.0.0.1 and any free port]
    #[arg(long, value_name = "HOST:PORT", num_args = 0..=1, require_equals = true,
          default_missing_value = "127.0.0.1:0")]
    html: Option<SocketAddr>,
    /// Whether SIGQUIT (^\) prints all fibers, and the program goes on; one that handles or ignores it
    /// keeps it
    #[arg(long, value_name = "WHETHER", value_enum, num_args = 0..=1, require_equals = true,
          default_value = "on", default_missing_value = "on")]
    dump_on_quit: Whether,
    /// Leave the programs that this one starts alone: they run on plain threads
    #[arg(long)]
    no_children: bool,
    /// The program, looked up in PATH
    program: OsString,
    /// What the program is given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Runs the program; returns only if that fails.
pub(crate) fn run(args: Args) -> ExitCode {
    let Refusal { status, text } = execute(&args);
    eprintln!("timestop: {text}");
    ExitCode::from(status)
}

fn execute(args: &Args) -> Refusal {
    let mut command = match command(args) {
        Ok(command) => command,
        Err(refusal) => return refusal,
    };
    let error = command.exec();
    let text = format!("{}: {error}", args.program.to_string_lossy());
    match error.kind() {
        io::ErrorKind::NotFound => Refusal::missing(text),
        _ => Refusal::unable(text),
    }
}

/// The program with its arguments and environment.
fn command(args: &Args) -> Result<Command, Refusal> {
    let program = program::follow(program::find(&args.program)?)?;
    let preload = preload::find()?;
    verdict::refuse(&program, &preload)?;
    let mut command = start_of(args, &program);
    command.args(&args.arguments);
    command.env("LD_PRELOAD", preload::list(&preload)).env("TIMESTOP_PRELOAD", &preload);
    if let Some(workers) = args.workers {
        command.env("TIMESTOP_WORKERS", workers.to_string());
    }
    if args.strict {
        command.env("TIMESTOP_STRICT", "1");
    }
    if args.dump_on_quit == Whether::Off {
        command.env("TIMESTOP_DUMP_ON_QUIT", "off");
    }
    if args.no_children {
        command.env("TIMESTOP_CHILDREN", "off");
    }
    if let Some(seconds) = args.stats.or(args.stats_file.as_ref().map(|_| 0)) {
        command.env("TIMESTOP_STATS", seconds.to_string());
    }
    if let Some(file) = &args.stats_file {
        command.env("TIMESTOP_STATS_FILE", writable(file, "--stats-file")?);
    }
    if let Some(file) = &args.trace {
        let path = writable(file, "--trace")?;
        let emptied = OpenOptions::new().write(true).truncate(true).open(&path);
        emptied.map_err(|error| failure("--trace", file, &error))?;
        // The program has our number.
        let process = std::process::id().to_string();
        command.env("TIMESTOP_TRACE", path).env("TIMESTOP_TRACE_PROCESS", process);
    }
    if let Some(limit) = args.trace_limit {
        command.env("TIMESTOP_TRACE_LIMIT", limit.to_string());
    }
    // Last: nothing after it is refused.
    if let Some(address) = args.html {
        let told = page::start(address, &args.program);
        let told = told.map_err(|text| Refusal { status: FAILED, text })?;
        command.env("TIMESTOP_HTML", told);
    }
    Ok(command)
}

/// The program as it was named. For its children's sake `env` is left out where they are left alone:
/// it would be the program then, and the script a child.
fn start_of(args: &Args, program: &Program) -> Command {
    if let ([script], true) = (program.scripts.as_slice(), args.no_children)
        && script.by_env
    {
        let mut command = Command::new(&script.command[0]);
        command.args(&script.command[1..]).arg(&script.path);
        return command;
    }
    let mut command = Command::new(&program.path);
    command.arg0(&args.program);
    command
}

/// The whole path of a file that can be written to; the program may go to another folder.
fn writable(file: &Path, option: &str) -> Result<PathBuf, Refusal> {
    let path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    match OpenOptions::new().append(true).create(true).open(&path) {
        Ok(_) => Ok(path),
        Err(error) => Err(failure(option, file, &error)),
    }
}

fn failure(option: &str, file: &Path, error: &io::Error) -> Refusal {
    Refusal { status: FAILED, text: format!("{option} {}: {error}", file.display()) }
}
