//! Wakers of others that are to be called, and the fiber that calls them.
//!
//! A [`Ring`] lies with whoever wants to be woken, in a future say, so that to ring allocates nothing. Who
//! goes away takes it out of the list first; the ringer moves the waker out under the lock, and touches the
//! ring no more. Lock order: a descriptor's entry or a wheel, then the bell.

use std::cell::{Cell, UnsafeCell};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use timestop_fiber::lock::Lock;

use crate::fiber::{FiberRef, Reason};
use crate::wait_until;

/// Room for a waker, and a place in the list.
#[derive(Debug)]
pub struct Ring {
    /// Touched by its owner while the ring is the target of nothing and in no list; by the ringer under the
    /// lock while it is in the list.
    waker: UnsafeCell<Option<Waker>>,
    next: Cell<*const Ring>,
    previous: Cell<*const Ring>,
    listed: AtomicBool,
}

// SAFETY: the fields say who touches them; a waker may go from thread to thread.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

impl Default for Ring {
    fn default() -> Self {
        Self::new()
    }
}

impl Ring {
    /// In no list.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            waker: UnsafeCell::new(None),
            next: Cell::new(ptr::null()),
            previous: Cell::new(ptr::null()),
            listed: AtomicBool::new(false),
        }
    }

    /// # Safety
    ///
    /// The ring is its owner's: it is the target of nothing, and in no list.
    pub(crate) unsafe fn set(&self, waker: &Waker) {
        // SAFETY: as the caller vouches.
        let place = unsafe { &mut *self.waker.get() };
        match place {
            Some(kept) if kept.will_wake(waker) => {}
            _ => *place = Some(waker.clone()),
        }
    }

    /// Takes it out of the list if it is there. By its owner, when it is the target of nothing any more.
    pub fn silence(&self) {
        if self.listed.load(Ordering::Acquire) {
            BELL.lock().remove(self);
        }
    }
}

#[derive(Debug)]
struct Bell {
    first: *const Ring,
    last: *const Ring,
    ringer: Option<FiberRef>,
}

// SAFETY: rings are followed under the lock only, and stay while they are listed.
unsafe impl Send for Bell {}

static BELL: Lock<Bell> = Lock::new(Bell { first: ptr::null(), last: ptr::null(), ringer: None });
/// Whether the list has an entry. Written under the lock.
static RINGS: AtomicBool = AtomicBool::new(false);
/// Whether there is a ringer, or somebody who makes one.
static SERVED: AtomicBool = AtomicBool::new(false);

/// Whether wakers are called. Not so before the first is needed, nor in a child of `fork`.
#[inline]
#[must_use]
pub fn is_served() -> bool {
    SERVED.load(Ordering::Acquire)
}

/// True for one, who must have a fiber [`serve`].
#[must_use]
pub fn claim() -> bool {
    !SERVED.swap(true, Ordering::AcqRel)
}

impl Bell {
    fn append(&mut self, ring: &Ring) {
        ring.listed.store(true, Ordering::Relaxed);
        ring.next.set(ptr::null());
        ring.previous.set(self.last);
        // SAFETY: null, or a listed ring.
        match unsafe { self.last.as_ref() } {
            Some(last) => last.next.set(ring),
            None => {
                self.first = ring;
                RINGS.store(true, Ordering::Release);
            }
        }
        self.last = ring;
    }

    fn remove(&mut self, ring: &Ring) {
        if !ring.listed.load(Ordering::Relaxed) {
            return;
        }
        let (previous, next) = (ring.previous.get(), ring.next.get());
        // SAFETY: null, or a listed ring.
        match unsafe { previous.as_ref() } {
            Some(other) => other.next.set(next),
            None => self.first = next,
        }
        // SAFETY: as above.
        match unsafe { next.as_ref() } {
            Some(other) => other.previous.set(previous),
            None => self.last = previous,
        }
        if self.first.is_null() {
            RINGS.store(false, Ordering::Release);
        }
        // Release: the last that is done with it here.
        ring.listed.store(false, Ordering::Release);
    }

    fn take_first(&mut self) -> Option<Waker> {
        // SAFETY: null, or a listed ring.
        let ring = unsafe { self.first.as_ref() }?;
        // SAFETY: it is listed, and the lock is held.
        let waker = unsafe { &mut *ring.waker.get() }.take();
        self.remove(ring);
        waker
    }
}

/// Has the ringer call a waker. Who is to be unparked for it, once no lock is held.
pub(crate) fn ring(ring: &Ring) -> Option<FiberRef> {
    let mut bell = BELL.lock();
    if ring.listed.load(Ordering::Relaxed) {
        return None;
    }
    let first = bell.first.is_null();
    bell.append(ring);
    // The ringer takes rings until there are none.
    bell.ringer.filter(|_| first)
}

/// Calls wakers for ever. For one fiber, which does nothing else. `call` calls one, and survives its panic.
pub fn serve(fiber: FiberRef, call: impl Fn(Waker)) {
    BELL.lock().ringer = Some(fiber);
    loop {
        loop {
            let waker = BELL.lock().take_first();
            let Some(waker) = waker else { break };
            call(waker);
        }
        wait_until(fiber, Reason::Wakers, 0, None, false, || RINGS.load(Ordering::Acquire));
    }
}

/// Forgets everything, in the child of a `fork`.
///
/// # Safety
///
/// The caller is the only thread of its process.
pub(crate) unsafe fn reset() {
    // SAFETY: as the caller says.
    unsafe { BELL.reset() };
    let mut bell = BELL.lock();
    let mut current = bell.first;
    *bell = Bell { first: ptr::null(), last: ptr::null(), ringer: None };
    RINGS.store(false, Ordering::Relaxed);
    SERVED.store(false, Ordering::Relaxed);
    // Whoever held the lock may have been linking: only forward links are followed, which always end.
    // SAFETY: null, or a listed ring: memory is as it was.
    while let Some(ring) = unsafe { current.as_ref() } {
        ring.listed.store(false, Ordering::Relaxed);
        current = ring.next.get();
    }
}
