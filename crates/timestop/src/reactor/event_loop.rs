//! [`EventLoop`]: what may be asked of it. How it turns is in `turn.rs`.

use std::cell::RefCell;
use std::fmt::{self, Debug};
use std::os::fd::{AsFd, AsRawFd};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, process};

use super::deferred::{Deferred, Trigger};
use super::error::{CancelledError, RunError};
use super::handle::{Handle, Scheduled, TimerHandle};
use super::node::Outcome;
use super::remote::EventLoopHandle;
use super::report::{self, Unhandled};
use super::signals::Wish;
use super::turn::{Direction, Inner, Job};

/// Runs callbacks: soon, later, when a descriptor is ready, when a signal comes.
///
/// See the [module](super) for the idiom. A loop lives on one fiber; many fibers may have one each. Where it
/// waits it suspends its fiber and nothing else. It is a reference-counted handle: clone it into callbacks. A
/// callback that holds one keeps the loop alive until it has run or is removed; [`close`](Self::close) drops all.
///
/// It is neither [`Send`] nor [`Sync`]; others get an [`EventLoopHandle`]:
///
/// ```compile_fail,E0277
/// let event_loop = timestop::reactor::EventLoop::new().unwrap();
/// timestop::spawn(move || event_loop.stop());
/// ```
///
/// **Order**, as asyncio's: an iteration waits for descriptors, unless something is to be run; then come the
/// callbacks that were due already, those of ready descriptors, of other fibers and of signals, and the timers
/// that are due, in the order of their times, then of their scheduling. What these schedule runs in the next.
///
/// **A panic of a callback** is told to the [exception handler](Self::set_exception_handler), by default in a
/// line on standard error, and the loop goes on.
///
/// **Cancelling** the loop's fiber, or its time limit, ends a `run_…` with the error that its wait fails with.
///
/// Source: `asyncio.loop`, of which the methods are namesakes; Twisted's reactor.
#[derive(Clone)]
pub struct EventLoop(pub(super) Rc<Inner>);

thread_local! {
    /// The loops that run on this fiber: none or one.
    static RUNNING: RefCell<Option<EventLoop>> = const { RefCell::new(None) };
}

impl EventLoop {
    /// A loop for this fiber, or this OS thread.
    ///
    /// Cost: two descriptors.
    ///
    /// # Errors
    ///
    /// There are no descriptors left, or fibers cannot run on this machine.
    pub fn new() -> io::Result<Self> {
        // So that its waits are seen by the runtime, wherever it is made.
        crate::config::ensure_started()?;
        Ok(Self(Rc::new(Inner::new()?)))
    }

    /// The loop that runs on this fiber. Source: `asyncio.get_running_loop`.
    #[must_use]
    pub fn current() -> Option<Self> {
        RUNNING.try_with(|running| running.borrow().clone()).ok().flatten()
    }

    /// Has `callback` run in the next iteration, after those that were scheduled before it.
    ///
    /// # Panics
    ///
    /// If the loop is closed.
    pub fn call_soon(&self, callback: impl FnOnce() + 'static) -> Handle {
        self.check_open();
        let scheduled = Scheduled::new(Box::new(callback), None);
        self.0.push(Job::Once("call_soon", Rc::clone(&scheduled)));
        Handle(scheduled)
    }

    /// Has `callback` run when so much time has passed.
    ///
    /// # Panics
    ///
    /// If the loop is closed.
    pub fn call_later(&self, delay: Duration, callback: impl FnOnce() + 'static) -> TimerHandle {
        let now = Instant::now();
        // What is further away than the clock reaches comes in a century.
        let when = now.checked_add(delay);
        self.call_at(when.unwrap_or(now + Duration::from_secs(36_500 * 86_400)), callback)
    }

    /// Has `callback` run at that time.
    ///
    /// # Panics
    ///
    /// If the loop is closed.
    pub fn call_at(&self, when: Instant, callback: impl FnOnce() + 'static) -> TimerHandle {
        self.check_open();
        let mut timers = self.0.timers.borrow_mut();
        let scheduled = Scheduled::new(Box::new(callback), Some(timers.cancelled()));
        timers.add(when, Rc::clone(&scheduled));
        TimerHandle { scheduled, when }
    }

    /// Has `callback` run in each iteration in which there is something to read: data, the end, an error. It
    /// takes the place of another reader of this descriptor.
    ///
    /// The loop does not own the descriptor: [remove](Self::remove_reader) the reader before closing it. A number
    /// that is closed all the same is silent, until it is added anew.
    ///
    /// # Errors
    ///
    /// The descriptor cannot be waited for (`EPERM`: it is a regular file), or is none.
    ///
    /// # Panics
    ///
    /// If the loop is closed.
    pub fn add_reader(&self, fd: &impl AsFd, callback: impl FnMut() + 'static) -> io::Result<()> {
        self.check_open();
        self.0.watch(fd.as_fd().as_raw_fd(), Direction::Reader, Box::new(callback))
    }

