//! [`Deferred`] and its [`Trigger`].

use std::fmt::{self, Debug};
use std::panic::{Location, resume_unwind};
use std::rc::Rc;
use std::time::Duration;
use std::cell::Cell;

use super::error::{AlreadyCalledError, CancelledError, Failure, TimeoutError};
use super::node::{self, Canceller, Next, Node, Outcome, Upstream, guarded, run};
use super::EventLoop;

/// A value, or an error, that will be there some time, and the callbacks that wait for it.
///
/// See the [module](super) for the idiom. A Deferred is the *end* of a chain: adding a callback consumes it and
/// returns the chain with one link more, whose value may be of another type. Whoever fires the chain holds its
/// [`Trigger`].
///
/// A Deferred belongs to its fiber, as its callbacks do: it is not [`Send`].
///
/// **Dropped** with an error in it, or before an error comes, it has that error reported: to the exception
/// handler of the [`EventLoop`] that runs here, else by one line on standard error. Callbacks that were added
/// run nevertheless.
///
/// **A panic** of a callback passes all callbacks and errbacks after it, which are dropped, and goes on in
/// [`wait`](super::wait) or [`run_until_complete`](EventLoop::run_until_complete), else it is reported. (In
/// Twisted an exception is an error for the next errback. Here errors are values, and a panic is a bug.)
///
/// Cost: two allocations a callback. A chain may be of any length: nothing recurses along it.
///
/// Source: `twisted.internet.defer.Deferred`.
#[must_use = "a Deferred that is dropped has its errors reported as unhandled"]
pub struct Deferred<T: 'static, E: 'static = Failure> {
    /// Taken by what consumes the Deferred.
    node: Option<Rc<Node<T, E>>>,
}

/// Fires a [`Deferred`], once.
///
/// Dropped without that, the Deferred never fires: its callbacks are dropped, and whoever waits is told
/// ([`RunError::Dropped`](super::RunError::Dropped)) or, in [`inline_callbacks`](super::inline_callbacks),
/// unwound.
///
/// Source: the methods `callback` and `errback` of Twisted's `Deferred`, which is both ends in one. Here whoever
/// gets the Deferred cannot fire it.
pub struct Trigger<T: 'static, E: 'static = Failure> {
    node: Rc<Node<T, E>>,
}

/// What a callback may return: a [`Result`], or a [`Deferred`] that the chain then waits for.
///
/// Only these two implement it: what it is made of cannot be named elsewhere.
pub trait Reply {
    /// The value.
    type Value: 'static;
    /// The error.
    type Error: 'static;

    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn settle(self, node: Rc<Node<Self::Value, Self::Error>>) -> Next;
}

impl<T: 'static, E: 'static> Reply for Result<T, E> {
    type Value = T;
    type Error = E;

    #[allow(private_interfaces)]
    fn settle(self, node: Rc<Node<T, E>>) -> Next {
        node.settle(Outcome::Fired(self))
    }
}

impl<T: 'static, E: Debug + 'static> Reply for Deferred<T, E> {
    type Value = T;
    type Error = E;

    #[allow(private_interfaces)]
    fn settle(self, node: Rc<Node<T, E>>) -> Next {
        let inner = self.into_node();
        node.wait_for(inner.to_be_cancelled());
        inner.continue_with(Box::new(move |outcome| node.settle(outcome)))
    }
}

impl<T: 'static, E: Debug + From<CancelledError> + 'static> Deferred<T, E> {
    /// A Deferred that has not fired, and what fires it.
    ///
    /// ```
    /// use timestop::reactor::Deferred;
    ///
    /// let (trigger, deferred) = Deferred::<u32>::new();
    /// let printed = deferred.map(|number| println!("{number}"));
    /// trigger.callback(7)?; // prints
    /// # drop(printed);
    /// # Ok::<(), timestop::reactor::AlreadyCalledError>(())
    /// ```
    #[track_caller]
    pub fn new() -> (Trigger<T, E>, Self) {
        Self::root(None)
    }

    /// As [`new`](Self::new), with what [`cancel`](Self::cancel) is to do: `canceller` stops the work, and may
    /// fire the Deferred. If it does not, the Deferred fails with [`CancelledError`].
    ///
    /// Source: `Deferred(canceller)`.
    #[track_caller]
    pub fn with_canceller(
        canceller: impl FnOnce(&Trigger<T, E>) + 'static,
    ) -> (Trigger<T, E>, Self) {
        Self::root(Some(Box::new(canceller)))
    }

    #[track_caller]
    fn root(canceller: Option<Canceller<T, E>>) -> (Trigger<T, E>, Self) {
        let upstream = Upstream::Root { canceller, cancelled: E::from };
        let node = Node::new(upstream, None, Location::caller());
        (Trigger { node: Rc::clone(&node) }, Self::of(node))
    }
}

impl<T: 'static, E: Debug + 'static> Deferred<T, E> {
    pub(super) fn of(node: Rc<Node<T, E>>) -> Self {
        Self { node: Some(node) }
    }

