//! `spawn`, `Builder`, `JoinHandle`: shaped like `std::thread`.

use std::os::unix::thread::JoinHandleExt;
use std::sync::Arc;
use std::thread::{Result, Thread};
use std::time::Duration;
use std::{fmt, io, thread};

use timestop_hooks::thread as hooked;
use timestop_runtime::waker::watched::Watched;
use timestop_runtime::{self as runtime, FiberRef, Priority, Start, waker};

use crate::config;
use crate::packet::Packet;

/// Runs `f` on a new fiber.
///
/// Cost: one allocation; a quarter of a microsecond with its `join`. The fiber's stack is 256 KiB of
/// address space and two pages of memory, taken when it first runs.
///
/// Source: [`std::thread::spawn`], of which this is a replacement.
///
/// # Panics
///
/// If there is no room for one more stack, or fibers cannot run on this machine;
/// [`Builder::spawn`] returns those as errors.
///
/// # Example
///
/// ```
/// let handle = timestop::spawn(|| 6 * 7);
/// assert_eq!(handle.join().unwrap(), 42);
/// ```
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Builder::new().spawn(f).unwrap_or_else(|error| panic!("failed to spawn a fiber: {error}"))
}

/// Name and stack size of a fiber to be spawned. As [`std::thread::Builder`].
#[derive(Debug, Default, Clone)]
#[must_use = "must eventually spawn the fiber"]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
    priority: Priority,
}

impl Builder {
    /// An unnamed fiber with the default stack.
    pub fn new() -> Self {
        Self::default()
    }

    /// The name that `std::thread::current().name()` and panic messages show. A named fiber costs
    /// what `std::thread` costs to set one up, about a microsecond.
    ///
    /// # Panics
    ///
    /// `spawn` panics if the name holds a null byte, as std's does.
    pub fn name(mut self, name: String) -> Self {
        self.name = Some(name);
        self
    }

    /// Bytes of stack: at least this much, and 64 KiB. Address space, not memory: what the fiber
    /// touches is what it costs.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Whose turn it is first, when several fibers can run.
    ///
    /// `High` goes before all that wait, but for one turn in 61; `Low` after all, but for one turn in
    /// eight of those that compute for long and at least one slice in 100 ms a worker. So nobody starves.
    /// It is no promise of time: a fiber of high priority does not interrupt one that runs within its
    /// slice, loses the privilege while it computes for longer than a slice itself, is in turn with the
    /// others when it yields, and gains nothing in locks (priorities are not inherited).
    ///
    /// Source: Erlang's `process_flag(priority, low | normal | high)`.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Spawns the fiber.
    ///
    /// # Errors
    ///
    /// `Unsupported` where fibers cannot run, `OutOfMemory` where there is no room for its stack;
    /// the text says what to do.
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: nothing is borrowed.
        unsafe { self.spawn_unchecked(f) }.map(JoinHandle)
    }

    /// Spawns a fiber that may borrow.
    ///
    /// # Safety
    ///
    /// What closure and result borrow outlives the fiber.
    pub(crate) unsafe fn spawn_unchecked<F, T>(self, f: F) -> io::Result<Inner<T>>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        config::ensure_started()?;
        let priority = self.priority;
        match (self.name, self.stack_size) {
            (None, None) if priority == Priority::Normal => {
                // SAFETY: as the caller vouches.
                unsafe { Packet::spawn(f) }.map(Inner::Own)
            }
            (None, bytes) => {
                let stack = bytes.unwrap_or_else(config::stack_size);
                // SAFETY: as the caller vouches.
                unsafe { Packet::spawn_with_stack(f, stack, priority) }.map(Inner::Own)
            }
            (Some(name), bytes) => {
                let stack = bytes.unwrap_or_else(config::stack_size);
                let builder = thread::Builder::new().name(name.clone()).stack_size(stack);
                let ended = Arc::new(Watched::new());
                let ends = Ends(Arc::clone(&ended));
                let body = move || {
                    let _ends = ends;
                    // Std tells the OS 15 bytes of it; reports show more. And it knows nothing of
                    // priorities: the first run comes in turn.
                    if let Some(fiber) = FiberRef::current() {
                        fiber.set_name(name.as_bytes());
                        fiber.set_priority(priority);
                    }
                    f()
                };
                // The name is std's to give: std spawns its thread, and the hook of
                // `pthread_create` makes a fiber of it.
                let spawned = hooked::adopt_within(|| {
                    // SAFETY: as the caller vouches.
                    unsafe { builder.spawn_unchecked(body) }
                });
                spawned.map(|handle| Inner::Std(handle, ended)).map_err(|error| reason(stack).unwrap_or(error))
            }
        }
    }
}

