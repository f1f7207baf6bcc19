//! The record of a fiber, at the top of its slot.
//!
//! Records are never unmapped, so a reference to one is always valid, and a late wake-up of a record
//! that now serves another fiber is only spurious there ([`crate::sched::state`]).

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use std::cell::{Cell, UnsafeCell};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicPtr};

use timestop_fiber::slab::{RECORD_BYTES, Slot, SlotPtr};
use timestop_fiber::switch::{Context, DEFAULT_CONTROL_WORDS};
use timestop_fiber::{block, current};

use crate::sched::Carrier;
use crate::sched::state::State;
use crate::sync::{AtomicU64, Ordering};
use crate::timer::Timer;
use crate::trace::{self, Traced};
use crate::waker::Target;
use crate::waker::call::Call;

/// What stands in a run queue: a fiber, or a task that becomes one when it first runs.
#[derive(Debug)]
#[repr(C)]
pub struct Runnable {
    /// The next one in a linked queue.
    pub(crate) next: Cell<*mut Runnable>,
    pub(crate) kind: Kind,
    /// Which queue it waits in. Set before it is first queued.
    pub(crate) priority: Cell<Priority>,
    /// It waits behind hogs because it lets them go first, and is none.
    pub(crate) gives_way: Cell<bool>,
}

/// Whose turn it is first, when several fibers can run. After Erlang's process priorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Priority {
    /// In turn.
    #[default]
    Normal = 0,
    /// When no other fiber wants to run, and one turn in eight of those that compute for long.
    Low = 1,
    /// Before all others that wait, but for one turn in 61. It does not interrupt who runs within its
    /// slice; one that itself computes for longer than a slice loses the privilege until it next blocks,
    /// and one that yields is in turn with the others.
    High = 2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Fiber,
    Task,
}

/// A closure that waits for its first run, and for a stack. The head of a larger, heap-allocated
/// record of whoever spawns.
#[derive(Debug)]
#[repr(C)]
pub struct Task {
    pub(crate) runnable: Runnable,
    /// Runs on the new fiber; consumes the record.
    pub(crate) run: unsafe fn(NonNull<Task>),
    /// The id that the fiber will have.
    pub(crate) id: u64,
}

impl Task {
    /// A task that calls `run` with its own address.
    #[must_use]
    pub fn new(run: unsafe fn(NonNull<Task>)) -> Self {
        Self {
            runnable: Runnable {
                next: Cell::new(std::ptr::null_mut()),
                kind: Kind::Task,
                priority: Cell::new(Priority::Normal),
                gives_way: Cell::new(false),
            },
            run,
            id: next_id(),
        }
    }

    /// The id that the fiber has or will have.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }
}

/// Ids in order of spawning; never reused. Each carrier's thread could cache a range; one relaxed
/// add was not measurable beside the allocation of the task.
fn next_id() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// How a fiber's first run begins.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// Called on the fiber's stack. May return or call [`crate::exit`].
    pub function: unsafe fn(usize),
    /// Its argument.
    pub argument: usize,
}

/// What a fiber waits for, for reports. Written by the fiber, read by anyone.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// A [`Reason`] as a number.
    pub(crate) reason: AtomicU32Plain,
    pub(crate) argument: AtomicU64Plain,
    /// Since when, in nanoseconds; 0 while it does not wait.
    pub(crate) since: AtomicU64Plain,
}

type AtomicU32Plain = std::sync::atomic::AtomicU32;
type AtomicU64Plain = std::sync::atomic::AtomicU64;

/// Why a fiber waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum Reason {
    /// Something not told.
    Other = 0,
    /// A point in time.
    Sleep = 1,
    /// Data from the descriptor.
    Read = 2,
    /// Room for data to the descriptor.
    Write = 3,
    /// One of several descriptors.
    Poll = 4,
    /// A futex, and whatever std builds on it; the address.
    Futex = 5,
    /// A mutex at the address.
    Mutex = 6,
    /// A condition variable at the address.
    Condition = 7,
    /// A semaphore at the address.
    Semaphore = 8,
    /// The end of another fiber, by its id.
    Join = 9,
    /// The end of a child process.
    Child = 10,
    /// A signal.
    Signal = 11,
    /// A read-write lock at the address.
    RwLock = 12,
    /// A barrier at the address.
    Barrier = 13,
    /// The lookup of a name, which another OS thread makes.
    Lookup = 14,
    /// A message from the channel at the address.
    Receive = 15,
    /// Room in the channel at the address, or a receiver of its.
    Send = 16,
    /// One of several channels; how many.
    Select = 17,
    /// A future that it polls.
    Future = 18,
    /// Wakers to call: the fiber of [`crate::waker::bell`].
    Wakers = 19,
}

