//! What a queue does, in any order of its items.
//!
//! One lock, which suspends ([`Mutex`]): items are compared under it, by code of others. Whoever finds a
//! partner waiting serves it there and then, as in a channel. So
//!
//! - while one waits to get, there is no item; while one waits to put, there is no room;
//! - while one waits in `join`, there are unfinished items;
//! - nobody waits to get or to put once the queue is shut down;
//! - all comparing comes before the first change: one that panics has changed nothing.

use std::mem::{self, MaybeUninit};

use super::order::{Order, Sealed, Store};
use crate::wait::held::{Held, Mutex};
use crate::wait::sync::{AtomicUsize, For, Interrupted, Limit, Ordering, caller};
use crate::wait::waiter::{End, Queue};

/// Why an item was not put, or none got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Full, or empty.
    NotNow,
    ShutDown,
    Ended(Interrupted),
}

/// A queue.
pub(super) struct Core<T, O: Order<T>> {
    state: Mutex<State<T, O::Store>>,
    /// How many items may be there; `usize::MAX` for any number.
    pub(super) capacity: usize,
    /// Who compares items, under the lock; 0 for nobody.
    comparing: AtomicUsize,
}

/// A queue whose lock is held.
type Locked<'core, T, O> = Held<'core, State<T, <O as Sealed<T>>::Store>>;

/// What a put comes to that would have to wait, or cannot be done.
type NotPut<'core, T, O> = (T, Why, Locked<'core, T, O>);

/// What the lock guards.
struct State<T, S> {
    items: S,
    getters: Queue<T>,
    putters: Queue<T>,
    joiners: Queue<()>,
    /// Items put, less those of which somebody has said that they are done.
    unfinished: usize,
    is_shut_down: bool,
}

impl<T, O: Order<T>> Core<T, O> {
    pub(super) fn new(capacity: usize) -> Self {
        let state = State {
            items: O::Store::default(),
            getters: Queue::new(),
            putters: Queue::new(),
            joiners: Queue::new(),
            unfinished: 0,
            is_shut_down: false,
        };
        Self { state: Mutex::new(state), capacity, comparing: AtomicUsize::new(0) }
    }