/// Why there is no room for a stack, if there is none: `pthread_create` has but one number for it.
fn reason(stack: usize) -> Option<io::Error> {
    let nothing = Start { function: |_| {}, argument: 0 };
    match timestop_runtime::create(stack, nothing) {
        Ok(fiber) => {
            timestop_runtime::release(fiber);
            None
        }
        Err(error) => Some(error),
    }
}

/// A fiber made here, or one that std made.
pub(crate) enum Inner<T> {
    Own(Packet<T>),
    /// And what comes when its function has returned.
    Std(thread::JoinHandle<T>, Arc<Watched>),
}

/// Says that a function has returned or panicked.
struct Ends(Arc<Watched>);

impl Drop for Ends {
    fn drop(&mut self) {
        runtime::undisturbed(|| waker::come(&self.0));
    }
}

impl<T> Inner<T> {
    pub(crate) fn join(self) -> Result<T> {
        match self {
            Self::Own(packet) => {
                packet.wait();
                packet.take().unwrap_or_else(|| Err(Box::new("the fiber ended by pthread_exit")))
            }
            Self::Std(handle, _) => handle.join(),
        }
    }

    /// What comes when [`join`](Self::join) is about to return; who watches looks at
    /// [`is_ending`](Self::is_ending) after that.
    pub(crate) fn watched(&self) -> &Watched {
        match self {
            Self::Own(packet) => packet.watched(),
            Self::Std(_, ended) => ended,
        }
    }

    pub(crate) fn is_ending(&self) -> bool {
        match self {
            Self::Own(packet) => packet.is_ending(),
            Self::Std(_, ended) => ended.has_come(),
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        match self {
            Self::Own(packet) => packet.is_finished(),
            Self::Std(handle, _) => handle.is_finished(),
        }
    }

    pub(crate) fn thread(&self) -> &Thread {
        match self {
            Self::Own(packet) => packet.thread(),
            Self::Std(handle, _) => handle.thread(),
        }
    }

    pub(crate) fn cancel(&self) {
        match self {
            Self::Own(packet) => packet.cancel(),
            Self::Std(handle, _) => hooked::cancel(handle.as_pthread_t()),
        }
    }

    pub(crate) fn cpu_time(&self) -> Option<u64> {
        match self {
            Self::Own(packet) => packet.cpu_time(),
            Self::Std(handle, _) => hooked::cpu_time(handle.as_pthread_t()),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        match self {
            Self::Own(packet) => packet.id(),
            Self::Std(handle, _) => hooked::id(handle.as_pthread_t()),
        }
    }
}

/// Owns the permission to wait for a fiber. Dropping it lets the fiber run on, detached. Async code awaits it:
/// see [`future`](crate::future).
pub struct JoinHandle<T>(pub(crate) Inner<T>);

impl<T> JoinHandle<T> {
    /// Waits for the fiber's end, thread-local destructors included. On a fiber this suspends the
    /// fiber, on an OS thread it blocks the thread. Cancelling the waiting fiber does not end it.
    ///
    /// # Errors
    ///
    /// The payload of the fiber's panic.
    pub fn join(self) -> Result<T> {
        self.0.join()
    }

    /// Whether the fiber has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// The fiber as std knows it: its id and name, and a way to unpark it.
    ///
    /// An unnamed fiber makes its `Thread` when it is first asked for, at its next wait or its end;
    /// this waits until then. `std::thread::current()` on the fiber itself costs nothing special.
    #[must_use]
    pub fn thread(&self) -> &Thread {
        self.0.thread()
    }

    /// The fiber's number, by which reports name it. Never reused.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id()
    }

    /// CPU time that the fiber has used: exact for what computes for milliseconds at a time, a sample
    /// each millisecond for what runs shorter. `None` once it has ended.
    #[must_use]
    pub fn cpu_time(&self) -> Option<Duration> {
        self.0.cpu_time().map(Duration::from_nanos)
    }

    /// Asks the fiber to end: from now on its blocking I/O fails with `ECANCELED`
    /// (`raw_os_error() == Some(125)`) and its sleeps end early, so that it leaves by the error paths
    /// that it has. Waits in [`channel`](crate::channel), [`queue`](crate::queue) and [`sync`](crate::sync)
    /// end too; those for locks, std's channels and other fibers go on. A fiber that has not started yet
    /// still starts.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// Lets other fibers run first; they are served in turn. On an OS thread: as
/// [`std::thread::yield_now`].
pub fn yield_now() {
    timestop_runtime::yield_now();
}

/// Whether the caller runs on a fiber.
#[must_use]
pub fn is_fiber() -> bool {
    FiberRef::current().is_some()
}
