//! The experiments, one a file: what is done and what is timed. `experiments` says what each is for.
//!
//! What is counted in rounds does a tenth of them first, outside of the time that is taken: so do the programs of
//! `lab/subjects`.

use super::measured::Measured;
use super::subject::Trial;

mod channels;
pub(super) mod demo;
pub(super) mod echo;
pub(super) mod generator;
pub(super) mod hog;
pub(super) mod http;
pub(super) mod idle_cpu;
pub(super) mod legacy;
pub(super) mod memory;
pub(super) mod mpmc;
pub(super) mod multicore;
pub(super) mod multicore_http;
pub(super) mod mutex;
pub(super) mod pingpong;
pub(super) mod python;
pub(super) mod ring;
pub(super) mod select;
pub(super) mod skynet;
mod sleepers;
pub(super) mod spawn;
pub(super) mod storm;
pub(super) mod switch;
pub(super) mod timers;
pub(super) mod view;

/// Measures one run, in this process.
pub(super) type Measure = fn(&Trial) -> Result<Measured, String>;

/// Nanoseconds for each of `count`.
fn nanoseconds_each(elapsed: std::time::Duration, count: usize) -> Measured {
    Measured::new(elapsed.as_nanos() as f64 / count as f64)
}

/// A tenth, to warm up.
fn warm_up(count: usize) -> usize {
    (count / 10).max(1)
}
