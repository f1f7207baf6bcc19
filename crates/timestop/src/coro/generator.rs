//! The resumer's side of a generator: making, resuming and ending one.
//!
//! ```text
//!           new                 resume                 its body returns or unwinds
//!   (a stack is taken) ─▶ FRESH ───────▶ suspended ⇄ running ───────▶ finished (the stack goes back)
//!                          │                 │ close, throw, drop: raised at its yield
//!                          └─ close, drop: the closure is dropped
//! ```
//!
//! All that belongs to one lies at the top of its stack ([`Core`]): making one takes a stack and no memory
//! besides. "Running" is no state that is looked at: who resumes holds the only `&mut`.
//!
//! **What may be borrowed.** A generator that is leaked (`mem::forget`) never goes on, and its stack is nobody's
//! again: what lies there stays valid for ever. But a frame there may have lent what *it* had borrowed, to the
//! threads of a `std::thread::scope` that it is suspended in; they would outlive the loan. So what is made by
//! [`Generator::new`] is `'static`, and what borrows exists within [`scoped`](super::scoped) only, whose caller never holds
//! the generator itself: it is ended before `scoped` returns, as `thread::scope` ends its threads.
//!
//! **Why `!Send`.** Frames may hold what belongs to the thread: an `Rc`, a `MutexGuard`, a reference to a
//! thread-local, of which the compiler keeps addresses across a yield. So it stays with the fiber or OS
//! thread that made it; that fiber may move between OS threads as ever.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::{fmt, panic, thread};

use super::core::{Builder, Core, discard};
use super::raised::{IgnoredExit, Payload, Raised};
use super::yielder::{RAISE, VALUE, YIELDED, Yielder, is_exit};

/// What a generator does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<Y, T> {
    /// It has yielded this, and waits.
    Yielded(Y),
    /// It has returned this, and is finished. Python's `StopIteration.value`.
    Returned(T),
}

/// A function that hands out values as it goes: suspended at each, on a stack of its own. Python's generator.
///
/// The types are in the order of Python's `typing.Generator`: what it yields, what it is sent, what it returns.
/// What is sent nothing is an [`Iterator`].
///
/// It may block in whatever it calls: then the fiber that resumed it is suspended (on an OS thread: the thread
/// blocks), and goes on where it was. A panic goes on in whoever resumed it, and it is finished then. Dropped
/// while it is suspended it is closed, so its destructors run; leaked, it keeps its stack for ever and never
/// goes on.
///
/// It stays on its thread or fiber:
///
/// ```compile_fail
/// let numbers = timestop::coro::Generator::<i32>::new(|y| y.yield_(1));
/// timestop::spawn(move || numbers.count()); // not `Send`: its frames may hold what is the thread's
/// ```
///
/// Nothing can resume it while it runs (Python: "generator already executing"): whoever resumes it holds it.
/// It borrows nothing; [`scoped`](super::scoped) is for those that do:
///
/// ```compile_fail
/// let text = String::from("a b");
/// timestop::coro::Generator::<&str>::new(|y| y.yield_all(text.split(' ')));
/// ```
///
/// **One thing is unsound.** One that is kept in a `thread_local!` while it is suspended within
/// [`LocalKey::with`](std::thread::LocalKey::with) of a key that was first used after its own is unwound as the thread
/// ends, when that key's value is gone already. Nothing tells a destructor that the thread is ending: end such
/// generators before.
///
/// Cost: a stack of 256 KiB of address space and two pages of memory; two switches a step.
///
/// Under `panic = "abort"` nothing unwinds: dropped while it is suspended it is leaked.
pub struct Generator<Y, R = (), T = ()> {
    /// `None` when it has finished.
    core: Option<NonNull<Core<Y, R, T>>>,
    returned: Option<T>,
    name: &'static str,
    _owns: PhantomData<(Y, R, T)>,
}

impl<Y: 'static, R: 'static, T: 'static> Generator<Y, R, T> {
    /// A generator that runs `body` when it is resumed.
    ///
    /// # Panics
    ///
    /// If there is no room for a stack; [`Builder`] returns that as an error.
    ///
    /// # Example
    ///
    /// ```
    /// use timestop::coro::Generator;
    ///
    /// let mut average = Generator::<f64, f64>::new(|y| {
    ///     let (mut sum, mut count) = (y.first().unwrap(), 1.0);
    ///     loop {
    ///         sum += y.yield_(sum / count);
    ///         count += 1.0;
    ///     }
    /// });
    /// assert_eq!(average.send(10.0), Some(10.0));
    /// assert_eq!(average.send(20.0), Some(15.0));
    /// ```
    pub fn new(body: impl FnOnce(&Yielder<Y, R>) -> T + 'static) -> Self {
        let made = Builder::new().generator(body);
        made.unwrap_or_else(|error| panic!("no generator: {error}"))
    }
}