    #[track_caller]
    pub(super) fn fired(outcome: Outcome<T, E>) -> Self {
        Self::of(Node::new(Upstream::Nodes(Vec::new()), Some(outcome), Location::caller()))
    }

    /// Adds what is to be done with the outcome. `f` returns what is to be run next.
    #[track_caller]
    fn chain<R: Reply>(self, f: impl FnOnce(Result<T, E>) -> R + 'static) -> Deferred<R::Value, R::Error>
    where
        R::Error: Debug,
    {
        let node = self.into_node();
        let child = Node::waiting(vec![node.to_be_cancelled()], Location::caller());
        let end = Deferred::of(Rc::clone(&child));
        run(node.continue_with(Box::new(move |outcome| match outcome {
            Outcome::Panicked(payload) => child.settle(Outcome::Panicked(payload)),
            Outcome::Fired(result) => match guarded(move || f(result)) {
                Ok(reply) => reply.settle(child),
                Err(payload) => child.settle(Outcome::Panicked(payload)),
            },
        })));
        end
    }

    /// Has `f` called with the value, and goes on with what it returns: a [`Result`], or another [`Deferred`],
    /// for which the chain then waits. An error passes it by. If the Deferred has fired, `f` runs at once.
    #[track_caller]
    pub fn add_callback<R>(self, f: impl FnOnce(T) -> R + 'static) -> Deferred<R::Value, E>
    where
        R: Reply<Error = E>,
    {
        self.chain(|result| match result {
            Ok(value) => Either::Reply(f(value)),
            Err(error) => Either::Outcome(Err(error)),
        })
    }

    /// Has `f` called with the error, and goes on with what it returns: an `Ok` is a value again. A value passes
    /// it by.
    #[track_caller]
    pub fn add_errback<R>(self, f: impl FnOnce(E) -> R + 'static) -> Self
    where
        R: Reply<Value = T, Error = E>,
    {
        self.chain(|result| match result {
            Ok(value) => Either::Outcome(Ok(value)),
            Err(error) => Either::Reply(f(error)),
        })
    }

    /// Has one of both called. What `callback` returns does not go to `errback`.
    #[track_caller]
    pub fn add_callbacks<R>(
        self,
        callback: impl FnOnce(T) -> R + 'static,
        errback: impl FnOnce(E) -> R + 'static,
    ) -> Deferred<R::Value, R::Error>
    where
        R: Reply,
        R::Error: Debug,
    {
        self.chain(|result| match result {
            Ok(value) => callback(value),
            Err(error) => errback(error),
        })
    }

    /// Has `f` called with value or error, and goes on with what it returns.
    #[track_caller]
    pub fn add_both<R>(self, f: impl FnOnce(Result<T, E>) -> R + 'static) -> Deferred<R::Value, R::Error>
    where
        R: Reply,
        R::Error: Debug,
    {
        self.chain(f)
    }

    /// As [`add_callback`](Self::add_callback), for what cannot fail and need not wait.
    #[track_caller]
    pub fn map<U: 'static>(self, f: impl FnOnce(T) -> U + 'static) -> Deferred<U, E> {
        self.chain(|result| result.map(f))
    }

    /// Makes another error of the error.
    #[track_caller]
    pub fn map_err<F: Debug + 'static>(self, f: impl FnOnce(E) -> F + 'static) -> Deferred<T, F> {
        self.chain(|result| result.map_err(f))
    }

    /// Fails with [`TimeoutError`] unless it has fired after `limit`: then it is [cancelled](Self::cancel), and
    /// whatever error comes of that is the `TimeoutError`. A value that the canceller fires stands.
    ///
    /// Source: `Deferred.addTimeout`, which replaces `CancelledError` only.
    ///
    /// # Panics
    ///
    /// If the loop is closed.
    #[track_caller]
    pub fn add_timeout(self, event_loop: &EventLoop, limit: Duration) -> Self
    where
        E: From<TimeoutError>,
    {
        if self.is_fired() {
            return self;
        }
        let late = Rc::new(Cell::new(false));
        let says = Rc::clone(&late);
        let waiting = self.node().to_be_cancelled();
        let timer = event_loop.call_later(limit, move || {
            says.set(true);
            if let Some(node) = waiting.upgrade() {
                node::cancel(node);
            }
        });
        self.chain(move |result| {
            timer.cancel();
            match result {
                Err(_) if late.get() => Err(E::from(TimeoutError)),
                result => result,
            }
        })
    }
}

impl<T: 'static, E: 'static> Deferred<T, E> {
    pub(super) fn node(&self) -> &Rc<Node<T, E>> {
        self.node.as_ref().expect("only what consumes the Deferred takes it")
    }

    pub(super) fn into_node(mut self) -> Rc<Node<T, E>> {
        self.node.take().expect("only what consumes the Deferred takes it")
    }

    /// Whether it has fired, and all callbacks have run.
    #[must_use]
    pub fn is_fired(&self) -> bool {
        self.node().is_fired()
    }

    /// What has come of it, if it has fired.
    ///
    /// # Errors
    ///
    /// The Deferred itself, if it has not fired.
    ///
    /// # Panics
    ///
    /// With what a callback has panicked with.
    pub fn try_result(self) -> Result<Result<T, E>, Self> {
        match self.node().take() {
            Some(Outcome::Fired(result)) => Ok(result),
            Some(Outcome::Panicked(payload)) => resume_unwind(payload),
            None => Err(self),
        }
    }

    /// Ends the chain with code of ours, which is told of a panic too.
    pub(super) fn into_outcome(self, f: impl FnOnce(Result<Result<T, E>, node::Payload>) + 'static) {
        run(self.into_node().continue_with(Box::new(|outcome| {
            f(match outcome {
                Outcome::Fired(result) => Ok(result),
                Outcome::Panicked(payload) => Err(payload),
            });
            None
        })));
    }

    /// Asks for an end: cancels what the chain waits for just now, be it a Deferred that a callback has
    /// returned. Its canceller is called; unless that fires it, it fails with [`CancelledError`], and the chain
    /// goes on with that. If there was no canceller, the [`Trigger`] may be fired once more, without effect.
    /// Nothing happens if the chain has fired.
    ///
    /// # Panics
    ///
    /// With what the canceller panics with.
    pub fn cancel(&self) {
        let node: Rc<Node<T, E>> = Rc::clone(self.node());
        node::cancel(node);
    }
}

/// What a callback has returned, or what has passed it by.
enum Either<R: Reply> {
    Reply(R),
    Outcome(Result<R::Value, R::Error>),
}

impl<R: Reply> Reply for Either<R> {
    type Value = R::Value;
    type Error = R::Error;

    #[allow(private_interfaces)]
    fn settle(self, node: Rc<Node<R::Value, R::Error>>) -> Next {
        match self {
            Self::Reply(reply) => reply.settle(node),
            Self::Outcome(result) => node.settle(Outcome::Fired(result)),
        }
    }
}

impl<T: 'static, E: 'static> Trigger<T, E> {
    pub(super) fn of(node: Rc<Node<T, E>>) -> Self {
        Self { node }
    }

    /// Fires the Deferred with a value. Its callbacks have run when this returns, but for those that wait.
    ///
    /// # Errors
    ///
    /// It has been fired already, or was cancelled by its canceller.
    pub fn callback(&self, value: T) -> Result<(), AlreadyCalledError> {
        self.node.fire(Ok(value))
    }

    /// Fires the Deferred with an error.
    ///
    /// # Errors
    ///
    /// As [`callback`](Self::callback).
    pub fn errback(&self, error: E) -> Result<(), AlreadyCalledError> {
        self.node.fire(Err(error))
    }

    /// Fires the Deferred with either.
    ///
    /// # Errors
    ///
    /// As [`callback`](Self::callback).
    pub fn fire(&self, result: Result<T, E>) -> Result<(), AlreadyCalledError> {
        self.node.fire(result)
    }

    /// Fires it with the panic of whoever worked for it.
    pub(super) fn panicked(&self, payload: node::Payload) {
        if !self.node.is_fired() {
            run(self.node.settle(Outcome::Panicked(payload)));
        }
    }

    /// Whether the Deferred has been fired, or was cancelled.
    #[must_use]
    pub fn is_fired(&self) -> bool {
        self.node.is_fired()
    }
}

impl<T: 'static, E: 'static> Drop for Deferred<T, E> {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            node.abandon();
        }
    }
}

