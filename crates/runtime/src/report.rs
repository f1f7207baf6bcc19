//! What the programmer is told: that a fiber held a worker for long, that one is stuck in a call that
//! no hook knows, and, on request, what all of them do.
//!
//! What is to be told is found by the monitor and by signal handlers, which may neither allocate nor
//! lock. They put a [`Report`] into a ring of a few; an OS thread of its own (`timestop-report`,
//! started by the starter when the first one comes) hands each to the *sink* that the crate above has
//! set. A report that finds the ring full is dropped: there are others like it.

use std::ffi::c_void;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use timestop_fiber::lock::Lock;

use crate::fiber::{FiberRef, Name};
use crate::{sched, sys};

/// Return addresses kept of a stack.
pub const FRAMES: usize = 32;
/// Reports that wait.
const RING: usize = 8;

/// Whether hogs and unknown blocking calls are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum HogReports {
    /// Not at all.
    Off,
    /// As warnings.
    #[default]
    Warn,
}

/// What a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A fiber has computed for longer than its slice while others waited.
    Held,
    /// A fiber is in a blocking call that no hook knows; its worker has gone to another OS thread.
    Blocked,
    /// Somebody wants to see all fibers.
    Dump,
}

/// Where some code is: what an unwinder begins with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Registers {
    /// The instruction pointer.
    pub ip: usize,
    /// The stack pointer.
    pub sp: usize,
    /// The frame pointer, or whatever the code uses the register for.
    pub bp: usize,
}

/// Something to tell.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// What it is about.
    pub kind: Kind,
    /// The fiber; `None` for a dump.
    pub fiber: Option<FiberRef>,
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: Name,
    /// How long it has held its worker, or has been in the call.
    pub nanoseconds: u64,
    /// The kernel's id of the OS thread it sat on.
    pub thread_id: u32,
    /// Where it was, innermost first.
    pub frames: [usize; FRAMES],
    /// How many of them there are.
    pub depth: u32,
}

/// Writes return addresses, innermost first, and returns how many.
pub type Unwinder = fn(&Registers, Range<usize>, &mut [usize]) -> usize;

static UNWINDER: AtomicUsize = AtomicUsize::new(0);
static SINK: AtomicUsize = AtomicUsize::new(0);

/// Sets what finds the callers of interrupted code. Called in a signal handler: it must not
/// allocate, wait for a lock, or read beyond the range, which is the rest of the stack.
pub fn set_unwinder(unwinder: Unwinder) {
    UNWINDER.store(unwinder as usize, Ordering::Release);
}

/// Sets what reports are handed to, on an OS thread of their own.
pub fn set_sink(sink: fn(&Report)) {
    SINK.store(sink as usize, Ordering::Release);
}

/// Reports that wait to be handed over.
#[derive(Debug)]
struct Ring {
    reports: [Option<Report>; RING],
    next: usize,
}

static WAITING: Lock<Ring> = Lock::new(Ring { reports: [None; RING], next: 0 });
/// Grows with each report: what the thread sleeps on.
static BELL: AtomicU32 = AtomicU32::new(0);
/// A dump is wanted. Not in the ring: it may be asked for by a handler, whatever lock is held.
static DUMP: AtomicBool = AtomicBool::new(false);
static STARTED: AtomicBool = AtomicBool::new(false);
/// The process that the thread belongs to: a child of `fork` has none.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// How many reports found no place.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Has the sink called with [`Kind::Dump`]. Safe in a signal handler. Without a runtime: nothing.
pub fn request_dump() {
    DUMP.store(true, Ordering::Release);
    ring();
}

fn ring() {
    BELL.fetch_add(1, Ordering::Release);
    let Some(runtime) = sched::started() else { return };
    if has_thread() {
        sys::futex_wake(BELL.as_ptr() as usize, 1);
    } else {
        runtime.spares.ring(); // the starter makes it
    }
}

fn has_thread() -> bool {
    STARTED.load(Ordering::Acquire) && PROCESS.load(Ordering::Relaxed) == sys::process_id()
}

/// OS threads of this file: none, or one.
pub(crate) fn threads() -> usize {
    usize::from(has_thread())
}

/// Starts the thread if there is something to tell and none to tell it. The starter's.
pub(crate) fn start_if_wanted() {
    if BELL.load(Ordering::Acquire) == 0 || has_thread() {
        return;
    }
    PROCESS.store(sys::process_id(), Ordering::Relaxed);
    STARTED.store(true, Ordering::Release);
    // SAFETY: it takes no argument.
    if unsafe { timestop_fiber::thread::start(main, std::ptr::null_mut()) }.is_err() {
        STARTED.store(false, Ordering::Release);
    }
}

extern "C" fn main(_: *mut c_void) -> *mut c_void {
    timestop_fiber::thread::begin(c"timestop-report", false);
    // Reading debug information takes a second of CPU time: what the program does comes first.
    sys::be_nice();
    loop {
        let bell = BELL.load(Ordering::Acquire);
        while let Some(report) = next() {
            hand_over(&report);
        }
        if DUMP.swap(false, Ordering::AcqRel) {
            hand_over(&about(Kind::Dump, None));
        }
        let _ = sys::futex_wait(&BELL, bell, None);
    }
}

fn hand_over(report: &Report) {
    let sink = SINK.load(Ordering::Acquire);
    if sink != 0 {
        // SAFETY: only `set_sink` writes the word.
        let sink: fn(&Report) = unsafe { std::mem::transmute(sink) };
        sink(report);
    }
}

fn next() -> Option<Report> {
    let mut waiting = WAITING.lock();
    let next = waiting.next;
    let report = waiting.reports[next].take()?;
    waiting.next = (next + 1) % RING;
    Some(report)
}

fn about(kind: Kind, fiber: Option<FiberRef>) -> Report {
    Report {
        kind,
        fiber,
        id: fiber.map_or(0, FiberRef::id),
        name: fiber.map_or(Name::default(), FiberRef::name),
        nanoseconds: 0,
        thread_id: 0,
        frames: [0; FRAMES],
        depth: 0,
    }
}

/// Queues a report. Without waiting for the lock: a handler may have interrupted its holder.
fn put(report: Report) {
    let Some(mut waiting) = WAITING.try_lock() else {
        DROPPED.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let next = waiting.next;
    let place = (0..RING).map(|ahead| (next + ahead) % RING).find(|at| waiting.reports[*at].is_none());
    match place {
        Some(at) => waiting.reports[at] = Some(report),
        None => {
            DROPPED.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }
    drop(waiting);
    ring();
}

/// A fiber has held its worker for long, and is here. In the handler that interrupted it.
pub(crate) fn held(fiber: FiberRef, thread_id: u32, registers: Registers, stack: Range<usize>) {
    let mut report = about(Kind::Held, Some(fiber));
    report.nanoseconds = fiber.slice_used();
    report.thread_id = thread_id;
    let unwinder = UNWINDER.load(Ordering::Acquire);
    if unwinder != 0 && stack.contains(&registers.sp) {
        // SAFETY: only `set_unwinder` writes the word.
        let unwinder: Unwinder = unsafe { std::mem::transmute(unwinder) };
        let depth = unwinder(&registers, registers.sp..stack.end, &mut report.frames);
        report.depth = depth.min(FRAMES) as u32;
    }
    put(report);
}

/// A fiber is stuck in a call that no hook knows. The monitor's.
pub(crate) fn blocked(fiber: FiberRef, thread_id: u32, nanoseconds: u64) {
    let mut report = about(Kind::Blocked, Some(fiber));
    report.nanoseconds = nanoseconds;
    report.thread_id = thread_id;
    put(report);
}
