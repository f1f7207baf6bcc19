//! Workers in reserve: of a program whose code runs under one lock for the most part (Python's, Ruby's),
//! one worker does the work, and the others are called up while that one is held by a run that lasts.
//!
//! Fibers of such a program on two workers mostly keep each other waiting for the lock: a server that
//! only moves messages costs a third more CPU. But C code that lets go of the lock (a digest, a
//! compression) could use every CPU. When that is so the monitor decides (`monitor/muster.rs`), and calls all
//! workers for a while.
//!
//! Which worker is the one is not fixed: it is whoever is awake. One that finds it is not alone hands in
//! what it has and goes to sleep, on its futex and not in epoll, so that nothing but a call or its own
//! timers wakes it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Until when all workers work. For ever, where there is no reserve.
#[derive(Debug)]
pub(crate) struct Reserve {
    until: AtomicU64,
}

const FOR_EVER: u64 = u64::MAX;

impl Reserve {
    /// With a reserve, or with all workers called for ever.
    pub(crate) fn new(kept: bool) -> Self {
        Self { until: AtomicU64::new(if kept { 0 } else { FOR_EVER }) }
    }

    /// Whether all workers are to work.
    #[inline]
    pub(crate) fn is_called(&self) -> bool {
        self.is_called_at(crate::clock::coarse())
    }

    /// Whether they are at the time `now`.
    pub(crate) fn is_called_at(&self, now: u64) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        until == FOR_EVER || now < until
    }

    /// Whether there is one.
    pub(crate) fn is_kept(&self) -> bool {
        self.until.load(Ordering::Relaxed) != FOR_EVER
    }

    /// Has all workers work until then, if they do not for longer.
    pub(crate) fn call(&self, until: u64) {
        self.until.fetch_max(until, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_ends_and_what_is_no_reserve_is_always_called() {
        let (kept, none) = (Reserve::new(true), Reserve::new(false));
        assert!(kept.is_kept() && !none.is_kept());
        assert!(!kept.is_called_at(7) && none.is_called_at(7));
        kept.call(1000);
        kept.call(7);
        none.call(7);
        assert!(kept.is_called_at(999) && none.is_called_at(999));
        assert!(!kept.is_called_at(1000) && none.is_called_at(1000));
    }
}
