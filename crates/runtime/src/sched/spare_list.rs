//! The spare carriers, and the bell by which the starter learns that there are too few.
//!
//! Whoever takes one and leaves too few rings. The starter reads the bell first, then how many there
//! are, and sleeps only while the bell is what it read: a ring that it has not acted on keeps it awake.

use crate::sync::{AtomicPtr, AtomicUsize, Futex, Lock, Ordering};

/// What can be listed as spare.
pub(crate) trait Listed: Sized {
    /// The next in the list. The list's, while it is listed.
    fn next_spare(&self) -> &AtomicPtr<Self>;
}

#[derive(Debug)]
struct First<C>(*mut C);

// SAFETY: a listed carrier belongs to the list.
unsafe impl<C> Send for First<C> {}

/// The list, how long it is, and the starter's bell.
#[derive(Debug)]
pub(crate) struct SpareList<C: 'static> {
    first: Lock<First<C>>,
    waiting: AtomicUsize,
    /// How often a carrier has been listed: one that is taken at once counts too.
    listed: AtomicUsize,
    /// How many there should be.
    wanted: usize,
    bell: Futex,
}

/// The bell as it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rung(u32);

impl<C: Listed> SpareList<C> {
    /// None, where `wanted` should be.
    pub(super) fn new(wanted: usize) -> Self {
        Self {
            first: Lock::new(First(std::ptr::null_mut())),
            waiting: AtomicUsize::new(0),
            listed: AtomicUsize::new(0),
            wanted,
            bell: Futex::new(0),
        }
    }

    /// How many there are.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How often one has been listed.
    pub(super) fn listed(&self) -> usize {
        self.listed.load(Ordering::Relaxed)
    }

    /// Whether there are fewer than there should be.
    pub(super) fn are_few(&self) -> bool {
        self.waiting() < self.wanted
    }

    /// Takes a spare and has the starter make up for it.
    pub(crate) fn take(&self) -> Option<&'static C> {
        let taken = {
            let mut first = self.first.lock();
            // SAFETY: `put` lists references that last for ever.
            let carrier = unsafe { first.0.as_ref() };
            if let Some(carrier) = carrier {
                first.0 = carrier.next_spare().load(Ordering::Relaxed);
                self.waiting.fetch_sub(1, Ordering::Relaxed);
            }
            carrier
        };
        if self.are_few() {
            self.ring();
        }
        taken
    }

    /// Lists a carrier: by itself when it has no worker, or by who has taken it and does not need it.
    pub(crate) fn put(&self, carrier: &'static C) {
        let mut first = self.first.lock();
        carrier.next_spare().store(first.0, Ordering::Relaxed);
        first.0 = std::ptr::from_ref(carrier).cast_mut();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.listed.fetch_add(1, Ordering::Relaxed);
    }

    /// Has the starter look what there is to start. Takes no lock.
    pub(crate) fn ring(&self) {
        // Release: who reads this sees what is to be made up for.
        self.bell.fetch_add(1, Ordering::Release);
        self.bell.wake();
    }

    /// The bell as it is. What was to be seen by who has heard it is seen after this.
    pub(super) fn listen(&self) -> Rung {
        Rung(self.bell.load(Ordering::Acquire))
    }

    /// Sleeps until it rings, or `until` (monotonic nanoseconds); not at all if it has since `heard`.
    pub(super) fn sleep(&self, heard: Rung, until: Option<u64>) {
        self.bell.wait(heard.0, until);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    struct Carrier(AtomicPtr<Self>);

    impl Listed for Carrier {
        fn next_spare(&self) -> &AtomicPtr<Self> {
            &self.0
        }
    }

    fn carrier() -> &'static Carrier {
        Box::leak(Box::new(Carrier(AtomicPtr::new(std::ptr::null_mut()))))
    }

    /// One is taken while the starter goes to sleep: it is made up for. (Else the starter sleeps for ever,
    /// which loom calls a deadlock.)
    #[test]
    fn loom_a_taken_spare_is_made_up_for() {
        loom::model(|| {
            let spares = Arc::new(SpareList::new(1));
            spares.put(carrier());
            let starter = {
                let spares = Arc::clone(&spares);
                thread::spawn(move || {
                    loop {
                        let heard = spares.listen();
                        if spares.are_few() {
                            spares.put(carrier());
                            break;
                        }
                        spares.sleep(heard, None);
                    }
                })
            };
            assert!(spares.take().is_some());
            starter.join().expect("the starter does not panic");
            assert_eq!(spares.waiting(), 1);
        });
    }

    /// Two take and one puts back what it took: nobody has the same one, none is lost.
    #[test]
    fn loom_each_spare_is_one_takers() {
        loom::model(|| {
            let spares = Arc::new(SpareList::new(0));
            spares.put(carrier());
            spares.put(carrier());
            let other = {
                let spares = Arc::clone(&spares);
                thread::spawn(move || {
                    let taken = spares.take().expect("as many as takers");
                    spares.put(taken);
                    let taken = spares.take().expect("it was put back");
                    std::ptr::from_ref(taken) as usize
                })
            };
            let taken = spares.take().expect("as many as takers");
            let other = other.join().expect("no panic");
            assert_ne!(std::ptr::from_ref(taken) as usize, other);
            assert_eq!(spares.waiting(), 0);
        });
    }
}
