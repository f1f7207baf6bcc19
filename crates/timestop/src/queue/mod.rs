//! Queues, as Python's `queue` has them, between fibers and OS threads in any mixture.
//!
//! In Python you write
//!
//! ```python
//! tasks = queue.Queue(maxsize=10)
//!
//! def worker():
//!     while True:
//!         task = tasks.get()
//!         work(task)
//!         tasks.task_done()
//!
//! threading.Thread(target=worker, daemon=True).start()
//! for task in range(30):
//!     tasks.put(task)
//! tasks.join()                            # until every task is done
//! ```
//!
//! Here you write
//!
//! ```
//! use std::sync::Arc;
//! use timestop::queue::Queue;
//! # fn work(_: i32) {}
//!
//! let tasks = Arc::new(Queue::new(10));
//! let theirs = Arc::clone(&tasks);
//! timestop::spawn(move || {
//!     for task in &*theirs {              // until the queue is shut down
//!         work(task);
//!         theirs.task_done();
//!     }
//! });
//! for task in 0..30 {
//!     tasks.put(task).unwrap();
//! }
//! tasks.join().unwrap();                  // until every task is done
//! tasks.shutdown();
//! ```
//!
//! | Python | here |
//! |---|---|
//! | `Queue(maxsize)`, `LifoQueue`, `PriorityQueue` | [`Queue::new`]`(maxsize)`, [`LifoQueue`], [`PriorityQueue`]; 0 for any number |
//! | `put(item)`, `put(item, timeout=t)`, `put_nowait(item)` | [`put`](AnyQueue::put), [`put_timeout`](AnyQueue::put_timeout), [`try_put`](AnyQueue::try_put) |
//! | `get()`, `get(timeout=t)`, `get_nowait()` | [`get`](AnyQueue::get), [`get_timeout`](AnyQueue::get_timeout), [`try_get`](AnyQueue::try_get) |
//! | `task_done()`, `join()` | [`task_done`](AnyQueue::task_done), [`join`](AnyQueue::join), [`join_timeout`](AnyQueue::join_timeout) |
//! | `shutdown()`, `shutdown(immediate=True)` | [`shutdown`](AnyQueue::shutdown), [`shutdown_now`](AnyQueue::shutdown_now) |
//! | `qsize()`, `empty()`, `full()` | [`len`](AnyQueue::len), [`is_empty`](AnyQueue::is_empty), [`is_full`](AnyQueue::is_full) |
//! | `Full`, `Empty`, `ShutDown` | [`PutError`], [`GetError`]; the item comes back |
//! | `SimpleQueue` | [`channel::unbounded`](crate::channel::unbounded) |
//!
//! **Queue or channel.** A [channel](crate::channel) has two ends, is closed when either is gone, and can be
//! selected from. A queue is one thing that all hold, as a lock is: by reference in a
//! [`scope`](crate::scope), in an [`Arc`](std::sync::Arc), in a `static`. It is shut down by whoever says
//! so, has its items in other orders too, and knows when all of them are done.
//!
//! **Cancelling.** Waits end when the fiber is [cancelled](crate::JoinHandle::cancel) or past its
//! [time limit](crate::timeout): with an error, which for `put` holds the item. As with channels, such a
//! fiber gets nothing, even where there is an item, which stays; and it puts where it need not wait.
//! `try_…` operations go on as ever.
//!
//! **Threads.** What may not leave its thread cannot be put into a queue that others reach. This does not
//! compile:
//!
//! ```compile_fail,E0277
//! use std::rc::Rc;
//! use timestop::queue::Queue;
//!
//! let queue = Queue::new(0);
//! queue.put(Rc::new(1)).unwrap();
//! timestop::scope(|scope| {
//!     scope.spawn(|| queue.get());        // `Rc<i32>` cannot be sent between threads safely
//! });
//! ```
//!
//! How it is made: `docs/queues.md`.

mod core;
mod error;
mod heap;
mod order;

use std::fmt;
use std::time::Duration;

use self::core::{Core, Why};
use crate::wait::sleeper::{in_time, interrupted};
use crate::wait::sync::Limit;
use crate::wait::time;

