//! The experiments, one a file: what is done and what is timed. `experiments` says what each is for.

use super::measured::Measured;
use super::subject::Trial;

pub(super) mod demo;
pub(super) mod echo;
pub(super) mod hog;
pub(super) mod http;
pub(super) mod idle_cpu;
pub(super) mod legacy;
pub(super) mod memory;
pub(super) mod multicore_http;
pub(super) mod mutex;
pub(super) mod pingpong;
pub(super) mod python;
mod sleepers;
pub(super) mod spawn_join;
pub(super) mod switch;
pub(super) mod timers;
pub(super) mod view;

/// Measures one run, in this process.
pub(super) type Measure = fn(&Trial) -> Result<Measured, String>;

/// The server of a run that measures one, until it is killed; returns only to say what went wrong.
pub(super) fn serve(trial: &Trial) -> String {
    match trial.row.experiment.name {
        "echo" => echo::serve(trial),
        "http" | "view" | "multicore_http" => http::server::serve(trial),
        other => format!("'{other}' has no server"),
    }
}

/// Nanoseconds for each of `count`.
fn nanoseconds_each(elapsed: std::time::Duration, count: usize) -> Measured {
    Measured::new(elapsed.as_nanos() as f64 / count as f64)
}
