//! `timestop lab chaos`: fibers that do everything programs do, check what they did, and are preempted at random moments
//! all the while.
//!
//! The storm is a process of its own (`storm`), so that one that crashes or hangs is reported like any other failure; this
//! side starts it, gives it a seed, waits, and says how to run the same again. The seed settles what the fibers do; when
//! they are interrupted is the monitor's and the machine's affair, and no seed repeats it.
//!
//! What a fiber does is a *round* (`part`), one file for each kind. A round takes some milliseconds at most, checks its
//! result, and needs no other loop to go on: all of them can be told to stop at any time.

use std::hash::{BuildHasher, RandomState};
use std::process::{Command, ExitCode};
use std::time::Duration;

use serde_json::json;

use super::child::{self, Failure};
use super::interrupt::Interrupt;
use super::preemption::CHAOS;
use super::{INTERRUPTED, USAGE};

mod allocation;
mod channels;
mod dice;
mod floats;
mod input_output;
mod ledger;
mod locals;
mod locks;
mod panics;
mod part;
mod registers;
mod spawning;
mod storm;
mod text;
mod timers;

const EVERY_MICROSECONDS: &str = "50";
/// Beyond the time it was given: for loops that hang, which the storm itself finds after two minutes at the latest, and for
/// their dump.
const GRACE: Duration = Duration::from_secs(180);

/// Arguments of `timestop lab chaos`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For how long, in seconds
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    secs: u64,
    /// What the fibers do is drawn from this number [default: another each time]
    #[arg(long, value_name = "S")]
    seed: Option<u32>,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
    /// Be the process that is preempted
    #[arg(long, hide = true)]
    inside: bool,
}

/// Runs the storm in a process of its own and reports how it ended.
pub(crate) fn run(args: &Args) -> ExitCode {
    let seed = args.seed.unwrap_or_else(|| RandomState::new().hash_one(0) as u32);
    if args.inside {
        return storm::run(args.secs, seed, args.json);
    }
    let rerun = format!("timestop lab chaos --secs {} --seed {seed}", args.secs);
    eprintln!("seed {seed}: {rerun}");
    let why = match watch(args, seed) {
        Ok(None) => return ExitCode::SUCCESS,
        // It has said what was wrong.
        Ok(Some(status)) if status.code() == Some(1) => None,
        Ok(Some(status)) => Some(format!("the fibers' process ended ({status})")),
        Err(Failure::Interrupted) => return ExitCode::from(INTERRUPTED),
        Err(Failure::Broken(why) | Failure::Late(why)) => Some(why),
    };
    if let Some(why) = why {
        if args.json {
            println!(
                "{}",
                json!({ "bench": "chaos", "seed": seed, "secs": args.secs, "error": why })
            );
        }
        eprintln!("timestop lab chaos: {why}");
    }
    eprintln!("run it again: {rerun}");
    ExitCode::FAILURE
}

/// How the process ended, if not well.
fn watch(args: &Args, seed: u32) -> Result<Option<std::process::ExitStatus>, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["lab", "chaos", "--inside"]);
    command.args(["--secs", &args.secs.to_string(), "--seed", &seed.to_string()]);
    if args.json {
        command.arg("--json");
    }
    if std::env::var_os(CHAOS).is_none() {
        command.env(CHAOS, EVERY_MICROSECONDS);
    }
    let limit = Duration::from_secs(args.secs) + GRACE;
    let status = child::status(&mut command, limit, &Interrupt::install()?)?;
    debug_assert_ne!(status.code(), Some(USAGE.into()), "we know our own options");
    Ok((!status.success()).then_some(status))
}