/// What the end of one that was suspended comes to.
pub(super) enum Closed<T> {
    Finished,
    Returned(T),
    Ignored,
    Panicked(Payload),
}

impl<Y, R, T> Generator<Y, R, T> {
    /// The one whose core this is.
    pub(super) fn of(core: NonNull<Core<Y, R, T>>, name: &'static str) -> Self {
        Self { core: Some(core), returned: None, name, _owns: PhantomData }
    }

    /// Its name: that of its body's type, or what [`Builder::name`] was given.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it has returned, unwound, or been closed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.core.is_none()
    }

    /// What the generator has returned, if [`next`](Iterator::next) or [`send`](Self::send) has met its end. Once.
    pub fn returned(&mut self) -> Option<T> {
        self.returned.take()
    }

    /// Goes on with the generator until it yields or returns.
    ///
    /// # Panics
    ///
    /// If it has finished. If it panics: with its payload, and it is finished.
    #[inline(always)]
    pub fn resume(&mut self, message: R) -> Step<Y, T> {
        let Some(core) = self.core else { self.has_finished() };
        match self.step(core, message) {
            Some(value) => Step::Yielded(value),
            None => Step::Returned(self.result()),
        }
    }

    /// Goes on with the generator, and returns what it yields; `None` if it returns, or has finished. Python's
    /// `send`.
    ///
    /// # Panics
    ///
    /// If it panics: with its payload, and it is finished.
    #[inline(always)]
    pub fn send(&mut self, message: R) -> Option<Y> {
        let core = self.core?;
        let yielded = self.step(core, message);
        if yielded.is_none() {
            self.returned = Some(self.result());
        }
        yielded
    }

    /// Raises `error` in the generator, at the `yield_` that it is suspended in, and goes on until it yields or
    /// returns. Python's `throw`.
    ///
    /// # Errors
    ///
    /// It has ended by unwinding: with what was raised, if it did not deal with that. It is finished. One that
    /// had not begun or has finished already gives the error back too.
    pub fn throw(&mut self, error: Payload) -> Result<Step<Y, T>, Payload> {
        let Some(core) = self.core else { return Err(error) };
        if self.drop_fresh(core) {
            return Err(error);
        }
        if let Some(value) = self.raise(core, Raised::Error(error)) {
            return Ok(Step::Yielded(value));
        }
        self.finish().map(Step::Returned)
    }

    /// Ends the generator: raises [`Raised::Exit`] where it is suspended. Python's `close`.
    ///
    /// Returns what it returned, if it did so rather than unwind.
    ///
    /// # Errors
    ///
    /// It has yielded instead: it is still there, and what it yielded is dropped.
    ///
    /// # Panics
    ///
    /// If it panics: with its payload, and it is finished.
    pub fn close(&mut self) -> Result<Option<T>, IgnoredExit> {
        match self.shut() {
            Closed::Finished => Ok(None),
            Closed::Returned(value) => Ok(Some(value)),
            Closed::Ignored => Err(IgnoredExit { name: self.name }),
            Closed::Panicked(payload) => panic::resume_unwind(payload),
        }
    }

    pub(super) fn shut(&mut self) -> Closed<T> {
        let Some(core) = self.core else { return Closed::Finished };
        if self.drop_fresh(core) {
            return Closed::Finished;
        }
        // SAFETY: a generator that has not finished keeps its core.
        let closing = &unsafe { core.as_ref() }.yielder.own.closing;
        closing.set(true);
        let yielded = self.raise(core, Raised::Exit);
        if yielded.is_some() {
            closing.set(false);
            return Closed::Ignored;
        }
        match self.finish() {
            Ok(value) => Closed::Returned(value),
            Err(payload) if is_exit(&payload) => Closed::Finished,
            Err(payload) => Closed::Panicked(payload),
        }
    }

    /// Hands over a message, and takes what is yielded; `None` if it has finished.
    #[inline(always)]
    fn step(&mut self, core: NonNull<Core<Y, R, T>>, message: R) -> Option<Y> {
        // SAFETY: a generator that has not finished keeps its core.
        let port = &unsafe { core.as_ref() }.yielder.own;
        port.message.put(message);
        self.switch(core, VALUE)
    }

    /// The same with something to raise.
    fn raise(&mut self, core: NonNull<Core<Y, R, T>>, raised: Raised) -> Option<Y> {
        // SAFETY: a generator that has not finished keeps its core.
        unsafe { core.as_ref() }.yielder.own.raised.set(Some(raised));
        self.switch(core, RAISE)
    }

    #[inline(always)]
    fn switch(&mut self, core: NonNull<Core<Y, R, T>>, message: usize) -> Option<Y> {
        // SAFETY: a generator that has not finished keeps its core.
        let port = &unsafe { core.as_ref() }.yielder.own;
        port.panicking.set(thread::panicking());
        // SAFETY: the port's, whose stack lives as it does.
        let base = unsafe { port.base.as_ref() };
        // SAFETY: suspended in its base, or fresh, and not finished: `core` is there. We hold it by `&mut`, so
        // nobody else has resumed it and it is not beneath us. It is `!Send`, so this is the thread that
        // made it. What is raised finds it suspended at a yield: callers deal with fresh ones.
        let answer = unsafe { base.resume(message) };
        if answer != YIELDED {
            return None;
        }
        // SAFETY: who yields puts a value there and answers so; it is taken here, once.
        Some(unsafe { port.yielded.take() })
    }

    /// After its end: what it returned. Unwinds with what it has unwound with.
    #[cold]
    #[inline(never)]
    fn result(&mut self) -> T {
        self.finish().unwrap_or_else(|payload| panic::resume_unwind(payload))
    }

    /// After its end: takes the result, and gives the stack back.
    pub(super) fn finish(&mut self) -> thread::Result<T> {
        let core = self.core.take().expect("it was there to be resumed");
        // SAFETY: kept until `discard`.
        let result = unsafe { core.as_ref() }.result.replace(MaybeUninit::uninit());
        // SAFETY: its code has returned, and nobody else has the core.
        unsafe { discard(core) };
        // SAFETY: `run` has written it before it returned, once.
        unsafe { result.assume_init() }
    }

    /// Drops what never began. Whether it was so.
    fn drop_fresh(&mut self, core: NonNull<Core<Y, R, T>>) -> bool {
        // SAFETY: a generator that has not finished keeps its core.
        let Some((closure, drop)) = unsafe { core.as_ref() }.fresh.take() else { return false };
        self.core = None;
        /// Gives the stack back, should a destructor panic too.
        struct Discard<Y, R, T>(NonNull<Core<Y, R, T>>);
        impl<Y, R, T> Drop for Discard<Y, R, T> {
            fn drop(&mut self) {
                // SAFETY: nothing has run on the stack, and nobody else has the core.
                unsafe { discard(self.0) };
            }
        }
        let _discard = Discard(core);
        // SAFETY: written when the core was made, of the type that the function is for.
        unsafe { drop(closure) };
        true
    }

    /// Whether its body has begun and not ended.
    pub(super) fn is_suspended(&self) -> bool {
        self.core.is_some_and(|core| {
            // SAFETY: a generator that has not finished keeps its core.
            let fresh = &unsafe { core.as_ref() }.fresh;
            let closure = fresh.take();
            fresh.set(closure);
            closure.is_none()
        })
    }

    pub(super) fn yielder(&self) -> Option<NonNull<Yielder<Y, R>>> {
        self.core.map(NonNull::cast)
    }

    /// What it has returned, where it has finished.
    pub(super) fn take_return(&mut self) -> T {
        self.returned.take().unwrap_or_else(|| self.has_finished())
    }

    #[cold]
    #[inline(never)]
    fn has_finished(&self) -> ! {
        panic!("generator '{}' has finished: it cannot be resumed", self.name)
    }
}

impl<Y, R, T> Drop for Generator<Y, R, T> {
    /// Closes it. One that ignores that, by yielding, is leaked, and that is told on standard error. If it panics
    /// then, that was told by the panic hook, and goes no further.
    fn drop(&mut self) {
        if cfg!(panic = "abort") {
            // Its frames cannot be unwound; nobody will write where they lie.
            if let Some(core) = self.core {
                self.drop_fresh(core);
            }
            return;
        }
        if let Closed::Ignored = self.shut() {
            eprintln!("{}; it is leaked", IgnoredExit { name: self.name });
        }
    }
}

impl<Y, T> Iterator for Generator<Y, (), T> {
    type Item = Y;

    /// Python's `next`. What it returns is kept for [`Generator::returned`].
    #[inline(always)]
    fn next(&mut self) -> Option<Y> {
        self.send(())
    }
}

impl<Y, T> std::iter::FusedIterator for Generator<Y, (), T> {}

impl<Y, R, T> fmt::Debug for Generator<Y, R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Generator");
        out.field("name", &self.name).field("finished", &self.is_finished()).finish_non_exhaustive()
    }
}
