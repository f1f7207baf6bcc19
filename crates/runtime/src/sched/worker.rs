//! A worker: a run queue with its timers, stacks and counters (Go's P). Whoever holds it, a carrier
//! in the runtime, may touch the fields marked *owner*; the rest is shared.

use std::cell::{Cell, RefCell};
use std::io;
use std::ptr::NonNull;

use crossbeam_utils::CachePadded;
use timestop_fiber::slab::{self, BATCH, Class, SlotPtr};

use super::Carrier;
use super::run_queue::RunQueue;
use crate::fiber::{FiberRef, Kind, Runnable, Start, Task};
use crate::stats::Counters;
use crate::sync::{AtomicPtr, AtomicU64, Ordering};
use crate::sys;
use crate::timer::Wheel;

/// Free stacks that a worker keeps for itself.
const KEPT_SLOTS: usize = 64;
pub(super) const KEPT_AT_MOST: usize = KEPT_SLOTS + BATCH;
/// Reservations that a worker takes and gives at once.
const CREDIT: usize = 256;
/// Runs out of the LIFO slot in a row before its guest must queue like everyone.
const LIFO_RUNS: u32 = 64;
/// How often a busy worker looks at the global queue and at the outside world, and past those of high
/// priority, in switches.
const GLOBAL_INTERVAL: u32 = 61;
/// A busy worker looks at the outside world no more often than this, in nanoseconds …
const POLL_INTERVAL: u64 = 20_000;
/// … but after so long at the latest, in nanoseconds of the coarse clock, however few its switches.
const POLL_AT_LATEST: u64 = 1_000_000;
/// Hogs get a turn after so long at the latest, in nanoseconds, and for so long: a tenth of the time, in small parts.
/// Of those that made way most have little left to do, and somebody may wait for that.
const BACKLOG_INTERVAL: u64 = 9_000_000;
const OWED_AT_MOST: u64 = 1_000_000;
/// How much it takes from the global queue at once.
const SHARE: usize = 32;

/// A worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) index: u32,
    pub(super) queue: CachePadded<RunQueue<Runnable>>,
    /// The fiber woken last: it runs next, on the slice of who woke it.
    pub(super) lifo: AtomicPtr<Runnable>,
    /// Which carrier runs the worker now.
    pub(super) carrier: AtomicPtr<Carrier>,
    /// Grows with each switch: the monitor's pulse.
    pub(super) switches: AtomicU64,
    /// The monitor has seen the same fiber here for a while: others may take the LIFO slot.
    pub(crate) held_up: std::sync::atomic::AtomicBool,
    pub(crate) wheel: Wheel,
    pub(crate) counters: Counters,
    /// A slice is being given to those in the backlog, who are owed it: who runs does not make way.
    pub(crate) owed: std::sync::atomic::AtomicBool,
    /// *Owner.*
    lifo_runs: Cell<u32>,
    /// *Owner.* Counts switches to fibers of high priority.
    high_runs: Cell<u32>,
    /// *Owner.* Counts switches, for what is done now and then.
    pub(super) tick: Cell<u32>,
    /// *Owner.* When it last looked at the outside world.
    polled: Cell<u64>,
    /// *Owner.* Until when what is owed lasts.
    owed_until: Cell<u64>,
    /// *Owner.* When it last ran something from the backlog, or found none there.
    backlog_turn: Cell<u64>,
    /// *Owner.* The tick at which what was queued at that time has run.
    lap: Cell<u32>,
    /// *Owner.* Free stacks of the default class, the hottest last.
    slots: RefCell<Vec<SlotPtr>>,
    /// *Owner.* Reservations for stacks of the default class.
    credit: Cell<usize>,
    /// *Owner.* Where the next search for a victim begins.
    pub(super) random: Cell<u32>,
}

// SAFETY: the fields marked *owner* are touched by the carrier that holds the worker only; the
// owner protocol (`owner.rs`) makes that one at a time, with a happens-before edge in between.
unsafe impl Sync for Worker {}
// SAFETY: as above.
unsafe impl Send for Worker {}

