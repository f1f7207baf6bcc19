//! To wait for a future: a fiber that is suspended, or an OS thread that sleeps, until it is to poll again.
//!
//! What a fiber sleeps on is a word in its record, and its waker the record's address: see
//! `timestop_runtime::waker`. An OS thread, and a fiber that is pinned to one, has such a word in a counted
//! allocation of its own, made once.
//!
//! The word is one a fiber. A `block_on` within a poll of another therefore may take the outer one's calls; so
//! it leaves one behind as it ends, and the outer one polls once more.

use std::cell::Cell;
use std::future::IntoFuture;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use timestop_runtime::waker::call::Call;
use timestop_runtime::{self as runtime, FiberRef, Outcome, Reason, sys, waker};

use crate::channel::Interrupted;

/// Runs a future to its end on the caller: a fiber is suspended while the future waits, an OS thread sleeps.
///
/// Any future of any library, as long as what it counts on is there: tokio's sockets and timers, for one, want
/// a runtime to be [entered](super#tokio). May be called within a poll, of a `block_on` or another executor.
///
/// A future that wakes itself while it is polled lets other fibers run first.
///
/// # Errors
///
/// The fiber was [cancelled](crate::JoinHandle::cancel), or is past its [limit](crate::timeout): then the
/// future is dropped before this returns, and not polled again; nor is it polled at all if that was so before.
/// `?` makes an [`io::Error`](std::io::Error) of it: `ECANCELED`, or `ErrorKind::TimedOut`. Cancelling does not
/// end the sleep of a [pinned](crate::pin) fiber; there is neither on an OS thread.
///
/// # Panics
///
/// With what the future panics with. It is dropped then.
///
/// # Cost
///
/// A wake-up and a switch each time that the future was not ready. Nothing is allocated, nor counted, for a
/// poll or a waker on a fiber; on an OS thread a waker is counted.
///
/// # Example
///
/// ```
/// use timestop::future::block_on;
///
/// timestop::run(|| {
///     let (sender, receiver) = tokio::sync::oneshot::channel();
///     timestop::spawn(move || sender.send(7));
///     assert_eq!(block_on(receiver), Ok(Ok(7)));
/// });
/// ```
pub fn block_on<F: IntoFuture>(future: F) -> Result<F::Output, Interrupted> {
    let mut future = pin!(future.into_future());
    let sleeper = Sleeper::current();
    let waker = sleeper.waker();
    let mut context = Context::from_waker(&waker);
    let _nested = Nested::enter(&sleeper);
    loop {
        if let Some(why) = interrupted() {
            return Err(why);
        }
        sleeper.call().take();
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Ok(value);
        }
        if !sleeper.call().listen() {
            // It was woken while it was polled, as one that wants others to run first wakes itself.
            runtime::yield_now();
        } else if let Some(why) = sleeper.sleep() {
            return Err(why);
        }
    }
}

/// What keeps the running fiber from waiting at all.
fn interrupted() -> Option<Interrupted> {
    let fiber = FiberRef::current()?;
    if fiber.is_cancelled() {
        return Some(Interrupted::Cancelled);
    }
    let deadline = fiber.deadline();
    (deadline != u64::MAX && sys::now() >= deadline).then_some(Interrupted::TimedOut)
}

/// Who polls.
enum Sleeper {
    Fiber(FiberRef),
    Thread(Arc<Thread>),
}

/// An OS thread that polls.
#[derive(Default)]
struct Thread(Call);

impl Wake for Thread {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.0.call() {
            sys::futex_wake(self.0.word().as_ptr() as usize, 1);
        }
    }
}

thread_local! {
    static THREAD: Arc<Thread> = Arc::default();
    /// How many `block_on`s the caller is in.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

impl Sleeper {
    fn current() -> Self {
        match FiberRef::current().filter(|fiber| fiber.may_suspend()) {
            Some(fiber) => Self::Fiber(fiber),
            // In a destructor of a thread-local it may be gone.
            None => Self::Thread(THREAD.try_with(Arc::clone).unwrap_or_default()),
        }
    }

    fn call(&self) -> &Call {
        match self {
            Self::Fiber(fiber) => fiber.call(),
            Self::Thread(thread) => &thread.0,
        }
    }

    fn waker(&self) -> Waker {
        match self {
            Self::Fiber(fiber) => waker::of_fiber(*fiber),
            Self::Thread(thread) => Waker::from(Arc::clone(thread)),
        }
    }

    /// Sleeps until called; the call is there to be taken.
    fn sleep(&self) -> Option<Interrupted> {
        let call = self.call();
        let Self::Fiber(fiber) = self else { return sleep_in_kernel(call) };
        loop {
            let called = || call.is_called();
            match runtime::wait_until(*fiber, Reason::Future, 0, None, true, called) {
                Outcome::Woken => return None,
                Outcome::TimedOut => return Some(Interrupted::TimedOut),
                Outcome::Cancelled => return Some(Interrupted::Cancelled),
                // A handler has run. Nobody asked the future to end for that.
                Outcome::Interrupted => {}
            }
        }
    }
}

fn sleep_in_kernel(call: &Call) -> Option<Interrupted> {
    let limit = FiberRef::current().map_or(u64::MAX, FiberRef::deadline);
    let deadline = (limit != u64::MAX).then_some(limit);
    while !call.is_called() {
        let slept = sys::futex_wait(call.word(), Call::ASLEEP, deadline);
        if slept == Err(libc::ETIMEDOUT) && !call.is_called() {
            return Some(Interrupted::TimedOut);
        }
    }
    None
}

/// Counts how deep the caller is, and leaves a call behind for the one outside.
struct Nested<'sleeper> {
    sleeper: &'sleeper Sleeper,
    depth: u32,
}

impl<'sleeper> Nested<'sleeper> {
    fn enter(sleeper: &'sleeper Sleeper) -> Self {
        let depth = DEPTH.get();
        DEPTH.set(depth + 1);
        Self { sleeper, depth }
    }
}

impl Drop for Nested<'_> {
    fn drop(&mut self) {
        DEPTH.set(self.depth);
        let call = self.sleeper.call();
        call.take(); // also where it was listening
        if self.depth > 0 {
            let _running = call.call();
        }
    }
}

impl From<Interrupted> for std::io::Error {
    /// What blocking I/O fails with for the same reason: `ECANCELED`, `ETIMEDOUT`.
    fn from(why: Interrupted) -> Self {
        Self::from_raw_os_error(match why {
            Interrupted::Cancelled => libc::ECANCELED,
            Interrupted::TimedOut => libc::ETIMEDOUT,
        })
    }
}
