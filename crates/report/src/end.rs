//! The process ends: what is to be told then.
//!
//! Ends by `exit` and the return of `main` come by the object's destructors, or `atexit`; `_exit` and
//! signals leave nothing but another OS thread to tell it.

use std::sync::atomic::{AtomicBool, Ordering};

use timestop_runtime::{fork, report};

use crate::{stats, trace};

/// How long an end waits for what is to be told.
const PATIENCE: u64 = 5_000_000_000;

static WANTED: AtomicBool = AtomicBool::new(false);

/// Something is to be told when the process ends.
pub(crate) fn tell() {
    if WANTED.swap(true, Ordering::AcqRel) {
        return;
    }
    report::be_ready();
    for (number, end) in [
        (libc::SIGTERM, (|| report::end_by(libc::SIGTERM)) as fn()),
        (libc::SIGINT, || report::end_by(libc::SIGINT)),
        (libc::SIGHUP, || report::end_by(libc::SIGHUP)),
    ] {
        timestop_hooks::signal::replace_default(number, end);
    }
}

/// The process is about to end: tells what was asked for.
pub fn at_end() {
    trace::finish();
    stats::write_stats();
}

/// Has [`at_end`] called by `exit`, for who has no destructor of an object to call it.
pub fn at_exit() {
    extern "C" fn ends() {
        at_end();
    }
    // SAFETY: a function that lasts as long as the process. A refusal leaves the trace without its end,
    // which viewers bear.
    let _ = unsafe { libc::atexit(ends) };
}

/// As [`at_end`], by another OS thread: safe in a signal handler.
pub fn at_end_elsewhere() {
    if WANTED.load(Ordering::Acquire) && !fork::is_young() {
        report::tell_end(PATIENCE);
    }
}
