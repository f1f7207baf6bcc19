//! One link of a chain of callbacks: an outcome that comes once, and what is to be done with it.
//!
//! A parent's continuation owns its child; the child knows its parent weakly, and only to be cancelled. So a
//! chain lives as long as whoever can fire it, or as whoever holds its end.
//!
//! Nothing recurses along a chain. A continuation settles its child and *returns* the child, if that has a
//! continuation in its turn: [`run`] is the loop. Each `fire` has a loop of its own, so that callbacks have run
//! when it returns, in a callback too, as in Twisted. *Rejected*: one queue for all (a `fire` in a callback
//! would return before its callbacks have run); a list of erased callbacks in one object, as Twisted has it
//! (each value would be boxed, and be of the right type by assertion).

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::{Rc, Weak};

use super::deferred::Trigger;
use super::error::{AlreadyCalledError, CancelledError};
use super::{inline, report};

/// What a callback has panicked with.
pub(super) type Payload = Box<dyn Any + Send>;

/// What became of a Deferred.
pub(super) enum Outcome<T, E> {
    Fired(Result<T, E>),
    /// A callback has panicked: no other callback runs, and whoever waits panics likewise.
    Panicked(Payload),
}

/// What is to be run next: a node with an outcome and a continuation.
pub(super) type Next = Option<Rc<dyn Deliver>>;

/// What is done with an outcome.
pub(super) type Continuation<T, E> = Box<dyn FnOnce(Outcome<T, E>) -> Next>;

/// What cancels the work for a Deferred.
pub(super) type Canceller<T, E> = Box<dyn FnOnce(&Trigger<T, E>)>;

/// Who has to be asked to cancel a node.
pub(super) enum Upstream<T: 'static, E: 'static> {
    /// Nobody else: it is fired from outside.
    Root { canceller: Option<Canceller<T, E>>, cancelled: fn(CancelledError) -> E },
    /// What it waits for.
    Nodes(Vec<Weak<dyn Cancel>>),
}

pub(super) struct Node<T: 'static, E: 'static> {
    outcome: RefCell<Option<Outcome<T, E>>>,
    next: RefCell<Option<Continuation<T, E>>>,
    upstream: RefCell<Upstream<T, E>>,
    fired: Cell<bool>,
    /// Cancelled without a canceller: who does not know of it may fire once, in vain.
    forgives: Cell<bool>,
    /// Nobody will ask for the outcome.
    abandoned: Cell<bool>,
    made_at: &'static Location<'static>,
    show: fn(&E) -> String,
}

/// A node of whatever type, with an outcome and a continuation.
pub(super) trait Deliver {
    fn deliver(self: Rc<Self>) -> Next;
}

/// A node of whatever type that may be cancelled.
pub(super) trait Cancel {
    /// Cancels what is fired from outside; else tells for whom it waits.
    fn cancel(self: Rc<Self>) -> Vec<Weak<dyn Cancel>>;
}

/// Runs continuations until there is none.
pub(super) fn run(mut next: Next) {
    while let Some(node) = next {
        next = node.deliver();
    }
}

/// Cancels a node, or whatever it waits for in the end.
pub(super) fn cancel(node: Rc<dyn Cancel>) {
    let mut asked = vec![node];
    while let Some(node) = asked.pop() {
        asked.extend(node.cancel().iter().rev().filter_map(Weak::upgrade));
    }
}

impl<T: 'static, E: Debug + 'static> Node<T, E> {
    pub(super) fn new(
        upstream: Upstream<T, E>,
        outcome: Option<Outcome<T, E>>,
        made_at: &'static Location<'static>,
    ) -> Rc<Self> {
        Rc::new(Self {
            fired: Cell::new(outcome.is_some()),
            outcome: RefCell::new(outcome),
            next: RefCell::new(None),
            upstream: RefCell::new(upstream),
            forgives: Cell::new(false),
            abandoned: Cell::new(false),
            made_at,
            show: |error| format!("{error:?}"),
        })
    }

    /// One that waits for others.
    pub(super) fn waiting(
        upstream: Vec<Weak<dyn Cancel>>,
        made_at: &'static Location<'static>,
    ) -> Rc<Self> {
        Self::new(Upstream::Nodes(upstream), None, made_at)
    }

    /// As an address to be cancelled by.
    pub(super) fn to_be_cancelled(self: &Rc<Self>) -> Weak<dyn Cancel> {
        let weak: Weak<Self> = Rc::downgrade(self);
        weak
    }
}

impl<T: 'static, E: 'static> Node<T, E> {
    pub(super) fn made_at(&self) -> &'static Location<'static> {
        self.made_at
    }

    pub(super) fn is_fired(&self) -> bool {
        self.fired.get()
    }

    /// The outcome comes from elsewhere from now on.
    pub(super) fn wait_for(&self, upstream: Weak<dyn Cancel>) {
        *self.upstream.borrow_mut() = Upstream::Nodes(vec![upstream]);
    }

