//! A hundred fibers that sleep a millisecond again and again, beside some that hold their OS thread for ever: by computing,
//! or in a blocking call that no hook knows. How much later than asked for do the sleepers wake up?

use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{Timespec, nanosleep};

use super::{WORKERS, Window, hog};
use crate::lab::lateness::Lateness;
use crate::lab::measured::Measured;
use crate::lab::preemption;
use crate::lab::subject::Trial;
use crate::lab::threads::{OnThreads, Threads, on};

const SLEEPERS: usize = 100;
const BLOCKED: usize = 4;
const SLEEP: Duration = Duration::from_millis(1);

/// Holds an OS thread until the window is over.
type Hold = fn(&Window);

struct Beside {
    hold: Hold,
    holders: usize,
    warm_up: Duration,
    window: Duration,
}

/// Beside as many that compute as the row says.
pub(in crate::lab) fn beside_hogs(trial: &Trial) -> Result<Measured, String> {
    measure(trial, trial.parameter(), |window| hog(&window.over, &AtomicU64::new(0)))
}

/// Beside four that are blocked.
pub(in crate::lab) fn beside_blocked(trial: &Trial) -> Result<Measured, String> {
    measure(trial, BLOCKED, block)
}

fn measure(trial: &Trial, holders: usize, hold: Hold) -> Result<Measured, String> {
    let (warm_up, window) = trial.pick((300, 1_500), (100, 500));
    let (warm_up, window) = (Duration::from_millis(warm_up), Duration::from_millis(window));
    on(trial.subject, Beside { hold, holders, warm_up, window })?
}

/// The system call itself, past libc and all that stands in for it.
fn block(window: &Window) {
    while !window.is_over() {
        let left = window.end.saturating_duration_since(Instant::now()) + SLEEP;
        let left = Timespec::try_from(left).expect("a window is seconds");
        // Ended early by a signal, it is repeated.
        let _ = nanosleep(&left);
    }
}

impl OnThreads for Beside {
    type Output = Result<Measured, String>;

    fn on<T: Threads>(self) -> Self::Output {
        let Beside { hold, holders, warm_up, window } = self;
        // Room for each millisecond of it, so that the sleepers allocate nothing.
        let room = (warm_up + window).as_millis() as usize;
        T::run(WORKERS, || {
            let window = Window::open(warm_up, window);
            let sleepers: Vec<_> = (0..SLEEPERS)
                .map(|_| {
                    let (window, latenesses) = (window.clone(), Vec::with_capacity(room));
                    T::spawn(move || sleep_again_and_again(&window, latenesses))
                })
                .collect();
            let holders: Vec<_> = (0..holders)
                .map(|_| {
                    let window = window.clone();
                    T::spawn(move || hold(&window))
                })
                .collect();
            let mut lateness = Lateness::of_every(SLEEP);
            for sleeper in sleepers {
                T::join(sleeper).into_iter().for_each(|late| lateness.record(late));
            }
            holders.into_iter().for_each(T::join);
            let measured = lateness.measured()?;
            Ok(measured
                .with("preemptions", preemption::count() as f64)
                .with("hand_offs", timestop::stats().hand_offs as f64))
        })
    }
}

/// Returns how late it was, each time that was due before the window's end and came after its begin: who was held up
/// across either counts in full.
fn sleep_again_and_again(window: &Window, mut latenesses: Vec<Duration>) -> Vec<Duration> {
    loop {
        let due = Instant::now() + SLEEP;
        if due >= window.end {
            return latenesses;
        }
        thread::sleep(SLEEP);
        let now = Instant::now();
        if now >= window.begin {
            latenesses.push(now - due);
        }
    }
}
