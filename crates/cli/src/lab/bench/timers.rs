//! Many timers at once: fibers that each sleep for a random time up to a second. The ideal is one second from the first
//! spawn to the last join; what is over it is what spawning, sleeping, waking and joining cost when there is no slack.

use std::thread;
use std::time::{Duration, Instant};

use crate::lab::machine;
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;
use crate::lab::threads::{OnThreads, Threads, on};

const IDEAL: Duration = Duration::from_secs(1);
const SEED: u64 = 88_172_645_463_325_252;

struct Sleeping {
    fibers: usize,
    workers: usize,
}

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    on(trial.subject, Sleeping { fibers: trial.parameter(), workers: trial.row.workers() })?
}

impl OnThreads for Sleeping {
    type Output = Result<Measured, String>;

    fn on<T: Threads>(self) -> Self::Output {
        T::run(self.workers, || {
            let mut random = SEED;
            let mut handles = Vec::with_capacity(self.fibers);
            let begin = Instant::now();
            for _ in 0..self.fibers {
                let nap = Duration::from_nanos(xorshift(&mut random) % IDEAL.as_nanos() as u64);
                handles.push(T::spawn(move || thread::sleep(nap)));
            }
            handles.into_iter().for_each(T::join);
            let over = begin.elapsed().as_secs_f64() - IDEAL.as_secs_f64();
            let peak = machine::status("self", "VmHWM")? as f64 / 1024.0;
            Ok(Measured::new(over * 1e3).with("rss", peak))
        })
    }
}

/// The same naps in every run. Marsaglia's xorshift64, good enough for them.
fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
