//! What one preemption and the resumption after it cost: two hogs on one worker, preempted at random every 50 µs, beside
//! the same work on a bare OS thread, which nobody preempts.
//!
//! For `threads` it is what a signal costs whose handler does nothing: the floor, for a preemption is a signal.
//!
//! In CPU time of the OS thread that does the work: what the monitor uses is on another account, and so is whoever else
//! wants the core. The two take turns, a few milliseconds each, both on the first core; reported is the median of what
//! the turns say. Rejected: two processes, one preempted and one not. A core's clock changes by more within their seconds
//! than two percent.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::SIGURG;
use syscalls::{Sysno, syscall};

use super::compute;
use crate::lab::experiments::Subject;
use crate::lab::machine;
use crate::lab::measured::Measured;
use crate::lab::preemption::{self, CHAOS};
use crate::lab::stats::Sample;
use crate::lab::subject::Trial;
use crate::lab::threads::{Fibers, Threads};

const EVERY_MICROSECONDS: &str = "50";
/// Steps of a turn, half of them each hog's: some 20 ms.
const STEPS: u64 = 12_000_000;
/// Fewer than this in a turn say nothing about one of them.
const ENOUGH: u64 = 10;

/// The floor: an OS thread that is sent the same signal as often, whose handler does nothing.
static SIGNALS: AtomicU64 = AtomicU64::new(0);

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    let turns = trial.pick(60, 12);
    if trial.subject == Subject::Threads {
        return signals(turns);
    }
    if std::env::var_os(CHAOS).is_none() {
        return measured_by(trial.command(false).map_err(|error| error.to_string())?);
    }
    Fibers::run(1, || {
        // The worker's OS thread, and the bare one that it makes.
        machine::pin_to(&machine::cores()[..1]);
        compare(turns, preemption::count, two_hogs)
    })
}

/// Turns of the same work, with interruptions, which `count` counts, and without.
fn compare(
    turns: u32,
    count: impl Fn() -> u64,
    mut interrupted: impl FnMut() -> Option<Duration>,
) -> Result<Measured, String> {
    let (mut costs, mut shares) = (Sample::default(), Sample::default());
    let (mut interruptions, mut moved) = (0, 0);
    for _ in 0..turns {
        let bare = thread::spawn(|| {
            let before = machine::this_thread().1;
            compute(STEPS, 1);
            machine::this_thread().1 - before
        });
        let bare = bare.join().map_err(|_| "an OS thread panicked".to_owned())?;
        let before = count();
        let Some(time) = interrupted() else {
            moved += 1;
            continue;
        };
        let count = count() - before;
        interruptions += count;
        if count >= ENOUGH {
            let lost = time.as_secs_f64() - bare.as_secs_f64();
            costs.push(lost * 1e6 / count as f64);
            shares.push(lost / bare.as_secs_f64() * 100.0);
        }
    }
    let cost = costs.median().ok_or_else(|| {
        format!(
            "{interruptions} interruptions in {turns} turns, {moved} of them on other OS threads"
        )
    })?;
    Ok(Measured::new(cost)
        .with("lost_percent", shares.median().unwrap_or_default())
        .with("preemptions", interruptions as f64)
        .with("turns_moved", f64::from(moved)))
}

fn signals(turns: u32) -> Result<Measured, String> {
    // SAFETY: the handler adds to an atomic.
    let registered = unsafe {
        signal_hook::low_level::register(SIGURG, || {
            SIGNALS.fetch_add(1, Ordering::Relaxed);
        })
    };
    registered.map_err(|error| error.to_string())?;
    let (target, over) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let sender = {
        let (target, over) = (Arc::clone(&target), Arc::clone(&over));
        thread::spawn(move || send_signals(&target, &over))
    };
    machine::pin_to(&machine::cores()[..1]);
    let measured = compare(
        turns,
        || SIGNALS.load(Ordering::Relaxed),
        || {
            let target = Arc::clone(&target);
            let work = thread::spawn(move || {
                let (id, before) = machine::this_thread();
                target.store(id, Ordering::Relaxed);
                compute(STEPS, 1);
                target.store(0, Ordering::Relaxed);
                machine::this_thread().1 - before
            });
            work.join().ok()
        },
    );
    over.store(true, Ordering::Relaxed);
    sender.join().map_err(|_| "an OS thread panicked".to_owned())?;
    measured
}

/// Signals the OS thread `target`, where there is one, as often as chance preempts.
fn send_signals(target: &AtomicU32, over: &AtomicBool) {
    machine::prompt_timers();
    let process = rustix::process::getpid().as_raw_nonzero();
    let pause = EVERY_MICROSECONDS.parse().map(Duration::from_micros).expect("a number");
    while !over.load(Ordering::Relaxed) {
        thread::sleep(pause);
        let thread = target.load(Ordering::Relaxed);
        if thread != 0 {
            // SAFETY: the signal has a handler. The thread may have ended: then there is an error.
            let _ = unsafe { syscall!(Sysno::tgkill, process.get(), thread, SIGURG) };
        }
    }
}

/// CPU time of a turn on two fibers; none if they were moved to another OS thread, whose account that would be.
fn two_hogs() -> Option<Duration> {
    let (here, before) = machine::this_thread();
    let work = |seed| {
        Fibers::spawn(move || {
            compute(STEPS / 2, seed);
            machine::this_thread().0
        })
    };
    let hogs = [work(1), work(2)];
    let ended_on = hogs.map(Fibers::join);
    let (there, after) = machine::this_thread();
    (there == here && ended_on == [here; 2]).then(|| after - before)
}

/// Runs `command`, which is this bench, with preemption at random.
pub(super) fn measured_by(mut command: Command) -> Result<Measured, String> {
    let output = command.env(CHAOS, EVERY_MICROSECONDS).output().map_err(|e| e.to_string())?;
    match output.status.success() {
        true => String::from_utf8_lossy(&output.stdout).parse(),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
