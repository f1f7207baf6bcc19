//! How the monitor sleeps, and how it is woken before its time.
//!
//! It has three ways to sleep, by what is going on:
//!
//! | way | when | who ends it early |
//! |---|---|---|
//! | ASLEEP | all workers sleep | the first worker to wake |
//! | DOZING | one computes, nobody waits | whoever makes a fiber runnable |
//! | POLLING | all workers compute: it waits in epoll in their place | the same, a worker that sleeps, an event |
//!
//! Else it is AWAKE and looks each millisecond. In the first the word must not be missed and is
//! ordered like the idle word; in the others a miss costs a few milliseconds, so the one load on the
//! path of every wake-up is plain.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::sched::Runtime;
use crate::sys;

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
const DOZING: u32 = 2;
const POLLING: u32 = 3;

/// What the monitor sleeps on.
#[derive(Debug)]
pub(crate) struct Bell(AtomicU32);

impl Bell {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(AWAKE))
    }

    /// A worker is awake: so must the monitor be.
    #[inline]
    pub(crate) fn ring_if_asleep(&self) {
        if self.0.load(Ordering::SeqCst) == ASLEEP && self.0.swap(AWAKE, Ordering::SeqCst) == ASLEEP {
            self.wake();
        }
    }

    /// Something became runnable: the monitor, which thought that nobody waits, must look.
    #[inline]
    pub(crate) fn nudge(&self) {
        if self.0.load(Ordering::Relaxed) >= DOZING {
            self.end_early();
        }
    }

    /// A worker is about to sleep and found the monitor in epoll: it shall leave that to a worker.
    pub(crate) fn stop_polling(&self) {
        if self.0.load(Ordering::SeqCst) == POLLING {
            self.end_early();
        }
    }

    #[cold]
    fn end_early(&self) {
        match self.0.swap(AWAKE, Ordering::SeqCst) {
            DOZING | ASLEEP => self.wake(),
            POLLING => crate::sched::runtime().reactor.interrupt(),
            _ => {}
        }
    }

    fn wake(&self) {
        sys::futex_wake(self.0.as_ptr() as usize, 1);
    }

    /// Sleeps while all workers do, unless `idle` finds that one does not; at most until `until`. False
    /// if all the while none woke.
    pub(super) fn sleep(&self, until: Option<u64>, idle: impl FnOnce() -> bool) -> bool {
        self.0.store(ASLEEP, Ordering::SeqCst);
        let idle = idle();
        if idle {
            let _ = sys::futex_wait(&self.0, ASLEEP, until);
        }
        let rung = self.0.swap(AWAKE, Ordering::SeqCst) != ASLEEP;
        rung || !idle
    }

    /// Sleeps until something becomes runnable, or until `until`.
    pub(super) fn doze(&self, until: u64) {
        self.0.store(DOZING, Ordering::SeqCst);
        let _ = sys::futex_wait(&self.0, DOZING, Some(until));
        self.0.store(AWAKE, Ordering::SeqCst);
    }

    /// Waits in epoll until `until`. False if a worker is there.
    pub(super) fn poll(&self, runtime: &Runtime, until: u64) -> bool {
        self.0.store(POLLING, Ordering::SeqCst);
        let stays = || self.0.load(Ordering::SeqCst) == POLLING;
        let polled = runtime.reactor.poll_blocking(Some(until), None, stays, || true);
        self.0.store(AWAKE, Ordering::SeqCst);
        polled
    }
}
