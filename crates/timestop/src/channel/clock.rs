//! Receivers of points in time: [`after`](super::after) and [`tick`](super::tick). There is no sender and no
//! timer: who waits for one sleeps until its time has come, and takes the message then if nobody else has.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use timestop_runtime::sys;

use crate::wait::time::nanoseconds;

/// Says that there will be no message any more.
const NEVER: u64 = u64::MAX;

/// A clock whose messages are `T`s: [`Instant`]s, for all that there is.
#[derive(Debug)]
pub(super) struct Clock<T> {
    /// When the next message is there, in monotonic nanoseconds.
    next: AtomicU64,
    /// Nanoseconds between messages; 0 for a single one.
    pause: u64,
    /// One point in time in both units. The same for all messages, so that these are as far from each other
    /// as they should be.
    base: (Instant, u64),
    message: fn(Instant) -> T,
}

impl Clock<Instant> {
    /// One message, after `wait`.
    pub(super) fn after(wait: Duration) -> Self {
        Self::new(nanoseconds(wait), 0)
    }

    /// A message each `pause`.
    pub(super) fn tick(pause: Duration) -> Self {
        // One without a pause ticks whenever it is looked at.
        Self::new(nanoseconds(pause), nanoseconds(pause).max(1))
    }

    fn new(wait: u64, pause: u64) -> Self {
        let base = (Instant::now(), sys::now());
        let next = AtomicU64::new(base.1.saturating_add(wait));
        Self { next, pause, base, message: |instant| instant }
    }
}

impl<T> Clock<T> {
    pub(super) fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// When there will be a message; `u64::MAX` for never.
    pub(super) fn due(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    pub(super) fn is_due(&self) -> bool {
        let due = self.due();
        due != NEVER && due <= sys::now()
    }

    /// Takes the message that is due.
    pub(super) fn take(&self) -> Option<T> {
        loop {
            let due = self.due();
            let now = sys::now();
            if due == NEVER || due > now {
                return None;
            }
            // Ticks that nobody took are not made up for.
            let next = match self.pause {
                0 => NEVER,
                pause => due.saturating_add(pause).max(now),
            };
            // Relaxed: nothing is handed over but the right to the message.
            let taken = self.next.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
            if taken.is_ok() {
                let (instant, point) = self.base;
                return Some((self.message)(instant + Duration::from_nanos(due - point)));
            }
        }
    }
}