impl Reason {
    pub(crate) fn from_number(number: u32) -> Self {
        const ALL: [Reason; 20] = [
            Reason::Other,
            Reason::Sleep,
            Reason::Read,
            Reason::Write,
            Reason::Poll,
            Reason::Futex,
            Reason::Mutex,
            Reason::Condition,
            Reason::Semaphore,
            Reason::Join,
            Reason::Child,
            Reason::Signal,
            Reason::RwLock,
            Reason::Barrier,
            Reason::Lookup,
            Reason::Receive,
            Reason::Send,
            Reason::Select,
            Reason::Future,
            Reason::Wakers,
        ];
        ALL.get(number as usize).copied().unwrap_or(Self::Other)
    }
}

/// A fiber. What a wait and a resumption touch comes first, in [`HOT_LINES`] cache lines.
#[derive(Debug)]
#[repr(C)]
pub struct Fiber {
    pub(crate) slot: Slot,
    pub(crate) runnable: Runnable,
    pub(crate) context: UnsafeCell<Context>,
    /// Who runs the fiber now, or ran it last. Written at each resume.
    pub(crate) carrier: AtomicPtr<Carrier>,
    pub(crate) state: State,
    /// Whether the record serves a fiber: one that lives, or that has ended and may be joined.
    pub(crate) alive: AtomicBool,
    /// Its code has returned; the record may still be held.
    pub(crate) ended: AtomicBool,
    /// Set while a child of `vfork` borrows this fiber's memory: no hook may suspend or write.
    pub(crate) borrowed: AtomicBool,
    pub(crate) cancelled: AtomicBool,
    /// Someone wants [`crate::set_asked`]'s function to run on this fiber.
    pub(crate) asked: AtomicBool,
    /// What it sleeps on while it polls a future.
    pub(crate) call: Call,
    /// While not 0 the fiber stays on its OS thread, and waits by blocking it.
    pub(crate) pins: AtomicU32Plain,
    /// A signal is queued for the fiber: interruptible waits end.
    pub(crate) interrupted: AtomicBool,
    /// See [`FiberRef::handled`].
    pub(crate) handlers: AtomicU64Plain,
    /// It was preempted and has not blocked since.
    pub(crate) hog: AtomicBool,
    /// That it computes for long has been told.
    pub(crate) told: AtomicBool,
    /// More than 0 where it woke others and went on for long: whom it wakes is for other workers to run.
    /// How many times more it must wait at once to change that.
    pub(crate) goes_on: AtomicU32Plain,
    /// When it last woke somebody so. Its own.
    pub(crate) woke_at: Cell<u64>,
    /// How often it has yielded since it last blocked. Its own.
    pub(crate) yields: Cell<u32>,
    /// While not 0 it is not preempted.
    unpreemptible: AtomicU32Plain,
    /// The nearest deadline over this fiber's blocking calls, monotonic nanoseconds; `u64::MAX`
    /// where there is none.
    pub(crate) deadline: AtomicU64,
    /// In the slot's side bytes: wheels go through many that are not about to run.
    timer: Cell<Option<&'static Timer>>,
    pub(crate) waiting: Waiting,
    /// Read by reports and pending signals, whoever the record serves by then.
    id: AtomicU64Plain,
    pub(crate) start: Cell<Option<Start>>,
    /// How its code is to round and what it traps, at first: as its creator's.
    pub(crate) control_words: Cell<u64>,
    /// Called last of all on the fiber, after its thread-locals are gone.
    pub(crate) finish: Cell<Option<Start>>,
    /// Who still needs the record: the fiber itself, and whoever may join it by its address.
    holds: std::sync::atomic::AtomicU32,
    /// What it has used of its slice, in nanoseconds of CPU time. The monitor's.
    slice_used: AtomicU64Plain,
    /// CPU time in nanoseconds, as sampled. The monitor's.
    cpu: AtomicU64Plain,
    pub(crate) traced: Traced,
    /// A name of up to 31 bytes, zero-terminated.
    name: [AtomicU64Plain; 4],
    /// Words for whoever stands above: an adopted thread's join state, its name.
    pub(crate) user: [Cell<usize>; USER_WORDS],
}

/// How many words a fiber keeps for the crates above.
pub const USER_WORDS: usize = 24;

