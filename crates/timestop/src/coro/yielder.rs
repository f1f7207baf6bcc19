//! The generator's side: how it yields, and delegates.
//!
//! A generator and its resumer exchange values in a [`Port`]. Each generator has one of its own, but what it
//! yields *through* may be another's: who delegates has its sub-generator yield through the port that it
//! yields through itself. So whoever resumes the outermost goes straight to the innermost, and back, however
//! many lie between. A sub-generator that has delegated already when it becomes one takes its own along
//! ([`rehome`]).
//!
//! Invariant: of a suspended generator, all that it has delegated to, directly or not, yields through the port
//! that it yields through.
//!
//! Rejected: a loop that resumes the sub-generator and yields what comes (each level costs two switches); a
//! free function `yield_` (which generator it means, and of which types, would be known at run time only, and
//! it would yield from code that did not know that it can be suspended).

use std::borrow::BorrowMut;
use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::{fmt, panic, thread};

use timestop_fiber::aside::{Base, FINISHED};

use super::generator::Generator;
use super::raised::{GeneratorExit, Raised};

/// Message of a resumption: a value lies in the port.
pub(super) const VALUE: usize = 0;
/// Message of a resumption: something is to be raised.
pub(super) const RAISE: usize = 1;
/// Answer to a resumption: a yielded value lies in the port.
pub(super) const YIELDED: usize = 0;

/// Where a value lies between two sides. Which of them it belongs to says whose turn it is.
pub(super) struct Place<V>(UnsafeCell<MaybeUninit<V>>);

impl<V> Place<V> {
    const fn new() -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }

    /// Puts a value there. One that was there and was not taken is leaked.
    #[inline(always)]
    pub(super) fn put(&self, value: V) {
        // SAFETY: it is one thread's, as it is not `Sync`, and no reference into it exists outside of this type,
        // whose functions run nothing of others.
        unsafe { self.0.get().cast::<V>().write(value) };
    }

    /// Takes the value.
    ///
    /// # Safety
    ///
    /// One was put there and not taken since.
    #[inline(always)]
    pub(super) unsafe fn take(&self) -> V {
        // SAFETY: as the caller vouches: it is initialised, and owned by the place.
        unsafe { self.0.get().cast::<V>().read() }
    }
}

/// What a resumer and whoever yields to it have in common. Only one of them runs at a time.
pub(super) struct Port<Y, R> {
    pub(super) base: NonNull<Base>,
    pub(super) message: Place<R>,
    pub(super) yielded: Place<Y>,
    pub(super) raised: Cell<Option<Raised>>,
    /// What was raised last is the end.
    pub(super) closing: Cell<bool>,
    /// Whether the resumer was unwinding when it resumed.
    pub(super) panicking: Cell<bool>,
}

/// What a generator yields with. Its body is handed one; whatever the body calls yields by it from any depth.
///
/// It stays within the generator: neither [`Send`] nor [`Sync`], and of a lifetime that nothing outside
/// knows. A generator within the generator may borrow it, and yields out of both at once then.
///
/// ```compile_fail
/// use timestop::coro::{Yielder, scoped};
///
/// let mut kept: Option<&Yielder<i32>> = None;
/// scoped(|y: &Yielder<i32>| kept = Some(y), |_| ()); // what yields does not leave its generator
/// ```
pub struct Yielder<Y, R = ()> {
    pub(super) own: Port<Y, R>,
    /// Of a generator in the same chain of delegations: it lives as long as this one is suspended in it.
    pub(super) through: Cell<NonNull<Port<Y, R>>>,
    first: Cell<Option<R>>,
    /// Whom it delegates to now: the last in a list of siblings. (Several: a sub-generator that borrows
    /// this yielder may delegate by it too.)
    delegate: Cell<Option<NonNull<Yielder<Y, R>>>>,
    sibling: Cell<Option<NonNull<Yielder<Y, R>>>>,
}

impl<Y, R> Yielder<Y, R> {
    /// A yielder at `place`, which yields through its own port.
    pub(super) fn new(place: NonNull<Self>, base: NonNull<Base>) -> Self {
        // SAFETY: an address within the place; nothing is read.
        let own = unsafe { &raw mut (*place.as_ptr()).own };
        Self {
            own: Port {
                base,
                message: Place::new(),
                yielded: Place::new(),
                raised: Cell::new(None),
                closing: Cell::new(false),
                panicking: Cell::new(false),
            },
            through: Cell::new(NonNull::new(own).expect("a place has an address")),
            first: Cell::new(None),
            delegate: Cell::new(None),
            sibling: Cell::new(None),
        }
    }

    #[inline(always)]
    fn port(&self) -> &Port<Y, R> {
        // SAFETY: this generator's own, or that of one which is suspended in its delegation to this one: it
        // cannot go before this one has finished. Written through cells only.
        unsafe { self.through.get().as_ref() }
    }

    /// Takes the value of the first resumption.
    ///
    /// # Safety
    ///
    /// The generator was resumed for the first time, with a value, which nobody has taken.
    pub(super) unsafe fn begin(&self) {
        // SAFETY: as the caller vouches: the resumer has put it there.
        let first = unsafe { self.port().message.take() };
        self.first.set(Some(first));
    }

    /// What the generator was first resumed with, once: `None` from the second call on.
    ///
    /// (Python cannot send anything to a generator that has not begun; in Lua it is the function's argument.)
    pub fn first(&self) -> Option<R> {
        self.first.take()
    }

