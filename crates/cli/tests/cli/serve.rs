//! `timestop serve` over loopback: the bytes of a request in, the bytes of its answer out.
//!
//! Nothing here waits by sleeping. A test waits for an event (an answer, a line on stderr, the end
//! of the process) until a deadline so generous that only a hang exceeds it.

pub(crate) mod client;
mod demo;
mod ending;
mod files;
mod limits;
mod protocol;
mod server;
mod under_run;

use std::time::Duration;

/// Past this something hangs.
const DEADLINE: Duration = Duration::from_secs(60);