    /// # Panics
    ///
    /// Within a comparison of this queue's own items, which would wait for itself.
    fn lock(&self) -> Locked<'_, T, O> {
        // Relaxed: what the caller itself has written.
        if O::COMPARES && self.comparing.load(Ordering::Relaxed) == caller() {
            panic!("timestop::queue: an item's `Ord` uses the queue that compares it");
        }
        self.state.lock()
    }

    /// Runs what may be code of others. Under the lock.
    fn comparing<R>(&self, compare: impl FnOnce() -> R) -> R {
        /// Says that it is over, by a panic too.
        struct Over<'word>(&'word AtomicUsize);

        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(0, Ordering::Relaxed);
            }
        }

        if !O::COMPARES {
            return compare();
        }
        self.comparing.store(caller(), Ordering::Relaxed);
        let _over = Over(&self.comparing);
        compare()
    }

    pub(super) fn address(&self) -> usize {
        self.state.address()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().items.len()
    }

    pub(super) fn unfinished(&self) -> usize {
        self.lock().unfinished
    }

    pub(super) fn is_shut_down(&self) -> bool {
        self.lock().is_shut_down
    }

    /// Puts if that needs no waiting. Gives the item back, with the lock held, where it does.
    fn put_now(&self, item: T) -> Result<(), NotPut<'_, T, O>> {
        let mut state = self.lock();
        if state.is_shut_down {
            return Err((item, Why::ShutDown, state));
        }
        if let Some(getter) = state.getters.take() {
            state.unfinished += 1;
            state.wake(getter.give(item));
            return Ok(());
        }
        if state.items.len() >= self.capacity {
            return Err((item, Why::NotNow, state));
        }
        // If this panics, the lock goes first, then the item.
        let spot = self.comparing(|| state.items.spot(&item));
        state.items.add(item, spot);
        state.unfinished += 1;
        Ok(())
    }

    pub(super) fn try_put(&self, item: T) -> Result<(), (T, Why)> {
        self.put_now(item).map_err(|(item, why, _state)| (item, why))
    }

    /// Puts; waits for room.
    pub(super) fn put(&self, item: T, limit: Limit) -> Result<(), (T, Why)> {
        let (item, state) = match self.put_now(item) {
            Ok(()) => return Ok(()),
            Err((item, Why::NotNow, state)) => (item, state),
            Err((item, why, _state)) => return Err((item, why)),
        };
        let item = MaybeUninit::new(item);
        let (end, slot) =
            self.state.stand(state, item, |state| &mut state.putters, For::Room, limit);
        let why = match end {
            Ok(End::Served) => return Ok(()),
            Ok(End::Closed) => Why::ShutDown,
            Err(why) => Why::Ended(why),
        };
        // SAFETY: nobody has taken the item: who shuts down leaves it, and who ends his wait was not served.
        Err((unsafe { slot.take() }, why))
    }

    /// Gets if that needs no waiting. The lock is still held where it does.
    fn get_now(&self) -> Result<T, (Why, Locked<'_, T, O>)> {
        let mut state = self.lock();
        let way = self.comparing(|| state.items.way(state.putters.first_value()));
        let Some(way) = way else {
            let why = if state.is_shut_down { Why::ShutDown } else { Why::NotNow };
            return Err((why, state));
        };
        let Some(putter) = state.putters.take() else {
            return Ok(state.items.take(way, None));
        };
        let (instead, wake) = putter.take();
        let item = state.items.take(way, Some(instead));
        state.unfinished += 1;
        state.wake(wake);
        Ok(item)
    }

    pub(super) fn try_get(&self) -> Result<T, Why> {
        self.get_now().map_err(|(why, _state)| why)
    }

    /// Gets; waits for an item.
    pub(super) fn get(&self, limit: Limit) -> Result<T, Why> {
        let state = match self.get_now() {
            Ok(item) => return Ok(item),
            Err((Why::NotNow, state)) => state,
            Err((why, _state)) => return Err(why),
        };
        let room = MaybeUninit::uninit();
        let (end, slot) =
            self.state.stand(state, room, |state| &mut state.getters, For::Message, limit);
        match end {
            // SAFETY: who serves leaves an item.
            Ok(End::Served) => Ok(unsafe { slot.take() }),
            Ok(End::Closed) => Err(Why::ShutDown),
            Err(why) => Err(Why::Ended(why)),
        }
    }

    /// One item is done; false if there was none to be done.
    pub(super) fn task_done(&self) -> bool {
        let mut state = self.lock();
        if state.unfinished == 0 {
            return false;
        }
        state.finish(1);
        true
    }

    /// Waits until all items are done.
    pub(super) fn join(&self, limit: Limit) -> Result<(), Interrupted> {
        let state = self.lock();
        if state.unfinished == 0 {
            return Ok(());
        }
        self.state.stand_by(state, |state| &mut state.joiners, For::Event, limit).map(|_end| ())
    }

    pub(super) fn shut_down(&self) {
        self.lock().shut_down();
    }

    /// Shuts down, and takes out what is left, which counts as done.
    pub(super) fn shut_down_and_drain(&self) -> Vec<T> {
        let mut state = self.lock();
        state.shut_down();
        let items = mem::take(&mut state.items);
        // Some may have been called done before they were got.
        let unfinished = state.unfinished;
        state.finish(items.len().min(unfinished));
        drop(state);
        items.into_vec()
    }
}

impl<T, S> State<T, S> {
    fn finish(&mut self, count: usize) {
        self.unfinished -= count;
        if self.unfinished == 0 {
            self.joiners.tell_all();
        }
    }

    fn shut_down(&mut self) {
        self.is_shut_down = true;
        self.getters.close_all();
        self.putters.close_all();
    }
}