    /// Hands `value` to whoever resumed the generator, waits until it is resumed again, and returns what it is
    /// resumed with. Python's `yield`.
    ///
    /// If it is closed, or an error is thrown into it, it unwinds from here: destructors run.
    /// [`try_yield`](Self::try_yield) catches that.
    ///
    /// Cost: a switch, some nanoseconds.
    ///
    /// # Panics
    ///
    /// In a destructor that runs because the generator unwinds. That cannot wait: whoever resumed it would seem
    /// to be panicking meanwhile. (Std ends the process, as with any panic there.)
    #[inline(always)]
    pub fn yield_(&self, value: Y) -> R {
        match self.try_yield(value) {
            Ok(message) => message,
            Err(raised) => raised.unwind(),
        }
    }

    /// As [`yield_`](Self::yield_), and returns what is raised. Python's `yield` within `try`.
    ///
    /// # Errors
    ///
    /// [`Raised::Error`] is what was thrown: deal with it and go on. [`Raised::Exit`] says that the
    /// generator is to end: return, or raise it again.
    ///
    /// # Panics
    ///
    /// As [`yield_`](Self::yield_).
    #[inline(always)]
    pub fn try_yield(&self, value: Y) -> Result<R, Raised> {
        let port = self.port();
        if thread::panicking() && !port.panicking.get() {
            self.refuse();
        }
        port.yielded.put(value);
        // SAFETY: the port's, whose stack lives as it does.
        let base = unsafe { port.base.as_ref() };
        // SAFETY: who yields runs, so whoever resumed the port's generator waits beneath: it resumed that one, or
        // the innermost that it had delegated to. A yielder stays within its generator's frames, by its
        // lifetime, and within the thread, as it is not `Sync`.
        let message = unsafe { base.suspend(YIELDED) };
        // It may be another by now.
        let port = self.port();
        if message == VALUE {
            // SAFETY: with this message the resumer has put one there, and who yields takes it: here, once.
            Ok(unsafe { port.message.take() })
        } else {
            Err(port.raised.take().unwrap_or(Raised::Exit))
        }
    }

    #[cold]
    fn refuse(&self) -> ! {
        // SAFETY: its own stack lives as it does.
        let name = unsafe { self.own.base.as_ref() }.name();
        panic!(
            "generator '{name}' must not yield while it unwinds (in a destructor): \
             yield before it ends, or collect what remains and return it"
        );
    }

    /// Has `generator` run in this one's place until it ends, and returns what it returns. Python's `yield from`
    /// (PEP 380).
    ///
    /// What it yields goes to whoever resumes this one; what that one sends, throws, or closes, goes to it.
    /// It may have run before. If it unwinds this one unwinds, with the same payload; if this one is closed,
    /// it is closed first.
    ///
    /// Cost: a switch to it and one back when it ends. In between it costs nothing, however deep delegation
    /// goes: resumptions go to the innermost generator directly. (One that is itself in the middle of
    /// delegating costs a step for each level, once.)
    ///
    /// # Panics
    ///
    /// If `generator` has finished, and what it returned was taken.
    pub fn yield_from<T>(&self, generator: impl BorrowMut<Generator<Y, R, T>>) -> T
    where
        R: Default,
    {
        self.yield_from_with(generator, R::default())
    }

    /// As [`yield_from`](Self::yield_from), first resuming it with `message`.
    ///
    /// # Panics
    ///
    /// As [`yield_from`](Self::yield_from).
    pub fn yield_from_with<T>(
        &self,
        mut generator: impl BorrowMut<Generator<Y, R, T>>,
        message: R,
    ) -> T {
        let generator = generator.borrow_mut();
        let Some(sub) = generator.yielder() else { return generator.take_return() };
        let through = self.through.get();
        // SAFETY: `generator` is borrowed and suspended, and keeps its yielder.
        rehome(unsafe { sub.as_ref() }, through);
        // SAFETY: as above.
        let sub_ref = unsafe { sub.as_ref() };
        sub_ref.sibling.set(self.delegate.replace(Some(sub)));
        self.port().message.put(message);
        // SAFETY: as above.
        let base = unsafe { sub_ref.own.base.as_ref() };
        // SAFETY: suspended in this base or fresh, not finished, and this thread's: it is `!Send`.
        let answer = unsafe { base.resume(VALUE) };
        // What it yields goes past us.
        debug_assert_eq!(answer, FINISHED);
        self.delegate.set(sub_ref.sibling.take());
        match generator.finish() {
            Ok(value) if self.port().closing.get() => {
                drop(value);
                Raised::Exit.unwind()
            }
            Ok(value) => value,
            Err(payload) => panic::resume_unwind(payload),
        }
    }
}

impl<Y> Yielder<Y, ()> {
    /// Yields all of an iterator. Python's `yield from` an iterable.
    ///
    /// # Panics
    ///
    /// As [`yield_`](Self::yield_).
    pub fn yield_all(&self, values: impl IntoIterator<Item = Y>) {
        values.into_iter().for_each(|value| self.yield_(value));
    }
}

/// Has a suspended generator, and whomever it has delegated to, yield through another port.
fn rehome<Y, R>(mut yielder: &Yielder<Y, R>, port: NonNull<Port<Y, R>>) {
    loop {
        yielder.through.set(port);
        if let Some(sibling) = yielder.sibling.get() {
            // SAFETY: whoever is delegated to is borrowed by a frame of the delegation, which is suspended.
            rehome(unsafe { sibling.as_ref() }, port);
        }
        let Some(next) = yielder.delegate.get() else { return };
        // SAFETY: as above.
        yielder = unsafe { next.as_ref() };
    }
}

/// Whether a generator has ended by being closed.
pub(super) fn is_exit(payload: &super::Payload) -> bool {
    payload.is::<GeneratorExit>()
}

impl<Y, R> fmt::Debug for Yielder<Y, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: its own stack lives as it does.
        let name = unsafe { self.own.base.as_ref() }.name();
        f.debug_struct("Yielder").field("generator", &name).finish_non_exhaustive()
    }
}
