//! What can go wrong with Deferreds and event loops.

use std::error::Error;
use std::panic::Location;
use std::{fmt, io};

use super::Deferred;
use crate::channel::Interrupted;

/// Any error: what a [`Deferred`] fails with unless it says otherwise. Source: Twisted's `Failure`.
pub type Failure = Box<dyn Error + Send + Sync>;

/// What a [`Deferred`] fails with when it is [cancelled](Deferred::cancel).
///
/// An error type of your own gets it by `From<CancelledError>`; [`Failure`] and [`io::Error`] have that.
/// Source: `twisted.internet.defer.CancelledError`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CancelledError;

/// What a [`Deferred`] fails with when it takes [too long](Deferred::add_timeout).
///
/// An error type of your own gets it by `From<TimeoutError>`; [`Failure`] and [`io::Error`] have that.
/// Source: `twisted.internet.defer.TimeoutError`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeoutError;

/// A [`Deferred`] was fired twice. Source: `twisted.internet.defer.AlreadyCalledError`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AlreadyCalledError {
    pub(super) made_at: &'static Location<'static>,
}

/// The [`EventLoop`](super::EventLoop) is closed: it takes no more callbacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClosedError;

/// Why [`run_until_complete`](super::EventLoop::run_until_complete) has no result.
pub enum RunError<T: 'static, E: 'static> {
    /// [`stop`](super::EventLoop::stop) came first. The Deferred may be waited for again.
    Stopped(Deferred<T, E>),
    /// Whoever could fire the Deferred has dropped its [`Trigger`](super::Trigger): it never fires.
    Dropped,
    /// Waiting failed: the loop's fiber was cancelled, or is past its time limit.
    Io(io::Error),
}

/// Why [`EventLoopHandle::call`](super::EventLoopHandle::call) has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallError<E> {
    /// The Deferred has failed.
    Failed(E),
    /// The loop was closed, or its Deferred's [`Trigger`](super::Trigger) dropped: it never fires.
    Dropped,
    /// The calling fiber was cancelled, or is past its time limit. The call goes on without it.
    Interrupted(Interrupted),
}

/// One of several Deferreds has failed: which, and why. Source: `twisted.internet.defer.FirstError`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FirstError<E> {
    /// Its place in the list.
    pub index: usize,
    /// What it failed with.
    pub error: E,
}

impl fmt::Display for CancelledError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the Deferred was cancelled")
    }
}

impl fmt::Display for TimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the Deferred has not fired in time")
    }
}

impl fmt::Display for AlreadyCalledError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the Deferred made at {} has been fired already: a Deferred fires once",
            self.made_at
        )
    }
}

impl fmt::Display for ClosedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the EventLoop is closed")
    }
}

impl<E: fmt::Display> fmt::Display for FirstError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "number {} of the Deferreds has failed: {}", self.index, self.error)
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Dropped => f.write_str("the EventLoop is closed, or the Deferred never fires"),
            Self::Interrupted(why) => why.fmt(f),
        }
    }
}

impl<T, E> fmt::Display for RunError<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped(_) => f.write_str("the EventLoop was stopped before the Deferred fired"),
            Self::Dropped => f.write_str("the Deferred never fires: its Trigger was dropped"),
            Self::Io(error) => write!(f, "the EventLoop cannot wait: {error}"),
        }
    }
}

impl<T, E> fmt::Debug for RunError<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunError({self})")
    }
}

impl Error for CancelledError {}
impl Error for TimeoutError {}
impl Error for AlreadyCalledError {}
impl Error for ClosedError {}
impl<E: Error + 'static> Error for FirstError<E> {}
impl<E: Error + 'static> Error for CallError<E> {}
impl<T, E> Error for RunError<T, E> {}

impl From<CancelledError> for io::Error {
    fn from(why: CancelledError) -> Self {
        Self::other(why)
    }
}

impl From<TimeoutError> for io::Error {
    fn from(why: TimeoutError) -> Self {
        Self::new(io::ErrorKind::TimedOut, why)
    }
}
