//! A crowd that does nothing, and the moment when all of it has begun to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

/// Longer than any measurement: the process ends first.
pub(super) const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

/// From "is about to block" to "is blocked" for the last of the crowd, and for the machine to calm down.
const SETTLING: Duration = Duration::from_millis(300);

/// Counts who is about to block, and wakes the fiber that waits for all of them.
#[derive(Debug, Clone)]
pub(super) struct Arrivals(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    missing: AtomicUsize,
    waiting: Thread,
}

impl Arrivals {
    /// The caller is the one who will wait.
    pub(super) fn of(crowd: usize) -> Self {
        Arrivals(Arc::new(Inner { missing: AtomicUsize::new(crowd), waiting: thread::current() }))
    }

    /// One is about to block.
    pub(super) fn arrive(&self) {
        // Relaxed: nothing but the number is told, and `unpark` orders the wake-up.
        if self.0.missing.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.waiting.unpark();
        }
    }

    /// Returns once everybody is blocked.
    pub(super) fn wait(&self) {
        while self.0.missing.load(Ordering::Relaxed) > 0 {
            thread::park();
        }
        thread::sleep(SETTLING);
    }
}
