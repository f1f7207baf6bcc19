//! A fiber as a future, and futures on fibers.
//!
//! Dropping the future of a fiber lets the fiber run on, as dropping its handle does: a fiber is a thread, and
//! may hold what nobody else can give back. Who wants asyncio's "to cancel who waits is to cancel what it waits
//! for" says so: [`JoinFuture::cancel_on_drop`].

use std::fmt;
use std::future::{Future, IntoFuture};
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::thread::Result;
use std::time::Duration;

use timestop_runtime::waker::Watcher;

use super::{block_on, foreign};
use super::time::sleep;
use crate::channel::Interrupted;
use crate::spawn::{Inner, JoinHandle, spawn};

/// The end of a fiber, to be awaited from any executor. Made by `handle.await` or `into_future()`.
///
/// Its output is what [`join`](JoinHandle::join) returns: the value, or the payload of a panic. Dropped before,
/// it leaves the fiber alone, or [cancels](Self::cancel_on_drop) it.
///
/// Cost: nothing is allocated, and no OS thread or fiber waits. When the fiber has a name, a poll that finds it
/// at its end waits for the destructors of its thread-locals.
#[must_use = "the fiber goes on, but nobody waits for it"]
pub struct JoinFuture<T> {
    /// `None` once it is ready.
    inner: Option<Inner<T>>,
    watcher: Watcher,
    cancels: bool,
}

impl<T> JoinFuture<T> {
    /// Has the fiber cancelled when the future is dropped before its end, as
    /// [`JoinHandle::cancel`] does. Nobody waits for it then.
    pub fn cancel_on_drop(mut self) -> Self {
        self.cancels = true;
        self
    }

    /// Asks the fiber to end: see [`JoinHandle::cancel`].
    pub fn cancel(&self) {
        if let Some(inner) = &self.inner {
            inner.cancel();
        }
    }

    /// Waits for the end of the fiber until `limit` has passed; then cancels it and *waits for it*.
    ///
    /// Dropped before, it cancels the fiber and does not wait.
    ///
    /// Source: `asyncio.wait_for` as of Python 3.12.
    ///
    /// # Errors
    ///
    /// [`Late`]: the limit has passed. It has what became of the fiber, mostly an error that its I/O got by
    /// being cancelled.
    ///
    /// # Example
    ///
    /// ```
    /// use std::io::Read;
    /// use std::future::IntoFuture;
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    /// use timestop::future::block_on;
    ///
    /// timestop::run(|| {
    ///     let (mut ours, _theirs) = UnixStream::pair().unwrap();
    ///     let reader = timestop::spawn(move || ours.read(&mut [0]));
    ///     let waits = reader.into_future().wait_for(Duration::from_millis(5));
    ///     let late = block_on(waits).unwrap().unwrap_err();
    ///     assert_eq!(late.0.unwrap().unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    /// });
    /// ```
    pub async fn wait_for(self, limit: Duration) -> std::result::Result<Result<T>, Late<T>> {
        let mut end = pin!(self.cancel_on_drop());
        let mut clock = pin!(sleep(limit));
        let first = std::future::poll_fn(|context| {
            if let Poll::Ready(result) = end.as_mut().poll(context) {
                return Poll::Ready(Some(result));
            }
            clock.as_mut().poll(context).map(|()| None)
        });
        if let Some(result) = first.await {
            return Ok(result);
        }
        end.cancel();
        Err(Late(end.await))
    }
}

/// A fiber was not done in time: it was cancelled, and has ended like this.
#[derive(Debug)]
pub struct Late<T>(pub Result<T>);

impl<T> fmt::Display for Late<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the fiber was not done in time, and was cancelled")
    }
}

impl<T: fmt::Debug> std::error::Error for Late<T> {}

impl<T> Future for JoinFuture<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: the watcher is not moved; the rest may be.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: it is part of what is pinned.
        let mut watcher = unsafe { Pin::new_unchecked(&mut this.watcher) };
        let inner = this.inner.as_ref().expect("a future that is ready is not polled again");
        if !inner.is_ending() {
            foreign::prepare(context);
            // SAFETY: its event is the same each time; before the future goes it unwatches, below or when
            // dropped.
            let watches = unsafe { watcher.as_mut().watch(inner.watched(), context.waker()) };
            // The fiber says that it ends, and then looks for who watches.
            if watches && !inner.is_ending() {
                return Poll::Pending;
            }
        }
        watcher.unwatch(inner.watched());
        Poll::Ready(this.inner.take().expect("there was one").join())
    }
}

