//! Code that waits for Deferreds where it stands.
//!
//! The body has a stack of its own, and nothing else: it runs *inside* the fiber that fires its Deferreds, with
//! that fiber's thread-locals and identity. So it may hold what callbacks hold (`Rc`, a `Deferred`, the
//! `EventLoop`), and no two of them run at once. *Rejected*: a fiber of its own that takes turns with the loop's.
//! Safe code could then move what is not [`Send`] from one thread to another as Rust sees it, and a handle into
//! a thread-local table would be looked up in another table; and two parks a wait cost more than two switches.

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::rc::{Rc, Weak};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::deferred::Deferred;
use super::node::{Cancel, Next, Node, Outcome, Payload, run};

/// How many stacks are kept for the next bodies.
const KEPT: usize = 64;

/// A body on its stack. Its last act is to say what is to be run next.
type Body = Coroutine<(), (), Next, DefaultStack>;

/// A body that runs or waits.
pub(super) struct Task {
    /// Absent while it runs.
    body: RefCell<Option<Body>>,
    yielder: Cell<*const Yielder<(), ()>>,
    /// Whose Deferred the caller got.
    result: Rc<dyn WaitsFor>,
}

/// The node of a body's result, of whatever type.
trait WaitsFor {
    fn wait_for(&self, upstream: Weak<dyn Cancel>);
    fn panicked(self: Rc<Self>, payload: Payload) -> Next;
}

impl<T: 'static, E: 'static> WaitsFor for Node<T, E> {
    fn wait_for(&self, upstream: Weak<dyn Cancel>) {
        Node::wait_for(self, upstream);
    }

    fn panicked(self: Rc<Self>, payload: Payload) -> Next {
        self.settle(Outcome::Panicked(payload))
    }
}

thread_local! {
    /// The body that runs.
    static CURRENT: RefCell<Option<Rc<Task>>> = const { RefCell::new(None) };
    /// Stacks of bodies that have ended.
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
}

/// Runs `body` until its first [`wait`], and returns a Deferred that fires with what `body` returns.
///
/// In Python `@inlineCallbacks def f(): x = yield d; return x + 1`; here:
///
/// ```
/// use timestop::reactor::{Deferred, Failure, inline_callbacks, wait};
///
/// let (trigger, deferred) = Deferred::<u32>::new();
/// let sum = inline_callbacks(move || {
///     let first = wait(deferred)?;
///     Ok::<_, Failure>(first + 1)
/// });
/// trigger.callback(41).unwrap();
/// assert_eq!(sum.try_result().unwrap().unwrap(), 42);
/// ```
///
/// `body` has a stack of its own, but runs within this fiber: what it does between two waits is done at one go,
/// as in a callback, and needs no locks. A *blocking call* in it suspends the whole fiber, and with it the
/// [`EventLoop`](super::EventLoop); have that done by
/// [`defer_to_fiber`](super::EventLoop::defer_to_fiber), and wait for it.
///
/// **Cancelling** the Deferred cancels what the body waits for, whose error [`wait`] returns. **Dropping** it lets
/// the body go on; its error is then reported. If what it waits for never fires, because the
/// [`Trigger`](super::Trigger) was dropped, the body is unwound, and its destructors run.
///
/// A panic of the body is that of the Deferred. A body that computes on its stack is not preempted, but its
/// worker is handed off after two slices; one that overflows its stack ends the process by SIGSEGV.
///
/// Cost: a stack, as large as that of a fiber, of which some are kept for the next; two allocations and two switches
/// of stacks a wait.
///
/// Source: `twisted.internet.defer.inlineCallbacks`.
///
/// # Panics
///
/// If there is no memory for a stack.
#[track_caller]
pub fn inline_callbacks<T, E>(body: impl FnOnce() -> Result<T, E> + 'static) -> Deferred<T, E>
where
    T: 'static,
    E: Debug + 'static,
{
    let node: Rc<Node<T, E>> = Node::waiting(Vec::new(), Location::caller());
    let deferred = Deferred::of(Rc::clone(&node));
    let task = Rc::new(Task {
        body: RefCell::new(None),
        yielder: Cell::new(std::ptr::null()),
        result: Rc::<Node<T, E>>::clone(&node),
    });
    let stack = STACKS.with(|stacks| stacks.borrow_mut().pop()).unwrap_or_else(|| {
        DefaultStack::new(crate::config::stack_size())
            .unwrap_or_else(|error| panic!("no memory for the stack of inline_callbacks: {error}"))
    });
    let itself = Rc::downgrade(&task);
    let coroutine = Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
        if let Some(task) = itself.upgrade() {
            task.yielder.set(yielder);
        }
        drop(itself);
        node.settle(Outcome::Fired(body()))
    });
    *task.body.borrow_mut() = Some(coroutine);
    run(task.resume());
    deferred
}

