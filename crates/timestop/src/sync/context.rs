//! A tree of things to be given up together.
//!
//! A node knows its children, its fibers and the channel that is closed when it is over. It is given up once:
//! first it says why, then its fibers are cancelled, its channel closed, and its children given up, one after
//! the other from a list (a tree may be deep, a fiber's stack is not).
//!
//! A fiber stands in its node while it runs there, and leaves under the node's lock; so under that lock it can
//! be cancelled by its address.

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use timestop_runtime::FiberRef;

use crate::JoinHandle;
use crate::channel::{self, Receiver, RecvTimeoutError, Sender};

/// Says when work is to be given up: because somebody has cancelled it, or at a point in time. Contexts form
/// a tree: with one, all that are made from it are given up. A clone is the same context.
///
/// In Go you write
///
/// ```go
/// ctx, cancel := context.WithTimeout(parent, time.Second)
/// defer cancel()
/// go work(ctx)
/// select {
/// case <-ctx.Done(): return ctx.Err()
/// case v := <-results: …
/// }
/// ```
///
/// Here you write
///
/// ```
/// use std::time::Duration;
/// use timestop::channel::{bounded, select};
/// use timestop::sync::Context;
/// # let parent = Context::background();
/// # let (sender, results) = bounded(1);
/// # let work = move || sender.send(7);
///
/// let (context, _cancel) = parent.with_timeout(Duration::from_secs(1));
/// context.spawn(work);
/// select! {
///     recv(context.done()) -> _ => println!("{}", context.err().unwrap()),
///     recv(results) -> v => assert_eq!(v, Ok(7)),
/// }                                       // `_cancel` is dropped: cancelled
/// ```
///
/// **What a fiber inherits.** By itself nothing: neither the [time limit](crate::timeout) nor being
/// cancelled goes from one to those that it spawns. A context hands both on:
/// [`context.spawn`](Self::spawn) runs a fiber whose blocking calls, in any crate below, fail once the
/// context is given up (`docs/cancellation.md`). So code that does not know the context obeys it, which Go
/// does not have; code that does looks at [`done`](Self::done), as in Go.
///
/// There are no values here: what code needs it is given.
#[derive(Clone)]
pub struct Context(Arc<Node>);

/// Gives a context up, at the latest when it is dropped.
///
/// Source: Go's `CancelFunc`, and the `defer cancel()` that goes with it.
#[must_use = "the context is given up when this is dropped"]
pub struct Cancel(Arc<Node>);

/// Why a context was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContextError {
    /// It was cancelled, or one above it was.
    #[doc(alias = "Canceled")]
    Cancelled,
    /// Its time has come, or that of one above it.
    DeadlineExceeded,
}

/// What [`Cancel::cancel_because`] was given.
pub type Cause = Arc<dyn Error + Send + Sync>;

struct Node {
    parent: Option<Weak<Node>>,
    deadline: Option<Instant>,
    state: Mutex<State>,
    /// None for one that is never given up.
    closer: Option<Sender<Infallible>>,
    done: Receiver<Infallible>,
}

#[derive(Default)]
struct State {
    over: Option<(ContextError, Option<Cause>)>,
    /// By address, which is theirs while they are here.
    children: HashMap<usize, Weak<Node>>,
    fibers: HashMap<usize, FiberRef>,
}

impl Context {
    /// One that is never given up: the root of a tree.
    #[must_use]
    pub fn background() -> Self {
        Self(Arc::new(Node {
            parent: None,
            deadline: None,
            state: Mutex::default(),
            closer: None,
            done: channel::never(),
        }))
    }

    /// One below this, to be cancelled on its own.
    ///
    /// Cost: two allocations.
    pub fn with_cancel(&self) -> (Self, Cancel) {
        self.below(None)
    }

    /// One below this that is given up at that time, if not before.
    ///
    /// Cost: that of [`with_cancel`](Self::with_cancel), and of a fiber which waits for the time, unless the
    /// context above has none later.
    ///
    /// # Panics
    ///
    /// As [`crate::spawn`].
    pub fn with_deadline(&self, at: Instant) -> (Self, Cancel) {
        self.below(Some(at))
    }

    /// One below this that is given up after that time, if not before.
    ///
    /// # Panics
    ///
    /// As [`with_deadline`](Self::with_deadline).
    pub fn with_timeout(&self, limit: Duration) -> (Self, Cancel) {
        // A time that cannot be told never comes.
        self.below(Instant::now().checked_add(limit))
    }

