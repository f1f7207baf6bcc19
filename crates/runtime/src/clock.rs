//! A coarse clock: the time that somebody read last. For reports, not for timers.

use std::sync::atomic::{AtomicU64, Ordering};

static COARSE: AtomicU64 = AtomicU64::new(0);

/// Remembers a reading of [`crate::sys::now`].
#[inline]
pub(crate) fn set_coarse(now: u64) {
    COARSE.store(now, Ordering::Relaxed);
}

/// The last remembered reading.
#[inline]
pub(crate) fn coarse() -> u64 {
    COARSE.load(Ordering::Relaxed)
}
