//! One wait, and its places in the queues of channels and what is like them.
//!
//! A wait has one place, or under `select` one in each arm's queue. Whoever serves a place first *claims*
//! the wait, under the lock of that place's channel; then moves the value; then says that it is done, which
//! is the last that it does with the waiter's memory: its stack may be gone afterwards.
//!
//! ```text
//!          ┌─ claim ─▶ CLAIMED ─ finish ─▶ SERVED or CLOSED      by another
//!   OPEN ──┤
//!          └─ withdraw ─▶ WITHDRAWN                               by the waiter itself
//! ```
//!
//! A wait with one place needs no claim: being taken off the queue, under its lock, is the claim, and
//! being found there when the wait has timed out is the withdrawal. That saves a locked instruction on
//! each message between two that do not select.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use super::list::{Linked, Links, List};
use super::sync::{AtomicU32, For, Interrupted, Limit, Ordering, Sleeper, Slot, Wake};

const OPEN: u32 = 0;
const CLAIMED: u32 = 1;
const WITHDRAWN: u32 = 2;
const SERVED: u32 = 3;
const CLOSED: u32 = 4;

/// What became of a wait that another has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The value has been handed over, or taken.
    Served,
    /// The channel was closed.
    Closed,
}

/// One wait, on the stack of who waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    state: AtomicU32,
    /// Whether it has several places.
    selects: bool,
    /// The arm by which it was served. Written by whoever has claimed it.
    arm: Cell<u32>,
    sleeper: Sleeper,
}

impl Waiter {
    /// A wait of the caller, in one place.
    #[inline]
    pub(crate) fn alone() -> Self {
        Self {
            state: AtomicU32::new(OPEN),
            selects: false,
            arm: Cell::new(0),
            sleeper: Sleeper::current(),
        }
    }

    /// A wait of the caller in several places.
    pub(crate) fn select() -> Self {
        Self { selects: true, ..Self::alone() }
    }

    /// Waits until it is done or interrupted. An interrupted wait may be served yet: see
    /// [`withdraw`](Self::withdraw).
    pub(crate) fn wait(&self, what: (For, usize), limit: Limit) -> Option<Interrupted> {
        self.sleeper.sleep(&self.state, SERVED, what, limit)
    }

    /// Waits in the one queue that it stands in. If it is interrupted it takes its place out of there, under
    /// the queue's lock: `leave`, which is false if somebody has already, and has served it.
    pub(crate) fn wait_alone(
        &self,
        what: (For, usize),
        limit: Limit,
        leave: impl FnOnce() -> bool,
    ) -> Result<End, Interrupted> {
        if let Some(why) = self.wait(what, limit)
            && leave()
        {
            return Err(why);
        }
        Ok(self.end())
    }

