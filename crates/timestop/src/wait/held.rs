//! A state behind a lock that suspends, and queues in it of those who wait for it to change.
//!
//! The lock is std's, which on a fiber suspends. One that is poisoned is taken as it is: whoever changes a
//! state does so after all that may panic.

use std::fmt;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};

#[cfg(loom)]
use loom::sync as imp;
#[cfg(not(loom))]
use std::sync as imp;

use super::sync::{For, Interrupted, Limit, Slot, Wake};
use super::waiter::{End, Place, Queue, Waiter};

/// A state behind a lock.
pub(crate) struct Mutex<T>(imp::Mutex<T>);

/// Proof of holding. Lets go when dropped.
pub(crate) struct Held<'lock, T>(imp::MutexGuard<'lock, T>);

impl<T> Mutex<T> {
    pub(crate) fn new(state: T) -> Self {
        Self(imp::Mutex::new(state))
    }

    pub(crate) fn lock(&self) -> Held<'_, T> {
        Held(self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// What tells it from others, in reports.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// Stands in a queue of the state with a value, or with room for one, until somebody takes it out of
    /// there or the fiber is to end. Returns which, and the place's slot: a value is in it if it was there
    /// and nobody has taken it, or if whoever served has left one.
    pub(crate) fn stand<U>(
        &self,
        mut held: Held<'_, T>,
        value: MaybeUninit<U>,
        queue: impl Fn(&mut T) -> &mut Queue<U>,
        what: For,
        limit: Limit,
    ) -> (Result<End, Interrupted>, Slot<U>) {
        let waiter = Waiter::alone();
        let place = Place::new(&waiter, 0, value);
        queue(&mut held).push(&place);
        drop(held);
        let leave = || queue(&mut self.lock()).remove(&place);
        let end = waiter.wait_alone((what, self.address()), limit, leave);
        (end, place.slot)
    }

    /// As [`stand`](Self::stand), for those who wait for something to happen.
    pub(crate) fn stand_by(
        &self,
        held: Held<'_, T>,
        queue: impl Fn(&mut T) -> &mut Queue<()>,
        what: For,
        limit: Limit,
    ) -> Result<End, Interrupted> {
        self.stand(held, MaybeUninit::new(()), queue, what, limit).0
    }
}

impl<T> Held<'_, T> {
    /// Lets go, and wakes somebody.
    pub(crate) fn wake(self, wake: Wake) {
        drop(self);
        wake.call();
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mutex({:#x})", self.address())
    }
}