/// While it lives no body counts as running: a callback that a body runs may not wait, as it may not elsewhere.
/// (Its frames may not lie between a body and its wait: they would catch the unwinding of a body that is dropped.)
pub(super) struct Outside(Option<Rc<Task>>);

impl Outside {
    pub(super) fn of_bodies() -> Self {
        Self(CURRENT.try_with(RefCell::take).ok().flatten())
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            CURRENT.set(Some(task));
        }
    }
}

impl Task {
    /// Runs the body until it waits or ends. Who it waits for owns the task then.
    fn resume(self: Rc<Self>) -> Next {
        let mut body = self.body.borrow_mut().take().expect("a body that waits is there");
        let before = CURRENT.replace(Some(Rc::clone(&self)));
        let ended = catch_unwind(AssertUnwindSafe(|| body.resume(())));
        CURRENT.replace(before);
        match ended {
            Ok(CoroutineResult::Yield(())) => {
                *self.body.borrow_mut() = Some(body);
                None
            }
            Ok(CoroutineResult::Return(next)) => {
                keep(body.into_stack());
                next
            }
            Err(payload) => Rc::clone(&self.result).panicked(payload),
        }
    }
}

impl Drop for Task {
    /// Unwinds a body that waits. Code of it that catches this, and waits again, is not in the body that runs.
    fn drop(&mut self) {
        if let Some(body) = self.body.get_mut().take() {
            let _outside = Outside::of_bodies();
            drop(body);
        }
    }
}

fn keep(stack: DefaultStack) {
    let mut stack = Some(stack);
    // Without thread-locals the fiber ends, and the stack goes.
    let _ = STACKS.try_with(|stacks| {
        let mut stacks = stacks.borrow_mut();
        if stacks.len() < KEPT {
            stacks.extend(stack.take());
        }
    });
}

/// Waits for a Deferred within [`inline_callbacks`], and returns what it fires with. One that has fired is not
/// waited for.
///
/// # Errors
///
/// What the Deferred fails with.
///
/// # Panics
///
/// With what a callback of the Deferred has panicked with.
///
/// Elsewhere than in the body of `inline_callbacks`: a callback that waits would wait for ever, since it keeps
/// the loop from firing anything. There use [`Deferred::add_callback`]; in a fiber without a loop
/// [`EventLoop::run_until_complete`](super::EventLoop::run_until_complete); in one beside the loop
/// [`EventLoopHandle::call`](super::EventLoopHandle::call). Also in a destructor that runs while a panic unwinds
/// the body.
#[track_caller]
pub fn wait<T: 'static, E: Debug + 'static>(deferred: Deferred<T, E>) -> Result<T, E> {
    let Some(task) = CURRENT.with(|current| current.borrow().clone()) else {
        panic!(
            "timestop::reactor::wait works in the body of inline_callbacks only: here it would keep the \
             EventLoop from firing {deferred:?}"
        );
    };
    assert!(!std::thread::panicking(), "timestop::reactor::wait while a panic unwinds the body");
    match deferred.try_result() {
        Ok(result) => result,
        Err(deferred) => match task.wait(deferred.into_node()) {
            Outcome::Fired(result) => result,
            Outcome::Panicked(payload) => resume_unwind(payload),
        },
    }
}

impl Task {
    fn wait<T: 'static, E: Debug + 'static>(self: Rc<Self>, node: Rc<Node<T, E>>) -> Outcome<T, E> {
        let place = Rc::new(Cell::new(None));
        let theirs = Rc::clone(&place);
        self.result.wait_for(node.to_be_cancelled());
        let yielder = self.yielder.get();
        let next = node.continue_with(Box::new(move |outcome| {
            theirs.set(Some(outcome));
            self.resume()
        }));
        debug_assert!(next.is_none(), "it has not fired, and nobody else runs");
        // SAFETY: the yielder lives as long as the body, in which we are; and it is that of the innermost body
        // that runs, since `CURRENT` says so.
        unsafe { &*yielder }.suspend(());
        place.take().expect("who resumes the body has left the outcome")
    }
}
