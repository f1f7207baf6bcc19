//! Starting the runtime, and what it was started with.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use timestop_fiber::lock::Lock;

use crate::deadlock::Deadlock;
use crate::fiber::FiberRef;
use crate::report::HogReports;
use crate::{housekeeper, offload, overflow, preempt, sched, signal};

/// How the runtime is made. Fixed once it has started.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Run queues: how many fibers may run at once.
    pub workers: usize,
    /// Whether all of them but one work only while that one is held by a run that lasts: for a program
    /// whose code runs under one lock for the most part.
    pub reserve: bool,
    /// Bytes of address space of a fiber's stack unless its spawner asks otherwise.
    pub stack_size: usize,
    /// The most carriers: with a worker, spare, or stuck in blocking calls that no hook knows.
    pub carriers: usize,
    /// What happens when every fiber waits for another.
    pub deadlock: Deadlock,
    /// Whether fibers that compute are preempted by signal. Without, they are handed off.
    pub preempt: bool,
    /// By which signal.
    pub preempt_signal: i32,
    /// How long a fiber may compute while others wait, in nanoseconds of CPU time.
    pub slice: u64,
    /// For tests: preempt whatever runs, about so often (nanoseconds); 0 for never.
    pub chaos: u64,
    /// Whether fibers that compute or block for long are told.
    pub hogs: HogReports,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: 1,
            reserve: false,
            stack_size: 256 * 1024,
            carriers: 1024,
            deadlock: Deadlock::Report,
            preempt: true,
            preempt_signal: libc::SIGURG,
            slice: 10_000_000,
            chaos: 0,
            hogs: HogReports::Off,
        }
    }
}

/// One at a time learns how threads are made here.
static STARTING: Lock<()> = Lock::new(());

/// Makes it possible to set stacks aside ([`timestop_fiber::aside`]), on OS threads too, without a runtime.
///
/// # Errors
///
/// This machine or libc is not supported; the text says why.
pub fn prepare_stacks() -> io::Result<()> {
    static READY: AtomicBool = AtomicBool::new(false);
    if READY.load(Ordering::Acquire) || is_started() {
        return Ok(());
    }
    let _one = STARTING.lock();
    timestop_fiber::init().map_err(|error| io::Error::new(io::ErrorKind::Unsupported, error))?;
    // An overflow there is told as one of a fiber is.
    overflow::install();
    READY.store(true, Ordering::Release);
    Ok(())
}

/// Starts the runtime, or does nothing if it runs already.
///
/// # Errors
///
/// This machine or libc is not supported, or the OS threads cannot be made; the text says why.
pub fn start(settings: Settings) -> io::Result<()> {
    if is_started() {
        return Ok(());
    }
    let _one = STARTING.lock();
    if is_started() {
        return Ok(());
    }
    timestop_fiber::init().map_err(|error| io::Error::new(io::ErrorKind::Unsupported, error))?;
    sched::start(settings, false)
}

/// Starts the runtime and makes the calling OS thread's code its first fiber, in place: same stack,
/// same thread-locals. The OS thread becomes the carrier of the first worker. For the main thread of
/// a program that knows nothing of fibers.
///
/// # Errors
///
/// As [`start`]; also if the runtime runs already.
pub fn start_on_this_thread(settings: Settings) -> io::Result<()> {
    timestop_fiber::init().map_err(|error| io::Error::new(io::ErrorKind::Unsupported, error))?;
    if is_started() {
        return Err(io::Error::other("the runtime runs already"));
    }
    let stack = own_stack();
    sched::start(settings, true)?;
    let main = FiberRef::current();
    if let (Some(main), Some(stack)) = (main, stack) {
        preempt::set_guest(main, stack);
    }
    signal::set_main_fiber(main);
    Ok(())
}

/// Where the stack of the calling OS thread lies, as libc knows it.
fn own_stack() -> Option<Range<usize>> {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: answers a number.
    let own = unsafe { libc::pthread_self() };
    // SAFETY: writes the record if it answers 0.
    if unsafe { libc::pthread_getattr_np(own, attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let (mut low, mut bytes) = (std::ptr::null_mut(), 0);
    // SAFETY: the record was written.
    let status = unsafe {
        libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut low, &raw mut bytes)
    };
    // SAFETY: as above.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    (status == 0).then(|| low as usize..low as usize + bytes)
}

/// OS threads that are neither carriers nor the program's: template, monitor, starter, those that
/// tell the programmer, and those that do work for fibers.
pub(crate) fn housekeepers() -> usize {
    3 + housekeeper::threads() + offload::threads()
}

/// Whether the runtime has been started.
#[inline]
#[must_use]
pub fn is_started() -> bool {
    sched::started().is_some()
}

/// The settings that the runtime was started with.
#[must_use]
pub fn settings() -> Option<&'static Settings> {
    sched::started().map(|runtime| &runtime.settings)
}

/// The thread pointer of the OS thread that runs the fiber now: for the fiber itself, where it is not
/// preempted.
#[must_use]
pub fn carrier_thread_pointer(fiber: FiberRef) -> usize {
    fiber.carrier().thread_pointer()
}
