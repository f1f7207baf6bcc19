//! By what callbacks are cancelled.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Instant;

/// A callback that runs once, unless it is cancelled before.
pub(super) struct Scheduled {
    callback: RefCell<Option<Box<dyn FnOnce()>>>,
    cancelled: Cell<bool>,
    /// Where the heap that it lies in counts what is cancelled.
    heap: RefCell<Option<Rc<Cell<usize>>>>,
}

impl Scheduled {
    pub(super) fn new(callback: Box<dyn FnOnce()>, heap: Option<Rc<Cell<usize>>>) -> Rc<Self> {
        Rc::new(Self {
            callback: RefCell::new(Some(callback)),
            cancelled: Cell::new(false),
            heap: RefCell::new(heap),
        })
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }

    pub(super) fn take(&self) -> Option<Box<dyn FnOnce()>> {
        self.callback.borrow_mut().take()
    }

    pub(super) fn leave_heap(&self) {
        *self.heap.borrow_mut() = None;
    }

    fn cancel(&self) {
        // Nothing is borrowed while the callback is dropped: it may hold anything.
        let callback = self.take();
        if callback.is_some() {
            self.cancelled.set(true);
            if let Some(cancelled) = self.heap.borrow_mut().take() {
                cancelled.set(cancelled.get() + 1);
            }
        }
        drop(callback);
    }
}

/// A callback of [`call_soon`](super::EventLoop::call_soon). Dropping the handle does not cancel it.
///
/// Source: `asyncio.Handle`.
#[derive(Clone)]
pub struct Handle(pub(super) Rc<Scheduled>);

/// A callback of [`call_later`](super::EventLoop::call_later) or [`call_at`](super::EventLoop::call_at).
/// Dropping the handle does not cancel it.
///
/// Source: `asyncio.TimerHandle`.
#[derive(Clone)]
pub struct TimerHandle {
    pub(super) scheduled: Rc<Scheduled>,
    pub(super) when: Instant,
}

impl Handle {
    /// Drops the callback. Nothing happens if it has run.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether it was cancelled before it ran.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

impl TimerHandle {
    /// Drops the callback. Nothing happens if it has run.
    pub fn cancel(&self) {
        self.scheduled.cancel();
    }

    /// Whether it was cancelled before it ran.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.scheduled.is_cancelled()
    }

    /// When it runs.
    #[must_use]
    pub fn when(&self) -> Instant {
        self.when
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("is_cancelled", &self.is_cancelled()).finish()
    }
}

impl fmt::Debug for TimerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerHandle")
            .field("when", &self.when)
            .field("is_cancelled", &self.is_cancelled())
            .finish()
    }
}
