//! The program `timestop`: an enum of subcommands, one module each.
//!
//! A subcommand is a module with `Args` (what clap parses) and `run` (what it does); nothing else
//! lives here.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

mod check;
mod lab;
mod run;
mod serve;

/// Green threads for Linux: a fiber is a thread.
#[derive(Debug, Parser)]
#[command(name = "timestop", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a threaded program, in any language, with its threads as fibers
    Run(run::Args),
    /// Say whether a program can run on fibers, before it is run
    Check(check::Args),
    /// Serve a directory, and a demonstration of fibers, over HTTP
    Serve(serve::Args),
    /// Measure fibers beside OS threads and bare system calls
    Lab(lab::Args),
    /// One run of one measurement, in a process of its own
    #[command(name = "lab-subject", hide = true)]
    LabSubject(lab::subject::Args),
    /// Write the manual pages of this program into a folder: for packages
    #[command(hide = true)]
    Man { folder: PathBuf },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Lab(args) => lab::run(args),
        Command::LabSubject(args) => lab::subject::run(args),
        Command::Man { folder } => match clap_mangen::generate_to(Cli::command(), &folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("timestop: {}: {error}", folder.display());
                ExitCode::FAILURE
            }
        },
    }
}