    /// As [`add_reader`](Self::add_reader), when there is room to write, or an error.
    ///
    /// # Errors
    ///
    /// As `add_reader`.
    ///
    /// # Panics
    ///
    /// If the loop is closed.
    pub fn add_writer(&self, fd: &impl AsFd, callback: impl FnMut() + 'static) -> io::Result<()> {
        self.check_open();
        self.0.watch(fd.as_fd().as_raw_fd(), Direction::Writer, Box::new(callback))
    }

    /// Drops the reader of a descriptor; it is not called any more, even where it was due. False if there was
    /// none.
    pub fn remove_reader(&self, fd: &impl AsFd) -> bool {
        self.0.unwatch(fd.as_fd().as_raw_fd(), Direction::Reader)
    }

    /// Drops the writer of a descriptor. False if there was none.
    pub fn remove_writer(&self, fd: &impl AsFd) -> bool {
        self.0.unwatch(fd.as_fd().as_raw_fd(), Direction::Writer)
    }

    /// Has `callback` run by the loop when the signal comes; several that come at once may be one call. It takes
    /// the place of another callback of this loop; other loops have theirs as well.
    ///
    /// The signal no longer does what it does by default, until the last loop has removed its callback. A handler
    /// that was installed otherwise before runs too.
    ///
    /// # Errors
    ///
    /// There is no such signal, or it cannot be handled.
    ///
    /// # Panics
    ///
    /// If the loop is closed.
    pub fn add_signal_handler(
        &self,
        signal: i32,
        callback: impl FnMut() + 'static,
    ) -> io::Result<()> {
        self.check_open();
        let wish = Wish::new(signal, Arc::clone(&self.0.shared))?;
        let before = self.0.add_signal(signal, wish, Box::new(callback));
        drop(before);
        Ok(())
    }

    /// Drops the callback for a signal. False if there was none.
    pub fn remove_signal_handler(&self, signal: i32) -> bool {
        let removed = self.0.signals.borrow_mut().remove(&signal);
        removed.is_some_and(|(_wish, callback)| {
            callback.remove();
            true
        })
    }

    /// The loop as others see it.
    #[must_use]
    pub fn handle(&self) -> EventLoopHandle {
        EventLoopHandle(Arc::clone(&self.0.shared))
    }

