//! What a fiber that ends and the handle that may wait for it must agree on: who drops the result,
//! who frees what they share, and who is to be woken. One word says all three.
//!
//! ```text
//!              ┌─ store ─▶ STORED ──┐
//!   RUNNING ───┤                    ├─ wait ──▶ who waits ──┐
//!        │     └────────────────────┘                       ├─ end ─▶ DONE
//!        └─ detach ─▶ DETACHED ─────────────────────────────┘
//! ```
//!
//! A result may be dropped where thread-locals live, and only there: by the fiber before its own are
//! gone (the handle was dropped first), or by whoever drops the handle. So the fiber says *before* its
//! last destructors that the result is there ([`Ending::store`]), and only afterwards that it has
//! ended. The order is that of std's threads. Whoever comes last of `end` and `detach` frees.

use crate::sync::{AtomicUsize, Ordering};

const RUNNING: usize = 0;
const STORED: usize = 1;
const DETACHED: usize = 2;
const DONE: usize = 3;

/// The word.
#[derive(Debug)]
pub struct Ending(AtomicUsize);

/// What the fiber has to do last of all.
#[derive(Debug, PartialEq, Eq)]
pub enum Last {
    /// Nothing: the handle frees, and may have done so already.
    Nothing,
    /// To wake this waiter. The handle frees as soon as the waiter knows.
    Wake(usize),
    /// To free.
    Free,
}

impl Default for Ending {
    fn default() -> Self {
        Self::new()
    }
}

impl Ending {
    /// The lowest number that can name a waiter.
    pub const FIRST_WAITER: usize = 4;

    /// That of a fiber that has not ended, with its handle.
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicUsize::new(RUNNING))
    }

    /// The fiber: its result is there. False if the handle is gone: the result is the fiber's to drop.
    #[must_use]
    pub fn store(&self) -> bool {
        let now = self.0.load(Ordering::Acquire);
        // Who waits takes the result once all is done.
        if now != RUNNING {
            return now != DETACHED;
        }
        // Release: a handle that drops the result sees it whole.
        match self.0.compare_exchange(RUNNING, STORED, Ordering::Release, Ordering::Acquire) {
            Ok(_) => true,
            Err(other) => other != DETACHED,
        }
    }

    /// The fiber has ended; it touches what is shared no more, but for what it is told.
    pub fn end(&self) -> Last {
        match self.0.swap(DONE, Ordering::AcqRel) {
            RUNNING | STORED => Last::Nothing,
            DETACHED => Last::Free,
            waiter => Last::Wake(waiter),
        }
    }

    /// Whether the fiber has ended. Acquire: what it has left is seen.
    #[inline]
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) == DONE
    }

    /// The handle: `waiter` is to be woken at the end. False if that has come.
    #[must_use]
    pub fn wait(&self, waiter: usize) -> bool {
        debug_assert!(waiter >= Self::FIRST_WAITER);
        let mut now = self.0.load(Ordering::Acquire);
        while now != DONE {
            match self.0.compare_exchange(now, waiter, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }

    /// The handle is dropped: `drop_result` is called, once, if the result is there and the fiber has not
    /// ended. True if it has: what is shared is the caller's to free, with the result if that is still in
    /// there.
    #[must_use]
    pub fn detach(&self, drop_result: impl FnOnce()) -> bool {
        let mut drop_result = Some(drop_result);
        let mut now = self.0.load(Ordering::Acquire);
        while now != DONE {
            if now == STORED
                && let Some(drop_result) = drop_result.take()
            {
                drop_result();
            }
            match self.0.compare_exchange(now, DETACHED, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return false,
                Err(other) => now = other,
            }
        }
        true
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;
    use loom::sync::atomic::Ordering::Relaxed;
    use loom::thread;

    use super::*;

    struct Shared {
        ending: Ending,
        /// Whether the result is there. Loom reports concurrent accesses as errors.
        result: UnsafeCell<bool>,
        drops: AtomicUsize,
        frees: AtomicUsize,
    }

    impl Shared {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                ending: Ending::new(),
                result: UnsafeCell::new(false),
                drops: AtomicUsize::new(0),
                frees: AtomicUsize::new(0),
            })
        }

        fn drop_result(&self) {
            // SAFETY: loom reports a concurrent access as an error.
            if self.result.with_mut(|result| unsafe { std::mem::take(&mut *result) }) {
                self.drops.fetch_add(1, Relaxed);
            }
        }

        /// The fiber's side: whether it dropped the result itself, and what it had to do last.
        fn run(&self) -> Last {
            // SAFETY: as above.
            self.result.with_mut(|result| unsafe { *result = true });
            if !self.ending.store() {
                self.drop_result();
            }
            // Its thread-locals are gone from here on: it drops nothing any more.
            let last = self.ending.end();
            if last == Last::Free {
                // SAFETY: as above.
                let left = self.result.with_mut(|result| unsafe { *result });
                assert!(!left, "dropped after the thread-locals");
                self.frees.fetch_add(1, Relaxed);
            }
            last
        }
    }

    /// The handle is dropped at any moment: the result is dropped once, and never by a fiber that has
    /// no thread-locals left; what is shared is freed once.
    #[test]
    fn loom_dropped_where_thread_locals_live() {
        loom::model(|| {
            let shared = Shared::new();
            let fiber = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.run())
            };
            if shared.ending.detach(|| shared.drop_result()) {
                shared.drop_result();
                shared.frees.fetch_add(1, Relaxed);
            }
            assert!(!matches!(fiber.join().expect("no panic"), Last::Wake(_)));
            assert_eq!((shared.drops.load(Relaxed), shared.frees.load(Relaxed)), (1, 1));
        });
    }

    /// The handle is joined at any moment: it is woken if it waits, and finds the result.
    #[test]
    fn loom_joined() {
        loom::model(|| {
            let shared = Shared::new();
            let fiber = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.run())
            };
            let waits = shared.ending.wait(7);
            let last = fiber.join().expect("no panic");
            assert_eq!(last, if waits { Last::Wake(7) } else { Last::Nothing });
            assert!(shared.ending.is_done());
            // SAFETY: as above.
            assert!(shared.result.with(|result| unsafe { *result }));
            assert!(shared.ending.detach(|| unreachable!("it has ended")));
        });
    }
}