    /// Takes what has come of it, if that is there and nobody else has a claim on it.
    pub(super) fn take(&self) -> Option<Outcome<T, E>> {
        self.outcome.borrow_mut().take()
    }

    /// Fires it from outside.
    pub(super) fn fire(self: &Rc<Self>, result: Result<T, E>) -> Result<(), AlreadyCalledError> {
        if self.fired.get() {
            return if self.forgives.take() {
                Ok(())
            } else {
                Err(AlreadyCalledError { made_at: self.made_at })
            };
        }
        run(self.settle(Outcome::Fired(result)));
        Ok(())
    }

    /// Gives it its outcome. What is returned is to be run.
    pub(super) fn settle(self: &Rc<Self>, outcome: Outcome<T, E>) -> Next {
        self.fired.set(true);
        if self.abandoned.get() {
            self.report(&outcome);
            drop(outcome);
            return None;
        }
        *self.outcome.borrow_mut() = Some(outcome);
        if self.next.borrow().is_none() {
            return None;
        }
        let ready: Rc<Self> = Rc::clone(self);
        Some(ready)
    }

    /// Has `continuation` run with the outcome: by whoever fires the node, or at once.
    pub(super) fn continue_with(self: Rc<Self>, continuation: Continuation<T, E>) -> Next {
        let outcome = self.take();
        match outcome {
            Some(outcome) => continuation(outcome),
            None => {
                *self.next.borrow_mut() = Some(continuation);
                None
            }
        }
    }

    /// Takes back what [`continue_with`](Self::continue_with) has left.
    pub(super) fn forget_continuation(&self) {
        let continuation = self.next.borrow_mut().take();
        drop(continuation);
    }

    /// Nobody will ask for the outcome: errors are told.
    pub(super) fn abandon(&self) {
        self.abandoned.set(true);
        if let Some(outcome) = self.take() {
            self.report(&outcome);
        }
    }

    fn report(&self, outcome: &Outcome<T, E>) {
        let what = match outcome {
            Outcome::Fired(Ok(_)) => return,
            Outcome::Fired(Err(error)) => (self.show)(error),
            Outcome::Panicked(payload) => report::panic_text(&**payload),
        };
        report::unhandled(self.made_at, &what);
    }
}

impl<T: 'static, E: 'static> Deliver for Node<T, E> {
    fn deliver(self: Rc<Self>) -> Next {
        let outcome = self.take()?;
        let continuation = self.next.borrow_mut().take();
        match continuation {
            Some(continuation) => continuation(outcome),
            None => None,
        }
    }
}

impl<T: 'static, E: 'static> Cancel for Node<T, E> {
    fn cancel(self: Rc<Self>) -> Vec<Weak<dyn Cancel>> {
        if self.fired.get() {
            return Vec::new();
        }
        let (canceller, cancelled) = match &mut *self.upstream.borrow_mut() {
            Upstream::Nodes(nodes) => return nodes.clone(),
            Upstream::Root { canceller, cancelled } => (canceller.take(), *cancelled),
        };
        match canceller {
            Some(canceller) => canceller(&Trigger::of(Rc::clone(&self))),
            None => self.forgives.set(true),
        }
        if !self.fired.get() {
            run(self.settle(Outcome::Fired(Err(cancelled(CancelledError)))));
        }
        Vec::new()
    }
}

/// Runs a callback; what it panics with is the outcome. It may not wait.
pub(super) fn guarded<R>(f: impl FnOnce() -> R) -> Result<R, Payload> {
    let _outside = inline::Outside::of_bodies();
    catch_unwind(AssertUnwindSafe(f))
}

thread_local! {
    /// Continuations of nodes that were never fired, while some are being dropped.
    static DROPPED: RefCell<Option<Vec<Box<dyn Any>>>> = const { RefCell::new(None) };
}

impl<T: 'static, E: 'static> Drop for Node<T, E> {
    /// A continuation owns the next node, whose continuation owns the next: they are dropped one after the
    /// other, not one within the other.
    fn drop(&mut self) {
        let Some(continuation) = self.next.get_mut().take() else { return };
        let mut first: Option<Box<dyn Any>> = Some(Box::new(continuation));
        // Without thread-locals the fiber ends: then within one another.
        let within_another = DROPPED.try_with(|dropped| match &mut *dropped.borrow_mut() {
            Some(queue) => {
                queue.extend(first.take());
                true
            }
            none => {
                *none = Some(Vec::new());
                false
            }
        });
        if within_another == Ok(false) {
            let _end = EndOfTurn;
            drop(first);
            while let Some(next) = DROPPED.with(|dropped| dropped.borrow_mut().as_mut()?.pop()) {
                drop(next);
            }
        }
    }
}

/// The next node that is dropped begins anew; so it does after a panic.
struct EndOfTurn;

impl Drop for EndOfTurn {
    fn drop(&mut self) {
        let left = DROPPED.with(|dropped| dropped.borrow_mut().take());
        drop(left);
    }
}
