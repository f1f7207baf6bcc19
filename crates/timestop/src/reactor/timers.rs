//! Callbacks of later: a heap by time, then by the order of scheduling.
//!
//! A cancelled timer stays in the heap until its time comes, or until more than half of a hundred or more are
//! cancelled: then all of those go. (asyncio does the same.)

use std::cell::Cell;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::Instant;

use super::handle::Scheduled;

/// Fewer cancelled ones than this may stay.
const MANY: usize = 100;

#[derive(Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Timer>>,
    scheduled: u64,
    /// How many in the heap are cancelled: shared with the handles, which count.
    cancelled: Rc<Cell<usize>>,
}

struct Timer {
    when: Instant,
    number: u64,
    callback: Rc<Scheduled>,
}

impl Timers {
    pub(super) fn add(&mut self, when: Instant, callback: Rc<Scheduled>) {
        let cancelled = self.cancelled.get();
        if cancelled > MANY && cancelled > self.heap.len() / 2 {
            self.heap.retain(|timer| !timer.0.callback.is_cancelled());
            self.cancelled.set(0);
        }
        self.scheduled += 1;
        self.heap.push(Reverse(Timer { when, number: self.scheduled, callback }));
    }

    /// Where handles count those that they cancel.
    pub(super) fn cancelled(&self) -> Rc<Cell<usize>> {
        Rc::clone(&self.cancelled)
    }

    /// When the next is due.
    pub(super) fn next(&mut self) -> Option<Instant> {
        while let Some(Reverse(timer)) = self.heap.peek() {
            if !timer.callback.is_cancelled() {
                return Some(timer.when);
            }
            self.heap.pop();
            self.cancelled.set(self.cancelled.get().saturating_sub(1));
        }
        None
    }

    /// Takes one that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Rc<Scheduled>> {
        if self.next()? > now {
            return None;
        }
        let Reverse(timer) = self.heap.pop()?;
        timer.callback.leave_heap();
        Some(timer.callback)
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.when, self.number).cmp(&(other.when, other.number))
    }
}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Timer {}
