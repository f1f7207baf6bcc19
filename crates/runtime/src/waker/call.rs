//! Whether somebody who waits for a wake-up, and for nothing else, has had it: one word.
//!
//! ```text
//!            ┌─ listen ─▶ LISTENING ─ call ─┐ (the caller wakes the sleeper)
//!   IDLE ────┤                              ├─▶ CALLED ─ take ─▶ IDLE
//!            └─ call ───────────────────────┘
//! ```
//!
//! A call that comes before the sleeper listens is found by it, so none is lost; of many calls in a row
//! only one wakes, so a storm of them is a storm of exchanges on one word. The word may be called for ever,
//! also when nobody cares any more: it lives where memory is never given back, or is counted.

use crate::sync::{AtomicU32, Ordering};

const IDLE: u32 = 0;
const LISTENING: u32 = 1;
const CALLED: u32 = 2;

/// The word. All zero: nobody has called.
#[derive(Debug)]
pub struct Call(AtomicU32);

impl Default for Call {
    fn default() -> Self {
        Self::new()
    }
}

impl Call {
    /// What a sleeper in the kernel sleeps on the word with.
    pub const ASLEEP: u32 = LISTENING;

    /// Nobody has called.
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicU32::new(IDLE))
    }

    /// Calls. True if the sleeper listens, and must be woken by the caller.
    #[inline]
    #[must_use]
    pub fn call(&self) -> bool {
        // Release: what was done before the call is seen by whoever takes it.
        self.0.swap(CALLED, Ordering::AcqRel) == LISTENING
    }

    /// The sleeper: takes what calls there were; false if there were none. It listens no more.
    #[inline]
    pub fn take(&self) -> bool {
        self.0.swap(IDLE, Ordering::AcqRel) == CALLED
    }

    /// Forgets whoever called or listened: the word is somebody else's from here on. A call that comes late is
    /// spurious, whether it is before this or after.
    #[inline]
    pub fn reset(&self) {
        self.0.store(IDLE, Ordering::Relaxed);
    }

    /// The sleeper, before it sleeps: false if it has been called.
    #[inline]
    #[must_use]
    pub fn listen(&self) -> bool {
        self.0.compare_exchange(IDLE, LISTENING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Whether somebody has called since the last [`take`](Self::take).
    #[inline]
    #[must_use]
    pub fn is_called(&self) -> bool {
        self.0.load(Ordering::Acquire) == CALLED
    }

    /// The word that an OS thread sleeps on.
    #[cfg(not(loom))]
    #[must_use]
    pub fn word(&self) -> &AtomicU32 {
        &self.0
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::atomic::AtomicBool;
    use loom::sync::atomic::Ordering::Relaxed;
    use loom::sync::{Arc, Notify};
    use loom::thread;

    use super::*;

    struct Sleeper {
        call: Call,
        /// The sleeper's parking place: a wake-up is kept for it.
        place: Notify,
        ready: [AtomicBool; 2],
    }

    impl Sleeper {
        fn wake(&self) {
            if self.call.call() {
                self.place.notify();
            }
        }

        /// Polls until both are ready, as `block_on` does.
        fn block_on(&self) {
            loop {
                self.call.take();
                if self.ready.iter().all(|ready| ready.load(Relaxed)) {
                    return;
                }
                if self.call.listen() {
                    while !self.call.is_called() {
                        self.place.wait();
                    }
                }
            }
        }
    }

    /// Two that wake at once: nobody sleeps on, and what was done before a call is seen after it.
    #[test]
    fn loom_no_call_is_lost() {
        loom::model(|| {
            let sleeper = Arc::new(Sleeper {
                call: Call::new(),
                place: Notify::new(),
                ready: [AtomicBool::new(false), AtomicBool::new(false)],
            });
            let wakers: Vec<_> = (0..2)
                .map(|index| {
                    let sleeper = Arc::clone(&sleeper);
                    thread::spawn(move || {
                        sleeper.ready[index].store(true, Relaxed);
                        sleeper.wake();
                    })
                })
                .collect();
            sleeper.block_on();
            for waker in wakers {
                waker.join().expect("no panic");
            }
        });
    }

    /// A sleeper that goes away, and one that has its place afterwards: the late call makes it look once
    /// more, and no more than that.
    #[test]
    fn loom_a_late_call_is_spurious() {
        loom::model(|| {
            let call = Arc::new(Call::new());
            let late = {
                let call = Arc::clone(&call);
                thread::spawn(move || call.call())
            };
            let listens = call.listen();
            call.reset();
            let woke = late.join().expect("no panic");
            assert!(listens || !woke);
            call.take();
            assert!(call.listen());
        });
    }
}
