//! A future's place among those who wait for a descriptor.
//!
//! It is told of each edge and takes none away from others, as those in `poll` are: a future that is dropped
//! after it was told need not pass anything on. The price is that several futures that wait for one
//! descriptor are all woken, and all but one look in vain.

use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::Waker;

use super::*;
use crate::waker::bell::Ring;

/// The place. It stays where it is once it has been enlisted, and leaves when dropped: before its descriptor
/// is closed, or not, as its owner likes.
#[derive(Debug)]
pub struct Watch {
    waiter: Waiter,
    ring: Ring,
    /// Where it may stand in a list.
    listed: Option<Attempt>,
    _stays: PhantomPinned,
}

// SAFETY: others touch the waiter under the entry's lock only, the ring under the bell's.
unsafe impl Send for Watch {}
// SAFETY: nothing is reached through a shared reference.
unsafe impl Sync for Watch {}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

impl Watch {
    /// In no list.
    #[must_use]
    pub fn new() -> Self {
        Self {
            waiter: Waiter::new(Target::NOBODY, true),
            ring: Ring::new(),
            listed: None,
            _stays: PhantomPinned,
        }
    }

    /// Has `waker` woken at the next edge after the attempt began, and nobody else any more. `None`: it will be.
    /// Else try again, or what is wrong. The runtime has been started.
    pub fn enlist(self: Pin<&mut Self>, attempt: &mut Attempt, waker: &Waker) -> Option<Readiness> {
        // SAFETY: nothing is moved out.
        let this = unsafe { self.get_unchecked_mut() };
        if let Some(listed) = &this.listed
            && this.waiter.target.is_task_of(waker)
            && this.waiter.told.load(Ordering::Acquire) == told::WAITING
            && (listed.number, listed.direction) == (attempt.number, attempt.direction)
            && (listed.generation, listed.edges) == (attempt.generation, attempt.edges)
        {
            return None; // it stands there already: an edge would have told it
        }
        this.leave();
        // SAFETY: it has left: the ring is in no list; it is pinned, and leaves before it is dropped.
        this.waiter.target = unsafe { Target::of_waker(waker, &this.ring) };
        this.waiter.next.set(ptr::null_mut());
        this.waiter.told.store(told::WAITING, Ordering::Relaxed);
        match attempt.enlist(&this.waiter) {
            Enlisted::Waiting => {
                this.listed = Some(*attempt);
                None
            }
            Enlisted::Ready => {
                attempt.renew();
                Some(Readiness::Ready)
            }
            Enlisted::Closed => Some(Readiness::Closed),
            Enlisted::Unwatchable => Some(Readiness::Unwatchable),
        }
    }

    fn leave(&mut self) {
        if let Some(listed) = self.listed.take() {
            listed.withdraw(&self.waiter);
            self.ring.silence();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Attempt {
    /// Whether a read would surely find nothing: the last one emptied the socket, and nothing has come since. For
    /// one that waits by a [`Watch`] where it finds nothing.
    #[inline]
    #[must_use]
    pub fn finds_nothing(&self) -> bool {
        self.direction == Direction::Read && self.is_empty()
    }
}
