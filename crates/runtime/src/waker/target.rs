//! Whom an event wakes, in one word: the address of a fiber's record, or of a [`Ring`], with two tag bits.

use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::bell::{self, Ring};
use super::watched::Watched;
use crate::fiber::{Fiber, FiberRef};
use crate::sched;

/// A fiber that waits for this event alone, and looks at something else to see that it has come.
const FIBER: usize = 0;
/// A fiber that polls a future: its [`Call`](super::call::Call) says that it is to poll again.
const TASK: usize = 1;
/// Somebody else's waker.
const RING: usize = 2;
const TAGS: usize = 3;

/// The word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target(usize);

impl Target {
    /// To summon it does nothing.
    pub(crate) const NOBODY: Self = Self(FIBER);

    #[inline]
    pub(crate) fn fiber(fiber: FiberRef) -> Self {
        Self(fiber.address() | FIBER)
    }

    /// Whom `waker` wakes: a fiber if it is one of ours, else `ring`, which is given a clone.
    ///
    /// # Safety
    ///
    /// The ring is in no list, nor will it be moved or freed while it is the target of anything.
    #[inline]
    pub(crate) unsafe fn of_waker(waker: &Waker, ring: &Ring) -> Self {
        if std::ptr::eq(waker.vtable(), &VTABLE) {
            return Self(waker.data() as usize | TASK);
        }
        // SAFETY: as the caller vouches.
        unsafe { ring.set(waker) };
        Self(std::ptr::from_ref(ring) as usize | RING)
    }

    /// Whether telling it means to wake the task of `waker`, if that is a fiber.
    #[inline]
    pub(crate) fn is_task_of(self, waker: &Waker) -> bool {
        std::ptr::eq(waker.vtable(), &VTABLE) && self.0 == waker.data() as usize | TASK
    }

    /// The same of a word.
    #[inline]
    pub(crate) fn word_is_task_of(word: usize, waker: &Waker) -> bool {
        Self(word).is_task_of(waker)
    }

    pub(crate) fn word(self) -> usize {
        self.0
    }

    /// Rings, if it is a ring. Whom to [wake](Self::wake) for it: the caller does once it holds no lock. No
    /// record is touched yet, which is in no cache near.
    ///
    /// # Safety
    ///
    /// If it is a ring: it is where it was.
    #[inline]
    pub(crate) unsafe fn summon(self) -> Option<Self> {
        if self.0 & TAGS == RING {
            // SAFETY: as the caller vouches.
            let ring = unsafe { &*((self.0 & !TAGS) as *const Ring) };
            return bell::ring(ring).map(Self::fiber);
        }
        (self != Self::NOBODY).then_some(self)
    }

    /// The record of one that was [summoned](Self::summon).
    #[inline]
    pub(crate) fn record(self) -> *mut Fiber {
        (self.0 & !TAGS) as *mut Fiber
    }

    /// Who is to be unparked of one that was summoned.
    #[inline]
    pub(crate) fn called(self) -> Option<FiberRef> {
        let polls = self.0 & TAGS == TASK;
        FiberRef::from_pointer(self.record()).filter(|fiber| !polls || fiber.call.call())
    }

    /// Wakes one that was summoned.
    pub(crate) fn wake(self) {
        if let Some(fiber) = self.called() {
            sched::unpark(fiber);
        }
    }
}

/// [Summons](Target::summon) for who keeps the word: who is to be unparked; null where nobody is to be unparked.
///
/// # Safety
///
/// The word of a target, as there.
#[inline]
pub(crate) unsafe fn summon_tagged(word: usize) -> *mut Fiber {
    // SAFETY: as the caller vouches.
    let target = unsafe { Target(word).summon() };
    target.and_then(Target::called).map_or(std::ptr::null_mut(), FiberRef::as_pointer)
}

/// Says that the event has come, and wakes who watches for it.
pub fn come(event: &Watched) {
    event.come(|word| {
        // SAFETY: `Watcher::watch` has set the word; the watcher does not go away before we return.
        if let Some(target) = unsafe { Target(word).summon() } {
            target.wake();
        }
    });
}

/// A future that watches for an event.
#[derive(Debug)]
pub struct Watcher {
    ring: Ring,
    target: Target,
    _stays: PhantomPinned,
}

impl Default for Watcher {
    fn default() -> Self {
        Self::new()
    }
}

impl Watcher {
    /// Watches for nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { ring: Ring::new(), target: Target::NOBODY, _stays: PhantomPinned }
    }

    /// Has `waker` woken when the event comes, and nobody else any more. False if it has come.
    ///
    /// # Safety
    ///
    /// The event is the same at each call, and [`unwatch`](Self::unwatch) is called before the watcher is
    /// dropped.
    pub unsafe fn watch(self: Pin<&mut Self>, event: &Watched, waker: &Waker) -> bool {
        // SAFETY: nothing is moved out.
        let this = unsafe { self.get_unchecked_mut() };
        if this.target.is_task_of(waker) {
            return !event.has_come();
        }
        this.leave(event);
        // SAFETY: nobody watches by the ring now; it is pinned, and leaves before it is dropped.
        this.target = unsafe { Target::of_waker(waker, &this.ring) };
        event.watch(this.target.word())
    }

    /// Watches no more.
    pub fn unwatch(self: Pin<&mut Self>, event: &Watched) {
        // SAFETY: nothing is moved out.
        unsafe { self.get_unchecked_mut() }.leave(event);
    }

    fn leave(&mut self, event: &Watched) {
        if self.target != Target::NOBODY {
            event.unwatch(self.target.word());
            self.target = Target::NOBODY;
            self.ring.silence();
        }
    }
}

/// The address of a record is all that a waker of ours has.
static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, |_| {});

unsafe fn clone(record: *const ()) -> RawWaker {
    RawWaker::new(record, &VTABLE)
}

unsafe fn wake(record: *const ()) {
    // SAFETY: only `of_fiber` makes these, with the address of a record.
    let fiber = unsafe { FiberRef::from_address(record as usize) };
    if fiber.call.call() {
        sched::unpark(fiber);
    }
}

/// Whether a waker is [of a fiber](of_fiber).
#[inline]
#[must_use]
pub fn is_ours(waker: &Waker) -> bool {
    std::ptr::eq(waker.vtable(), &VTABLE)
}

/// The waker of a fiber that polls. Costs nothing to make, clone and drop.
#[must_use]
pub fn of_fiber(fiber: FiberRef) -> Waker {
    // SAFETY: records are valid for ever, and the functions of the table may be called from any thread.
    unsafe { Waker::from_raw(RawWaker::new(fiber.address() as *const (), &VTABLE)) }
}
