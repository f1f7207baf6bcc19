//! What nobody handles: panics of callbacks, errors of Deferreds that were dropped.
//!
//! It goes to the exception handler of the [`EventLoop`] that runs here, else to standard error.

use std::any::Any;
use std::panic::Location;

use super::EventLoop;

/// What an exception handler is told.
///
/// Source: the dictionary `context` of asyncio's `loop.set_exception_handler`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Unhandled<'a> {
    /// A callback of the loop has panicked.
    Panic {
        /// What the callback is for: `call_soon`, `add_reader`, …
        callback: &'static str,
        /// The panic's message.
        message: &'a str,
    },
    /// A [`Deferred`](super::Deferred) was dropped with an error, or the panic of a callback, in it.
    Deferred {
        /// Where the Deferred was made, or its last callback was added.
        made_at: &'static Location<'static>,
        /// The error, as `Debug` shows it.
        error: &'a str,
    },
}

impl Unhandled<'_> {
    /// One line on standard error: what is done where there is no handler.
    pub(super) fn print(&self) {
        match self {
            Self::Panic { callback, message } => {
                eprintln!("EventLoop: a callback ({callback}) has panicked: {message}");
            }
            Self::Deferred { made_at, error } => {
                eprintln!("Unhandled error in Deferred made at {made_at}: {error}");
            }
        }
    }
}

/// A Deferred's error goes to nobody.
pub(super) fn unhandled(made_at: &'static Location<'static>, error: &str) {
    tell(EventLoop::current().as_ref(), &Unhandled::Deferred { made_at, error });
}

/// Has `event_loop`, if there is one, tell of it.
pub(super) fn tell(event_loop: Option<&EventLoop>, what: &Unhandled<'_>) {
    match event_loop {
        Some(event_loop) => event_loop.call_exception_handler(what),
        None => what.print(),
    }
}

/// What a panic said.
pub(super) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned());
    text.map_or_else(|| "a panic without a message".to_owned(), |text| format!("a panic: {text}"))
}