pub use crate::wait::sync::Interrupted;
pub use error::{GetError, PutError};
pub use order::{Fifo, Lifo, Order, Smallest};

/// A queue: first in, first out. Who waited longest is served first.
///
/// Source: Python's `queue.Queue`.
pub type Queue<T> = AnyQueue<T, Fifo>;

/// A queue whose last item comes out first.
///
/// Source: Python's `queue.LifoQueue`.
pub type LifoQueue<T> = AnyQueue<T, Lifo>;

/// A queue whose smallest item comes out first; of equal ones, the one that was put first. For the largest
/// first, put [`Reverse`](std::cmp::Reverse)`(item)`.
///
/// The items' [`Ord`] is called by `put` and `get`, while others wait for the queue: so it should be short.
/// It may block; it may panic, and then the operation has not happened: nothing has changed, the queue goes
/// on, and an item that was being put is dropped. Whoever gets may have to compare an item of one who waits
/// to put. An `Ord` that uses the queue itself panics.
///
/// Cost: a few comparisons for `put` (on average; at most as many as the number of items has bits), twice as
/// many as the number has bits for `get`.
///
/// Source: Python's `queue.PriorityQueue`, but for equals: there, they are compared until they differ, which
/// is why one puts `(priority, count, item)`.
///
/// ```
/// use timestop::queue::PriorityQueue;
///
/// let queue = PriorityQueue::new(0);
/// for item in [(2, "code"), (1, "eat"), (3, "sleep")] {
///     queue.put(item).unwrap();
/// }
/// assert_eq!(queue.get(), Ok((1, "eat")));
/// ```
pub type PriorityQueue<T> = AnyQueue<T, Smallest>;

/// A [`Queue`], [`LifoQueue`] or [`PriorityQueue`].
pub struct AnyQueue<T, O: Order<T>>(Core<T, O>);

impl<T, O: Order<T>> AnyQueue<T, O> {
    /// A queue with room for `maxsize` items; for any number with 0.
    #[must_use]
    pub fn new(maxsize: usize) -> Self {
        Self(Core::new(if maxsize == 0 { usize::MAX } else { maxsize }))
    }

