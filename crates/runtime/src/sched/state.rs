//! The word that says whether a fiber may be resumed, and by whom.
//!
//! ```text
//!             ┌────────────── unpark ─────────────┐
//!   queued ─▶ RUNNING ── park, after the switch ─▶ PARKED
//!                │ ▲
//!         unpark │ │ park finds the token: goes on
//!                ▼ │
//!             NOTIFIED
//! ```
//!
//! A fiber parks in two steps: it leaves its stack first, and whoever runs next on the carrier then
//! publishes it as PARKED. A waker that comes between leaves the token NOTIFIED, and the publisher
//! queues the fiber instead. So nobody resumes a stack that is still in use, and no wake-up is lost.
//!
//! A wake-up may be spurious: whoever parks looks at its condition again. In return wakers need no
//! hold on the fiber: records are never unmapped, and a late wake-up of a record that now serves
//! another fiber is only spurious there.

use crate::sync::{AtomicU32, Ordering};

const RUNNING: u32 = 0;
const PARKED: u32 = 1;
const NOTIFIED: u32 = 2;

/// The word that says whether a fiber may be resumed, and by whom.
#[derive(Debug)]
pub(crate) struct State(AtomicU32);

impl State {
    /// A running fiber's. (Records are zeroed memory, which is the same.)
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(RUNNING))
    }

    /// The fiber is about to park: true if a wake-up has come already, which is then used up.
    #[inline]
    pub(crate) fn take_token(&self) -> bool {
        // Acquire pairs with `unpark`: what the waker wrote is seen.
        self.0.load(Ordering::Relaxed) == NOTIFIED
            && self.0.swap(RUNNING, Ordering::Acquire) == NOTIFIED
    }

    /// The fiber has left its stack. False if it must be queued at once: a wake-up came meanwhile.
    #[inline]
    #[must_use]
    pub(crate) fn publish(&self) -> bool {
        // Release: whoever resumes the fiber sees its stack as it was left.
        let parked = self.0.compare_exchange(RUNNING, PARKED, Ordering::Release, Ordering::Relaxed);
        if parked.is_err() {
            // A token: only its maker writes besides us, and it only writes NOTIFIED again.
            self.0.swap(RUNNING, Ordering::AcqRel);
        }
        parked.is_ok()
    }

    /// A wake-up. True if the caller must queue the fiber: it was parked, and is the caller's now.
    #[inline]
    #[must_use]
    pub(crate) fn unpark(&self) -> bool {
        let mut now = self.0.load(Ordering::Relaxed);
        loop {
            let (next, queue) = match now {
                PARKED => (RUNNING, true),
                _ => (NOTIFIED, false),
            };
            // Release even where the token is there already: the fiber that takes it must see what
            // this waker wrote.
            match self.0.compare_exchange_weak(now, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return queue,
                Err(other) => now = other,
            }
        }
    }

    /// Whether the fiber is parked just now (for reports).
    pub(crate) fn is_parked(&self) -> bool {
        self.0.load(Ordering::Relaxed) == PARKED
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, AtomicUsize};
    use loom::thread;

    use super::*;

    /// One fiber parks until a flag is set; the waker sets it and unparks. The fiber is queued
    /// exactly as often as it leaves its stack, so it runs again, and only once at a time.
    #[test]
    fn loom_a_wake_up_is_not_lost() {
        loom::model(|| {
            let shared = Arc::new((State::new(), AtomicBool::new(false), AtomicUsize::new(0)));
            let waker = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.1.store(true, Ordering::Relaxed);
                    if shared.0.unpark() {
                        shared.2.fetch_add(1, Ordering::Relaxed);
                    }
                })
            };
            let mut left = false;
            if !shared.1.load(Ordering::Relaxed) && !shared.0.take_token() {
                left = true;
                if !shared.0.publish() {
                    shared.2.fetch_add(1, Ordering::Relaxed);
                }
            }
            waker.join().expect("the waker does not panic");
            assert_eq!(shared.2.load(Ordering::Relaxed), usize::from(left));
            assert!(shared.1.load(Ordering::Relaxed));
        });
    }

    /// Two wakers: the fiber is queued once.
    #[test]
    fn loom_two_wakers_queue_once() {
        loom::model(|| {
            let shared = Arc::new((State::new(), AtomicUsize::new(0)));
            let wakers: Vec<_> = (0..2)
                .map(|_| {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || {
                        if shared.0.unpark() {
                            shared.1.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            let mut left = 0;
            if !shared.0.take_token() {
                left = 1;
                if !shared.0.publish() {
                    shared.1.fetch_add(1, Ordering::Relaxed);
                }
            }
            for waker in wakers {
                waker.join().expect("wakers do not panic");
            }
            assert_eq!(shared.1.load(Ordering::Relaxed), left);
        });
    }
}