const _: () = assert!(size_of::<Fiber>() <= RECORD_BYTES);

const LINE: usize = 64;
const HOT_LINES: usize = 3;
const _: () = assert!(std::mem::offset_of!(Fiber, waiting) + size_of::<Waiting>() <= HOT_LINES * LINE);

// SAFETY: each field says who writes it; the cells belong to whoever owns the fiber by its state.
unsafe impl Sync for Fiber {}

/// Has the processor fetch the cache line at `address`, which need not be one.
#[inline(always)]
fn prefetch_line(address: usize) {
    // SAFETY: a hint, which faults on no address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address as *const i8) };
}

/// Has the processor fetch what is touched when the fiber is woken: where many are, each is on a page of its own.
#[inline]
pub(crate) fn prefetch(fiber: *const Fiber) {
    (0..HOT_LINES).for_each(|line| prefetch_line(fiber as usize + line * LINE));
}

/// A fiber, by its record, which is never unmapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FiberRef(NonNull<Fiber>);

// SAFETY: a reference to a `Sync` record that lives for ever.
unsafe impl Send for FiberRef {}
// SAFETY: as above.
unsafe impl Sync for FiberRef {}

impl std::ops::Deref for FiberRef {
    type Target = Fiber;

    #[inline(always)]
    fn deref(&self) -> &Fiber {
        // SAFETY: records are never unmapped, and are written through cells and atomics only.
        unsafe { self.0.as_ref() }
    }
}

impl Fiber {
    /// Where in the record they lie, for debuggers.
    pub(crate) const ID: usize = std::mem::offset_of!(Self, id);
    pub(crate) const NAME: usize = std::mem::offset_of!(Self, name);
}

impl FiberRef {
    /// The fiber whose code is running; `None` on an OS thread.
    #[inline(always)]
    #[must_use]
    pub fn current() -> Option<Self> {
        NonNull::new(current::get().cast()).map(Self)
    }

    pub(crate) fn from_pointer(pointer: *mut Fiber) -> Option<Self> {
        NonNull::new(pointer).map(Self)
    }

    pub(crate) fn as_pointer(self) -> *mut Fiber {
        self.0.as_ptr()
    }

    pub(crate) fn as_runnable(self) -> *mut Runnable {
        (&raw const self.runnable).cast_mut()
    }

    /// The fiber that a run queue's entry of kind [`Kind::Fiber`] is part of.
    ///
    /// # Safety
    ///
    /// `runnable` is the field of a fiber.
    pub(crate) unsafe fn from_runnable(runnable: *mut Runnable) -> Self {
        let record = runnable.wrapping_byte_sub(std::mem::offset_of!(Fiber, runnable));
        // SAFETY: the caller vouches that a fiber's record surrounds the field.
        Self(unsafe { NonNull::new_unchecked(record.cast()) })
    }

    /// The address of the fiber's record, by which [`from_address`](Self::from_address) finds it.
    #[inline]
    #[must_use]
    pub fn address(self) -> usize {
        self.0.as_ptr() as usize
    }

    /// The fiber whose record lies at `address`. Records are never unmapped, so a fiber that has
    /// ended meanwhile is found too, or the one that has its place now.
    ///
    /// # Safety
    ///
    /// `address` came from [`address`](Self::address).
    #[inline]
    #[must_use]
    pub unsafe fn from_address(address: usize) -> Self {
        // SAFETY: addresses of records are not null.
        Self(unsafe { NonNull::new_unchecked(address as *mut Fiber) })
    }

    /// The fiber with this `pthread_t`, alive or waiting to be joined.
    #[must_use]
    pub fn from_pthread(thread: usize) -> Option<Self> {
        let slot = block::slot_of(thread)?;
        let fiber = Self(slot.cast());
        fiber.alive.load(Ordering::Acquire).then_some(fiber)
    }