    /// Puts an item. Waits while there is no room for it.
    ///
    /// Cost: a lock, some ten nanoseconds, where it need not wait.
    ///
    /// # Errors
    ///
    /// The queue is shut down, before or meanwhile, or the wait was ended. The error holds the item.
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_within(item, Limit::NONE)
    }

    /// Puts an item if there is room.
    ///
    /// # Errors
    ///
    /// There is none ([`PutError::Full`]), or the queue is shut down. The error holds the item.
    #[doc(alias = "put_nowait")]
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        self.0.try_put(item).map_err(|(item, why)| PutError::new(item, why))
    }

    /// As [`put`](Self::put), and waits so long at most.
    ///
    /// # Errors
    ///
    /// As `put`; and there was no room in time ([`PutError::Full`]).
    pub fn put_timeout(&self, item: T, limit: Duration) -> Result<(), PutError<T>> {
        self.put_within(item, Limit::until(time::from_now(limit)))
    }

    fn put_within(&self, item: T, limit: Limit) -> Result<(), PutError<T>> {
        self.0.put(item, limit).map_err(|(item, why)| PutError::new(item, blame(why)))
    }

    /// Gets an item; waits until there is one.
    ///
    /// # Errors
    ///
    /// The queue is shut down and empty, or the wait was ended, or is not begun since the fiber is to end.
    pub fn get(&self) -> Result<T, GetError> {
        self.get_within(Limit::NONE)
    }

    /// Gets an item if there is one. Not ended by cancelling.
    ///
    /// # Errors
    ///
    /// There is none ([`GetError::Empty`]), or the queue is shut down and empty.
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<T, GetError> {
        self.0.try_get().map_err(GetError::from)
    }

    /// As [`get`](Self::get), and waits so long at most.
    ///
    /// # Errors
    ///
    /// As `get`; and none has come in time ([`GetError::Empty`]).
    pub fn get_timeout(&self, limit: Duration) -> Result<T, GetError> {
        self.get_within(Limit::until(time::from_now(limit)))
    }

    fn get_within(&self, limit: Limit) -> Result<T, GetError> {
        if let Some(why) = interrupted() {
            return Err(why.into());
        }
        self.0.get(limit).map_err(|why| blame(why).into())
    }

    /// The items as they come, until the queue is shut down and empty, or the fiber is to end.
    pub fn iter(&self) -> Iter<'_, T, O> {
        Iter(self)
    }

    /// Says that one of the items that were got has been dealt with. Who waits in [`join`](Self::join) goes
    /// on when that has been said of each item that was put.
    ///
    /// # Panics
    ///
    /// If it has been said more often than items were put. (Python: `ValueError`.)
    #[track_caller]
    pub fn task_done(&self) {
        assert!(
            self.0.task_done(),
            "timestop::queue: task_done() called more often than items were put"
        );
    }

    /// How many items have been put of which nobody has said that they are [done](Self::task_done).
    #[doc(alias = "unfinished_tasks")]
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.0.unfinished()
    }

    /// Waits until each item that was put has been got and is [done](Self::task_done). Who is released has
    /// seen that; there may be new ones by now.
    ///
    /// # Errors
    ///
    /// The fiber was cancelled, or is past its time limit, and there is something to wait for.
    pub fn join(&self) -> Result<(), Interrupted> {
        self.0.join(Limit::NONE)
    }

    /// As [`join`](Self::join), and waits so long at most; false if that was not enough.
    ///
    /// # Errors
    ///
    /// As `join`.
    pub fn join_timeout(&self, limit: Duration) -> Result<bool, Interrupted> {
        in_time(self.0.join(Limit::until(time::from_now(limit))))
    }

    /// Shuts the queue down: nothing is put any more, and who waits to put gets the item back. What is in it
    /// can still be got; then there is [`GetError::ShutDown`].
    ///
    /// Source: Python 3.13's `shutdown()`.
    pub fn shutdown(&self) {
        self.0.shut_down();
    }

    /// Shuts the queue down, and returns what is left in it, which counts as [done](Self::task_done): in the
    /// order in which it would have come out, but for a [`PriorityQueue`], whose items come in none.
    ///
    /// Who has got an item before still has to say that it is done, for [`join`](Self::join) to go on.
    ///
    /// Source: Python 3.13's `shutdown(immediate=True)`, which drops the items.
    #[doc(alias = "immediate")]
    pub fn shutdown_now(&self) -> Vec<T> {
        self.0.shut_down_and_drain()
    }

    /// Whether the queue is shut down. There may be items in it.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.0.is_shut_down()
    }

    /// How many items there are. That may have changed when one looks at the answer.
    #[doc(alias = "qsize")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no items, as [`len`](Self::len) has it.
    #[doc(alias = "empty")]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room, as [`len`](Self::len) has it.
    #[doc(alias = "full")]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() >= self.0.capacity
    }

    /// For how many items there is room; `None` for any number.
    #[doc(alias = "maxsize")]
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        (self.0.capacity != usize::MAX).then_some(self.0.capacity)
    }
}

/// A wait's time has passed: the fiber's, or only that of the call?
fn blame(why: Why) -> Why {
    if why != Why::Ended(Interrupted::TimedOut) {
        return why;
    }
    interrupted().map_or(Why::NotNow, Why::Ended)
}

/// With room for any number of items.
impl<T, O: Order<T>> Default for AnyQueue<T, O> {
    fn default() -> Self {
        Self::new(0)
    }
}

impl<T, O: Order<T>> fmt::Debug for AnyQueue<T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({:#x})", self.0.address())
    }
}

/// Waits for each item; ends with the queue. Made by [`AnyQueue::iter`].
pub struct Iter<'queue, T, O: Order<T>>(&'queue AnyQueue<T, O>);

impl<T, O: Order<T>> Iterator for Iter<'_, T, O> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.get().ok()
    }
}

impl<'queue, T, O: Order<T>> IntoIterator for &'queue AnyQueue<T, O> {
    type Item = T;
    type IntoIter = Iter<'queue, T, O>;

    fn into_iter(self) -> Iter<'queue, T, O> {
        self.iter()
    }
}

impl<T, O: Order<T>> fmt::Debug for Iter<'_, T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Iter({:?})", self.0)
    }
}
