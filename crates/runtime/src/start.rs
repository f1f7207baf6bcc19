//! Starting the runtime, and what it was started with.

use std::io;

use timestop_fiber::lock::Lock;

use crate::deadlock::Deadlock;
use crate::fiber::FiberRef;
use crate::{sched, signal};

/// How the runtime is made. Fixed once it has started.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Run queues: how many fibers may run at once.
    pub workers: usize,
    /// Bytes of address space of a fiber's stack unless its spawner asks otherwise.
    pub stack_size: usize,
    /// The most carriers: with a worker, spare, or stuck in blocking calls that no hook knows.
    pub carriers: usize,
    /// What happens when every fiber waits for another.
    pub deadlock: Deadlock,
}

impl Default for Settings {
    fn default() -> Self {
        Self { workers: 1, stack_size: 256 * 1024, carriers: 1024, deadlock: Deadlock::Report }
    }
}

/// Starts the runtime, or does nothing if it runs already.
///
/// # Errors
///
/// This machine or libc is not supported, or the OS threads cannot be made; the text says why.
pub fn start(settings: Settings) -> io::Result<()> {
    static STARTING: Lock<()> = Lock::new(());
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
    sched::start(settings, true)?;
    signal::set_main_fiber(FiberRef::current());
    Ok(())
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

/// The thread pointer of the OS thread that runs the fiber now: for the fiber itself, around calls
/// that must not see the fiber's own.
#[must_use]
pub fn carrier_thread_pointer(fiber: FiberRef) -> usize {
    fiber.carrier().thread_pointer()
}
