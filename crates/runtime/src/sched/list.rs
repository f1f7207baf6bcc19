//! A linked queue of runnables, through the link that each of them has.

use crate::fiber::Runnable;

/// First in, first out, but for [`push_front`](Self::push_front).
#[derive(Debug)]
pub(super) struct List {
    first: *mut Runnable,
    last: *mut Runnable,
}

// SAFETY: a queued runnable belongs to the queue.
unsafe impl Send for List {}

impl List {
    pub(super) const EMPTY: Self =
        Self { first: std::ptr::null_mut(), last: std::ptr::null_mut() };

    /// The first of them.
    pub(super) fn first(&self) -> Option<&Runnable> {
        // SAFETY: null, or the queue's.
        unsafe { self.first.as_ref() }
    }

    pub(super) fn push_back(&mut self, item: *mut Runnable) {
        // SAFETY: the caller gives the item to the queue.
        unsafe { &*item }.next.set(std::ptr::null_mut());
        if self.last.is_null() {
            self.first = item;
        } else {
            // SAFETY: queued items are the queue's.
            unsafe { &*self.last }.next.set(item);
        }
        self.last = item;
    }

    pub(super) fn push_front(&mut self, item: *mut Runnable) {
        // SAFETY: the caller gives the item to the queue.
        unsafe { &*item }.next.set(self.first);
        self.first = item;
        if self.last.is_null() {
            self.last = item;
        }
    }

    pub(super) fn pop(&mut self) -> Option<*mut Runnable> {
        if self.first.is_null() {
            return None;
        }
        let item = self.first;
        // SAFETY: queued items are the queue's.
        self.first = unsafe { &*item }.next.get();
        if self.first.is_null() {
            self.last = std::ptr::null_mut();
        }
        Some(item)
    }

    /// Takes up to `most` from the front, as a queue of its own, and says how many.
    pub(super) fn split_front(&mut self, most: usize) -> (Self, usize) {
        let mut taken = Self::EMPTY;
        let mut count = 0;
        let mut item = self.first;
        while !item.is_null() && count < most {
            count += 1;
            taken.last = item;
            // SAFETY: queued items are the queue's.
            item = unsafe { &*item }.next.get();
        }
        if count == 0 {
            return (taken, 0);
        }
        taken.first = self.first;
        // SAFETY: as above.
        unsafe { &*taken.last }.next.set(std::ptr::null_mut());
        self.first = item;
        if item.is_null() {
            self.last = std::ptr::null_mut();
        }
        (taken, count)
    }
}
