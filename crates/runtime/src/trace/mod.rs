//! What fibers do, as a stream of events for whoever writes it down: which fiber ran where and why it left,
//! what it waited for and who woke it.
//!
//! While nobody traces, a switch pays one load and a branch that is never taken. While somebody does,
//! each event is seven words in a ring ([`ring`]) of the worker's, one more for all that happens on no
//! worker's account; nothing is allocated, formatted or waited for. The crate above takes the events
//! ([`drain`]) on an OS thread of its own.
//!
//! An event is written when something *ends*, and holds when it began: so each stands alone, and a trace that
//! breaks off, or has lost some, has no interval without an end. What has begun and not ended is in the
//! fibers' and carriers' records ([`open_ends`]).
//!
//! Times are `CLOCK_MONOTONIC` in nanoseconds, read in the vDSO: one reading a switch, which ends one
//! fiber's run and begins the next one's. *Rejected*: the time stamp counter itself (some nanoseconds less,
//! but then no other tool's times could be laid beside ours: `perf record -k CLOCK_MONOTONIC` can).
//!
//! The rings' memory is wiped in the child of a `fork`, by the kernel: it begins with empty ones.

mod ring;

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use ring::{CAPACITY, Ring, Words};
use timestop_fiber::lock::Lock;

use crate::fiber::{FiberRef, Name, Reason};
use crate::sched::{self, Carrier, Worker};
use crate::sys;

/// Where something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On this worker.
    Worker(u16),
    /// On the OS thread alone: its worker has gone on without it, or it never had one.
    Thread,
}

impl Place {
    fn of(worker: Option<&Worker>) -> Self {
        worker.map_or(Self::Thread, |worker| Self::Worker(worker.index as u16))
    }

    fn bits(self) -> u64 {
        match self {
            Self::Worker(index) => u64::from(index),
            Self::Thread => u64::from(u16::MAX),
        }
    }

    fn from_bits(bits: u64) -> Self {
        match bits as u16 {
            u16::MAX => Self::Thread,
            index => Self::Worker(index),
        }
    }
}

/// Why a fiber has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Left {
    /// It waits for something.
    Waits = 0,
    /// It let others go first.
    Yielded = 1,
    /// It was preempted, its slice being over.
    SliceOver = 2,
    /// It was preempted in favour of one that was due.
    MadeWay = 3,
    /// It was preempted by chance, for a test.
    Chance = 4,
    /// It has ended.
    Ended = 5,
    /// It has not: its worker was given to another OS thread, because this one was blocked or could not
    /// be preempted.
    HandedOff = 6,
    /// It has not: the trace ends.
    Runs = 7,
}

impl Left {
    fn from_bits(bits: u64) -> Self {
        use Left::{Chance, Ended, HandedOff, MadeWay, Runs, SliceOver, Waits, Yielded};
        [Waits, Yielded, SliceOver, MadeWay, Chance, Ended, HandedOff, Runs]
            .get((bits & 0xf) as usize)
            .copied()
            .unwrap_or(Waits)
    }
}

/// Something that has happened. Times are monotonic nanoseconds.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// A fiber has run.
    Run {
        /// Where.
        place: Place,
        /// On which OS thread, by the kernel's number.
        thread: u32,
        /// Its number.
        fiber: u64,
        /// The first 15 bytes of its name.
        name: Name,
        /// Since when.
        from: u64,
        /// Until when.
        until: u64,
        /// Why no longer.
        left: Left,
        /// What it waits for, if it does, with descriptor, address, or number.
        reason: (Reason, u64),
    },
    /// A fiber that was suspended is about to run.
    Resumed {
        /// Where.
        place: Place,
        /// Its number.
        fiber: u64,
        /// When it left; 0 where it has never run.
        left_at: u64,
        /// Why.
        left: Left,
        /// What it has waited for.
        reason: (Reason, u64),
        /// When it became runnable; 0 where that was not seen.
        woken_at: u64,
        /// Who woke it: a fiber's number, 0 for a timer, a descriptor, or an OS thread.
        waker: u64,
        /// Where that ran.
        waker_place: Place,
        /// When it goes on.
        at: u64,
    },
    /// A fiber has a name from now on.
    Named {
        /// Its number.
        fiber: u64,
        /// The name.
        name: Name,
        /// When.
        at: u64,
    },
}

