//! What can go wrong. Those of putting hold the item.

use std::error::Error;
use std::fmt;

use super::core::Why;
use crate::wait::sync::Interrupted;

/// Why an item was not put, and the item.
#[doc(alias = "Full")]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PutError<T> {
    /// There is no room, or was none in the time that the call has set.
    Full(T),
    /// The queue is shut down.
    ShutDown(T),
    /// The fiber was [cancelled](crate::JoinHandle::cancel).
    Cancelled(T),
    /// The fiber is past its [time limit](crate::timeout).
    TimedOut(T),
}

/// Why there is no item.
#[doc(alias = "Empty")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GetError {
    /// There is none, or has come none in the time that the call has set.
    Empty,
    /// The queue is shut down, and empty.
    ShutDown,
    /// The fiber was [cancelled](crate::JoinHandle::cancel).
    Cancelled,
    /// The fiber is past its [time limit](crate::timeout).
    TimedOut,
}

impl<T> PutError<T> {
    pub(super) fn new(item: T, why: Why) -> Self {
        match why {
            Why::NotNow => Self::Full(item),
            Why::ShutDown => Self::ShutDown(item),
            Why::Ended(Interrupted::Cancelled) => Self::Cancelled(item),
            Why::Ended(Interrupted::TimedOut) => Self::TimedOut(item),
        }
    }

    /// The item that was not put.
    pub fn into_inner(self) -> T {
        let (Self::Full(item)
        | Self::ShutDown(item)
        | Self::Cancelled(item)
        | Self::TimedOut(item)) = self;
        item
    }

    fn text(&self) -> &'static str {
        match self {
            Self::Full(_) => "putting into a queue that is full",
            Self::ShutDown(_) => "putting into a queue that is shut down",
            Self::Cancelled(_) => "putting into a queue: the fiber was cancelled",
            Self::TimedOut(_) => "putting into a queue: the fiber is past its time limit",
        }
    }
}

impl From<Why> for GetError {
    fn from(why: Why) -> Self {
        match why {
            Why::NotNow => Self::Empty,
            Why::ShutDown => Self::ShutDown,
            Why::Ended(why) => why.into(),
        }
    }
}

impl From<Interrupted> for GetError {
    fn from(why: Interrupted) -> Self {
        match why {
            Interrupted::Cancelled => Self::Cancelled,
            Interrupted::TimedOut => Self::TimedOut,
        }
    }
}

/// It need not be [`fmt::Debug`] itself, and is not shown.
impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PutError({:?})", self.text())
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "getting from a queue that is empty",
            Self::ShutDown => "getting from a queue that is shut down and empty",
            Self::Cancelled => "getting from a queue: the fiber was cancelled",
            Self::TimedOut => "getting from a queue: the fiber is past its time limit",
        })
    }
}

impl<T> Error for PutError<T> {}
impl Error for GetError {}
