//! A mutex of one word for the runtime's own short sections.
//!
//! `std::sync::Mutex` would go through the very futex hook that stands on top of this crate. No
//! section under this lock allocates, suspends, or calls code of others; so a holder can be delayed
//! only by the kernel, and waiters sleep on the kernel's futex after a short spin.
//!
//! A holder is counted in [`current::depth`]: a signal handler of the program that ran meanwhile
//! could want the same lock, on the same thread, for ever.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{current, sys};

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;
/// Tries before a waiter sleeps: about a microsecond.
const SPINS: u32 = 60;

/// A value behind a one-word lock.
#[derive(Debug, Default)]
pub struct Lock<T> {
    word: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands out one reference at a time, to whoever holds it.
unsafe impl<T: Send> Sync for Lock<T> {}

/// Proof of holding; releases when dropped.
#[derive(Debug)]
pub struct Guard<'lock, T> {
    lock: &'lock Lock<T>,
}

impl<T> Lock<T> {
    /// An open lock around `value`.
    pub const fn new(value: T) -> Self {
        Self { word: AtomicU32::new(FREE), value: UnsafeCell::new(value) }
    }

    /// Waits until the lock is ours.
    #[inline]
    pub fn lock(&self) -> Guard<'_, T> {
        current::deepen();
        if self.word.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.lock_contended();
        }
        Guard { lock: self }
    }

    /// Takes the lock if it is free now.
    #[inline]
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        current::deepen();
        if self.word.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            return Some(Guard { lock: self });
        }
        current::rise();
        None
    }

    /// Whether somebody holds the lock just now. Acquire: who has let it go is seen to have done its
    /// work.
    #[inline]
    pub fn is_held(&self) -> bool {
        self.word.load(Ordering::Acquire) != FREE
    }

    #[cold]
    fn lock_contended(&self) {
        for _ in 0..SPINS {
            if self.word.load(Ordering::Relaxed) == FREE
                && self
                    .word
                    .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                return;
            }
            std::hint::spin_loop();
        }
        while self.word.swap(CONTENDED, Ordering::Acquire) != FREE {
            sys::futex_wait(&self.word, CONTENDED);
        }
    }

    /// Opens the lock whoever holds it: for the child of a `fork`, where the holder is gone.
    ///
    /// # Safety
    ///
    /// The calling thread is the only one of its process, and the value is consistent.
    pub unsafe fn reset(&self) {
        self.word.store(FREE, Ordering::Relaxed);
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard exists only while its lock is held.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed uniquely.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.lock.word.swap(FREE, Ordering::Release) == CONTENDED {
            sys::futex_wake_one(&self.lock.word);
        }
        current::rise();
    }
}