/// When a fiber left and was woken, for its next [`Event::Resumed`]. Written by whoever owns the fiber: its
/// carrier as it leaves, then its waker.
#[derive(Debug, Default)]
pub(crate) struct Traced {
    left_at: AtomicU64,
    woken_at: AtomicU64,
    /// The waker's number, and its place in the upper 16 bits.
    waker: AtomicU64,
    left: AtomicU32,
}

const WAKER_BITS: u32 = 48;

impl Traced {
    /// A fresh fiber's.
    pub(crate) fn clear(&self) {
        self.left_at.store(0, Ordering::Relaxed);
        self.woken_at.store(0, Ordering::Relaxed);
        self.waker.store(0, Ordering::Relaxed);
    }
}

static ON: AtomicBool = AtomicBool::new(false);
static RINGS: AtomicPtr<Ring> = AtomicPtr::new(std::ptr::null_mut());
/// One for each worker, and the one for all others.
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// In the child of a fork, of a process that keeps events.
static PAUSED: AtomicBool = AtomicBool::new(false);
/// Since when events are kept: what ran before is shown from here on.
static SINCE: AtomicU64 = AtomicU64::new(0);
/// Grows when much waits to be drained: what the writer sleeps on.
static BELL: AtomicU32 = AtomicU32::new(0);
/// What the crate above does before another program takes the process's place, and in the child of a fork.
static BEFORE_EXEC: AtomicUsize = AtomicUsize::new(0);
static IN_CHILD: AtomicUsize = AtomicUsize::new(0);

/// Whether events are kept.
#[inline(always)]
#[must_use]
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Begins to keep events. The runtime has been started.
///
/// # Errors
///
/// The error number of what the kernel refused: memory for the rings, 4 MiB a worker.
pub fn start() -> Result<(), i32> {
    static STARTING: Lock<()> = Lock::new(());
    let _one = STARTING.lock();
    let Some(runtime) = sched::started() else { return Err(libc::EINVAL) };
    if RINGS.load(Ordering::Acquire).is_null() {
        let count = runtime.workers.len() + 1;
        let memory = sys::map_wiped_on_fork(count * size_of::<Ring>())?;
        COUNT.store(count, Ordering::Relaxed);
        RINGS.store(memory as *mut Ring, Ordering::Release);
    }
    SINCE.store(sys::now(), Ordering::Relaxed);
    ON.store(true, Ordering::Release);
    Ok(())
}

/// Keeps no more events. Those that are there can still be drained.
pub fn stop() {
    ON.store(false, Ordering::Release);
}

/// Since when events are kept.
#[must_use]
pub fn since() -> u64 {
    SINCE.load(Ordering::Relaxed)
}

/// Sets what is called before another program takes this process's place, and, alone in the child of a
/// `fork`, with events no longer kept.
pub fn set_hooks(before_exec: fn(), in_child: fn()) {
    BEFORE_EXEC.store(before_exec as usize, Ordering::Release);
    IN_CHILD.store(in_child as usize, Ordering::Release);
}

fn call(place: &AtomicUsize) {
    let function = place.load(Ordering::Acquire);
    if function != 0 {
        // SAFETY: only `set_hooks` writes the words.
        let function: fn() = unsafe { std::mem::transmute(function) };
        function();
    }
}

/// Another program is about to take this process's place. Not for a child of `vfork`.
pub fn before_exec() {
    if is_on() {
        call(&BEFORE_EXEC);
    }
}

/// In the child of a `fork`, which is its only thread. Nobody would drain what happens there, before it
/// makes a fiber: most execute another program.
pub(crate) fn after_fork() {
    if is_on() {
        stop();
        PAUSED.store(true, Ordering::Relaxed);
        call(&IN_CHILD);
    }
}

/// In that child, before its first new fiber.
pub(crate) fn grow_up() {
    if PAUSED.swap(false, Ordering::Relaxed) {
        SINCE.store(sys::now(), Ordering::Relaxed);
        ON.store(true, Ordering::Release);
    }
}

