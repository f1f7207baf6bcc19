//! What waiting stands on: atomics, a cell, a lock and a way to sleep. The real ones here,
//! loom's where the model checker runs.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};
pub(crate) use std::sync::atomic::Ordering;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};

#[cfg(loom)]
pub(crate) use self::model::{Guard, Lock, Sleeper, Wake};
#[cfg(not(loom))]
pub(crate) use super::lock::{Guard, Lock};
#[cfg(not(loom))]
pub(crate) use super::sleeper::{Sleeper, Wake};

/// Why a blocking operation ended with nothing done. Not because of the channel: because of the fiber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interrupted {
    /// The fiber was [cancelled](crate::JoinHandle::cancel).
    Cancelled,
    /// The fiber is past the limit that [`timestop::timeout`](crate::timeout) or
    /// [`deadline`](crate::deadline) has set.
    TimedOut,
}

/// What tells the running fiber or OS thread from all others that there are; not 0.
pub(crate) fn caller() -> usize {
    #[cfg(not(loom))]
    thread_local! {
        static HERE: u8 = const { 0 };
    }
    #[cfg(loom)]
    loom::thread_local! {
        static HERE: u8 = 0;
    }
    HERE.with(|here| std::ptr::from_ref(here) as usize)
}

/// What is waited for, for reports.
#[derive(Debug, Clone, Copy)]
pub(crate) enum For {
    Message,
    Room,
    OneOf,
    /// That something has happened.
    Event,
    /// A point in time.
    Time,
}

/// How long to wait, and what may end it besides the channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// Monotonic nanoseconds; `u64::MAX` for none.
    pub(crate) deadline: u64,
    /// Whether the fiber's cancellation and its own deadline end the wait.
    pub(crate) breakable: bool,
}

impl Limit {
    /// For ever, but for the fiber's own end.
    pub(crate) const NONE: Self = Self { deadline: u64::MAX, breakable: true };
    /// Until it comes: it is on its way.
    pub(crate) const COMING: Self = Self { deadline: u64::MAX, breakable: false };

    pub(crate) fn until(deadline: u64) -> Self {
        Self { deadline, breakable: true }
    }
}

/// A cell that others write, in an order that something else sees to. Loom reports where nothing does.
#[derive(Debug)]
pub(crate) struct Slot<T>(
    #[cfg(not(loom))] std::cell::UnsafeCell<std::mem::MaybeUninit<T>>,
    #[cfg(loom)] loom::cell::UnsafeCell<std::mem::MaybeUninit<T>>,
);

impl<T> Slot<T> {
    #[inline]
    pub(crate) fn new(value: std::mem::MaybeUninit<T>) -> Self {
        #[cfg(not(loom))]
        return Self(std::cell::UnsafeCell::new(value));
        #[cfg(loom)]
        return Self(loom::cell::UnsafeCell::new(value));
    }

    #[inline]
    fn place(&self) -> *mut T {
        #[cfg(not(loom))]
        return self.0.get().cast();
        #[cfg(loom)]
        return self.0.with_mut(|place| place.cast());
    }

    /// # Safety
    ///
    /// Nobody else reads or writes meanwhile, and nothing is in the slot.
    #[inline]
    pub(crate) unsafe fn write(&self, value: T) {
        // SAFETY: a place for a `T`; the caller vouches for the rest.
        unsafe { self.place().write(value) };
    }

    /// # Safety
    ///
    /// Nobody writes meanwhile; a value is in the slot.
    #[inline]
    pub(crate) unsafe fn get(&self) -> &T {
        // SAFETY: as the caller vouches.
        unsafe { &*self.place() }
    }

    /// # Safety
    ///
    /// Nobody else reads or writes meanwhile; a value is in the slot, which is empty afterwards.
    #[inline]
    pub(crate) unsafe fn take(&self) -> T {
        // SAFETY: as the caller vouches.
        unsafe { self.place().read() }
    }
}

#[cfg(loom)]
mod model {
    use std::ops::{Deref, DerefMut};

    use super::{AtomicU32, For, Interrupted, Limit, Ordering};

    /// The lock of a channel.
    #[derive(Debug)]
    pub(crate) struct Lock<T>(loom::sync::Mutex<T>);

    pub(crate) struct Guard<'lock, T>(loom::sync::MutexGuard<'lock, T>);

    impl<T> Lock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> Guard<'_, T> {
            Guard(self.0.lock().expect("nobody panics"))
        }
    }

    impl<T> Guard<'_, T> {
        pub(crate) fn wake(self, wake: Wake) {
            drop(self);
            wake.call();
        }
    }

    impl<T> Deref for Guard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }

    impl<T> DerefMut for Guard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            &mut self.0
        }
    }

    /// A thread that may be woken for no reason, and after it has gone on. (Not loom's `park`: in 0.7 an
    /// `unpark` lets a thread go on that waits for a mutex.)
    #[derive(Debug, Clone)]
    pub(crate) struct Sleeper(loom::sync::Arc<loom::sync::Notify>);

    pub(crate) struct Wake(loom::sync::Arc<loom::sync::Notify>);

    impl Sleeper {
        pub(crate) fn current() -> Self {
            Self(loom::sync::Arc::new(loom::sync::Notify::new()))
        }

        pub(crate) fn wake(&self, _word: &AtomicU32) -> Wake {
            Wake(self.0.clone())
        }

        /// With a deadline, it has passed already: so the checker sees every order of a time-out and
        /// what else happens.
        pub(crate) fn sleep(
            &self,
            word: &AtomicU32,
            done: u32,
            _why: (For, usize),
            limit: Limit,
        ) -> Option<Interrupted> {
            loop {
                if word.load(Ordering::Acquire) >= done {
                    return None;
                }
                if limit.deadline != u64::MAX {
                    return Some(Interrupted::TimedOut);
                }
                self.0.wait();
            }
        }
    }

    impl Wake {
        pub(crate) fn call(self) {
            self.0.notify();
        }
    }
}
