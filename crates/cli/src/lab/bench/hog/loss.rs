//! A lone hog, on two workers: nobody else wants to run. What does it cost to be watched?
//!
//! Its throughput beside that of a bare OS thread would tell, were it not that two cores of one machine differ by more than
//! what is looked for. So what is taken from it is added up: the CPU time of all other OS threads of the process, and the
//! preemptions at what one costs, in percent of the hog's own CPU time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{STEPS, WORKERS, Window, compute, sleep_until};
use crate::lab::experiments::Row;
use crate::lab::machine;
use crate::lab::measured::Measured;
use crate::lab::preemption;
use crate::lab::subject::Trial;
use crate::lab::threads::{Fibers, Threads};

/// The row that says what a preemption costs.
const COST: &str = "hog_preemption";

/// Rounds between two looks at which OS thread this is: a millisecond or so.
const ROUNDS: u64 = 256;

type Accounts = BTreeMap<u32, Duration>;

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    let window = Duration::from_millis(trial.pick(5_000, 500));
    let (watched, seen) = Fibers::run(WORKERS, || {
        let window = Window::open(Duration::from_millis(200), window);
        let observer = {
            let window = window.clone();
            thread::spawn(move || watch(&window))
        };
        let over = Arc::clone(&window.over);
        let hog = Fibers::spawn(move || hog_on(&over));
        let seen = Fibers::join(hog);
        (observer.join().expect("it only reads"), seen)
    });
    let Watched { own, threads, preemptions } = watched?;
    let of = |hogs: bool| -> Duration {
        let counts = |id: &u32| *id != own && seen.contains(id) == hogs;
        threads.iter().filter(|(id, _)| counts(id)).map(|(_, time)| *time).sum()
    };
    let (hog, others) = (of(true), of(false));
    if hog.is_zero() {
        return Err("the hog did not run".to_owned());
    }
    let each = if preemptions > 0 { cost(trial)? } else { 0.0 };
    let lost = others.as_secs_f64() + preemptions as f64 * each / 1e6;
    Ok(Measured::new(lost / hog.as_secs_f64() * 100.0)
        .with("others_us", others.as_secs_f64() * 1e6)
        .with("hog_ms", hog.as_secs_f64() * 1e3)
        .with("os_threads_of_hog", seen.len() as f64)
        .with("preemptions", preemptions as f64))
}

/// What happened within a window.
struct Watched {
    /// The thread that watched.
    own: u32,
    threads: Accounts,
    preemptions: u64,
}

fn watch(window: &Window) -> Result<Watched, String> {
    sleep_until(window.begin);
    let (before, preempted) = (machine::cpu_time_of_threads()?, preemption::count());
    sleep_until(window.end);
    let (after, preemptions) = (machine::cpu_time_of_threads()?, preemption::count() - preempted);
    let since = |(id, time): (u32, Duration)| {
        (id, time.saturating_sub(before.get(&id).copied().unwrap_or_default()))
    };
    let threads = after.into_iter().map(since).collect();
    Ok(Watched { own: machine::this_thread().0, threads, preemptions })
}

/// Computes, and returns which OS threads it did so on.
fn hog_on(over: &AtomicBool) -> BTreeSet<u32> {
    let mut seen = BTreeSet::new();
    let mut number = 1;
    while !over.load(Ordering::Relaxed) {
        seen.insert(machine::this_thread().0);
        for _ in 0..ROUNDS {
            number = compute(STEPS, number);
        }
    }
    seen
}

/// Microseconds of a preemption, measured in a process of its own: preempting at random is for a whole process.
fn cost(trial: &Trial) -> Result<f64, String> {
    let row = Row::all(true).find(|row| row.name() == COST).expect("one of the experiments");
    let command = Trial { row, ..trial.clone() }.command(false);
    super::preemption::measured_by(command.map_err(|error| error.to_string())?)?
        .value()
        .ok_or_else(|| "the cost of a preemption is not known".to_owned())
}
