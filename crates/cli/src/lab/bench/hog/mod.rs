//! Hogs: fibers that compute and never wait. What the others notice of them, and what it costs.
//!
//! A hog's loop is arithmetic that no hook sees and no call: it can be taken off its worker by signal alone. (It ends by
//! looking at a flag in memory.) When a window is over is said by an OS thread of the bench's own, which the runtime knows
//! nothing of: a fiber that waited for that would be one of the measured.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub(in crate::lab) mod lateness;
pub(in crate::lab) mod loss;
pub(in crate::lab) mod preemption;
pub(in crate::lab) mod python;
pub(in crate::lab) mod share;

const WORKERS: usize = 2;

/// Steps between two looks at the flag: some microseconds.
const STEPS: u64 = 4096;

/// Work of a fixed size.
#[inline(never)]
pub(super) fn compute(steps: u64, mut number: u64) -> u64 {
    for _ in 0..steps {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
    }
    black_box(number)
}

/// Computes until told to stop, counting the rounds.
fn hog(over: &AtomicBool, progress: &AtomicU64) {
    let mut number = 0x9e37_79b9_7f4a_7c15;
    // Relaxed: nothing is told but that it is over.
    while !over.load(Ordering::Relaxed) {
        number = compute(STEPS, number);
        progress.store(progress.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

/// A window of time: a while to warm up, and then what counts.
#[derive(Debug, Clone)]
struct Window {
    begin: Instant,
    end: Instant,
    over: Arc<AtomicBool>,
}

impl Window {
    /// Begins after `warm_up`, and sets its flag when it is over.
    fn open(warm_up: Duration, length: Duration) -> Self {
        Self::open_with(Arc::default(), warm_up, length)
    }

    /// As `open`, with a flag that exists.
    fn open_with(over: Arc<AtomicBool>, warm_up: Duration, length: Duration) -> Self {
        let begin = Instant::now() + warm_up;
        let window = Self { begin, end: begin + length, over };
        let (end, over) = (window.end, Arc::clone(&window.over));
        // An OS thread, for `adopt_threads` was not called.
        thread::spawn(move || {
            sleep_until(end);
            over.store(true, Ordering::Relaxed);
        });
        window
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

fn sleep_until(moment: Instant) {
    while let Some(left) = moment.checked_duration_since(Instant::now()).filter(|l| !l.is_zero()) {
        thread::sleep(left);
    }
}