impl<T: 'static, E: 'static> Debug for Deferred<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_fired() { "fired" } else { "waits" };
        write!(f, "Deferred(made at {}, {state})", self.node().made_at())
    }
}

impl<T: 'static, E: 'static> Debug for Trigger<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_fired() { "fired" } else { "waits" };
        write!(f, "Trigger(of a Deferred made at {}, {state})", self.node.made_at())
    }
}

/// A Deferred that has fired with a value.
#[track_caller]
pub fn succeed<T: 'static, E: Debug + 'static>(value: T) -> Deferred<T, E> {
    Deferred::fired(Outcome::Fired(Ok(value)))
}

/// A Deferred that has failed.
#[track_caller]
pub fn fail<T: 'static, E: Debug + 'static>(error: E) -> Deferred<T, E> {
    Deferred::fired(Outcome::Fired(Err(error)))
}

/// Calls `f`, and makes a Deferred of what it returns, whether that is a [`Result`] or a Deferred. A panic is the
/// Deferred's.
///
/// Source: `twisted.internet.defer.maybeDeferred`.
#[track_caller]
pub fn maybe_deferred<R>(f: impl FnOnce() -> R) -> Deferred<R::Value, R::Error>
where
    R: Reply,
    R::Error: Debug,
{
    let node = Node::waiting(Vec::new(), Location::caller());
    let deferred = Deferred::of(Rc::clone(&node));
    run(match guarded(f) {
        Ok(reply) => reply.settle(node),
        Err(payload) => node.settle(Outcome::Panicked(payload)),
    });
    deferred
}
