//! What can go wrong. Named and shaped as in `std::sync::mpsc` and crossbeam-channel, with two reasons more,
//! which are the fiber's and not the channel's: it was cancelled, or is past its time limit.
//!
//! An error of sending holds the message.

use std::error::Error;
use std::fmt;

use super::shared::{NoMessage, NotSent};
pub use crate::wait::sync::Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "the fiber was cancelled",
            Self::TimedOut => "the fiber is past its time limit",
        })
    }
}

impl Error for Interrupted {}

/// Why [`Receiver::recv`](super::Receiver::recv) has no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecvError {
    /// The channel is closed, and empty.
    Disconnected,
    /// The fiber was [cancelled](crate::JoinHandle::cancel).
    Cancelled,
    /// The fiber is past its [time limit](crate::timeout).
    TimedOut,
}

/// Why [`Receiver::try_recv`](super::Receiver::try_recv) has no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TryRecvError {
    /// There is none now.
    Empty,
    /// The channel is closed, and empty.
    Disconnected,
}

/// Why [`Receiver::recv_timeout`](super::Receiver::recv_timeout) has no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecvTimeoutError {
    /// None has come in time: that of the call, or that of the [fiber](crate::timeout).
    Timeout,
    /// The channel is closed, and empty.
    Disconnected,
    /// The fiber was [cancelled](crate::JoinHandle::cancel).
    Cancelled,
}

/// Why [`Sender::send`](super::Sender::send) has not sent the message, and the message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendError<T> {
    /// The channel is closed.
    Disconnected(T),
    /// The fiber was [cancelled](crate::JoinHandle::cancel).
    Cancelled(T),
    /// The fiber is past its [time limit](crate::timeout).
    TimedOut(T),
}

/// Why [`Sender::try_send`](super::Sender::try_send) has not sent the message, and the message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// There is no room now, and no receiver waits.
    Full(T),
    /// The channel is closed.
    Disconnected(T),
}

/// Why [`Sender::send_timeout`](super::Sender::send_timeout) has not sent the message, and the message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendTimeoutError<T> {
    /// There was no room in time: that of the call, or that of the [fiber](crate::timeout).
    Timeout(T),
    /// The channel is closed.
    Disconnected(T),
    /// The fiber was [cancelled](crate::JoinHandle::cancel).
    Cancelled(T),
}

impl From<Interrupted> for RecvError {
    fn from(why: Interrupted) -> Self {
        match why {
            Interrupted::Cancelled => Self::Cancelled,
            Interrupted::TimedOut => Self::TimedOut,
        }
    }
}

impl From<NoMessage> for RecvError {
    fn from(why: NoMessage) -> Self {
        match why {
            NoMessage::Ended(why) => why.into(),
            NoMessage::Closed => Self::Disconnected,
            NoMessage::Empty => unreachable!("who waits comes back with more than that"),
        }
    }
}

impl From<NoMessage> for TryRecvError {
    fn from(why: NoMessage) -> Self {
        if why == NoMessage::Closed { Self::Disconnected } else { Self::Empty }
    }
}

impl From<RecvError> for RecvTimeoutError {
    fn from(why: RecvError) -> Self {
        match why {
            RecvError::Disconnected => Self::Disconnected,
            RecvError::Cancelled => Self::Cancelled,
            RecvError::TimedOut => Self::Timeout,
        }
    }
}

impl<T> SendError<T> {
    pub(super) fn new(value: T, why: NotSent) -> Self {
        match why {
            NotSent::Ended(why) => Self::interrupted(value, why),
            NotSent::Closed => Self::Disconnected(value),
            NotSent::Full => unreachable!("who waits comes back with more than that"),
        }
    }

    pub(super) fn interrupted(value: T, why: Interrupted) -> Self {
        match why {
            Interrupted::Cancelled => Self::Cancelled(value),
            Interrupted::TimedOut => Self::TimedOut(value),
        }
    }

    /// The message that was not sent.
    pub fn into_inner(self) -> T {
        let (Self::Disconnected(value) | Self::Cancelled(value) | Self::TimedOut(value)) = self;
        value
    }

    fn text(&self) -> &'static str {
        match self {
            Self::Disconnected(_) => "sending on a closed channel",
            Self::Cancelled(_) => "sending: the fiber was cancelled",
            Self::TimedOut(_) => "sending: the fiber is past its time limit",
        }
    }
}

impl<T> TrySendError<T> {
    pub(super) fn new(value: T, why: NotSent) -> Self {
        if why == NotSent::Closed { Self::Disconnected(value) } else { Self::Full(value) }
    }

    /// The message that was not sent.
    pub fn into_inner(self) -> T {
        let (Self::Full(value) | Self::Disconnected(value)) = self;
        value
    }

    /// Whether there was no room.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Whether the channel is closed.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Disconnected(_))
    }

    fn text(&self) -> &'static str {
        match self {
            Self::Full(_) => "sending on a full channel",
            Self::Disconnected(_) => "sending on a closed channel",
        }
    }
}

impl<T> From<SendError<T>> for SendTimeoutError<T> {
    fn from(why: SendError<T>) -> Self {
        match why {
            SendError::Disconnected(value) => Self::Disconnected(value),
            SendError::Cancelled(value) => Self::Cancelled(value),
            SendError::TimedOut(value) => Self::Timeout(value),
        }
    }
}

impl<T> SendTimeoutError<T> {
    /// The message that was not sent.
    pub fn into_inner(self) -> T {
        let (Self::Timeout(value) | Self::Disconnected(value) | Self::Cancelled(value)) = self;
        value
    }

    fn text(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "sending: no room in time",
            Self::Disconnected(_) => "sending on a closed channel",
            Self::Cancelled(_) => "sending: the fiber was cancelled",
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disconnected => "receiving from a channel that is closed and empty",
            Self::Cancelled => "receiving: the fiber was cancelled",
            Self::TimedOut => "receiving: the fiber is past its time limit",
        })
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "receiving from an empty channel",
            Self::Disconnected => "receiving from a channel that is closed and empty",
        })
    }
}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "receiving: no message in time",
            Self::Disconnected => "receiving from a channel that is closed and empty",
            Self::Cancelled => "receiving: the fiber was cancelled",
        })
    }
}

impl Error for RecvError {}
impl Error for TryRecvError {}
impl Error for RecvTimeoutError {}

/// Errors that hold a message show why, not the message: it need not be [`fmt::Debug`].
macro_rules! holds_a_message {
    ($($name:ident),*) => { $(
        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.text())
            }
        }

        impl<T> fmt::Display for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.text())
            }
        }

        impl<T> Error for $name<T> {}
    )* };
}

holds_a_message!(SendError, TrySendError, SendTimeoutError);