    /// A fresh record in `slot`, for a fiber that has not run.
    ///
    /// # Safety
    ///
    /// The caller owns the slot, and no fiber lives in it.
    pub(crate) unsafe fn create(slot: SlotPtr, id: u64, start: Start) -> Self {
        let fiber: NonNull<Fiber> = slot.cast();
        let fs = block::thread_pointer(slot);
        let record = fiber.as_ptr();
        // The record may have served before: stale wake-ups may touch `state` at any time, so it
        // keeps whatever token it has (the worst is a spurious wake-up).
        // SAFETY: the caller owns the record but for its atomics, which are written as such. A
        // fresh slot is zeroed memory, which is valid for every field.
        let fiber = Self(unsafe { NonNull::new_unchecked(record) });
        // SAFETY: the field lies within the record.
        let kind = unsafe { &raw mut (*record).runnable.kind };
        // SAFETY: a plain field that nobody reads while the entry is not queued.
        unsafe { kind.write(Kind::Fiber) };
        // SAFETY: records are valid for ever.
        let side = unsafe { slot.as_ref() }.side();
        // SAFETY: the bytes are zero or a timer since the slot was first used, and mapped for ever.
        let timer: &'static Timer = unsafe { side.cast().as_ref() };
        timer.belongs_to(Target::fiber(fiber));
        fiber.timer.set(Some(timer));
        fiber.runnable.priority.set(Priority::Normal);
        fiber.runnable.gives_way.set(false);
        fiber.yields.set(0);
        fiber.goes_on.store(0, Ordering::Relaxed);
        // SAFETY: nobody switches to or from a fiber that does not exist yet.
        unsafe { fiber.context.get().write(Context::empty(fs)) };
        fiber.id.store(id, Ordering::Relaxed);
        fiber.start.set(Some(start));
        fiber.control_words.set(DEFAULT_CONTROL_WORDS);
        fiber.finish.set(None);
        fiber.holds.store(1, Ordering::Relaxed);
        fiber.ended.store(false, Ordering::Relaxed);
        fiber.carrier.store(std::ptr::null_mut(), Ordering::Relaxed);
        fiber.deadline.store(u64::MAX, Ordering::Relaxed);
        fiber.cancelled.store(false, Ordering::Relaxed);
        fiber.interrupted.store(false, Ordering::Relaxed);
        fiber.hog.store(false, Ordering::Relaxed);
        fiber.told.store(false, Ordering::Relaxed);
        fiber.unpreemptible.store(0, Ordering::Relaxed);
        fiber.slice_used.store(0, Ordering::Relaxed);
        fiber.cpu.store(0, Ordering::Relaxed);
        fiber.pins.store(0, Ordering::Relaxed);
        fiber.asked.store(false, Ordering::Relaxed);
        fiber.call.reset();
        fiber.borrowed.store(false, Ordering::Relaxed);
        fiber.waiting.since.store(0, Ordering::Relaxed);
        fiber.traced.clear();
        for word in &fiber.user {
            word.set(0);
        }
        for word in &fiber.name {
            word.store(0, Ordering::Relaxed);
        }
        fiber.alive.store(true, Ordering::Release);
        fiber
    }

    /// A fiber's id: never reused.
    #[must_use]
    pub fn id(self) -> u64 {
        self.id.load(Ordering::Relaxed)
    }

    /// Its name; empty where it has none.
    #[must_use]
    pub fn name(self) -> Name {
        let mut bytes = [0; 32];
        for (eight, word) in bytes.chunks_exact_mut(8).zip(&self.name) {
            eight.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        Name(bytes)
    }

    /// Sets the name, of which 31 bytes are kept.
    pub fn set_name(self, name: &[u8]) {
        let mut bytes = [0; 32];
        let length = name.len().min(31);
        bytes[..length].copy_from_slice(&name[..length]);
        for (eight, word) in bytes.chunks_exact(8).zip(&self.name) {
            let eight = eight.try_into().expect("a chunk of eight");
            word.store(u64::from_ne_bytes(eight), Ordering::Relaxed);
        }
        if trace::is_on() {
            trace::named(self);
        }
    }

    /// Has the processor fetch what its resumption touches: what the switch has left on its stack and what lies
    /// above that, and where its thread-locals begin. The fiber is the caller's to queue.
    #[inline]
    pub(crate) fn prefetch_stack(self) {
        // SAFETY: nobody runs the fiber or switches to it.
        let Context { sp, fs } = unsafe { *self.context.get() };
        (0..4).for_each(|line| prefetch_line(sp + line * LINE));
        prefetch_line(fs);
        prefetch_line(fs - LINE);
    }

    /// Its timer.
    #[inline]
    pub(crate) fn timer(self) -> &'static Timer {
        self.timer.get().expect("set when the record was made")
    }

