//! What the programmer is told: that a fiber held a worker for long, that one is stuck in a call that
//! no hook knows, and, on request, what all of them do.
//!
//! What is to be told is found by the monitor and by signal handlers, which may neither allocate nor
//! lock. They put a [`Report`] into a ring of a few; an OS thread of its own (`timestop-report`,
//! started by the starter when the first one comes) hands each to the *sink* that the crate above has
//! set. A report that finds the ring full is dropped: there are others like it.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use syscalls::{Sysno, raw_syscall};
use timestop_fiber::lock::Lock;

use crate::fiber::{FiberRef, Name};
use crate::action::{self, Action};
use crate::housekeeper::Housekeeper;
use crate::sys;

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
    /// As much time has passed as was asked for ([`tick_every`]).
    Tick,
    /// The process is about to end ([`end_by`], [`tell_end`]).
    End,
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
/// Nanoseconds between two ticks; 0 for none.
static PERIOD: AtomicU64 = AtomicU64::new(0);
/// The signal by which the process is to end; 0 for none, or [`TELL`].
static END: AtomicI32 = AtomicI32::new(0);
/// The end is told, and made by somebody else.
const TELL: i32 = -1;
/// 1 when the end has been told.
static TOLD: AtomicU32 = AtomicU32::new(0);
static THREAD: Housekeeper = Housekeeper::new(c"timestop-report", work);
/// How many reports found no place.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Has the sink called with [`Kind::Dump`]. Safe in a signal handler. Without a runtime: nothing.
pub fn request_dump() {
    DUMP.store(true, Ordering::Release);
    ring();
}

/// Has the sink called with [`Kind::Tick`], now and every so many nanoseconds.
pub fn tick_every(nanoseconds: u64) {
    PERIOD.store(nanoseconds, Ordering::Release);
    ring();
}

/// Has the sink called with [`Kind::End`], and ends the process by this signal then. Safe in a signal
/// handler; returns at once. Without a runtime: nothing.
pub fn end_by(signal: i32) {
    END.store(signal, Ordering::Release);
    ring();
}

/// Has the sink called with [`Kind::End`] and waits until it was, for so many nanoseconds at most. Safe
/// in a signal handler. Where nobody has asked for the thread that calls it: nothing.
pub fn tell_end(patience: u64) {
    // It may be about to be made: a program can be shorter than that.
    if !THREAD.is_wanted() {
        return;
    }
    END.store(TELL, Ordering::Release);
    ring();
    let until = sys::now() + patience;
    while TOLD.load(Ordering::Acquire) == 0 && sys::now() < until {
        let _ = sys::futex_wait(&TOLD, 0, Some(until));
    }
}

/// Has the thread that tells what is to be told ready, for [`tell_end`].
pub fn be_ready() {
    THREAD.want();
}

/// Ends the process by a signal, whatever handler or mask there is for it.
fn die(signal: i32) -> ! {
    action::exchange(signal, Some(Action::default()));
    let mask = 1_u64 << (signal - 1);
    let (process, thread) = (sys::process_id(), sys::thread_id());
    // SAFETY: the kernel reads one signal set.
    let _ = unsafe {
        raw_syscall!(Sysno::rt_sigprocmask, libc::SIG_UNBLOCK, &raw const mask, 0, 8)
    };
    // SAFETY: touches no memory.
    let _ = unsafe { raw_syscall!(Sysno::tgkill, process, thread, signal) };
    // SAFETY: reached for a signal only whose default is not to end; as shells tell such an end.
    let _ = unsafe { raw_syscall!(Sysno::exit_group, 128 + signal) };
    unreachable!("the process has ended")
}

fn ring() {
    BELL.fetch_add(1, Ordering::Release);
    if THREAD.is_there() {
        sys::futex_wake(BELL.as_ptr() as usize, 1);
    } else {
        THREAD.want();
    }
}

fn work() {
    // Reading debug information takes a second of CPU time: what the program does comes first.
    sys::be_nice();
    let mut last_tick = None;
    loop {
        let bell = BELL.load(Ordering::Acquire);
        while let Some(report) = next() {
            hand_over(&report);
        }
        if DUMP.swap(false, Ordering::AcqRel) {
            hand_over(&about(Kind::Dump, None));
        }
        let end = END.load(Ordering::Acquire);
        if end != 0 {
            hand_over(&about(Kind::End, None));
            if end != TELL {
                die(end);
            }
            END.store(0, Ordering::Relaxed);
            TOLD.store(1, Ordering::Release);
            sys::futex_wake(TOLD.as_ptr() as usize, i32::MAX);
        }
        let until = tick(&mut last_tick);
        let _ = sys::futex_wait(&BELL, bell, until);
    }
}

/// Ticks if it is time; until when there is none.
fn tick(last: &mut Option<u64>) -> Option<u64> {
    let period = PERIOD.load(Ordering::Acquire);
    if period == 0 {
        return None;
    }
    let now = sys::now();
    if last.is_none_or(|last| now - last >= period) {
        *last = Some(now);
        hand_over(&about(Kind::Tick, None));
    }
    last.map(|last| last + period)
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
    if stack.contains(&registers.sp) {
        let depth = unwind(&registers, registers.sp..stack.end, &mut report.frames);
        report.depth = depth.min(FRAMES) as u32;
    }
    put(report);
}

/// Writes the callers of interrupted code, as far as they can be found now, and returns how many.
pub(crate) fn unwind(registers: &Registers, stack: Range<usize>, frames: &mut [usize]) -> usize {
    let unwinder = UNWINDER.load(Ordering::Acquire);
    if unwinder == 0 || stack.is_empty() {
        return 0;
    }
    // SAFETY: only `set_unwinder` writes the word.
    let unwinder: Unwinder = unsafe { std::mem::transmute(unwinder) };
    unwinder(registers, stack, frames)
}

/// A fiber is stuck in a call that no hook knows. The monitor's.
pub(crate) fn blocked(fiber: FiberRef, thread_id: u32, nanoseconds: u64) {
    let mut report = about(Kind::Blocked, Some(fiber));
    report.nanoseconds = nanoseconds;
    report.thread_id = thread_id;
    put(report);
}
