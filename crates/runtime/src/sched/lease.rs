//! A carrier's lease of a worker: which one it runs, and whether it still does.
//!
//! ```text
//!            grant                       leave
//!   SPARE ───────────▶ in the runtime ──────────▶ in user code
//!     ▲                 │   │      ▲                │      │
//!     │         give_up │   │      └──── enter ─────┘      │ retake, by the monitor
//!     │                 ▼   ▼                              ▼
//!     └───────── without a worker ◀──────── enter ──── RETAKEN
//! ```
//!
//! [`Owner`] decides between `enter` and `retake`; here is what goes with it: the pointer to the worker,
//! which the carrier alone reads, and which is written by the carrier when it has lost the worker, and
//! by whoever grants it one when it is a spare. Being listed as spare ([`super::spare_list`]) is what passes
//! the right to write from the one to the other.
//!
//! What a carrier wrote to its worker is seen by the next one that has it: `leave` releases, `retake`
//! acquires, `grant` releases again and `wait` acquires.

use super::owner::Owner;
use super::parker::Parker;
use crate::sync::{AtomicPtr, Ordering};

/// What ties a carrier to a worker.
#[derive(Debug)]
pub(crate) struct Lease<W: 'static> {
    owner: Owner,
    /// Null for a spare. Of a carrier whose worker was retaken it is the old one, until that one enters.
    worker: AtomicPtr<W>,
}

impl<W> Lease<W> {
    /// Of a carrier in the runtime that has no worker.
    pub(crate) fn new() -> Self {
        Self { owner: Owner::new(), worker: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// The worker, for the carrier's own code in the runtime.
    #[inline(always)]
    pub(crate) fn worker(&self) -> Option<&'static W> {
        // SAFETY: `grant` stores references that last for ever.
        unsafe { self.worker.load(Ordering::Relaxed).as_ref() }
    }

    /// The carrier comes from user code: its worker, unless that has been retaken.
    #[inline(always)]
    pub(crate) fn enter(&self) -> Option<&'static W> {
        if self.owner.enter() { self.worker() } else { self.lose() }
    }

    #[cold]
    fn lose(&self) -> Option<&'static W> {
        self.worker.store(std::ptr::null_mut(), Ordering::Relaxed);
        None
    }

    /// The carrier goes to user code.
    #[inline(always)]
    pub(crate) fn leave(&self) {
        self.owner.leave();
    }

    /// Whether the carrier is in the runtime. Exact for code that runs on the carrier.
    #[inline]
    pub(crate) fn in_runtime(&self) -> bool {
        self.owner.in_runtime()
    }

    /// The monitor takes the worker away, unless the carrier is in the runtime. If true it is the
    /// caller's to grant.
    #[must_use]
    pub(crate) fn retake(&self) -> bool {
        self.owner.retake()
    }

    /// The carrier, in the runtime with its worker, gives that away: the caller's to grant.
    pub(crate) fn give_up(&self) {
        self.owner.give_up();
        self.worker.store(std::ptr::null_mut(), Ordering::Relaxed);
    }

    /// Whether the carrier has lost its worker, and has been given no other.
    pub(crate) fn is_taken(&self) -> bool {
        self.owner.is_taken()
    }

    /// Gives a worker that the caller has to a spare carrier, which has to be woken then.
    pub(crate) fn grant(&self, worker: &'static W) {
        self.owner.reset();
        // Release: the carrier sees the worker as it was left, and its own owner word as it is now.
        self.worker.store(std::ptr::from_ref(worker).cast_mut(), Ordering::Release);
    }

    /// The carrier, a spare, sleeps until it is granted a worker.
    pub(crate) fn wait(&self, parker: &Parker) {
        while self.worker.load(Ordering::Acquire).is_null() {
            if parker.prepare(false) {
                parker.sleep(None);
                parker.finish();
            }
        }
    }
}
