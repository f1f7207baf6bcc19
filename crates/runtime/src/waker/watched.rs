//! One event that comes once, and at most one who watches for it: the end of a fiber, for a future.
//!
//! ```text
//!   NOBODY ◀─ unwatch ─ watch ─▶ a target
//!      └──────────────┬─────────────┘
//!                   begin ─▶ TELLING ─ end ─▶ TOLD
//! ```
//!
//! Who watches may lie in memory that goes away. So it is told between `begin` and `end`, and whoever wants
//! to go away meanwhile waits until then: for some nanoseconds, since to tell is to put into a list.

use crate::sync::{AtomicUsize, Ordering};

const NOBODY: usize = 0;
const TELLING: usize = 1;
const TOLD: usize = 2;

/// The word. Targets are numbers from 8 on.
#[derive(Debug)]
pub struct Watched(AtomicUsize);

impl Default for Watched {
    fn default() -> Self {
        Self::new()
    }
}

impl Watched {
    /// Nobody watches.
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicUsize::new(NOBODY))
    }

    /// Has `target` told, in place of none. False if the event has come.
    #[must_use]
    pub fn watch(&self, target: usize) -> bool {
        debug_assert!(target >= 8);
        let swapped = self.0.compare_exchange(NOBODY, target, Ordering::SeqCst, Ordering::Acquire);
        debug_assert!(!matches!(swapped, Err(other) if other >= 8), "one watches already");
        swapped.is_ok()
    }

    /// Whether nobody watches. Sequentially consistent: see [`come`](Self::come).
    #[inline]
    #[must_use]
    pub fn is_unwatched(&self) -> bool {
        self.0.load(Ordering::SeqCst) == NOBODY
    }

    /// Nobody watches any more, and nobody is being told: true if the event has not come.
    pub fn unwatch(&self, target: usize) -> bool {
        if self.0.compare_exchange(target, NOBODY, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return true;
        }
        loop {
            match self.0.load(Ordering::Acquire) {
                TELLING => pause(),
                now => return now == NOBODY,
            }
        }
    }

    /// Whether the event has come.
    #[must_use]
    pub fn has_come(&self) -> bool {
        matches!(self.0.load(Ordering::Acquire), TELLING | TOLD)
    }

    /// The event has come: `tell` is called with who watches.
    ///
    /// One that has said in another word that the event has come, sequentially consistently, may leave this
    /// out where it then finds that [nobody watches](Self::is_unwatched): who watches looks at that word after.
    pub fn come(&self, tell: impl FnOnce(usize)) {
        let target = self.0.swap(TELLING, Ordering::AcqRel);
        if target >= 8 {
            tell(target);
        }
        self.0.store(TOLD, Ordering::Release);
    }
}

fn pause() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    std::hint::spin_loop();
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// The event, and one that goes away: nobody tells one that is gone, and who stays is told.
    #[test]
    fn loom_nobody_tells_who_is_gone() {
        loom::model(|| {
            // What is told lies here; loom reports a concurrent access as an error.
            let shared = Arc::new((Watched::new(), UnsafeCell::new(0_u32)));
            let event = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.0.come(|target| {
                        assert_eq!(target, 8);
                        // SAFETY: who watches waits.
                        shared.1.with_mut(|told| unsafe { *told += 1 });
                    });
                })
            };
            let watches = shared.0.watch(8);
            let in_time = watches && shared.0.unwatch(8);
            if watches {
                // SAFETY: nobody tells us any more.
                let told = shared.1.with(|told| unsafe { *told });
                assert_eq!(told == 0, in_time);
            } else {
                assert!(shared.0.has_come());
            }
            event.join().expect("no panic");
        });
    }
}
