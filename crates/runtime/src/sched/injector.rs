//! The global queue: what was made runnable by no worker in particular, and what a full run queue
//! overflows into. First come, first served; workers look at it now and then even when busy.

use std::sync::atomic::{AtomicUsize, Ordering};

use timestop_fiber::lock::Lock;

use super::list::List;
use crate::fiber::Runnable;

/// A linked queue under a lock, its length beside it.
#[derive(Debug)]
pub(crate) struct Injector {
    list: Lock<List>,
    len: AtomicUsize,
}

impl Injector {
    pub(crate) const fn new() -> Self {
        Self { list: Lock::new(List::EMPTY), len: AtomicUsize::new(0) }
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    pub(crate) fn push(&self, item: *mut Runnable) {
        let mut list = self.list.lock();
        list.push_back(item);
        self.len.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes up to `most` from the front and calls `each` for them outside the lock.
    pub(crate) fn take(&self, most: usize, mut each: impl FnMut(*mut Runnable)) -> usize {
        if self.len() == 0 {
            return 0;
        }
        let mut list = self.list.lock();
        let (mut taken, count) = list.split_front(most);
        self.len.fetch_sub(count, Ordering::SeqCst);
        drop(list);
        while let Some(item) = taken.pop() {
            each(item);
        }
        count
    }
}
