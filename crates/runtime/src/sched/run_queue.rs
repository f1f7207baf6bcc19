//! A worker's run queue: a ring that its owner pushes and pops in order, and from which others
//! steal half.
//!
//! `head` and `tail` count for ever and wrap; the ring holds the pointers in `[head, tail)`. Only
//! the owner writes `tail` and the cells. Taking, by the owner or a thief, is one compare-exchange
//! of `head`. A thief copies the cells *before* it claims them: the claim fails if anyone took one
//! meanwhile, and the owner cannot reuse a cell before `head` has passed it.
//!
//! Source: Go's `runqput`/`runqgrab`. Rejected: a Chase-Lev deque, whose owner takes the newest
//! first (unfair to fibers, which are long-lived); `crossbeam-deque`, which allocates as it grows,
//! on a path where the allocator's lock may be held by a suspended fiber.

use crate::sync::{AtomicPtr, AtomicU32, Ordering};

#[cfg(not(loom))]
const CAPACITY: u32 = 256;
#[cfg(loom)]
const CAPACITY: u32 = 4;

/// A bounded queue of pointers with one owner and many thieves.
#[derive(Debug)]
pub(crate) struct RunQueue<T> {
    head: AtomicU32,
    tail: AtomicU32,
    cells: [AtomicPtr<T>; CAPACITY as usize],
}

impl<T> RunQueue<T> {
    /// How many it holds.
    pub(crate) const CAPACITY: usize = CAPACITY as usize;

    pub(crate) fn new() -> Self {
        Self {
            head: AtomicU32::new(0),
            tail: AtomicU32::new(0),
            cells: std::array::from_fn(|_| AtomicPtr::new(std::ptr::null_mut())),
        }
    }

    fn cell(&self, index: u32) -> &AtomicPtr<T> {
        &self.cells[(index % CAPACITY) as usize]
    }

    /// How many are queued; exact for the owner while nobody steals.
    pub(crate) fn len(&self) -> usize {
        let head = self.head.load(Ordering::Acquire);
        self.tail.load(Ordering::Acquire).wrapping_sub(head) as usize
    }

    /// Appends; a full ring gives the item back. Owner only.
    #[inline]
    pub(crate) fn push(&self, item: *mut T) -> Result<(), *mut T> {
        let tail = self.tail.load(Ordering::Relaxed);
        // Acquire: a cell may be overwritten only after its thief has read it.
        if tail.wrapping_sub(self.head.load(Ordering::Acquire)) >= CAPACITY {
            return Err(item);
        }
        self.cell(tail).store(item, Ordering::Relaxed);
        // Release: who sees the new tail sees the cell.
        self.tail.store(tail.wrapping_add(1), Ordering::Release);
        Ok(())
    }

    /// Takes the oldest. Owner only.
    #[inline]
    pub(crate) fn pop(&self) -> Option<*mut T> {
        let tail = self.tail.load(Ordering::Relaxed);
        let mut head = self.head.load(Ordering::Relaxed);
        while head != tail {
            let item = self.cell(head).load(Ordering::Relaxed);
            match self.head.compare_exchange_weak(
                head,
                head.wrapping_add(1),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(item),
                Err(now) => head = now,
            }
        }
        None
    }

    /// Moves the older half to `thief`, whose owner calls, and returns one of them.
    pub(crate) fn steal_into(&self, thief: &Self) -> Option<*mut T> {
        let thief_tail = thief.tail.load(Ordering::Relaxed);
        let room = CAPACITY - thief_tail.wrapping_sub(thief.head.load(Ordering::Acquire));
        loop {
            let head = self.head.load(Ordering::Acquire);
            // Acquire pairs with `push`: the cells below `tail` are written.
            let tail = self.tail.load(Ordering::Acquire);
            let len = tail.wrapping_sub(head);
            if len == 0 {
                return None;
            }
            if len > CAPACITY {
                continue; // head moved on between the two loads
            }
            let count = (len - len / 2).min(room + 1);
            let first = self.cell(head).load(Ordering::Relaxed);
            for offset in 1..count {
                let item = self.cell(head.wrapping_add(offset)).load(Ordering::Relaxed);
                thief.cell(thief_tail.wrapping_add(offset - 1)).store(item, Ordering::Relaxed);
            }
            let claimed = self.head.compare_exchange(
                head,
                head.wrapping_add(count),
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if claimed.is_ok() {
                thief.tail.store(thief_tail.wrapping_add(count - 1), Ordering::Release);
                return Some(first);
            }
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    fn item(number: usize) -> *mut usize {
        (number * 8) as *mut usize
    }

    /// Owner pushes and pops, a thief steals: every item comes out exactly once.
    #[test]
    fn loom_each_item_once() {
        loom::model(|| {
            let queue = Arc::new(RunQueue::new());
            let thief = {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    let own = RunQueue::new();
                    let mut taken = Vec::new();
                    taken.extend(queue.steal_into(&own));
                    while let Some(item) = own.pop() {
                        taken.push(item);
                    }
                    taken
                })
            };
            let mut seen = Vec::new();
            for number in 1..=4 {
                queue.push(item(number)).expect("there is room for four");
                if number == 2 {
                    seen.extend(queue.pop());
                }
            }
            // The ring wraps: a cell that a thief reads is about to be reused.
            if queue.push(item(5)).is_err() {
                seen.push(item(5));
            }
            seen.extend(thief.join().expect("the thief does not panic"));
            while let Some(item) = queue.pop() {
                seen.push(item);
            }
            seen.sort_unstable();
            assert_eq!(seen, (1..=5).map(item).collect::<Vec<_>>());
        });
    }

    /// Two thieves.
    #[test]
    fn loom_two_thieves() {
        loom::model(|| {
            let queue = Arc::new(RunQueue::new());
            for number in 1..=2 {
                queue.push(item(number)).expect("there is room");
            }
            let thieves: Vec<_> = (0..2)
                .map(|_| {
                    let queue = Arc::clone(&queue);
                    thread::spawn(move || queue.steal_into(&RunQueue::new()))
                })
                .collect();
            let mut seen: Vec<_> = queue.pop().into_iter().collect();
            for thief in thieves {
                seen.extend(thief.join().expect("thieves do not panic"));
            }
            while let Some(item) = queue.pop() {
                seen.push(item);
            }
            seen.sort_unstable();
            assert_eq!(seen, [item(1), item(2)]);
        });
    }
}
