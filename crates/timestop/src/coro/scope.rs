//! Generators that borrow.
//!
//! What borrows must not outlive the loan, not even by being leaked ([`super::generator`] says why). So nobody but
//! [`scoped`] ever holds one, on its own stack: it lends it, and ends it before it returns, whichever way it
//! returns. The loan is wrapped: a `&mut Generator` could be swapped with another generator, and leaked then.

use std::mem::ManuallyDrop;
use std::process;

use super::core::Builder;
use super::generator::{Closed, Generator, Step};
use super::raised::{IgnoredExit, Payload};
use super::yielder::Yielder;

/// A generator that borrows, lent by [`scoped`].
#[derive(Debug)]
pub struct Scoped<'scope, Y, R = (), T = ()>(&'scope mut Generator<Y, R, T>);

/// Runs `f` with a generator that may borrow, and ends the generator before it returns.
///
/// # Panics
///
/// As [`Generator::new`]. A panic of the generator as it is ended is told by the panic hook and goes no further.
/// One that yields as it is ended cannot be left behind, as its borrows end here: that aborts the process, with
/// a message.
///
/// # Example
///
/// ```
/// let text = String::from("to be or not");
/// let longest = timestop::coro::scoped(
///     |y| y.yield_all(text.split(' ')),
///     |words| words.max_by_key(|word| word.len()),
/// );
/// assert_eq!(longest, Some("not"));
/// ```
pub fn scoped<Y, R, T, O>(
    body: impl FnOnce(&Yielder<Y, R>) -> T,
    f: impl FnOnce(Scoped<'_, Y, R, T>) -> O,
) -> O {
    // SAFETY: it is ended here, come what may: nobody else ever holds it, only a loan of it.
    let made = unsafe { Builder::new().unscoped(body) };
    let generator = made.unwrap_or_else(|error| panic!("no generator: {error}"));
    let mut owner = Owner(ManuallyDrop::new(generator));
    f(Scoped(&mut owner.0))
}

/// Ends a generator that borrows.
struct Owner<Y, R, T>(ManuallyDrop<Generator<Y, R, T>>);

impl<Y, R, T> Drop for Owner<Y, R, T> {
    fn drop(&mut self) {
        let name = self.0.name();
        if cfg!(panic = "abort") && self.0.is_suspended() {
            eprintln!("generator '{name}' borrows, and nothing can end it under panic = \"abort\"");
            process::abort();
        }
        if let Closed::Ignored = self.0.shut() {
            eprintln!("{}; it borrows and cannot be left behind", IgnoredExit { name });
            process::abort();
        }
        // SAFETY: once. It has finished: what it returned is dropped.
        unsafe { ManuallyDrop::drop(&mut self.0) };
    }
}

impl<Y, R, T> Scoped<'_, Y, R, T> {
    /// As [`Generator::resume`].
    ///
    /// # Panics
    ///
    /// As that.
    pub fn resume(&mut self, message: R) -> Step<Y, T> {
        self.0.resume(message)
    }

    /// As [`Generator::send`].
    ///
    /// # Panics
    ///
    /// As that.
    pub fn send(&mut self, message: R) -> Option<Y> {
        self.0.send(message)
    }

    /// As [`Generator::throw`].
    ///
    /// # Errors
    ///
    /// As that.
    pub fn throw(&mut self, error: Payload) -> Result<Step<Y, T>, Payload> {
        self.0.throw(error)
    }

    /// As [`Generator::close`].
    ///
    /// # Errors
    ///
    /// As that.
    ///
    /// # Panics
    ///
    /// As that.
    pub fn close(&mut self) -> Result<Option<T>, IgnoredExit> {
        self.0.close()
    }

    /// As [`Generator::returned`].
    pub fn returned(&mut self) -> Option<T> {
        self.0.returned()
    }

    /// As [`Generator::is_finished`].
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<Y, T> Iterator for Scoped<'_, Y, (), T> {
    type Item = Y;

    fn next(&mut self) -> Option<Y> {
        self.0.next()
    }
}