fn rings() -> &'static [Ring] {
    let first = RINGS.load(Ordering::Acquire);
    if first.is_null() {
        return &[];
    }
    // SAFETY: a mapping of so many rings, zeroed, which is an empty ring; never unmapped.
    unsafe { std::slice::from_raw_parts(first, COUNT.load(Ordering::Relaxed)) }
}

/// Hands over every event that waits, each ring's in their order, and returns how many were lost since
/// the last call. One caller at a time.
pub fn drain(mut take: impl FnMut(Event)) -> u64 {
    let mut lost = 0;
    for ring in rings() {
        // No more than fit: others go on writing.
        for _ in 0..CAPACITY {
            let Some(words) = ring.pop() else { break };
            take(decode(words));
        }
        lost += ring.take_lost();
    }
    lost
}

/// What [`wait`] is to be given.
#[must_use]
pub fn bell() -> u32 {
    BELL.load(Ordering::Acquire)
}

/// Waits until a ring is filling, or until `until` (monotonic nanoseconds).
pub fn wait(bell: u32, until: u64) {
    let _ = sys::futex_wait(&BELL, bell, Some(until));
}

/// Ends a [`wait`].
pub fn ring_bell() {
    BELL.fetch_add(1, Ordering::Release);
    sys::futex_wake(BELL.as_ptr() as usize, 1);
}

/// How many fibers wait for their turn.
#[must_use]
pub fn runnable() -> usize {
    let Some(runtime) = sched::started() else { return 0 };
    let queued: usize = runtime.workers.iter().map(Worker::waiting).sum();
    queued + runtime.injector.len() + runtime.backlog.len()
}

/// What has begun and not ended, as if it did now: events are no longer kept, and none waits.
///
/// Fibers go on meanwhile, unseen: what ran on a worker when the last event was kept may have been another.
pub fn open_ends(mut take: impl FnMut(Event)) {
    let now = sys::now();
    for carrier in sched::started().iter().flat_map(|runtime| runtime.carriers.iter()) {
        let Some(fiber) = carrier.running() else { continue };
        // A worker that is not lent is known to the carrier alone: each knows its carrier.
        let mut workers = sched::runtime().workers.iter();
        let own = workers.find(|worker| worker.carrier().is_some_and(|of| std::ptr::eq(of, carrier)));
        let began = match own {
            Some(_) => carrier.since.load(Ordering::Relaxed),
            None if carrier.lease.is_taken() => carrier.detached.since(),
            None => continue,
        };
        take(decode(run(carrier, fiber, Place::of(own), Left::Runs, (began, now))));
    }
    for fiber in crate::signal::live_fibers().filter(|fiber| !fiber.is_running()) {
        take(decode(resumed(fiber, Place::Thread, now)));
    }
}

const RUN: u64 = 0;
const RESUMED: u64 = 1;
const NAMED: u64 = 2;

/// The first word: kind and why (4 bits each), reason (8), two places (16 each), or a place and a thread (32).
fn head(kind: u64, left: Left, reason: Reason, place: Place) -> u64 {
    kind | (left as u64) << 4 | u64::from(reason as u32 as u8) << 8 | place.bits() << 16
}

fn put(place: Place, words: Words) {
    let Some((others, workers)) = rings().split_last() else { return };
    let ring = match place {
        Place::Worker(index) => workers.get(usize::from(index)).unwrap_or(others),
        Place::Thread => others,
    };
    let waiting = ring.push(words);
    // Once for each quarter at most.
    if waiting.is_multiple_of(CAPACITY / 4) && waiting < CAPACITY {
        ring_bell();
    }
}

/// What a fiber waits for, as it says itself.
fn reason(fiber: FiberRef) -> (Reason, u64) {
    let reason = fiber.waiting.reason.load(Ordering::Relaxed);
    (Reason::from_number(reason), fiber.waiting.argument.load(Ordering::Relaxed))
}

