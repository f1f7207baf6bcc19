//! What reaches a loop from elsewhere: callbacks from other fibers and OS threads, and signals. Both end the
//! loop's wait by an eventfd, which is written to when there was nothing before.

use std::fmt::{self, Debug};
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{io, thread};

use super::error::{CallError, ClosedError};
use super::{Deferred, EventLoop};
use crate::channel::{self, Interrupted, RecvError};

/// A callback from elsewhere.
pub(super) type Message = Box<dyn FnOnce(&EventLoop) + Send>;

/// What a loop shares with its handles, and with signal handlers.
#[derive(Debug)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    /// Signals that have come: bit N - 1 for number N.
    signals: AtomicU64,
    bell: OwnedFd,
    /// The fiber or OS thread that the loop lives on.
    home: thread::ThreadId,
}

#[derive(Default)]
struct Queue {
    messages: Vec<Message>,
    closed: bool,
}

impl Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({} callbacks, closed: {})", self.messages.len(), self.closed)
    }
}

impl Shared {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no pointers.
        let bell = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if bell < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            queue: Mutex::default(),
            signals: AtomicU64::new(0),
            // SAFETY: the kernel has just made it for us.
            bell: unsafe { OwnedFd::from_raw_fd(bell) },
            home: thread::current().id(),
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn bell(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    /// Ends the loop's wait. May be called by a signal handler: one system call, `errno` is kept.
    fn ring(&self) {
        // SAFETY: no pointers.
        let place = unsafe { libc::__errno_location() };
        // SAFETY: the caller's own word, while the caller lives.
        let errno = unsafe { place.read() };
        let one = 1_u64;
        // Not by `write`, which is hooked: it would be refused to a fiber that is cancelled. If it is full, it
        // rings already.
        // SAFETY: the kernel reads eight bytes.
        let _ = unsafe { libc::syscall(libc::SYS_write, self.bell(), &raw const one, 8) };
        // SAFETY: as above.
        unsafe { place.write(errno) };
    }

    /// A signal has come. May be called by a signal handler.
    pub(super) fn signal(&self, number: i32) {
        self.signals.fetch_or(1 << (number - 1), Ordering::SeqCst);
        self.ring();
    }

    /// The bell was heard: what is there?
    pub(super) fn answer(&self) -> (u64, Vec<Message>) {
        let mut count = 0_u64;
        // Silence first: what comes after rings again.
        // SAFETY: the kernel writes eight bytes.
        let _ = unsafe { libc::syscall(libc::SYS_read, self.bell(), &raw mut count, 8) };
        (self.signals.swap(0, Ordering::SeqCst), mem::take(&mut self.queue().messages))
    }

    pub(super) fn close(&self) -> Vec<Message> {
        let mut queue = self.queue();
        queue.closed = true;
        mem::take(&mut queue.messages)
    }

    fn send(&self, message: Message) -> Result<(), ClosedError> {
        let mut queue = self.queue();
        if queue.closed {
            drop(queue);
            return Err(ClosedError);
        }
        let was_empty = queue.messages.is_empty();
        queue.messages.push(message);
        drop(queue);
        if was_empty {
            self.ring();
        }
        Ok(())
    }
}

/// An [`EventLoop`] as other fibers and OS threads see it: unlike the loop it may be sent and shared.
///
/// Source: what may be called from other threads of an asyncio loop, or of Twisted's reactor
/// (`call_soon_threadsafe`, `callFromThread`, `blockingCallFromThread`).
#[derive(Clone, Debug)]
pub struct EventLoopHandle(pub(super) Arc<Shared>);

impl EventLoopHandle {
    /// Has `callback` run by the loop, in its next iteration, in the order of the calls.
    ///
    /// Cost: an allocation and a lock; a system call where the loop has nothing else from outside.
    ///
    /// # Errors
    ///
    /// The loop is closed. The callback is dropped then, as are those that a loop has not come to when it is
    /// closed.
    pub fn call_soon_threadsafe(
        &self,
        callback: impl FnOnce(&EventLoop) + Send + 'static,
    ) -> Result<(), ClosedError> {
        self.0.send(Box::new(callback))
    }

    /// Has `f` run by the loop, and waits for what comes of the Deferred that it returns. On a fiber this
    /// suspends the fiber, on an OS thread it blocks the thread. It waits until the loop runs.
    ///
    /// ```
    /// use std::time::Duration;
    /// use timestop::reactor::{Deferred, EventLoop, Failure};
    ///
    /// let event_loop = EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// let asks = timestop::spawn(move || {
    ///     let answer = handle.call(|event_loop| {
    ///         let (trigger, deferred) = Deferred::<u32>::new();
    ///         event_loop.call_later(Duration::from_millis(1), move || trigger.callback(42).unwrap());
    ///         deferred
    ///     });
    ///     handle.call_soon_threadsafe(EventLoop::stop).unwrap();
    ///     answer.map_err(|error| error.to_string())
    /// });
    /// event_loop.run_forever()?;
    /// assert_eq!(asks.join().unwrap(), Ok(42));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What the Deferred fails with; or it never fires, or the calling fiber is cancelled or past its time limit.
    ///
    /// # Panics
    ///
    /// On the fiber of the loop itself, which cannot run `f` while it waits. With what `f`, or a callback of its
    /// Deferred, has panicked with.
    ///
    /// Source: `twisted.internet.threads.blockingCallFromThread`.
    pub fn call<T, E>(
        &self,
        f: impl FnOnce(&EventLoop) -> Deferred<T, E> + Send + 'static,
    ) -> Result<T, CallError<E>>
    where
        T: Send + 'static,
        E: Debug + Send + 'static,
    {
        assert!(
            thread::current().id() != self.0.home,
            "EventLoopHandle::call on the fiber of its own EventLoop would wait for ever: use the EventLoop, and \
             Deferred::add_callback or inline_callbacks"
        );
        let (sender, receiver) = channel::bounded(1);
        let sent = self.call_soon_threadsafe(move |event_loop| {
            let deferred = super::maybe_deferred(|| f(event_loop));
            deferred.into_outcome(move |outcome| drop(sender.send(outcome)));
        });
        sent.map_err(|ClosedError| CallError::Dropped)?;
        match receiver.recv() {
            Ok(Ok(result)) => result.map_err(CallError::Failed),
            Ok(Err(payload)) => std::panic::resume_unwind(payload),
            Err(RecvError::Disconnected) => Err(CallError::Dropped),
            Err(RecvError::Cancelled) => Err(CallError::Interrupted(Interrupted::Cancelled)),
            Err(RecvError::TimedOut) => Err(CallError::Interrupted(Interrupted::TimedOut)),
        }
    }

    /// Whether the loop is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.queue().closed
    }
}
