//! asyncio's ways to wait for several.
//!
//! All futures are polled each time that one is woken. For hundreds at once take `FuturesUnordered` of
//! futures-util, which polls the one.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

/// One of several futures, then its value.
enum Part<F: Future> {
    Waits(Pin<Box<F>>),
    Done(F::Output),
    Taken,
}

impl<F: Future> Part<F> {
    /// True if it has become ready just now.
    fn advance(&mut self, context: &mut Context<'_>) -> bool {
        if let Self::Waits(future) = self
            && let Poll::Ready(value) = future.as_mut().poll(context)
        {
            *self = Self::Done(value);
            return true;
        }
        false
    }

    fn take(&mut self) -> Option<F::Output> {
        match std::mem::replace(self, Self::Taken) {
            Self::Done(value) => Some(value),
            before => {
                *self = before;
                None
            }
        }
    }
}

fn parts<I>(futures: I) -> Vec<Part<<I::Item as IntoFuture>::IntoFuture>>
where
    I: IntoIterator,
    I::Item: IntoFuture,
{
    futures.into_iter().map(|future| Part::Waits(Box::pin(future.into_future()))).collect()
}

fn take_all<F: Future>(parts: &mut [Part<F>]) -> Vec<F::Output> {
    parts.iter_mut().map(|part| part.take().expect("all are ready")).collect()
}

/// Advances all; whether none waits any more.
fn advance_all<F: Future>(parts: &mut [Part<F>], context: &mut Context<'_>) -> bool {
    for part in parts.iter_mut() {
        part.advance(context);
    }
    !parts.iter().any(|part| matches!(part, Part::Waits(_)))
}

macro_rules! debug_by_count {
    ($name:ident) => {
        impl<F: Future> fmt::Debug for $name<F> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("futures", &self.parts.len()).finish()
            }
        }

        // The futures are in boxes of their own.
        impl<F: Future> Unpin for $name<F> {}
    };
}

/// Waits for all: see [`join_all`].
#[must_use = "a future does nothing unless it is polled"]
pub struct JoinAll<F: Future> {
    parts: Vec<Part<F>>,
}

debug_by_count!(JoinAll);

/// Waits for all; their values, in the order of the futures.
///
/// Dropped before, it drops all: a future is cancelled thereby, a fiber is not ([`JoinFuture`](super::JoinFuture)).
/// A panic of one comes out of the poll, and the others are dropped with this.
pub fn join_all<I>(futures: I) -> JoinAll<<I::Item as IntoFuture>::IntoFuture>
where
    I: IntoIterator,
    I::Item: IntoFuture,
{
    JoinAll { parts: parts(futures) }
}

impl<F: Future> Future for JoinAll<F> {
    type Output = Vec<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if !advance_all(&mut self.parts, context) {
            return Poll::Pending;
        }
        Poll::Ready(take_all(&mut self.parts))
    }
}

/// Waits for all or the first error: see [`gather`].
#[must_use = "a future does nothing unless it is polled"]
pub struct Gather<F: Future> {
    parts: Vec<Part<F>>,
}

debug_by_count!(Gather);

/// Waits for all; their values in the order of the futures, or the first error in time.
///
/// After an error those that have not ended are dropped, but *fibers go on* ([`JoinHandle`](crate::JoinHandle)s,
/// [`shield`](super::shield)): asyncio's rule, whose gathered coroutines are tasks. With
/// [`return_exceptions`](Gather::return_exceptions) all are waited for, and errors are results like others.
///
/// A handle's error is the payload of its fiber's panic, so on fibers `block_on(gather(handles))` is a `join` of
/// all that returns at the first panic.
///
/// Source: `asyncio.gather`.
///
/// # Example
///
/// ```
/// use timestop::future::{block_on, gather};
///
/// timestop::run(|| {
///     let squares = (1..=3).map(|number| timestop::spawn(move || number * number));
///     assert_eq!(block_on(gather(squares)).unwrap().unwrap(), [1, 4, 9]);
/// });
/// ```
pub fn gather<I, T, E>(futures: I) -> Gather<<I::Item as IntoFuture>::IntoFuture>
where
    I: IntoIterator,
    I::Item: IntoFuture<Output = Result<T, E>>,
{
    Gather { parts: parts(futures) }
}

impl<F: Future> Gather<F> {
    /// Waits for all whatever becomes of them; each one's result, in the order of the futures.
    pub fn return_exceptions(self) -> JoinAll<F> {
        JoinAll { parts: self.parts }
    }
}

impl<F, T, E> Future for Gather<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<Vec<T>, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let failed = this.parts.iter_mut().position(|part| {
            part.advance(context) && matches!(part, Part::Done(Err(_)))
        });
        if let Some(index) = failed {
            let failed = this.parts[index].take();
            this.parts.clear();
            return Poll::Ready(failed.expect("it is ready").map(|_| Vec::new()));
        }
        if this.parts.iter().any(|part| matches!(part, Part::Waits(_))) {
            return Poll::Pending;
        }
        Poll::Ready(take_all(&mut this.parts).into_iter().collect())
    }
}

/// Waits for the first: see [`select`].
#[must_use = "a future does nothing unless it is polled"]
pub struct Select<F: Future> {
    parts: Vec<Part<F>>,
}

debug_by_count!(Select);

/// Waits for the first that is ready: its index and value. The others are dropped as this becomes ready:
/// futures are cancelled thereby, fibers go on unless they
/// [cancel on drop](super::JoinFuture::cancel_on_drop). Of several that are ready at once it is the first.
///
/// Who wants to keep the others, as `asyncio.wait(FIRST_COMPLETED)` does: `select_all` of futures-util, which
/// gives them back.
///
/// # Panics
///
/// Without futures: nothing would ever be ready.
pub fn select<I>(futures: I) -> Select<<I::Item as IntoFuture>::IntoFuture>
where
    I: IntoIterator,
    I::Item: IntoFuture,
{
    let parts = parts(futures);
    assert!(!parts.is_empty(), "select needs a future to wait for");
    Select { parts }
}

impl<F: Future> Future for Select<F> {
    type Output = (usize, F::Output);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(first) = this.parts.iter_mut().position(|part| part.advance(context)) else {
            return Poll::Pending;
        };
        let value = this.parts[first].take().expect("it is ready");
        this.parts.clear();
        Poll::Ready((first, value))
    }
}
