//! The global queue: what was made runnable by no worker in particular, and what a full run queue
//! overflows into. First come, first served; workers look at it now and then even when busy.

use std::sync::atomic::{AtomicUsize, Ordering};

use timestop_fiber::lock::Lock;

use crate::fiber::Runnable;

#[derive(Debug)]
struct List {
    first: *mut Runnable,
    last: *mut Runnable,
}

// SAFETY: a queued runnable belongs to the queue.
unsafe impl Send for List {}

/// A linked queue under a lock, its length beside it.
#[derive(Debug)]
pub(crate) struct Injector {
    list: Lock<List>,
    len: AtomicUsize,
}

impl Injector {
    pub(crate) const fn new() -> Self {
        let empty = List { first: std::ptr::null_mut(), last: std::ptr::null_mut() };
        Self { list: Lock::new(empty), len: AtomicUsize::new(0) }
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    pub(crate) fn push(&self, item: *mut Runnable) {
        // SAFETY: the caller gives the item to the queue.
        unsafe { &*item }.next.set(std::ptr::null_mut());
        let mut list = self.list.lock();
        if list.last.is_null() {
            list.first = item;
        } else {
            // SAFETY: queued items are the queue's.
            unsafe { &*list.last }.next.set(item);
        }
        list.last = item;
        self.len.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes up to `most` from the front and calls `each` for them outside the lock.
    pub(crate) fn take(&self, most: usize, mut each: impl FnMut(*mut Runnable)) -> usize {
        if self.len() == 0 {
            return 0;
        }
        let mut list = self.list.lock();
        let mut item = list.first;
        let (first, mut count) = (item, 0);
        while !item.is_null() && count < most {
            count += 1;
            // SAFETY: queued items are the queue's.
            item = unsafe { &*item }.next.get();
        }
        list.first = item;
        if item.is_null() {
            list.last = std::ptr::null_mut();
        }
        self.len.fetch_sub(count, Ordering::SeqCst);
        drop(list);
        let mut item = first;
        for _ in 0..count {
            // SAFETY: ours now; `each` may run or queue it, so its link is read first.
            let next = unsafe { &*item }.next.get();
            each(item);
            item = next;
        }
        count
    }
}
