//! What the runtime has to tell, and to whom: a crate above fills in the *sink*, called on an OS
//! thread of its own (`timestop-report`), and the *unwinder*.
//!
//! Whoever has something to tell may be a signal handler or the monitor, which can neither allocate
//! nor start a thread. So the request is a word, and the starter starts the thread at the first one.
//!
//! Rejected: calling the sink on the monitor (it symbolises, and so allocates and locks) or on a
//! carrier (a fiber may hold the lock that it needs).

use std::ffi::c_void;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::fiber::{FiberRef, Name};
use crate::{sched, sys};

/// What an unwinder starts from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Registers {
    /// Instruction pointer.
    pub ip: usize,
    /// Stack pointer.
    pub sp: usize,
    /// `rbp`, whatever the code uses it for.
    pub bp: usize,
}

/// Addresses that a report holds at most.
pub const FRAMES: usize = 32;

/// What a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A fiber computed for long.
    Held,
    /// A fiber was in a call for long that no hook knows.
    Blocked,
    /// Someone has asked for a dump of all fibers.
    Dump,
}

/// One report.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// What it is about.
    pub kind: Kind,
    /// The fiber, which may have ended meanwhile.
    pub fiber: Option<FiberRef>,
    /// Its number.
    pub id: u64,
    /// Its name then.
    pub name: Name,
    /// For how long.
    pub nanoseconds: u64,
    /// The OS thread that it sat on.
    pub thread_id: u32,
    /// Where it was, innermost first; the first `depth` are valid.
    pub frames: [usize; FRAMES],
    /// How many frames are known.
    pub depth: u32,
}

impl Report {
    fn dump() -> Self {
        Self {
            kind: Kind::Dump,
            fiber: None,
            id: 0,
            name: Name::empty(),
            nanoseconds: 0,
            thread_id: 0,
            frames: [0; FRAMES],
            depth: 0,
        }
    }
}

/// Walks a stack: registers, where the stack may be read, where the addresses go; how many.
pub type Unwinder = fn(&Registers, Range<usize>, &mut [usize]) -> usize;

static SINK: AtomicUsize = AtomicUsize::new(0);
static UNWINDER: AtomicUsize = AtomicUsize::new(0);

/// Has `sink` called for each report, on the OS thread `timestop-report`.
pub fn set_sink(sink: fn(&Report)) {
    SINK.store(sink as usize, Ordering::Release);
}

/// Sets what walks stacks. Called in signal handlers: it must not allocate, lock, or read outside of
/// the range it is given.
pub fn set_unwinder(unwinder: Unwinder) {
    UNWINDER.store(unwinder as usize, Ordering::Release);
}

/// How many requests there were. The thread sleeps on it.
static REQUESTS: AtomicU32 = AtomicU32::new(0);
static SERVED: AtomicU32 = AtomicU32::new(0);
/// The process that has the thread; a child of `fork` has none.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// Has the sink called with [`Kind::Dump`] soon. For signal handlers. Requests that come while one
/// waits are served together.
pub fn request_dump() {
    let Some(runtime) = sched::started() else { return };
    REQUESTS.fetch_add(1, Ordering::Release);
    sys::futex_wake(REQUESTS.as_ptr() as usize, 1);
    if PROCESS.load(Ordering::Acquire) != sys::process_id() {
        runtime.spares.ring();
    }
}

/// OS threads that report: 0 or 1.
pub(crate) fn threads() -> usize {
    usize::from(PROCESS.load(Ordering::Acquire) == sys::process_id())
}

/// Starts the thread if someone has something to tell. On the starter.
pub(crate) fn start_if_wanted() {
    if REQUESTS.load(Ordering::Acquire) == SERVED.load(Ordering::Relaxed) || threads() != 0 {
        return;
    }
    PROCESS.store(sys::process_id(), Ordering::Release);
    // SAFETY: it takes no argument.
    if unsafe { timestop_fiber::thread::start(main, std::ptr::null_mut()) }.is_err() {
        PROCESS.store(0, Ordering::Release);
    }
}

extern "C" fn main(_: *mut c_void) -> *mut c_void {
    timestop_fiber::thread::begin(c"timestop-report", false);
    loop {
        let requests = REQUESTS.load(Ordering::Acquire);
        if requests == SERVED.swap(requests, Ordering::Relaxed) {
            let _ = sys::futex_wait(&REQUESTS, requests, None);
            continue;
        }
        let sink = SINK.load(Ordering::Acquire);
        if sink != 0 {
            // SAFETY: only `set_sink` writes the word.
            let sink: fn(&Report) = unsafe { std::mem::transmute(sink) };
            sink(&Report::dump());
        }
    }
}
