//! What is runnable but not in its worker's turn: fibers of high and low priority, and *hogs*, those
//! that were preempted and have not blocked since.
//!
//! A run queue belongs to a worker and is served in turn; these queues are everybody's. High
//! goes before all run queues. Hogs and low come when there is nothing else to run, and are owed a
//! share of the time even if there always is. A hog that made way for somebody goes on with the rest of
//! its slice before the others, in the order in which they did so: it may be half through somebody's request.
//! One whose slice is over queues at the end, so that hogs share.
//!
//! Among the hogs stand those that *give way*: they have yielded many times, perhaps for what a hog
//! holds. When all hogs in front of such a one have been taken it is in turn again with everybody else.
//!
//! One lock for all: what waits here runs for milliseconds, so it is taken seldom.

use std::sync::atomic::{AtomicUsize, Ordering};

use timestop_fiber::lock::Lock;

use super::list::List;
use crate::fiber::{Priority, Runnable};

/// Of this many turns, one is for low priority while hogs of normal priority wait too. Erlang's ratio.
const LOW_TURN: u32 = 8;

#[derive(Debug)]
struct Lists {
    high: List,
    /// Hogs that made way for somebody.
    made_way: List,
    hogs: List,
    low: List,
    turns: u32,
}

impl Lists {
    fn has_hogs(&self) -> bool {
        self.made_way.first().is_some() || self.hogs.first().is_some()
    }

    fn pop_hog(&mut self) -> Option<*mut Runnable> {
        self.made_way.pop().or_else(|| self.hogs.pop())
    }
}

/// The queues, their lengths beside them.
#[derive(Debug)]
pub(crate) struct Backlog {
    lists: Lock<Lists>,
    high: AtomicUsize,
    /// Hogs and low together.
    waiting: AtomicUsize,
}

impl Backlog {
    pub(crate) const fn new() -> Self {
        let [high, made_way, hogs, low] = [List::EMPTY; 4];
        let lists = Lists { high, made_way, hogs, low, turns: 0 };
        Self { lists: Lock::new(lists), high: AtomicUsize::new(0), waiting: AtomicUsize::new(0) }
    }

    /// Whether a fiber of high priority waits.
    #[inline]
    pub(crate) fn has_high(&self) -> bool {
        self.high.load(Ordering::Relaxed) != 0
    }

