//! Who may touch a carrier's worker: the carrier itself, or the monitor that takes it away.
//!
//! A carrier is in *user* code (its fiber's) or in the *runtime*. Entering the runtime must cost
//! next to nothing, taking a worker away may cost microseconds. So the two sides meet as in Dekker's
//! algorithm with the barrier on one side only:
//!
//! ```text
//!   carrier enters                       monitor retakes
//!   place = RUNTIME                      claim: NONE → WANTED
//!   (compiler barrier)                   membarrier: a full barrier on every running thread
//!   claim == NONE?  mine                 place == USER?  claim: WANTED → TAKEN, else → NONE
//!   else: claim WANTED → NONE, or lost
//! ```
//!
//! If the carrier read NONE, its store to `place` came before the monitor's barrier, which then sees
//! RUNTIME and steps back. If it read WANTED, one compare-exchange on `claim` decides. So at most one
//! of them has the worker; a carrier that the kernel descheduled inside the runtime is left alone.
//!
//! Rejected: a compare-exchange at each entry (5 ns on a path of 20).

use crate::sync::{AtomicU32, Ordering, full_fence};

const USER: u32 = 0;
const RUNTIME: u32 = 1;

const NONE: u32 = 0;
const WANTED: u32 = 1;
const TAKEN: u32 = 2;

/// The two words of one carrier.
#[derive(Debug)]
pub(crate) struct Owner {
    /// Where the carrier is. Written by the carrier.
    place: AtomicU32,
    /// What the monitor wants. Reset when the carrier is given a worker.
    claim: AtomicU32,
}

impl Owner {
    /// In the runtime, with nothing claimed.
    pub(crate) fn new() -> Self {
        Self { place: AtomicU32::new(RUNTIME), claim: AtomicU32::new(NONE) }
    }

    /// The carrier comes from user code. True if it still has its worker, which it then keeps until
    /// [`leave`](Self::leave).
    #[inline]
    #[must_use]
    pub(crate) fn enter(&self) -> bool {
        self.place.store(RUNTIME, Ordering::Relaxed);
        light_barrier();
        // Relaxed: a monitor that stepped back has touched nothing.
        self.claim.load(Ordering::Relaxed) == NONE || self.settle()
    }

    #[cold]
    fn settle(&self) -> bool {
        match self.claim.compare_exchange(WANTED, NONE, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(now) => now == NONE, // the monitor stepped back meanwhile
        }
    }

    /// The carrier goes to user code. Release: whoever takes the worker sees what was done to it.
    #[inline]
    pub(crate) fn leave(&self) {
        self.place.store(USER, Ordering::Release);
    }

    /// Whether the carrier is in the runtime. Exact for code that runs on the carrier.
    #[inline]
    pub(crate) fn in_runtime(&self) -> bool {
        self.place.load(Ordering::Relaxed) == RUNTIME
    }

    /// The monitor takes the worker away if the carrier is in user code. One monitor at a time.
    #[must_use]
    pub(crate) fn retake(&self) -> bool {
        if self.claim.compare_exchange(NONE, WANTED, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return false;
        }
        heavy_barrier();
        // Acquire pairs with `leave`.
        let verdict = if self.place.load(Ordering::Acquire) == USER { TAKEN } else { NONE };
        let settled =
            self.claim.compare_exchange(WANTED, verdict, Ordering::AcqRel, Ordering::Relaxed);
        verdict == TAKEN && settled.is_ok()
    }

    /// Whether the monitor has taken the worker, and the carrier does not know it yet.
    pub(crate) fn is_taken(&self) -> bool {
        self.claim.load(Ordering::Acquire) == TAKEN
    }

    /// The carrier, in the runtime with its worker, gives it away: as if the monitor had taken it. A
    /// monitor that is about to do that finds its claim gone, and steps back.
    pub(crate) fn give_up(&self) {
        self.claim.store(TAKEN, Ordering::Release);
    }

    /// The carrier, in the runtime and without a worker, is about to be given one.
    pub(crate) fn reset(&self) {
        self.place.store(RUNTIME, Ordering::Relaxed);
        // Relaxed: it has been in the runtime since it lost its worker, and was seen to be there by the
        // barrier of whoever takes that from now on.
        self.claim.store(NONE, Ordering::Relaxed);
    }
}

#[cfg(not(loom))]
#[inline(always)]
fn light_barrier() {
    if crate::sys::has_membarrier() {
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
    } else {
        full_fence();
    }
}

#[cfg(not(loom))]
fn heavy_barrier() {
    full_fence();
    crate::sys::membarrier();
}

/// Loom knows no asymmetric barriers: two full ones have the same guarantee.
#[cfg(loom)]
fn light_barrier() {
    full_fence();
}

#[cfg(loom)]
fn heavy_barrier() {
    full_fence();
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// A carrier enters and leaves while the monitor retakes: they never both touch the worker.
    #[test]
    fn loom_one_owner() {
        loom::model(|| {
            let shared = Arc::new((Owner::new(), UnsafeCell::new(0)));
            shared.0.leave();
            let monitor = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    if shared.0.retake() {
                        // SAFETY: retaken; loom reports a concurrent access as an error.
                        shared.1.with_mut(|worker| unsafe { *worker += 1 });
                    }
                })
            };
            for _ in 0..2 {
                if !shared.0.enter() {
                    break;
                }
                // SAFETY: entered with the worker.
                shared.1.with_mut(|worker| unsafe { *worker += 1 });
                shared.0.leave();
            }
            monitor.join().expect("the monitor does not panic");
        });
    }
}
