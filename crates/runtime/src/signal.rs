//! What the signal hooks need of the scheduler: may a handler run here, who runs where, and a way to
//! put off what may not be done in a handler.
//!
//! A signal finds an OS thread anywhere: in the program's code, in a hook, in the middle of a run
//! queue. The program's handlers run only where [`may_run_handlers`]; everything else is recorded by
//! the hooks and *posted* ([`post`]), which takes no lock. A carrier that looks for work, or the
//! monitor a millisecond later, then calls the dispatcher, outside of all locks.
//!
//! A handler that runs on top of a signal's frame must not be suspended: the frame belongs to the OS
//! thread (its mask, its alternate stack). So the fiber is *pinned* meanwhile ([`FiberRef::pin`]),
//! and waits by blocking its OS thread, which the monitor makes up for. A handler that runs in a wait
//! of its fiber has no such frame, and may suspend.
//!
//! Rejected: a signal to oneself to try again at once (it comes back before the interrupted code has
//! made a step); running handlers as a lock is let go (in the middle of the runtime).

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use timestop_fiber::current;

use crate::fiber::Fiber;
use crate::{FiberRef, Reason, sched};

/// What came of running a fiber's handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ran {
    /// No handler ran.
    Nothing,
    /// Handlers ran, all with `SA_RESTART`.
    Restart,
    /// A handler ran after which calls end with `EINTR`.
    Interrupt,
}

/// How many handlers have run on a fiber; of these, how many after which calls end.
///
/// Whoever waits compares before and after: handlers also run on top of the code between the end of a
/// wait and its own look for them, and end the wait no less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handled(u64);

impl Handled {
    const ONE: u64 = 1;
    const ONE_THAT_INTERRUPTS: u64 = 1 << 32;

    /// What has run since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Ran {
        match self.0.wrapping_sub(before.0) {
            0 => Ran::Nothing,
            1..Self::ONE_THAT_INTERRUPTS => Ran::Restart,
            _ => Ran::Interrupt,
        }
    }
}

impl FiberRef {
    /// How many handlers have run on the fiber.
    #[inline]
    #[must_use]
    pub fn handled(self) -> Handled {
        Handled(self.handlers.load(Ordering::Relaxed))
    }

    /// Counts one. On the fiber; another may do so on top.
    pub fn count_handler(self, restarts: bool) {
        let interrupts = if restarts { 0 } else { Handled::ONE_THAT_INTERRUPTS };
        self.handlers.fetch_add(Handled::ONE + interrupts, Ordering::Relaxed);
    }
}

/// Whether the code that a signal has interrupted is the program's: outside of the scheduler and of
/// all sections under the runtime's locks. Asked by the handler.
#[must_use]
pub fn may_run_handlers() -> bool {
    current::depth() == 0
        && !current::is_shut()
        && FiberRef::current().is_none_or(|fiber| !fiber.carrier().lease.in_runtime())
}

/// Whether the calling OS thread is one of the runtime's, outside of any fiber.
#[must_use]
pub fn is_runtime_thread() -> bool {
    FiberRef::current().is_none() && current::depth() != 0
}

/// The kernel's id of the OS thread that runs the fiber just now.
#[must_use]
pub fn running_thread(fiber: FiberRef) -> Option<u32> {
    fiber.is_running().then(|| fiber.carrier().thread_id())
}

static MAIN: AtomicPtr<Fiber> = AtomicPtr::new(std::ptr::null_mut());

/// The fiber that signals to the process are for, if it wants them: the one that runs `main`.
#[must_use]
pub fn main_fiber() -> Option<FiberRef> {
    FiberRef::from_pointer(MAIN.load(Ordering::Acquire)).filter(|fiber| fiber.is_live())
}

/// Says which fiber runs `main`.
pub fn set_main_fiber(fiber: Option<FiberRef>) {
    MAIN.store(
        fiber.map_or(std::ptr::null_mut(), FiberRef::as_pointer),
        Ordering::Release,
    );
}

/// All fibers that live. Takes no lock: for signal handlers.
pub fn live_fibers() -> impl Iterator<Item = FiberRef> {
    timestop_fiber::slab::all().filter_map(|slot| {
        // SAFETY: slots hold records, which are never unmapped.
        let fiber = unsafe { FiberRef::from_address(slot.as_ptr() as usize) };
        fiber.is_live().then_some(fiber)
    })
}