    /// Whether a hog or a fiber of low priority waits.
    #[inline]
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) != 0
    }

    /// Whether anything waits here at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.high.load(Ordering::SeqCst) == 0 && !self.is_waiting()
    }

    /// How many wait here.
    pub(crate) fn len(&self) -> usize {
        self.high.load(Ordering::Relaxed) + self.waiting.load(Ordering::Relaxed)
    }

    /// Queues a fiber that is not of normal priority.
    pub(super) fn push(&self, item: *mut Runnable, priority: Priority) {
        let mut lists = self.lists.lock();
        if priority == Priority::High {
            lists.high.push_back(item);
            self.high.fetch_add(1, Ordering::SeqCst);
        } else {
            lists.low.push_back(item);
            self.waiting.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Queues behind all hogs one that gives way to them. False if there are none: it is in turn.
    pub(super) fn push_behind(&self, item: *mut Runnable, priority: Priority) -> bool {
        let mut lists = self.lists.lock();
        if !lists.has_hogs() && lists.low.first().is_none() {
            return false;
        }
        if priority == Priority::Low {
            lists.low.push_back(item);
        } else {
            // SAFETY: the caller gives the item to the queue.
            unsafe { &*item }.gives_way.set(true);
            lists.hogs.push_back(item);
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        true
    }

    /// Queues a hog that made way for somebody, or one whose slice is over.
    pub(super) fn push_hog(&self, item: *mut Runnable, priority: Priority, made_way: bool) {
        let mut lists = self.lists.lock();
        match (priority, made_way) {
            (Priority::Low, true) => lists.low.push_front(item),
            (Priority::Low, false) => lists.low.push_back(item),
            (_, true) => lists.made_way.push_back(item),
            (_, false) => lists.hogs.push_back(item),
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes a fiber of high priority.
    pub(super) fn pop_high(&self) -> Option<*mut Runnable> {
        let item = self.lists.lock().high.pop()?;
        self.high.fetch_sub(1, Ordering::SeqCst);
        Some(item)
    }

    /// Takes a hog, or in its turn a fiber of low priority. Calls `freed` for those that gave way, and are
    /// in turn from now on.
    pub(super) fn pop(&self, mut freed: impl FnMut(*mut Runnable)) -> Option<*mut Runnable> {
        if !self.is_waiting() {
            return None;
        }
        let mut lists = self.lists.lock();
        lists.turns = lists.turns.wrapping_add(1);
        let low_first = lists.turns.is_multiple_of(LOW_TURN);
        let item = if low_first {
            lists.low.pop().or_else(|| lists.pop_hog())
        } else {
            lists.pop_hog().or_else(|| lists.low.pop())
        }?;
        let mut count = 1;
        let mut in_turn = List::EMPTY;
        // They give way to low priority too, of which the holder of a lock may be.
        while lists.low.first().is_none()
            && lists.made_way.first().is_none()
            && lists.hogs.first().is_some_and(|first| first.gives_way.get())
            && let Some(one) = lists.hogs.pop()
        {
            in_turn.push_back(one);
            count += 1;
        }
        self.waiting.fetch_sub(count, Ordering::SeqCst);
        drop(lists);
        // SAFETY: taken from the queue: ours.
        let stop = |item: *mut Runnable| unsafe { &*item }.gives_way.set(false);
        stop(item);
        while let Some(one) = in_turn.pop() {
            stop(one);
            freed(one);
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fiber::Task;

    fn items<const N: usize>() -> [*mut Runnable; N] {
        // Never freed: they stand for records.
        std::array::from_fn(|_| Box::into_raw(Box::new(Task::new(|_| {}))).cast())
    }

    #[test]
    fn hogs_take_turns_and_who_made_way_goes_on_first() {
        let backlog = Backlog::new();
        let [a, b, c, d] = items();
        backlog.push_hog(a, Priority::Normal, false);
        backlog.push_hog(b, Priority::Normal, false);
        backlog.push_hog(c, Priority::Normal, true);
        backlog.push_hog(d, Priority::Normal, true);
        let pop = || backlog.pop(|_| panic!("nobody gives way"));
        assert_eq!([pop(), pop(), pop(), pop()], [Some(c), Some(d), Some(a), Some(b)]);
        assert!(backlog.is_empty());
        assert_eq!(pop(), None);
    }

    #[test]
    fn who_gives_way_waits_for_the_hogs_before_it_and_for_no_others() {
        let backlog = Backlog::new();
        let [hog, other, one, two, late] = items();
        assert!(!backlog.push_behind(one, Priority::Normal), "there is nobody to give way to");
        backlog.push_hog(hog, Priority::Normal, false);
        assert!(backlog.push_behind(one, Priority::Normal));
        assert!(backlog.push_behind(two, Priority::Normal));
        backlog.push_hog(other, Priority::Normal, false);
        assert!(backlog.push_behind(late, Priority::Normal));
        let mut freed = Vec::new();
        assert_eq!(backlog.pop(|item| freed.push(item)), Some(hog));
        assert_eq!(std::mem::take(&mut freed), [one, two]);
        assert!(!backlog.is_empty());
        assert_eq!(backlog.pop(|item| freed.push(item)), Some(other));
        assert_eq!(freed, [late]);
        assert!(backlog.is_empty());
        assert!(!backlog.push_behind(one, Priority::Normal));
    }

    #[test]
    fn who_gives_way_does_so_to_low_priority() {
        let backlog = Backlog::new();
        let [low, one] = items();
        backlog.push(low, Priority::Low);
        let mut takes = 0;
        // Again and again, as who spins for what the other holds.
        loop {
            assert!(backlog.push_behind(one, Priority::Normal));
            takes += 1;
            let mut freed = 0;
            if backlog.pop(|_| freed += 1) == Some(low) {
                assert_eq!(freed, 1);
                break;
            }
        }
        assert_eq!(takes, LOW_TURN);
        assert!(backlog.is_empty());
    }

    #[test]
    fn low_priority_gets_one_turn_in_eight() {
        let backlog = Backlog::new();
        let hogs = items::<16>();
        let [low] = items();
        backlog.push(low, Priority::Low);
        for hog in hogs {
            backlog.push_hog(hog, Priority::Normal, false);
        }
        let order: Vec<_> = std::iter::from_fn(|| backlog.pop(|_| {})).collect();
        assert_eq!(order.len(), 17);
        assert_eq!(order.iter().position(|item| *item == low), Some(LOW_TURN as usize - 1));
    }

    #[test]
    fn high_priority_is_a_queue_of_its_own() {
        let backlog = Backlog::new();
        let [first, second] = items();
        backlog.push(first, Priority::High);
        backlog.push(second, Priority::High);
        assert!(backlog.has_high() && !backlog.is_waiting());
        assert_eq!([backlog.pop_high(), backlog.pop_high()], [Some(first), Some(second)]);
        assert_eq!(backlog.pop_high(), None);
    }
}