    /// What it sleeps on while it polls a future: see [`crate::waker`].
    #[inline]
    #[must_use]
    pub fn call(self) -> &'static Call {
        // SAFETY: records are never unmapped.
        &unsafe { self.0.as_ref() }.call
    }

    /// Its slot.
    #[must_use]
    pub fn slot(self) -> SlotPtr {
        self.0.cast()
    }

    /// Its thread pointer, which is its `pthread_t`.
    #[must_use]
    pub fn pthread(self) -> usize {
        // SAFETY: the thread pointer is written before the fiber is shared and never after.
        unsafe { (*self.context.get()).fs }
    }

    /// Calls `finish` last of all on this fiber, when its thread-locals are gone. On the fiber
    /// itself; replaces what was set before.
    pub fn set_finish(self, finish: Start) {
        self.finish.set(Some(finish));
    }

    /// Keeps the record and its slot beyond the fiber's end, until [`crate::release`].
    pub fn hold(self) {
        self.holds.fetch_add(1, Ordering::Relaxed);
    }

    /// True if that was the last hold: the slot is the caller's to give back.
    pub(crate) fn drop_hold(self) -> bool {
        let last = self.holds.fetch_sub(1, Ordering::AcqRel) == 1;
        if last {
            self.alive.store(false, Ordering::Release);
        }
        last
    }

    /// One of the words that the crates above keep in the record.
    #[must_use]
    pub fn user_word(self, index: usize) -> &'static Cell<usize> {
        // SAFETY: records are never unmapped.
        &unsafe { self.0.as_ref() }.user[index]
    }

    /// The carrier that runs this fiber. Meaningful on the fiber itself, where it is not preempted:
    /// after [`enter`](Self::enter), or [`undisturbed`](timestop_fiber::current::undisturbed).
    #[inline(always)]
    pub(crate) fn carrier(self) -> &'static Carrier {
        // SAFETY: written at each resume; carriers are never freed.
        unsafe { &*self.carrier.load(Ordering::Relaxed) }
    }

    /// The fiber's code enters the runtime: from here on it is not preempted, until [`leave`].
    ///
    /// [`leave`]: Self::leave
    #[inline(always)]
    pub(crate) fn enter(self) -> (&'static Carrier, Option<&'static crate::sched::Worker>) {
        current::set_shut(true);
        let carrier = self.carrier();
        (carrier, carrier.lease.enter())
    }

    /// The fiber's code leaves the runtime, on whichever carrier it is now.
    #[inline(always)]
    pub(crate) fn leave(self) {
        self.carrier().lease.leave();
        current::set_shut(false);
    }

    /// Whether the fiber has begun to run and not ended.
    #[must_use]
    pub fn is_live(self) -> bool {
        // A fiber that has ended has left its carrier for good.
        self.alive.load(Ordering::Acquire) && !self.ended.load(Ordering::Relaxed)
    }

    /// Whether a carrier runs the fiber just now.
    pub(crate) fn is_running(self) -> bool {
        // SAFETY: null, or a carrier, which is never freed.
        let carrier = unsafe { self.carrier.load(Ordering::Relaxed).as_ref() };
        carrier.is_some_and(|carrier| carrier.runs(self))
    }

    /// Whether the running fiber may leave its OS thread: it is not pinned, and no child of `vfork`
    /// borrows its memory.
    #[inline]
    #[must_use]
    pub fn may_suspend(self) -> bool {
        !self.is_pinned() && !self.is_borrowed()
    }

    /// Says that a child of `vfork` borrows this fiber's memory, or has given it back.
    pub fn set_borrowed(self, borrowed: bool) {
        self.borrowed.store(borrowed, Ordering::Relaxed);
    }

    /// Whether hooks may suspend and write the runtime's state.
    #[inline]
    #[must_use]
    pub fn is_borrowed(self) -> bool {
        self.borrowed.load(Ordering::Relaxed)
    }

    /// Whether the fiber has been asked to end.
    #[must_use]
    pub fn is_cancelled(self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// The deadline over this fiber's blocking calls; `u64::MAX` where there is none.
    #[must_use]
    pub fn deadline(self) -> u64 {
        self.deadline.load(Ordering::Relaxed)
    }

    /// Sets the deadline and returns the one before. On the fiber itself.
    pub fn replace_deadline(self, deadline: u64) -> u64 {
        self.deadline.swap(deadline, Ordering::Relaxed)
    }

    /// Asks the fiber to end: its blocking I/O fails from now on, its sleeps end early.
    pub fn cancel(self) {
        self.cancelled.store(true, Ordering::Release);
        crate::unpark(self);
    }

    /// Has the fiber run the function given to [`crate::set_asked`] when it next waits.
    pub fn ask(self) {
        self.asked.store(true, Ordering::Release);
        crate::unpark(self);
    }

    /// Keeps the fiber on its OS thread until [`unpin`](Self::unpin): where it would be suspended,
    /// it blocks the thread. On the fiber itself; may be nested.
    pub fn pin(self) {
        self.pins.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one [`pin`](Self::pin) back.
    pub fn unpin(self) {
        self.pins.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether the fiber must stay on its OS thread.
    #[inline]
    pub(crate) fn is_pinned(self) -> bool {
        self.pins.load(Ordering::Relaxed) != 0
    }

    /// Keeps the fiber from being preempted until [`allow_preemption`](Self::allow_preemption). On
    /// the fiber itself; may be nested.
    pub fn forbid_preemption(self) {
        self.unpreemptible.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one [`forbid_preemption`](Self::forbid_preemption) back.
    pub fn allow_preemption(self) {
        self.unpreemptible.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn is_unpreemptible(self) -> bool {
        self.unpreemptible.load(Ordering::Relaxed) != 0
    }

    /// Sets the priority of a fiber that has not been launched, or of the running one.
    pub fn set_priority(self, priority: Priority) {
        self.runnable.priority.set(priority);
    }

    /// CPU time that the fiber has used, in nanoseconds: exact for one that computes for long, and a
    /// sample each millisecond for others.
    #[must_use]
    pub fn cpu_time(self) -> u64 {
        self.cpu.load(Ordering::Relaxed)
    }

    /// It has used this much more. The monitor's.
    pub(crate) fn charge(self, nanoseconds: u64) {
        self.cpu.store(self.cpu.load(Ordering::Relaxed) + nanoseconds, Ordering::Relaxed);
    }

    pub(crate) fn slice_used(self) -> u64 {
        self.slice_used.load(Ordering::Relaxed)
    }

    pub(crate) fn set_slice_used(self, nanoseconds: u64) {
        self.slice_used.store(nanoseconds, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_hog(self) -> bool {
        self.hog.load(Ordering::Relaxed)
    }

    /// In the child of a fork: the fiber is gone.
    pub(crate) fn bury(self) {
        self.ended.store(true, Ordering::Relaxed);
        self.alive.store(false, Ordering::Release);
    }

    /// Whether a signal waits for the fiber.
    #[must_use]
    pub fn is_interrupted(self) -> bool {
        self.interrupted.load(Ordering::Acquire)
    }

    /// Ends the fiber's interruptible waits, or with `false` says that its signals were handled.
    pub fn set_interrupted(self, interrupted: bool) {
        self.interrupted.store(interrupted, Ordering::Release);
    }

    /// Whether the fiber waits for what another holds or is to do, in this process.
    pub(crate) fn waits_for_others(self) -> bool {
        use Reason::{Condition, Futex, Mutex, RwLock, Semaphore};
        let reason = Reason::from_number(self.waiting.reason.load(Ordering::Relaxed));
        matches!(reason, Futex | Mutex | Condition | Semaphore | RwLock) && self.state.is_parked()
    }

    /// Says what the fiber waits for, until the returned value is dropped.
    pub(crate) fn note_wait(self, reason: Reason, argument: u64) -> Noted {
        self.waiting.argument.store(argument, Ordering::Relaxed);
        self.waiting.reason.store(reason as u32, Ordering::Relaxed);
        self.waiting.since.store(crate::clock::coarse(), Ordering::Relaxed);
        Noted(self)
    }
}

/// The name of a fiber.
#[derive(Debug, Clone, Copy, Default)]
pub struct Name([u8; 32]);

impl Name {
    /// No name.
    #[must_use]
    pub const fn empty() -> Self {
        Self([0; 32])
    }

    /// As words, in order.
    pub(crate) fn words(self) -> [u64; 4] {
        let (eights, _) = self.0.as_chunks::<8>();
        std::array::from_fn(|index| u64::from_ne_bytes(eights[index]))
    }

    /// What [`words`](Self::words) has made.
    pub(crate) fn from_words(words: [u64; 4]) -> Self {
        let mut bytes = [0; 32];
        for (eight, word) in bytes.chunks_exact_mut(8).zip(words) {
            eight.copy_from_slice(&word.to_ne_bytes());
        }
        Self(bytes)
    }

    /// The bytes before the terminating zero.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(31);
        &self.0[..end]
    }
}

/// Forgets the reason of a wait when dropped.
#[derive(Debug)]
pub(crate) struct Noted(FiberRef);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.waiting.reason.store(Reason::Other as u32, Ordering::Relaxed);
        self.0.waiting.since.store(0, Ordering::Relaxed);
    }
}
