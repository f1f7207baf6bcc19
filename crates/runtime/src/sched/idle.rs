//! Which workers sleep, and how many look for work: one word, so that both are known together.
//!
//! Whoever queues work wakes one sleeping worker, but none while another is searching already: a
//! searcher that finds work wakes the next one, so that wake-ups follow the work and do not herd.
//! A searcher that finds nothing goes to sleep; the *last* searcher looks once more after it has
//! announced its sleep, because work queued meanwhile woke nobody on its account.
//!
//! ```text
//!   queue work        │  last searcher
//!   push              │  word: searching - 1, sleeping + 1     (SeqCst)
//!   fence (SeqCst)    │  fence (SeqCst)
//!   read word         │  look at all queues
//! ```
//!
//! One of the two sees the other. Source: Go's `wakep`/`findRunnable`, tokio's `Idle`.

use crate::sync::{AtomicU64, Ordering, full_fence};

const SEARCHER: u64 = 1;
const SLEEPER: u64 = 1 << 32;
const SEARCHERS: u64 = SLEEPER - 1;

/// The two counts.
#[derive(Debug)]
pub(crate) struct Idle(AtomicU64);

impl Idle {
    /// Nobody sleeps, nobody searches.
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// After work was queued: whether someone sleeps and nobody searches.
    #[inline]
    #[must_use]
    pub(crate) fn wants_wake(&self) -> bool {
        full_fence();
        let word = self.0.load(Ordering::Relaxed);
        word >= SLEEPER && word & SEARCHERS == 0
    }

    /// How many sleep.
    pub(crate) fn sleeping(&self) -> u64 {
        self.0.load(Ordering::Acquire) / SLEEPER
    }

    /// A worker that is awake begins to search; false where more than half of `workers`
    /// search already. (Of two, both may: the kernel may have left one that was woken waiting for a CPU.)
    #[must_use]
    pub(crate) fn start_search(&self, workers: u64) -> bool {
        let searching = self.0.load(Ordering::Relaxed) & SEARCHERS;
        if 2 * searching > workers {
            return false;
        }
        self.0.fetch_add(SEARCHER, Ordering::SeqCst);
        true
    }

    /// A searcher has found work. True if it was the last one: it should wake another.
    #[must_use]
    pub(crate) fn stop_search(&self) -> bool {
        self.0.fetch_sub(SEARCHER, Ordering::SeqCst) & SEARCHERS == SEARCHER
    }

    /// A worker goes to sleep. True if it must look at all queues once more.
    #[must_use]
    pub(crate) fn sleep(&self, searching: bool) -> bool {
        let change = if searching { SLEEPER - SEARCHER } else { SLEEPER };
        let before = self.0.fetch_add(change, Ordering::SeqCst);
        full_fence();
        // A worker that did not search relies on those who do, if there are any.
        before & SEARCHERS == u64::from(searching)
    }

    /// A sleeper is awake, as a searcher if `searching`. By whoever took it off the list.
    pub(crate) fn wake(&self, searching: bool) {
        let change = if searching { SLEEPER - SEARCHER } else { SLEEPER };
        self.0.fetch_sub(change, Ordering::SeqCst);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use loom::thread;

    use super::*;

    /// Work is queued while the last searcher goes to sleep: it is seen, or someone is woken.
    #[test]
    fn loom_work_is_seen() {
        loom::model(|| {
            let shared = Arc::new((Idle::new(), AtomicBool::new(false)));
            assert!(shared.0.start_search(2));
            let producer = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.1.store(true, Relaxed);
                    shared.0.wants_wake()
                })
            };
            let looked = shared.0.sleep(true) && shared.1.load(Relaxed);
            let woken = producer.join().expect("the producer does not panic");
            assert!(looked || woken);
        });
    }

    /// Two workers, one of them not searching, go to sleep.
    #[test]
    fn loom_two_sleepers() {
        loom::model(|| {
            let shared = Arc::new((Idle::new(), AtomicBool::new(false)));
            assert!(shared.0.start_search(2));
            let other = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.0.sleep(false) && shared.1.load(Relaxed))
            };
            let producer = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.1.store(true, Relaxed);
                    shared.0.wants_wake()
                })
            };
            let looked = shared.0.sleep(true) && shared.1.load(Relaxed);
            let other = other.join().expect("no panic");
            let woken = producer.join().expect("no panic");
            assert!(looked || other || woken);
        });
    }
}