/// The carrier goes from the one fiber to the other; either may be its loop. In the runtime, before the
/// switch.
#[cold]
#[inline(never)]
pub(crate) fn switch(
    carrier: &Carrier,
    from: Option<(FiberRef, Left)>,
    next: Option<FiberRef>,
) {
    let now = sys::now();
    let place = Place::of(carrier.lease.worker());
    if let Some((fiber, left)) = from {
        let began = match place {
            Place::Worker(_) => carrier.since.load(Ordering::Relaxed),
            Place::Thread => carrier.detached.since(),
        };
        put(place, run(carrier, fiber, place, left, (began, now)));
        let traced = &fiber.traced;
        traced.left.store(left as u32, Ordering::Relaxed);
        traced.left_at.store(now, Ordering::Relaxed);
        // One that does not wait is runnable at once.
        let woken = if left == Left::Waits { 0 } else { now };
        traced.woken_at.store(woken, Ordering::Relaxed);
        traced.waker.store(0, Ordering::Relaxed);
    }
    carrier.since.store(now, Ordering::Relaxed);
    if let Some(fiber) = next {
        put(place, resumed(fiber, place, now));
    }
}

/// The worker of a carrier that runs a fiber is about to be another's.
pub(crate) fn handed_off(worker: &Worker, carrier: &Carrier, fiber: FiberRef, now: u64) {
    if is_on() {
        let began = carrier.since.load(Ordering::Relaxed);
        let place = Place::of(Some(worker));
        put(place, run(carrier, fiber, place, Left::HandedOff, (began, now)));
    }
}

fn run(
    carrier: &Carrier,
    fiber: FiberRef,
    place: Place,
    left: Left,
    (from, until): (u64, u64),
) -> Words {
    let (why, argument) = if left == Left::Waits { reason(fiber) } else { (Reason::Other, 0) };
    let [name, rest, ..] = fiber.name().words();
    [
        head(RUN, left, why, place) | u64::from(carrier.thread_id()) << 32,
        fiber.id(),
        from.max(since()).min(until),
        until,
        argument,
        name,
        rest,
    ]
}

fn resumed(fiber: FiberRef, place: Place, now: u64) -> Words {
    let traced = &fiber.traced;
    let waker = traced.waker.load(Ordering::Relaxed);
    let left = Left::from_bits(u64::from(traced.left.load(Ordering::Relaxed)));
    let (why, argument) = if left == Left::Waits { reason(fiber) } else { (Reason::Other, 0) };
    [
        head(RESUMED, left, why, place) | waker >> WAKER_BITS << 32,
        fiber.id(),
        traced.left_at.load(Ordering::Relaxed),
        traced.woken_at.load(Ordering::Relaxed),
        now,
        argument,
        waker & ((1 << WAKER_BITS) - 1),
    ]
}

/// A fiber becomes runnable, and is the caller's to queue.
#[cold]
#[inline(never)]
pub(crate) fn woken(worker: Option<&Worker>, fiber: FiberRef, by: Option<FiberRef>) {
    let place = Place::of(worker).bits() << WAKER_BITS;
    let waker = by.map_or(0, FiberRef::id) & ((1 << WAKER_BITS) - 1);
    fiber.traced.woken_at.store(sys::now(), Ordering::Relaxed);
    fiber.traced.waker.store(place | waker, Ordering::Relaxed);
}

/// A fiber has a name.
#[cold]
pub(crate) fn named(fiber: FiberRef) {
    let head = head(NAMED, Left::Waits, Reason::Other, Place::Thread);
    let [a, b, c, d] = fiber.name().words();
    put(Place::Thread, [head, fiber.id(), sys::now(), a, b, c, d]);
}

fn decode(words: Words) -> Event {
    let [head, fiber, ..] = words;
    let place = Place::from_bits(head >> 16);
    let left = Left::from_bits(head >> 4);
    let why = Reason::from_number((head >> 8 & 0xff) as u32);
    match head & 0xf {
        RUN => Event::Run {
            place,
            thread: (head >> 32) as u32,
            fiber,
            name: Name::from_words([words[5], words[6], 0, 0]),
            from: words[2],
            until: words[3],
            left,
            reason: (why, words[4]),
        },
        RESUMED => Event::Resumed {
            place,
            fiber,
            left_at: words[2],
            left,
            reason: (why, words[5]),
            woken_at: words[3],
            waker: words[6],
            waker_place: Place::from_bits(head >> 32),
            at: words[4],
        },
        _ => Event::Named {
            fiber,
            name: Name::from_words([words[3], words[4], words[5], words[6]]),
            at: words[2],
        },
    }
}
