//! Fibers that borrow from the stack of who spawned them. As [`std::thread::scope`].

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Result, Thread};
use std::{fmt, io};

use timestop_runtime::Reason;
use timestop_runtime::futex::{self, Wait};

use crate::spawn::{Builder, Inner};

/// Counts the fibers of a scope.
#[derive(Debug, Default)]
struct Count {
    running: AtomicUsize,
    panicked: AtomicBool,
}

impl Count {
    fn key(&self) -> usize {
        self.running.as_ptr() as usize
    }
}

/// Counts down when a fiber of the scope has ended, result stored and all.
struct Ended(Arc<Count>);

impl Drop for Ended {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            futex::wake(self.0.key(), usize::MAX, futex::ANY);
        }
    }
}

/// Where a fiber of a scope leaves its result.
struct Place<T>(Mutex<Left<T>>);

struct Left<T> {
    result: Option<Result<T>>,
    /// The handle is gone: nobody will take the result.
    abandoned: bool,
}

impl<T> Place<T> {
    fn lock(&self) -> MutexGuard<'_, Left<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A scope to spawn fibers in.
#[derive(Debug)]
pub struct Scope<'scope, 'env: 'scope> {
    count: Arc<Count>,
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// Runs `f`, and returns when it and every fiber that it spawned in the scope have ended.
///
/// Works on fibers and on OS threads. Cancelling the waiting fiber does not end the wait.
///
/// # Panics
///
/// If `f` panics, or a fiber whose handle was not joined.
///
/// # Example
///
/// ```
/// let mut numbers = vec![3, 1, 2];
/// let largest = timestop::scope(|scope| {
///     let handle = scope.spawn(|| *numbers.iter().max().unwrap());
///     handle.join().unwrap()
/// });
/// numbers.push(largest);
/// ```
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope { count: Arc::new(Count::default()), scope: PhantomData, env: PhantomData };
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    let count = &scope.count;
    while count.running.load(Ordering::SeqCst) != 0 {
        let wait = Wait::on(count.key(), Reason::Join);
        futex::wait(wait, || count.running.load(Ordering::SeqCst) != 0, || {});
    }
    match result {
        Err(payload) => resume_unwind(payload),
        Ok(_) if count.panicked.load(Ordering::Relaxed) => panic!("a scoped fiber panicked"),
        Ok(value) => value,
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Spawns a fiber that may borrow what outlives the scope.
    ///
    /// # Panics
    ///
    /// As [`crate::spawn`].
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        Builder::new()
            .spawn_scoped(self, f)
            .unwrap_or_else(|error| panic!("failed to spawn a fiber: {error}"))
    }
}

impl Builder {
    /// Spawns a fiber in a scope.
    ///
    /// # Errors
    ///
    /// As [`Builder::spawn`].
    pub fn spawn_scoped<'scope, F, T>(
        self,
        scope: &'scope Scope<'scope, '_>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        scope.count.running.fetch_add(1, Ordering::SeqCst);
        let ended = Ended(Arc::clone(&scope.count));
        let place = Arc::new(Place(Mutex::new(Left { result: None, abandoned: false })));
        let theirs = Arc::clone(&place);
        let body = move || {
            let ended = ended;
            let result = catch_unwind(AssertUnwindSafe(f));
            let mut left = theirs.lock();
            if left.abandoned {
                drop(left);
                ended.0.panicked.fetch_or(result.is_err(), Ordering::Relaxed);
                drop(result);
            } else {
                left.result = Some(result);
                drop(left);
            }
            // What may hold borrowed values goes before the scope can end.
            drop(theirs);
            drop(ended);
        };
        // SAFETY: `scope` does not return before `running` is 0 again, which `body` sees to after
        // its last use of what it borrows; if it never runs, `ended` is dropped with it.
        let inner = unsafe { self.spawn_unchecked(body) }?;
        Ok(ScopedJoinHandle {
            inner: Some(inner),
            place,
            count: Arc::clone(&scope.count),
            scope: PhantomData,
        })
    }
}

/// Owns the permission to wait for a scoped fiber.
pub struct ScopedJoinHandle<'scope, T> {
    inner: Option<Inner<()>>,
    place: Arc<Place<T>>,
    count: Arc<Count>,
    scope: PhantomData<&'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    fn inner(&self) -> &Inner<()> {
        self.inner.as_ref().expect("only `join`, which consumes the handle, takes it")
    }

    /// As [`crate::JoinHandle::join`].
    ///
    /// # Errors
    ///
    /// The payload of the fiber's panic.
    pub fn join(mut self) -> Result<T> {
        if let Some(inner) = self.inner.take() {
            inner.join()?;
        }
        let result = self.place.lock().result.take();
        result.expect("a finished fiber has left its result")
    }

    /// Whether the fiber has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.inner().is_finished()
    }

    /// As [`crate::JoinHandle::thread`].
    #[must_use]
    pub fn thread(&self) -> &Thread {
        self.inner().thread()
    }

    /// As [`crate::JoinHandle::cancel`].
    pub fn cancel(&self) {
        self.inner().cancel();
    }
}

impl<T> Drop for ScopedJoinHandle<'_, T> {
    fn drop(&mut self) {
        let result = {
            let mut left = self.place.lock();
            left.abandoned = true;
            left.result.take()
        };
        if let Some(Err(_)) = result {
            self.count.panicked.store(true, Ordering::Relaxed);
        }
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle").field("id", &self.inner().id()).finish_non_exhaustive()
    }
}
