//! Fibers that are woken together: by a look at epoll, or because their time has come.
//!
//! The record and the stack of a fiber that has slept are in no cache near, and each is on a page of its own. One
//! after the other, a processor would wait for each. So they are gathered, [`AT_ONCE`], and it fetches the rest
//! while it works on the first.

use super::{Worker, notify, unpark_on};
use crate::fiber;
use crate::waker::Target;

/// As many as a core has requests to memory under way, roughly.
const AT_ONCE: usize = 16;

/// Gathers fibers to be woken, at the end of `worker`'s queue or of the global one. All are by the time it is
/// dropped.
#[derive(Debug)]
pub(crate) struct Wakes<'a> {
    worker: Option<&'a Worker>,
    fibers: [Option<Target>; AT_ONCE],
    count: usize,
}

impl<'a> Wakes<'a> {
    pub(crate) fn new(worker: Option<&'a Worker>) -> Self {
        Self { worker, fibers: [None; AT_ONCE], count: 0 }
    }

    /// One that was summoned.
    pub(crate) fn add(&mut self, fiber: Target) {
        if self.count == AT_ONCE {
            self.wake();
        }
        fiber::prefetch(fiber.record());
        self.fibers[self.count] = Some(fiber);
        self.count += 1;
    }

    fn wake(&mut self) {
        for fiber in self.fibers[..self.count].iter().filter_map(|target| (*target)?.called()) {
            unpark_on(self.worker, fiber);
        }
        if self.count > 0 && self.worker.is_none() {
            notify();
        }
        self.count = 0;
    }
}

impl Drop for Wakes<'_> {
    fn drop(&mut self) {
        self.wake();
    }
}
