//! The experiments, one a file: what is done and what is timed. `experiments` says what each is for.

use super::measured::Measured;
use super::subject::Trial;

pub(super) mod demo;
pub(super) mod echo;
pub(super) mod hog;
pub(super) mod idle_cpu;
pub(super) mod memory;
pub(super) mod mutex;
pub(super) mod pingpong;
pub(super) mod python;
mod sleepers;
pub(super) mod spawn_join;
pub(super) mod switch;
pub(super) mod timers;

/// Measures one run, in this process.
pub(super) type Measure = fn(&Trial) -> Result<Measured, String>;

/// Nanoseconds for each of `count`.
fn nanoseconds_each(elapsed: std::time::Duration, count: usize) -> Measured {
    Measured::new(elapsed.as_nanos() as f64 / count as f64)
}
