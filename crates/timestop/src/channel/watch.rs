//! Futures that wait for a message.
//!
//! A future may be dropped at any time, so no message is handed to it: it is only told that there is one
//! (or a sender that waits with one), and takes it when it is polled. Each message that finds no receiver
//! calls one watch. One that is dropped between being called and being polled calls the next.

use std::cell::{Cell, RefCell};
use std::ptr;
use std::task::Waker;

/// A future's place among those who watch a channel. It stays where it is while it stands there.
#[derive(Debug)]
pub(super) struct Watch {
    /// What follows is touched under the lock of the channel, or while the watch stands nowhere.
    waker: RefCell<Option<Waker>>,
    queued: Cell<bool>,
    previous: Cell<*const Watch>,
    next: Cell<*const Watch>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            waker: RefCell::new(None),
            queued: Cell::new(false),
            previous: Cell::new(ptr::null()),
            next: Cell::new(ptr::null()),
        }
    }

    /// Sets whom to wake. The watch stands nowhere.
    pub(super) fn set(&self, waker: Waker) {
        self.waker.replace(Some(waker));
    }
}

/// Those who watch, in order. Under the lock of the channel.
#[derive(Debug)]
pub(super) struct Watchers {
    first: *const Watch,
    last: *const Watch,
}

// SAFETY: watches are followed under the lock only, and what they hold is `Send`.
unsafe impl Send for Watchers {}

impl Watchers {
    pub(super) const fn new() -> Self {
        Self { first: ptr::null(), last: ptr::null() }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Appends a watch that has a waker.
    pub(super) fn push(&mut self, watch: &Watch) {
        watch.queued.set(true);
        watch.next.set(ptr::null());
        watch.previous.set(self.last);
        // SAFETY: null, or a queued watch, which stays until it is removed.
        match unsafe { self.last.as_ref() } {
            Some(last) => last.next.set(watch),
            None => self.first = watch,
        }
        self.last = watch;
    }

    /// Takes out a watch; false if it was called, or never stood here.
    pub(super) fn remove(&mut self, watch: &Watch) -> bool {
        if !watch.queued.replace(false) {
            return false;
        }
        let (previous, next) = (watch.previous.get(), watch.next.get());
        // SAFETY: null, or a queued watch.
        match unsafe { previous.as_ref() } {
            Some(other) => other.next.set(next),
            None => self.first = next,
        }
        // SAFETY: as above.
        match unsafe { next.as_ref() } {
            Some(other) => other.previous.set(previous),
            None => self.last = previous,
        }
        true
    }

    /// Takes out the first, of which there is one, and returns whom to wake outside of the lock.
    #[cold]
    pub(super) fn call(&mut self) -> Waker {
        // SAFETY: the caller has seen that there is one; it is queued.
        let watch = unsafe { &*self.first };
        self.remove(watch);
        watch.waker.take().expect("who watches has a waker")
    }
}
