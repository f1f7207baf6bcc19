//! Waiting until a number of things are done.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::JoinHandle;
use crate::wait::held::Mutex;
use crate::wait::sleeper::in_time;
use crate::wait::sync::{For, Interrupted, Limit};
use crate::wait::time;
use crate::wait::waiter::Queue;

/// Waits until all that has been added is done. A clone is the same group.
///
/// In Go you write
///
/// ```go
/// var group sync.WaitGroup
/// for _, page := range pages {
///     group.Go(func() { fetch(page) })
/// }
/// group.Wait()
/// ```
///
/// Here you write
///
/// ```
/// # let pages = ["a", "b"]; fn fetch(_: &str) {}
/// let group = timestop::sync::WaitGroup::new();
/// for page in pages {
///     group.spawn(move || fetch(page));
/// }
/// group.wait().unwrap();
/// ```
///
/// **Reuse.** Whoever waits is released in the moment when the count becomes 0, and does not look again. So
/// a group can be used again at any time, where Go asks that all waits have returned before. What is added
/// while others wait they wait for as well, unless the count is 0 in between.
///
/// Fibers that borrow, and their values: [`scope`](crate::scope). Fibers that may fail:
/// [`group`](super::group).
#[derive(Clone)]
pub struct WaitGroup(Arc<Mutex<State>>);

struct State {
    count: usize,
    waiters: Queue<()>,
}

impl WaitGroup {
    /// A group with nothing to wait for.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State { count: 0, waiters: Queue::new() })))
    }

    /// There are `count` things more to be done.
    ///
    /// # Panics
    ///
    /// If there are too many to be counted.
    #[track_caller]
    pub fn add(&self, count: usize) {
        let mut state = self.0.lock();
        let sum = state.count.checked_add(count);
        let Some(sum) = sum else {
            drop(state);
            panic!("timestop::sync::WaitGroup: too many to be counted");
        };
        state.count = sum;
    }

    /// One of them is done. With the last one, all who wait go on.
    ///
    /// # Panics
    ///
    /// If none was left. (Go: `negative WaitGroup counter`.)
    #[track_caller]
    pub fn done(&self) {
        let mut state = self.0.lock();
        if state.count == 0 {
            drop(state);
            panic!("timestop::sync::WaitGroup: done() called more often than was added");
        }
        state.count -= 1;
        if state.count == 0 {
            state.waiters.tell_all();
        }
    }

    /// Adds one, and runs `f` on a new fiber, at whose end it is done, by a panic too.
    ///
    /// # Panics
    ///
    /// As [`crate::spawn`].
    #[doc(alias = "go")]
    pub fn spawn<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        struct Done(WaitGroup);

        impl Drop for Done {
            fn drop(&mut self) {
                self.0.done();
            }
        }

        self.add(1);
        let done = Done(self.clone());
        crate::spawn(move || {
            let _done = done;
            f()
        })
    }

    /// How many things are not done yet.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.lock().count
    }

    /// Waits until all is done.
    ///
    /// # Errors
    ///
    /// The fiber was cancelled, or is past its time limit, and there is something to wait for.
    pub fn wait(&self) -> Result<(), Interrupted> {
        self.wait_within(Limit::NONE)
    }

    /// As [`wait`](Self::wait), and waits so long at most; false if that was not enough.
    ///
    /// # Errors
    ///
    /// As `wait`.
    pub fn wait_timeout(&self, limit: Duration) -> Result<bool, Interrupted> {
        in_time(self.wait_within(Limit::until(time::from_now(limit))))
    }

    fn wait_within(&self, limit: Limit) -> Result<(), Interrupted> {
        let state = self.0.lock();
        if state.count == 0 {
            return Ok(());
        }
        self.0.stand_by(state, |state| &mut state.waiters, For::Event, limit).map(|_end| ())
    }
}

impl Default for WaitGroup {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WaitGroup({} to wait for)", self.count())
    }
}
