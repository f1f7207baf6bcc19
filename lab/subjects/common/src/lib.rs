//! What the subjects in Rust share: how they are called, what they print, what they read of the machine.
//!
//! Nothing here starts a task, or waits as a task would: that is what is measured, and each system has its own way.
//! *Rejected*: a trait of "a system" with one set of benches over it. It would measure the same program on four
//! executors, not what those who know a system write.

mod args;
mod cpu;
mod http;
mod memory;
mod report;
mod server;
mod window;

pub use args::Args;
pub use cpu::{Lcg, pin_to_cores};
pub use http::{BODY, serve_http};
pub use memory::{Memory, peak_rss_mib};
pub use report::{Timed, fail, fail_on_panic, note, report, report_timers};
pub use server::{BUFFER, announce, listen, make_room};
pub use window::{Holder, Lateness, SLEEP, SLEEPERS, Window, hogs, report_late, stuck};

/// How many of `total` are the part of task `index`, of `tasks` in all: what does not divide goes to the first ones.
pub fn share(total: u64, tasks: u64, index: u64) -> u64 {
    total / tasks + u64::from(index < total % tasks)
}

/// Random moments of the first second, in nanoseconds: the same in every run, as no two subjects need to differ by luck.
pub fn moments(count: u64) -> impl Iterator<Item = std::time::Duration> {
    let mut state = 88_172_645_463_325_252_u64;
    (0..count).map(move |_| {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        std::time::Duration::from_nanos(state % 1_000_000_000)
    })
}
