//! Where messages lie that nobody has received yet, first in, first out: a ring for a channel with a bound,
//! a list of blocks for one without. Under the lock of the channel.
//!
//! Nothing here allocates or frees: a lock whose waiters spin is no place for that, and a program's own
//! allocator may suspend. A ring is made beforehand. A list that needs one more block says so
//! ([`Push::Needs`]), and the caller comes again with one; a block that has been emptied is kept for that,
//! and a second one is given to the caller to drop.
//!
//! Rejected: one growing ring (moving a million messages takes milliseconds, under the lock).

use std::mem::MaybeUninit;
use std::ptr;

/// Messages of a block.
const BLOCK: usize = 31;

/// A part of an unbounded channel's queue.
#[derive(Debug)]
pub(super) struct Block<T> {
    next: *mut Block<T>,
    cells: [MaybeUninit<T>; BLOCK],
}

impl<T> Block<T> {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self { next: ptr::null_mut(), cells: [const { MaybeUninit::uninit() }; BLOCK] })
    }
}

/// Messages in order.
#[derive(Debug)]
pub(super) enum Buffer<T> {
    Ring { cells: Box<[MaybeUninit<T>]>, head: usize },
    Blocks(Blocks<T>),
}

/// A list of blocks. The tail is not null unless there are none at all.
#[derive(Debug)]
pub(super) struct Blocks<T> {
    head: *mut Block<T>,
    tail: *mut Block<T>,
    /// Where in the head block the first message lies, and in the tail block the next one will.
    first: usize,
    end: usize,
    spare: Option<Box<Block<T>>>,
}

// SAFETY: the blocks are owned.
unsafe impl<T: Send> Send for Blocks<T> {}

/// What came of appending a message.
pub(super) enum Push<T> {
    Done,
    /// There is no block to put it in: try again with one.
    Needs(T),
}

impl<T> Buffer<T> {
    /// For `capacity` messages; for any number with `usize::MAX`.
    pub(super) fn new(capacity: usize) -> Self {
        if capacity == usize::MAX {
            let none = ptr::null_mut();
            return Self::Blocks(Blocks { head: none, tail: none, first: 0, end: 0, spare: None });
        }
        Self::Ring { cells: (0..capacity).map(|_| MaybeUninit::uninit()).collect(), head: 0 }
    }

    /// Appends a message to `len` others. A ring has room; the caller has looked.
    #[inline]
    pub(super) fn push(&mut self, value: T, len: usize) -> Push<T> {
        match self {
            Self::Ring { cells, head } => {
                let room = cells.len() - *head;
                let index = if len < room { *head + len } else { len - room };
                cells[index].write(value);
                Push::Done
            }
            Self::Blocks(blocks) => blocks.push(value),
        }
    }

    /// Gives a block to a list that needed one.
    pub(super) fn supply(&mut self, block: Box<Block<T>>) -> Option<Box<Block<T>>> {
        match self {
            Self::Ring { .. } => Some(block),
            Self::Blocks(blocks) => blocks.spare.replace(block),
        }
    }

    /// Takes the first message; the caller has seen that there is one. What comes with it is to be dropped
    /// outside of the lock.
    #[inline]
    pub(super) fn pop(&mut self) -> (T, Option<Box<Block<T>>>) {
        match self {
            Self::Ring { cells, head } => {
                // SAFETY: `head` is where the first message lies, of which there is one; it is not looked
                // at again.
                let value = unsafe { cells[*head].assume_init_read() };
                *head = if *head + 1 == cells.len() { 0 } else { *head + 1 };
                (value, None)
            }
            Self::Blocks(blocks) => blocks.pop(),
        }
    }
}

impl<T> Blocks<T> {
    #[inline]
    fn push(&mut self, value: T) -> Push<T> {
        if (self.end == BLOCK || self.tail.is_null()) && !self.extend() {
            return Push::Needs(value);
        }
        // SAFETY: not null now, and ours.
        let tail = unsafe { &mut *self.tail };
        tail.cells[self.end].write(value);
        self.end += 1;
        Push::Done
    }

    #[cold]
    fn extend(&mut self) -> bool {
        let Some(mut block) = self.spare.take() else { return false };
        block.next = ptr::null_mut();
        let block = Box::into_raw(block);
        // SAFETY: null, or the last block, which is ours.
        match unsafe { self.tail.as_mut() } {
            Some(tail) => tail.next = block,
            None => {
                self.head = block;
                self.first = 0;
            }
        }
        self.tail = block;
        self.end = 0;
        true
    }

    #[inline]
    fn pop(&mut self) -> (T, Option<Box<Block<T>>>) {
        // SAFETY: there is a message, so there is a block, which is ours.
        let head = unsafe { &mut *self.head };
        // SAFETY: `first` is where the first message lies; it is not looked at again.
        let value = unsafe { head.cells[self.first].assume_init_read() };
        self.first += 1;
        if self.first < BLOCK {
            return (value, None);
        }
        (value, self.shrink())
    }

    /// The head block is empty.
    #[cold]
    fn shrink(&mut self) -> Option<Box<Block<T>>> {
        if ptr::eq(self.head, self.tail) {
            // The only one, and full to its end: it serves again.
            self.first = 0;
            self.end = 0;
            return None;
        }
        // SAFETY: made by `extend`, and no other pointer leads there once the head has moved on.
        let block = unsafe { Box::from_raw(self.head) };
        self.head = block.next;
        self.first = 0;
        if self.spare.is_some() {
            return Some(block);
        }
        self.spare = Some(block);
        None
    }
}

impl<T> Drop for Blocks<T> {
    /// The messages are gone: who closes the last end takes them out.
    fn drop(&mut self) {
        while !self.head.is_null() {
            // SAFETY: made by `extend`, and no other pointer leads there.
            let block = unsafe { Box::from_raw(self.head) };
            self.head = block.next;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Any mixture of appending and taking gives back what came, in order.
    #[test]
    fn first_in_first_out() {
        for capacity in [1, 2, 7, 1000, usize::MAX] {
            let mut buffer = Buffer::new(capacity);
            let (mut sent, mut received, mut seed) = (0_u64, 0_u64, 1_u64);
            for _ in 0..20_000 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let len = (sent - received) as usize;
                let bias = if (seed >> 20) % 512 < 256 { 3 } else { 1 };
                if (seed >> 60) < 4 * bias && len < capacity.min(5_000) {
                    if let Push::Needs(value) = buffer.push(sent, len) {
                        assert!(buffer.supply(Block::new()).is_none());
                        assert!(matches!(buffer.push(value, len), Push::Done));
                    }
                    sent += 1;
                } else if len > 0 {
                    assert_eq!(buffer.pop().0, received);
                    received += 1;
                }
            }
            assert!(received > 1_000);
        }
    }
}