impl<T> Drop for JoinFuture<T> {
    fn drop(&mut self) {
        if let Some(inner) = &self.inner {
            // SAFETY: what is being dropped is not moved any more.
            unsafe { Pin::new_unchecked(&mut self.watcher) }.unwatch(inner.watched());
            if self.cancels {
                inner.cancel();
            }
        }
    }
}

impl<T> fmt::Debug for JoinFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.inner.as_ref().map(Inner::id);
        f.debug_struct("JoinFuture").field("id", &id).finish_non_exhaustive()
    }
}

impl<T> IntoFuture for JoinHandle<T> {
    type Output = Result<T>;
    type IntoFuture = JoinFuture<T>;

    fn into_future(self) -> JoinFuture<T> {
        JoinFuture { inner: Some(self.0), watcher: Watcher::new(), cancels: false }
    }
}

/// Runs a future on a new fiber, by [`block_on`].
///
/// Its handle's `cancel` drops the future where it waits, and the fiber's result is `Err(Interrupted)` then;
/// a panic is the error of `join`.
///
/// Cost: beside an executor's task the fiber costs its stack (two pages of memory once it has run) and, for
/// each wake-up, a switch in place of a call. What the future calls may block, which a task's must not. Many
/// small futures that wait together are cheaper on one fiber, as one future ([`gather`](super::gather())).
///
/// Source: `asyncio.create_task`; tokio's `spawn`.
///
/// # Panics
///
/// As [`spawn`].
///
/// # Example
///
/// ```
/// use timestop::future::{sleep, spawn_async};
///
/// let fiber = spawn_async(async {
///     sleep(std::time::Duration::from_millis(1)).await;
///     7
/// });
/// assert_eq!(fiber.join().unwrap(), Ok(7));
/// ```
pub fn spawn_async<F>(future: F) -> JoinHandle<std::result::Result<F::Output, Interrupted>>
where
    F: IntoFuture + Send + 'static,
    F::Output: Send + 'static,
{
    spawn(move || block_on(future))
}

/// What [`unblock`] returns.
#[derive(Debug)]
#[must_use = "dropped, it cancels what it runs"]
pub struct Unblock<T>(JoinFuture<T>);

/// Runs blocking code on a fiber, for async code on any executor: a whole blocking crate, say.
///
/// `f` runs at once, whether it is polled or not. Dropping the future cancels the fiber: blocking I/O in `f`
/// fails with `ECANCELED`, and `f` goes on by its error paths (its result is dropped).
///
/// Cost: a fiber, 0.3 µs, in place of an OS thread of a pool; as many as there are can wait.
///
/// Source: `asyncio.to_thread`; `unblock` of the crate blocking; tokio's `spawn_blocking`.
///
/// # Panics
///
/// As [`spawn`]; the future panics with what `f` panics with.
///
/// # Example
///
/// ```
/// use timestop::future::unblock;
///
/// let executor = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// executor.block_on(async {
///     let names = unblock(|| std::fs::read_dir("/").map(|entries| entries.count())).await;
///     assert!(names.unwrap() > 0);
/// });
/// ```
pub fn unblock<F, T>(f: F) -> Unblock<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Unblock(spawn(f).into_future().cancel_on_drop())
}

impl<T> Future for Unblock<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // SAFETY: pinned with what it is part of.
        let end = unsafe { self.map_unchecked_mut(|this| &mut this.0) };
        end.poll(context).map(|result| result.unwrap_or_else(|payload| resume_unwind(payload)))
    }
}

/// Runs a future on a fiber of its own, so that whoever awaits it here may go away and it goes on.
///
/// What is returned is awaited like any future of a fiber; dropping it leaves the fiber alone. (A
/// [`JoinHandle`] that is awaited is shielded already.)
///
/// Source: `asyncio.shield`.
///
/// # Panics
///
/// As [`spawn`].
pub fn shield<F>(future: F) -> JoinFuture<std::result::Result<F::Output, Interrupted>>
where
    F: IntoFuture + Send + 'static,
    F::Output: Send + 'static,
{
    spawn_async(future).into_future()
}