    /// Ends a select from its own side; false if somebody has claimed it.
    pub(crate) fn withdraw(&self) -> bool {
        // Relaxed: nothing was handed over, and no place is looked at before its lock is taken.
        self.state.compare_exchange(OPEN, WITHDRAWN, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Opens a withdrawn select again; none of its places is in a queue.
    pub(crate) fn reopen(&self) {
        self.state.store(OPEN, Ordering::Relaxed);
    }

    /// How it was ended, once it is done.
    #[inline]
    pub(crate) fn end(&self) -> End {
        // Acquire pairs with `finish`: the value is there.
        match self.state.load(Ordering::Acquire) {
            SERVED => End::Served,
            CLOSED => End::Closed,
            other => unreachable!("a wait in state {other} is not done"),
        }
    }

    /// By which arm, once it is done.
    pub(crate) fn arm(&self) -> usize {
        self.arm.get() as usize
    }

    #[inline]
    fn claim(&self, arm: u32) -> bool {
        if self.selects {
            let claimed =
                self.state.compare_exchange(OPEN, CLAIMED, Ordering::Relaxed, Ordering::Relaxed);
            if claimed.is_err() {
                return false;
            }
            self.arm.set(arm);
        }
        true
    }
}

/// A place in a queue, on the stack of who waits, with the value that is sent or room for the one that is
/// received. All but `waiter` and `arm` is touched under the lock of the channel only, or before the place
/// stands in a queue, or after the wait is done.
#[derive(Debug)]
pub(crate) struct Place<T> {
    waiter: Cell<*const Waiter>,
    arm: u32,
    links: Links<Place<T>>,
    pub(crate) slot: Slot<T>,
}

impl<T> Place<T> {
    /// A place that stands nowhere.
    #[inline]
    pub(crate) fn new(waiter: *const Waiter, arm: u32, value: MaybeUninit<T>) -> Self {
        Self { waiter: Cell::new(waiter), arm, links: Links::new(), slot: Slot::new(value) }
    }

    /// Whose wait it is. Before it is queued.
    pub(crate) fn belongs_to(&self, waiter: &Waiter) {
        self.waiter.set(waiter);
    }

    fn waiter(&self) -> &Waiter {
        // SAFETY: set by `belongs_to` or `new` to a waiter that lives while the place is queued or claimed.
        unsafe { &*self.waiter.get() }
    }
}

impl<T> Linked for Place<T> {
    #[inline]
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

/// A place that the caller has claimed, and must serve or close: its owner waits for that alone.
#[derive(Debug)]
#[must_use = "its owner waits for ever"]
pub(crate) struct Claimed<T>(NonNull<Place<T>>);

impl<T> Claimed<T> {
    #[inline]
    fn place(&self) -> &Place<T> {
        // SAFETY: its owner waits until `finish`, which consumes us.
        unsafe { self.0.as_ref() }
    }

    /// Hands a value to a receiver.
    #[inline]
    pub(crate) fn give(self, value: T) -> Wake {
        // SAFETY: a receiver's place is empty, and claimed: it is ours until `finish`.
        unsafe { self.place().slot.write(value) };
        self.finish(SERVED)
    }

    /// Takes a sender's value.
    #[inline]
    pub(crate) fn take(self) -> (T, Wake) {
        // SAFETY: a sender's place holds a value, and is claimed: it is ours until `finish`.
        let value = unsafe { self.place().slot.take() };
        (value, self.finish(SERVED))
    }

    /// Says to one who waits for it that something has happened.
    pub(crate) fn tell(self) -> Wake {
        self.finish(SERVED)
    }

    /// Says that the channel was closed. A sender keeps its value.
    pub(crate) fn close(self) -> Wake {
        self.finish(CLOSED)
    }

    #[inline]
    fn finish(self, state: u32) -> Wake {
        let waiter = self.place().waiter();
        let wake = waiter.sleeper.wake(&waiter.state);
        // Release pairs with `Waiter::end`. The place may be gone from here on.
        waiter.state.store(state, Ordering::Release);
        wake
    }
}

/// Those who wait on one side of a channel, in order. Under the lock of the channel.
#[derive(Debug)]
pub(crate) struct Queue<T>(List<Place<T>>);

// SAFETY: places are on stacks that wait, and followed under the lock only; what goes through them is `T`s.
unsafe impl<T: Send> Send for Queue<T> {}

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Self(List::new())
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends a place, which stays where it is until it is taken or removed.
    #[inline]
    pub(crate) fn push(&mut self, place: &Place<T>) {
        self.0.push(place);
    }

    /// Takes out a place; false if somebody has already.
    pub(crate) fn remove(&mut self, place: &Place<T>) -> bool {
        self.0.remove(place)
    }

    /// Takes out the first place whose wait can still be claimed, and claims it. Those that others have
    /// claimed by another arm go.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Claimed<T>> {
        while let Some(first) = self.0.take_first() {
            // SAFETY: it was queued: its owner waits.
            let place = unsafe { first.as_ref() };
            if place.waiter().claim(place.arm) {
                return Some(Claimed(first));
            }
        }
        None
    }

    /// A look at the value of the first sender. Of a queue where nobody selects.
    pub(crate) fn first_value(&self) -> Option<&T> {
        let place = self.0.iter().next()?;
        // SAFETY: a sender's place holds a value while it is queued, and nobody takes it but under the lock.
        Some(unsafe { place.slot.get() })
    }

    /// Tells all who wait, and wakes them, in order. Under a lock that suspends.
    pub(crate) fn tell_all(&mut self) {
        while let Some(claimed) = self.take() {
            claimed.tell().call();
        }
    }

    /// Ends all waits, as [`tell_all`](Self::tell_all) does. Senders keep their values.
    pub(crate) fn close_all(&mut self) {
        while let Some(claimed) = self.take() {
            claimed.close().call();
        }
    }

    /// Whether somebody else than `waiter` stands here and can be claimed. (He may be no more when that is
    /// tried.)
    pub(crate) fn has_other(&self, waiter: &Waiter) -> bool {
        self.0
            .iter()
            .map(Place::waiter)
            .any(|other| !ptr::eq(other, waiter) && other.state.load(Ordering::Relaxed) == OPEN)
    }
}