static RUNNER: AtomicUsize = AtomicUsize::new(0);
static RESUMED: AtomicUsize = AtomicUsize::new(0);
static DISPATCHER: AtomicUsize = AtomicUsize::new(0);
static POSTED: AtomicBool = AtomicBool::new(false);

/// Sets what runs a fiber's queued handlers, called on the fiber: in a wait, and as it goes on after
/// it has let others run; and what is called after [`post`].
pub fn set_hooks(runner: fn(FiberRef) -> Ran, resumed: fn(FiberRef), dispatcher: fn()) {
    RUNNER.store(runner as usize, Ordering::Release);
    RESUMED.store(resumed as usize, Ordering::Release);
    DISPATCHER.store(dispatcher as usize, Ordering::Release);
}

/// Has the dispatcher called soon. Takes no lock: for signal handlers.
pub fn post() {
    if let Some(runtime) = sched::started() {
        POSTED.store(true, Ordering::Release);
        // Whoever sleeps in epoll on behalf of all wakes up. If all are busy, the monitor looks.
        runtime.reactor.interrupt();
        runtime.monitor.nudge();
    }
}

/// Has the dispatcher called once more, when a carrier next looks for work or the monitor at all.
pub fn post_again() {
    POSTED.store(true, Ordering::Release);
}

/// Calls the dispatcher if someone has posted. Outside of all locks.
#[inline]
pub(crate) fn dispatch() {
    if POSTED.load(Ordering::Relaxed) {
        dispatch_posted();
    }
}

#[cold]
fn dispatch_posted() {
    let function = DISPATCHER.load(Ordering::Acquire);
    if POSTED.swap(false, Ordering::AcqRel) && function != 0 {
        // SAFETY: only `set_hooks` writes the word.
        let function: fn() = unsafe { std::mem::transmute(function) };
        function();
    }
}

/// A wait for `reason` that began at `since`, by the count of handlers, is over, perhaps because of a signal
/// (`interrupted`). Runs the handlers that wait for the fiber, on it. True if the wait is to go on: no handler
/// has run that ends it.
pub(crate) fn goes_on(
    fiber: FiberRef,
    reason: Reason,
    timed: bool,
    since: Handled,
    interrupted: bool,
) -> bool {
    if !interrupted && !fiber.is_interrupted() {
        return false;
    }
    let ends = ends_wait(fiber, reason, timed, since);
    interrupted && !ends
}

#[cold]
fn ends_wait(fiber: FiberRef, reason: Reason, timed: bool, since: Handled) -> bool {
    let function = RUNNER.load(Ordering::Acquire);
    if function == 0 {
        fiber.set_interrupted(false);
        return true;
    }
    // SAFETY: only `set_hooks` writes the word.
    let function: fn(FiberRef) -> Ran = unsafe { std::mem::transmute(function) };
    match function(fiber).max(fiber.handled().since(since)) {
        Ran::Nothing => false,
        Ran::Restart => !restarts(reason, timed),
        Ran::Interrupt => true,
    }
}

/// Runs the handlers that came for the fiber while it was runnable but others ran, as the kernel does
/// when a thread goes on. Without this a fiber that only yields, or is preempted again and again,
/// would have to be caught while it runs. On the fiber, out of the runtime.
#[inline]
pub(crate) fn resumed(fiber: FiberRef) {
    if fiber.is_interrupted() {
        run_resumed(fiber);
    }
}

#[cold]
fn run_resumed(fiber: FiberRef) {
    let function = RESUMED.load(Ordering::Acquire);
    if function != 0 {
        // SAFETY: only `set_hooks` writes the word.
        let function: fn(FiberRef) = unsafe { std::mem::transmute(function) };
        function(fiber);
    }
}

/// Whether SA_RESTART makes a call go on, as `signal(7)` has it.
fn restarts(reason: Reason, timed: bool) -> bool {
    match reason {
        Reason::Sleep | Reason::Poll | Reason::Signal => false,
        // A socket with a time limit is interrupted; one without goes on.
        Reason::Read | Reason::Write => !timed,
        _ => true,
    }
}

/// Runs `body`, in which the calling OS thread only waits for fibers: signals that come to it are
/// the fibers', not its own.
pub fn lend_thread<R>(body: impl FnOnce() -> R) -> R {
    let on_thread = FiberRef::current().is_none();
    if on_thread {
        current::deepen();
    }
    let result = body();
    if on_thread {
        current::rise();
    }
    result
}