    fn below(&self, at: Option<Instant>) -> (Self, Cancel) {
        let (closer, done) = channel::unbounded();
        let above = self.0.deadline;
        let node = Arc::new(Node {
            parent: Some(Arc::downgrade(&self.0)),
            deadline: above.into_iter().chain(at).min(),
            state: Mutex::default(),
            closer: Some(closer),
            done,
        });
        let over = {
            let mut state = self.0.lock();
            if state.over.is_none() {
                state.children.insert(node.address(), Arc::downgrade(&node));
            }
            state.over.clone()
        };
        if let Some((error, cause)) = over {
            node.give_up(error, cause);
        } else if let Some(at) = at.filter(|at| above.is_none_or(|above| *at < above)) {
            node.give_up_at(at);
        }
        (Self(Arc::clone(&node)), Cancel(node))
    }

    /// A channel that is closed when the context is given up, and has no messages: for
    /// [`select!`](crate::channel::select!).
    #[must_use]
    pub fn done(&self) -> &Receiver<Infallible> {
        &self.0.done
    }

    /// Why the context was given up, if it was.
    #[must_use]
    pub fn err(&self) -> Option<ContextError> {
        self.0.lock().over.as_ref().map(|(error, _)| *error)
    }

    /// What the one who cancelled has said, here or above; else what [`err`](Self::err) says.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        let (error, cause) = self.0.lock().over.clone()?;
        Some(cause.unwrap_or_else(|| Arc::new(error)))
    }

    /// When it will be given up, if not before: the nearest of its own and those above.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// Runs `f` on a new fiber, under the context: it is [cancelled](JoinHandle::cancel) when the context is
    /// given up, and its blocking calls end at the context's [`deadline`](Self::deadline). Of one that is
    /// given up already, the fiber still runs, cancelled.
    ///
    /// # Panics
    ///
    /// As [`crate::spawn`].
    pub fn spawn<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let context = self.clone();
        crate::spawn(move || context.enter(f))
    }

    /// Runs `f` under the context on the calling fiber, which ends soon.
    pub(super) fn enter<T>(&self, f: impl FnOnce() -> T) -> T {
        /// Leaves, by a panic too.
        struct Leave<'node>(&'node Node, usize);

        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.lock().fibers.remove(&self.1);
            }
        }

        let fiber = FiberRef::current().expect("it was spawned for this");
        let _leave = Leave(&self.0, fiber.address());
        {
            let mut state = self.0.lock();
            match state.over {
                Some(_) => fiber.cancel(),
                None => drop(state.fibers.insert(fiber.address(), fiber)),
            }
        }
        match self.0.deadline {
            Some(at) => crate::deadline(at, f),
            None => f(),
        }
    }
}

impl Cancel {
    /// Gives the context up: [`ContextError::Cancelled`]. Nothing happens if it was before.
    pub fn cancel(&self) {
        self.0.give_up(ContextError::Cancelled, None);
    }

    /// The same, and says why: [`Context::cause`].
    ///
    /// Source: Go's `CancelCauseFunc`.
    pub fn cancel_because(&self, why: impl Into<Box<dyn Error + Send + Sync>>) {
        self.0.give_up(ContextError::Cancelled, Some(why.into().into()));
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl Node {
    fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up this one and all below.
    fn give_up(self: &Arc<Self>, error: ContextError, cause: Option<Cause>) {
        if let Some(parent) = self.parent.as_ref().and_then(Weak::upgrade) {
            parent.lock().children.remove(&self.address());
        }
        let mut nodes = vec![Arc::clone(self)];
        while let Some(node) = nodes.pop() {
            let mut state = node.lock();
            if state.over.is_some() {
                continue;
            }
            state.over = Some((error, cause.clone()));
            // They cannot end: they leave under the lock before.
            state.fibers.drain().for_each(|(_, fiber)| fiber.cancel());
            let children = std::mem::take(&mut state.children);
            drop(state);
            if let Some(closer) = &node.closer {
                closer.close();
            }
            nodes.extend(children.into_values().filter_map(|child| child.upgrade()));
        }
    }

    fn give_up_at(self: &Arc<Self>, at: Instant) {
        if at <= Instant::now() {
            return self.give_up(ContextError::DeadlineExceeded, None);
        }
        // Ends with the context, and does not keep it.
        let (node, done) = (Arc::downgrade(self), self.done.clone());
        crate::spawn(move || {
            if done.recv_deadline(at) == Err(RecvTimeoutError::Timeout)
                && let Some(node) = node.upgrade()
            {
                node.give_up(ContextError::DeadlineExceeded, None);
            }
        });
    }
}

impl fmt::Display for ContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "the context was cancelled",
            Self::DeadlineExceeded => "the context is past its deadline",
        })
    }
}

impl Error for ContextError {}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Context");
        shown.field("err", &self.err()).field("deadline", &self.0.deadline).finish()
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cancel({:?})", Context(Arc::clone(&self.0)))
    }
}
