//! The lock of a channel: one word, held for some ten nanoseconds.
//!
//! To let it go is a plain store, which saves one locked instruction of two: a quarter of what sending a
//! message costs. So whoever waits cannot be told, and looks again by itself. It spins: a section moves a
//! value or two and links a list, allocates nothing, runs no code of others and does not suspend. Its
//! holder is [`undisturbed`](timestop_fiber::current::undisturbed): no preemption and no signal handler
//! of the program comes between. Only the kernel can delay it; then the waiter gives the OS thread up,
//! first to whoever is ready to run there, then for longer and longer.
//!
//! Rejected: the runtime's own lock, whose waiters sleep until they are woken (an exchange to let it go:
//! four more in a round trip of two messages); a lock that suspends waiters (the wake-up costs more than
//! the section).

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use timestop_fiber::current;
use timestop_runtime::sys;

use super::sleeper::Wake;

/// Looks before a waiter gives up its OS thread: some microseconds.
const SPINS: u32 = 200;
/// How often it does so for others that are ready, before it sleeps.
const YIELDS: u32 = 16;
/// How long it sleeps then, in nanoseconds: at first, and at most.
const FIRST_SLEEP: u64 = 20_000;
const LONGEST_SLEEP: u64 = 1_000_000;

/// A value behind a lock.
#[derive(Debug)]
pub(crate) struct Lock<T> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands out one reference at a time, to whoever holds it.
unsafe impl<T: Send> Sync for Lock<T> {}

/// Proof of holding. Lets go when dropped.
#[derive(Debug)]
pub(crate) struct Guard<'lock, T>(&'lock Lock<T>);

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { held: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    #[inline]
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        current::deepen();
        if !self.take() {
            self.wait();
        }
        Guard(self)
    }

    #[inline]
    fn take(&self) -> bool {
        // Acquire pairs with the release in `drop`.
        self.held.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[cold]
    fn wait(&self) {
        for _ in 0..SPINS {
            if !self.held.load(Ordering::Relaxed) && self.take() {
                return;
            }
            std::hint::spin_loop();
        }
        let mut yields = 0;
        let mut sleep = FIRST_SLEEP;
        while self.held.load(Ordering::Relaxed) || !self.take() {
            current::rise();
            if yields < YIELDS {
                yields += 1;
                sys::yield_thread();
            } else {
                let _ = sys::futex_wait(&AtomicU32::new(0), 0, Some(sys::now() + sleep));
                sleep = (sleep * 2).min(LONGEST_SLEEP);
            }
            current::deepen();
        }
    }
}

impl<T> Guard<'_, T> {
    /// Lets go and wakes somebody. Not preempted in between: who was taken off a queue does not wait for
    /// another slice of whoever did it.
    #[inline]
    pub(crate) fn wake(self, wake: Wake) {
        current::deepen();
        drop(self);
        wake.call();
        current::rise();
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard exists only while its lock is held.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed uniquely.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.0.held.store(false, Ordering::Release);
        current::rise();
    }
}