    /// Runs `f`, which may block, on a fiber of its own, and has the Deferred fire here with what it returns.
    /// Cancelling the Deferred [cancels](crate::JoinHandle::cancel) the fiber, whose result is then dropped.
    ///
    /// Source: `twisted.internet.threads.deferToThread`.
    ///
    /// ```
    /// use timestop::reactor::{EventLoop, Failure};
    ///
    /// let event_loop = EventLoop::new()?;
    /// let sum = event_loop.defer_to_fiber(|| Ok::<_, Failure>((1..=100).sum::<u32>()));
    /// assert_eq!(event_loop.run_until_complete(sum).unwrap().unwrap(), 5050);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If there is no room for a fiber, or the loop is closed.
    #[track_caller]
    pub fn defer_to_fiber<T, E>(
        &self,
        f: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Deferred<T, E>
    where
        T: Send + 'static,
        E: Debug + From<CancelledError> + Send + 'static,
    {
        self.check_open();
        let fiber = Rc::new(RefCell::new(None::<crate::JoinHandle<()>>));
        let to_cancel = Rc::clone(&fiber);
        let (trigger, deferred) = Deferred::with_canceller(move |_: &Trigger<T, E>| {
            if let Some(fiber) = to_cancel.borrow_mut().take() {
                fiber.cancel();
            }
        });
        let number = self.0.keep(Box::new(trigger));
        let handle = self.handle();
        *fiber.borrow_mut() = Some(crate::spawn(move || {
            let result = super::node::guarded(f);
            // A closed loop has dropped the trigger.
            let _ = handle.call_soon_threadsafe(move |event_loop| {
                let kept = event_loop.0.give_back(number);
                let trigger = kept.and_then(|kept| kept.downcast::<Trigger<T, E>>().ok());
                let Some(trigger) = trigger else { return };
                match result {
                    // It was cancelled meanwhile.
                    _ if trigger.is_fired() => {}
                    Ok(result) => drop(trigger.fire(result)),
                    Err(payload) => trigger.panicked(payload),
                }
            });
        }));
        deferred
    }

    /// Runs until [`stop`](Self::stop).
    ///
    /// # Errors
    ///
    /// Waiting failed: the fiber was cancelled (`ECANCELED`), or is past its [time limit](crate::timeout)
    /// (`TimedOut`). The loop is as it was, and may run again.
    ///
    /// # Panics
    ///
    /// If the loop is closed; if it, or another loop, runs on this fiber already: a callback that ran it would
    /// wait for itself; if the process was forked since it was made: its epoll is the parent's too.
    pub fn run_forever(&self) -> io::Result<()> {
        /// Puts back what was before, by a panic too.
        struct Ends<'a>(&'a EventLoop);

        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                RUNNING.set(None);
                self.0.0.running.set(false);
                self.0.0.stopping.set(false);
            }
        }

        self.check_open();
        assert!(
            self.0.process == process::id(),
            "this EventLoop was made before a fork, by process {}: make one in the child",
            self.0.process
        );
        assert!(!self.is_running(), "this EventLoop is running already: a callback may not run it");
        assert!(
            Self::current().is_none(),
            "another EventLoop runs on this fiber: spawn a fiber for each"
        );
        RUNNING.set(Some(self.clone()));
        self.0.running.set(true);
        let _ends = Ends(self);
        loop {
            self.turn()?;
            if self.0.stopping.get() {
                return Ok(());
            }
        }
    }

    /// Runs until the Deferred has fired, and returns what with.
    ///
    /// ```
    /// use std::time::Duration;
    /// use timestop::reactor::{Deferred, EventLoop};
    ///
    /// let event_loop = EventLoop::new()?;
    /// let (trigger, deferred) = Deferred::<&str>::new();
    /// event_loop.call_later(Duration::from_millis(1), move || trigger.callback("later").unwrap());
    /// assert_eq!(event_loop.run_until_complete(deferred).unwrap().unwrap(), "later");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// It has not fired: the loop was stopped before, and the error holds the Deferred; or it never will, since
    /// its [`Trigger`] was dropped; or waiting failed, as in [`run_forever`](Self::run_forever).
    ///
    /// # Panics
    ///
    /// As `run_forever`; and with what a callback of the Deferred has panicked with.
    pub fn run_until_complete<T, E>(
        &self,
        deferred: Deferred<T, E>,
    ) -> Result<Result<T, E>, RunError<T, E>>
    where
        T: 'static,
        E: Debug + 'static,
    {
        /// Stops the loop when it runs, or is dropped.
        struct Stops(EventLoop, Rc<RefCell<Option<()>>>);

        impl Drop for Stops {
            fn drop(&mut self) {
                if self.1.borrow_mut().take().is_some() {
                    self.0.stop();
                }
            }
        }

        let place = Rc::new(RefCell::new(None));
        let waits = Rc::new(RefCell::new(Some(())));
        let node = deferred.into_node();
        let stops = Stops(self.clone(), Rc::clone(&waits));
        let theirs = Rc::clone(&place);
        super::node::run(Rc::clone(&node).continue_with(Box::new(move |outcome| {
            *theirs.borrow_mut() = Some(outcome);
            drop(stops);
            None
        })));
        // We do not keep alive what may never fire.
        let node_again = Rc::downgrade(&node);
        drop(node);
        let ran = self.run_forever();
        let outcome = place.borrow_mut().take();
        let waits_still = waits.borrow_mut().take().is_some();
        match outcome {
            Some(Outcome::Fired(result)) => return Ok(result),
            Some(Outcome::Panicked(payload)) => resume_unwind(payload),
            None => {}
        }
        let waiting = node_again.upgrade().filter(|_| waits_still);
        if let Some(node) = &waiting {
            node.forget_continuation();
        }
        ran.map_err(RunError::Io)?;
        Err(waiting.map_or(RunError::Dropped, |node| RunError::Stopped(Deferred::of(node))))
    }

    /// Has `run_…` return after this iteration; one that has not begun returns after its first.
    pub fn stop(&self) {
        self.0.stopping.set(true);
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.0.running.get()
    }

    /// Whether it is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.closed.get()
    }

    /// Drops all callbacks, with what waits in them, and refuses others. The last clone that is dropped does it
    /// too. Closing it again does nothing.
    ///
    /// # Panics
    ///
    /// If the loop runs.
    pub fn close(&self) {
        assert!(!self.is_running(), "an EventLoop that runs cannot be closed: stop it first");
        self.0.close();
    }

    /// Has `handler` told of what nobody handles: panics of callbacks, and errors of Deferreds that were dropped.
    /// Its own panic is told on standard error. Source: `loop.set_exception_handler`.
    pub fn set_exception_handler(&self, handler: impl Fn(&Unhandled<'_>) + 'static) {
        let before = self.0.exception_handler.replace(Some(Rc::new(handler)));
        drop(before);
    }

    /// Tells the exception handler, or standard error.
    pub fn call_exception_handler(&self, what: &Unhandled<'_>) {
        let handler = self.0.exception_handler.borrow().clone();
        match handler {
            None => what.print(),
            Some(handler) => {
                if let Err(payload) = super::node::guarded(|| handler(what)) {
                    let text = report::panic_text(&*payload);
                    eprintln!("EventLoop: the exception handler has panicked ({text}), told of:");
                    what.print();
                }
            }
        }
    }

    fn check_open(&self) {
        assert!(!self.is_closed(), "the EventLoop is closed: it takes no more callbacks");
    }
}

impl Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop")
            .field("is_running", &self.is_running())
            .field("is_closed", &self.is_closed())
            .field("timers", &self.0.timers.borrow().len())
            .finish_non_exhaustive()
    }
}