impl Worker {
    pub(super) fn new(index: u32, now: u64) -> Self {
        Self {
            index,
            queue: CachePadded::new(RunQueue::new()),
            lifo: AtomicPtr::new(std::ptr::null_mut()),
            carrier: AtomicPtr::new(std::ptr::null_mut()),
            switches: AtomicU64::new(0),
            held_up: std::sync::atomic::AtomicBool::new(false),
            wheel: Wheel::new(now),
            counters: Counters::new(false),
            owed: std::sync::atomic::AtomicBool::new(false),
            lifo_runs: Cell::new(0),
            high_runs: Cell::new(0),
            tick: Cell::new(0),
            polled: Cell::new(now),
            owed_until: Cell::new(0),
            backlog_turn: Cell::new(now),
            lap: Cell::new(0),
            slots: RefCell::new(Vec::with_capacity(KEPT_SLOTS)),
            credit: Cell::new(0),
            random: Cell::new(index.wrapping_mul(0x9E37_79B9) | 1),
        }
    }

    /// How often a fiber was resumed here.
    pub(crate) fn pulse(&self) -> u64 {
        self.switches.load(Ordering::Relaxed)
    }

    /// Which carrier runs it now.
    pub(crate) fn carrier(&self) -> Option<&'static Carrier> {
        // SAFETY: carriers are never freed.
        unsafe { self.carrier.load(Ordering::Acquire).as_ref() }
    }

    /// The carrier that runs it now, and the fiber there; `None` while that is in its loop.
    pub(crate) fn run(&self) -> Option<(&'static Carrier, FiberRef)> {
        let carrier = self.carrier()?;
        Some((carrier, carrier.running()?))
    }

    /// Queues at the end; what does not fit goes to the global queue with half of the ring.
    pub(super) fn push(&self, item: *mut Runnable) {
        if let Err(item) = self.queue.push(item) {
            let global = &super::runtime().injector;
            for _ in 0..self.queue.len() / 2 {
                if let Some(old) = self.queue.pop() {
                    global.push(old);
                }
            }
            global.push(item);
        }
    }

    /// Lets `item` run next; true if another had to make room and was queued.
    pub(super) fn push_lifo(&self, item: *mut Runnable) -> bool {
        // Others only ever empty the slot: what we find empty stays so.
        if self.lifo.load(Ordering::Relaxed).is_null() {
            self.lifo.store(item, Ordering::Release);
            return false;
        }
        let before = self.lifo.swap(item, Ordering::AcqRel);
        if before.is_null() {
            return false;
        }
        self.push(before);
        true
    }

    /// The fiber that runs next, if there is one in turn.
    #[inline]
    pub(super) fn next_fiber(&self) -> Option<FiberRef> {
        Some(self.materialise(self.next()?))
    }

    /// Takes who runs next: high priority first, but for a turn of the others now and then.
    #[inline]
    pub(super) fn next(&self) -> Option<*mut Runnable> {
        if super::runtime().backlog.has_high() { self.next_beside_high() } else { self.next_in_turn() }
    }

    #[cold]
    fn next_beside_high(&self) -> Option<*mut Runnable> {
        let runs = self.high_runs.get().wrapping_add(1);
        self.high_runs.set(runs);
        let high = || super::runtime().backlog.pop_high();
        if runs.is_multiple_of(GLOBAL_INTERVAL) {
            self.next_in_turn().or_else(high)
        } else {
            high().or_else(|| self.next_in_turn())
        }
    }

    /// Now and then the global queue's first, else the LIFO slot's, else the run queue's. Hogs and low
    /// priority only when it is time again.
    #[inline]
    fn next_in_turn(&self) -> Option<*mut Runnable> {
        if self.owed.load(Ordering::Relaxed)
            && let Some(item) = self.go_on_with_owed()
        {
            return Some(item);
        }
        let tick = self.tick.get().wrapping_add(1);
        self.tick.set(tick);
        if (tick.is_multiple_of(GLOBAL_INTERVAL) || self.has_not_looked_for_long())
            && let Some(item) = self.now_and_then()
        {
            return Some(item);
        }
        if !self.lifo.load(Ordering::Relaxed).is_null() {
            let item = self.lifo.swap(std::ptr::null_mut(), Ordering::AcqRel);
            if !item.is_null() {
                let runs = self.lifo_runs.get() + 1;
                self.lifo_runs.set(runs);
                if runs < LIFO_RUNS || self.queue.len() == 0 {
                    return Some(item);
                }
                self.push(item);
            }
        }
        self.lifo_runs.set(0);
        self.queue.pop()
    }

    /// Fibers that each run for long switch seldom: counting switches is not enough.
    #[inline]
    fn has_not_looked_for_long(&self) -> bool {
        crate::clock::coarse().saturating_sub(self.polled.get()) >= POLL_AT_LATEST
    }

    /// A look finds what then queues behind the rest: it need not come before the rest has run, which
    /// is a *lap*. Looks that come sooner cost a system call for a handful of events each, and fill the
    /// ring until it overflows into the global queue, where what came first is overtaken.
    #[cold]
    fn now_and_then(&self) -> Option<*mut Runnable> {
        if self.is_one_too_many() {
            self.hand_in();
            return None;
        }
        let now = sys::now();
        let since = now - self.polled.get();
        let lap_over = self.lap.get().wrapping_sub(self.tick.get()).cast_signed() <= 0;
        if let Some(item) = self.take_owed(now) {
            return Some(item);
        }
        // First what came first; and no more than there is room for, or half of the ring would go to
        // the end of the global queue in turn.
        let item = self.take_share(SHARE.min(self.room() + 1));
        if since >= POLL_INTERVAL && lap_over || since >= POLL_AT_LATEST {
            super::poll_briefly(self, now);
            self.looked(now);
        }
        item
    }

    /// Whether it belongs to the reserve, is not called, and another is awake.
    pub(super) fn is_one_too_many(&self) -> bool {
        let runtime = super::runtime();
        self.index != 0
            && !runtime.reserve.is_called()
            && runtime.idle.sleeping() + 1 < runtime.workers.len() as u64
    }

    /// Leaves all that is queued here to the others.
    #[cold]
    pub(super) fn hand_in(&self) {
        let global = &super::runtime().injector;
        let guest = self.lifo.swap(std::ptr::null_mut(), Ordering::AcqRel);
        if !guest.is_null() {
            global.push(guest);
        }
        while let Some(item) = self.queue.pop() {
            global.push(item);
        }
    }

    /// What is owed to those who wait in the backlog: a turn in a while, however much else there is.
    fn take_owed(&self, now: u64) -> Option<*mut Runnable> {
        if !super::runtime().backlog.is_waiting() {
            self.backlog_turn.set(now);
            return None;
        }
        if now.saturating_sub(self.backlog_turn.get()) < BACKLOG_INTERVAL {
            return None;
        }
        let item = self.take_from_backlog(now)?;
        self.owed.store(true, Ordering::Relaxed);
        self.owed_until.set(now + owed());
        Some(item)
    }

    /// What is owed is a slice, of whomever: the next goes on with what one leaves that waits or yields.
    #[cold]
    fn go_on_with_owed(&self) -> Option<*mut Runnable> {
        let item = (sys::now() < self.owed_until.get()).then(|| self.pop_backlog()).flatten();
        if item.is_none() {
            self.owed.store(false, Ordering::Relaxed);
        }
        item
    }

    /// Takes a hog, or a fiber of low priority: there is nothing else to do.
    pub(super) fn take_from_backlog(&self, now: u64) -> Option<*mut Runnable> {
        let item = self.pop_backlog()?;
        self.backlog_turn.set(now);
        self.owed.store(false, Ordering::Relaxed);
        Some(item)
    }

    fn pop_backlog(&self) -> Option<*mut Runnable> {
        super::runtime().backlog.pop(|freed| self.push(freed))
    }

    /// Says that the outside world has been looked at.
    pub(super) fn looked(&self, now: u64) {
        self.polled.set(now);
        self.lap.set(self.tick.get().wrapping_add(self.queue.len() as u32));
    }

    /// Takes from the global queue: the first to run now, more for the own queue.
    pub(super) fn take_share(&self, most: usize) -> Option<*mut Runnable> {
        let mut first = None;
        super::runtime().injector.take(most, |item| match first {
            None => first = Some(item),
            Some(_) => self.push(item),
        });
        first
    }

    /// How many more the run queue holds.
    pub(crate) fn room(&self) -> usize {
        RunQueue::<Runnable>::CAPACITY - self.queue.len()
    }

    /// How many wait here.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len() + usize::from(!self.lifo.load(Ordering::Relaxed).is_null())
    }

    /// Whether something waits here that another carrier could run.
    pub(crate) fn has_work(&self) -> bool {
        self.queue.len() != 0 || !self.lifo.load(Ordering::Relaxed).is_null()
    }

    /// Reserves room for one more fiber with a default stack.
    pub(super) fn reserve(&self) -> io::Result<()> {
        match self.credit.get() {
            0 => {
                super::runtime().default_class.reserve(CREDIT)?;
                self.credit.set(CREDIT - 1);
            }
            credit => self.credit.set(credit - 1),
        }
        Ok(())
    }

    /// A fiber with a default stack has ended: its room may be promised again.
    fn release(&self) {
        let credit = self.credit.get() + 1;
        if credit >= 2 * CREDIT {
            super::runtime().default_class.release(CREDIT);
            self.credit.set(credit - CREDIT);
        } else {
            self.credit.set(credit);
        }
    }

    /// A free stack of the default class, the one used last.
    fn take_slot(&self) -> io::Result<SlotPtr> {
        let mut slots = self.slots.borrow_mut();
        if slots.is_empty() {
            // A batch fits beside what is kept: no allocation.
            super::runtime().default_class.take_batch(|slot| slots.push(slot))?;
        }
        Ok(slots.pop().expect("a batch is one at least"))
    }

    /// Keeps a free stack, or gives it back.
    pub(super) fn give_slot(&self, slot: SlotPtr, class: Class) {
        let default = super::runtime().default_class;
        if class != default {
            class.give_back(slot);
            class.release(1);
            return;
        }
        self.release();
        let mut slots = self.slots.borrow_mut();
        if slots.len() < KEPT_SLOTS {
            slots.push(slot); // never grows: no allocation
            return;
        }
        // Half of them at once, the coldest.
        slab::trim(&slots[..KEPT_SLOTS / 2]);
        for cold in slots.drain(..KEPT_SLOTS / 2) {
            class.give(cold);
        }
        slots.push(slot);
    }

    /// The fiber that a queue entry stands for; a task gets its stack here.
    pub(super) fn materialise(&self, item: *mut Runnable) -> FiberRef {
        // SAFETY: a queued item is valid, and ours since it was taken from the queue.
        match unsafe { (*item).kind } {
            // SAFETY: the kind says so.
            Kind::Fiber => unsafe { FiberRef::from_runnable(item) },
            Kind::Task => {
                let task: NonNull<Task> =
                    NonNull::new(item.cast()).expect("queued items are not null");
                let slot = match self.take_slot() {
                    Ok(slot) => slot,
                    Err(error) => super::fatal("no stack for a fiber that was promised one", &error),
                };
                // SAFETY: a task is valid until it runs.
                let id = unsafe { task.as_ref() }.id;
                let start = Start { function: run_task, argument: task.as_ptr() as usize };
                // SAFETY: the slot is ours.
                unsafe { FiberRef::create(slot, id, start) }
            }
        }
    }
}

/// What those in the backlog are owed at a time, in nanoseconds.
pub(crate) fn owed() -> u64 {
    super::runtime().settings.slice.min(OWED_AT_MOST)
}

/// First function of a fiber that was a task.
unsafe fn run_task(argument: usize) {
    let task = NonNull::new(argument as *mut Task).expect("a task's address");
    // SAFETY: the task has been taken from its queue by this fiber only.
    let run = unsafe { task.as_ref() }.run;
    // SAFETY: consumes the task, once.
    unsafe { run(task) };
}

