//! Futures that wait for a message.
//!
//! A future may be dropped at any time, so no message is handed to it: it is only told that there is one
//! (or a sender that waits with one), and takes it when it is polled. Each message that finds no receiver
//! calls one watch. One that is dropped between being called and being polled calls the next.

use std::cell::RefCell;
use std::task::Waker;

use crate::wait::list::{Linked, Links, List};

/// A future's place among those who watch a channel. It stays where it is while it stands there.
#[derive(Debug)]
pub(super) struct Watch {
    /// Touched under the lock of the channel, or while the watch stands nowhere.
    waker: RefCell<Option<Waker>>,
    links: Links<Watch>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self { waker: RefCell::new(None), links: Links::new() }
    }

    /// Sets whom to wake. The watch stands nowhere.
    pub(super) fn set(&self, waker: Waker) {
        self.waker.replace(Some(waker));
    }
}

impl Linked for Watch {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

/// Those who watch, in order. Under the lock of the channel.
#[derive(Debug)]
pub(super) struct Watchers(List<Watch>);

// SAFETY: watches are followed under the lock only, and what they hold is `Send`.
unsafe impl Send for Watchers {}

impl Watchers {
    pub(super) const fn new() -> Self {
        Self(List::new())
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends a watch that has a waker.
    pub(super) fn push(&mut self, watch: &Watch) {
        self.0.push(watch);
    }

    /// Takes out a watch; false if it was called, or never stood here.
    pub(super) fn remove(&mut self, watch: &Watch) -> bool {
        self.0.remove(watch)
    }

    /// Takes out the first, of which there is one, and returns whom to wake outside of the lock.
    #[cold]
    pub(super) fn call(&mut self) -> Waker {
        let first = self.0.take_first().expect("the caller has seen that there is one");
        // SAFETY: it was listed, so it is where it was, and its owner removes it under this lock before it goes.
        let watch = unsafe { first.as_ref() };
        watch.waker.take().expect("who watches has a waker")
    }
}
