//! Atomics, a lock and a word to sleep on: the real ones, or loom's where the model checker runs.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};
pub(crate) use std::sync::atomic::Ordering;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};

#[cfg(not(loom))]
pub(crate) use timestop_fiber::lock::Lock;

/// A sequentially consistent fence.
///
/// The compiler makes `mfence` of the standard one, 12 ns here; any locked instruction is as full a
/// barrier on x86-64 (Intel SDM 3A §8.2.5, AMD APM 2 §7.4.2) and costs 3.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) fn full_fence() {
    // SAFETY: adds nothing to a word of the stack. Not `nomem`: the compiler moves no access across.
    unsafe { std::arch::asm!("lock or dword ptr [rsp], 0", options(nostack)) };
}

/// A sequentially consistent fence, as loom models it.
#[cfg(loom)]
pub(crate) fn full_fence() {
    loom::sync::atomic::fence(Ordering::SeqCst);
}

/// A word that a thread sleeps on while it has a certain value.
#[derive(Debug)]
pub(crate) struct Futex {
    word: AtomicU32,
    /// The kernel's queue of sleepers, and the lock under which it looks at the word.
    #[cfg(loom)]
    queue: (loom::sync::Mutex<()>, loom::sync::Condvar),
}

impl std::ops::Deref for Futex {
    type Target = AtomicU32;

    #[inline(always)]
    fn deref(&self) -> &AtomicU32 {
        &self.word
    }
}

#[cfg(not(loom))]
impl Futex {
    pub(crate) fn new(value: u32) -> Self {
        Self { word: AtomicU32::new(value) }
    }

    /// Sleeps if the word has that value, until woken or `deadline`; may return without. False if it is
    /// past the deadline.
    pub(crate) fn wait(&self, value: u32, deadline: Option<u64>) -> bool {
        crate::sys::futex_wait(&self.word, value, deadline) != Err(libc::ETIMEDOUT)
    }

    /// Wakes a sleeper. (What it has to see must have been stored: this orders nothing.)
    pub(crate) fn wake(&self) {
        crate::sys::futex_wake(self.word.as_ptr() as usize, 1);
    }
}

#[cfg(loom)]
impl Futex {
    pub(crate) fn new(value: u32) -> Self {
        Self { word: AtomicU32::new(value), queue: Default::default() }
    }

    /// The kernel looks at the word and queues the sleeper in one step. Who is never woken is a deadlock
    /// to loom.
    pub(crate) fn wait(&self, value: u32, deadline: Option<u64>) -> bool {
        assert!(deadline.is_none(), "models know no time");
        let queue = self.queue.0.lock().expect("nobody panics");
        if self.word.load(Ordering::Relaxed) == value {
            drop(self.queue.1.wait(queue).expect("nobody panics"));
        }
        true
    }

    pub(crate) fn wake(&self) {
        let _queue = self.queue.0.lock().expect("nobody panics");
        self.queue.1.notify_one();
    }
}

/// The runtime's own mutex, as loom models it.
#[cfg(loom)]
#[derive(Debug)]
pub(crate) struct Lock<T>(loom::sync::Mutex<T>);

#[cfg(loom)]
impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
        self.0.lock().expect("nobody panics")
    }
}
