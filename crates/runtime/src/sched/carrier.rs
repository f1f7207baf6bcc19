//! A carrier: an OS thread that runs a worker just now (Go's M), and the switches between its own
//! stack and its fibers'.
//!
//! ```text
//!   fiber A ──park──▶ next fiber B           directly, if one is queued
//!      └────park──▶ carrier's own loop       to look for work, or to sleep
//! ```
//!
//! Whatever is resumed first finishes the switch: it publishes the fiber that was left
//! ([`After`]), on a stack that is not that fiber's.

use std::cell::{Cell, UnsafeCell};

use timestop_fiber::slab::Slot;
use timestop_fiber::switch::{Context, DEFAULT_CONTROL_WORDS, switch};
use timestop_fiber::{block, current};

use super::lease::Lease;
use super::parker::Parker;
use super::spare_list::Listed;
use super::worker::Worker;
use super::runtime;
use crate::fiber::{Fiber, FiberRef};
use crate::monitor::Detached;
use crate::own::Own;
use crate::preempt::{Request, Why};
use crate::sync::{AtomicPtr, AtomicU64, Ordering};
use crate::trace::{self, Left};

/// What to do with the fiber that was left, once its stack is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Nothing,
    /// It waits: publish it as parked.
    Park,
    /// It let others go first: queue it at the end, without the privilege that it may have.
    Requeue,
    /// It has let others go first many times: queue it behind the hogs, if there are any.
    Behind,
    /// It was preempted by chance: whoever looks at the global queue next goes on with it.
    Scattered,
    /// It was preempted to let somebody else have a turn: it goes on first of the hogs.
    MadeWay,
    /// It was preempted because its slice is over: queue it behind the other hogs.
    SliceOver,
    /// It has ended: take its stack back.
    Recycle,
}

impl After {
    /// The same for those who look on.
    fn left(self) -> Left {
        match self {
            Self::Nothing | Self::Park => Left::Waits,
            Self::Requeue | Self::Behind => Left::Yielded,
            Self::Scattered => Left::Chance,
            Self::MadeWay => Left::MadeWay,
            Self::SliceOver => Left::SliceOver,
            Self::Recycle => Left::Ended,
        }
    }
}

/// A carrier. Never freed.
#[derive(Debug)]
pub(crate) struct Carrier {
    /// The loop's registers while a fiber runs, and the OS thread's own thread pointer.
    pub(super) context: UnsafeCell<Context>,
    /// The worker it runs.
    pub(crate) lease: Lease<Worker>,
    pub(super) parker: Parker,
    /// The fiber that runs here; null in the loop. Release and Acquire: who sees a fiber sees `stat` and
    /// `thread_id` too.
    pub(super) running: AtomicPtr<Fiber>,
    /// While events are kept: since when `running` runs.
    pub(crate) since: AtomicU64,
    left: Cell<*mut Fiber>,
    after: Cell<After>,
    /// `/proc/self/task/TID/stat`.
    pub(super) stat: Cell<Own>,
    pub(super) thread_id: Cell<u32>,
    /// Its OS thread ends with the fiber that runs there: see [`super::spare::retire`].
    pub(super) retired: Cell<bool>,
    /// Next in the list of spares.
    next_spare: AtomicPtr<Carrier>,
    /// What the monitor wants of the fiber that runs here.
    pub(crate) request: Request,
    /// Why the fiber here is being preempted: from the signal handler to the scheduler.
    pub(crate) why: Cell<Why>,
    /// What the monitor knows of a carrier that has lost its worker.
    pub(crate) detached: Detached,
}

// SAFETY: the cells are touched by the carrier's own OS thread only, but for `stat` and `thread_id`, which
// others read: each is written once, before `running` first says that there is anything to look at.
unsafe impl Sync for Carrier {}
// SAFETY: as above.
unsafe impl Send for Carrier {}

impl Listed for Carrier {
    fn next_spare(&self) -> &AtomicPtr<Self> {
        &self.next_spare
    }
}

impl Carrier {
    /// Where in it they lie, for debuggers.
    pub(crate) const RUNNING: usize = std::mem::offset_of!(Self, running);
    pub(crate) const THREAD: usize = std::mem::offset_of!(Self, thread_id);

    pub(super) fn new() -> Self {
        Self {
            context: UnsafeCell::new(Context::empty(0)),
            lease: Lease::new(),
            parker: Parker::new(),
            running: AtomicPtr::new(std::ptr::null_mut()),
            since: AtomicU64::new(0),
            left: Cell::new(std::ptr::null_mut()),
            after: Cell::new(After::Nothing),
            stat: Cell::new(Own::NONE),
            thread_id: Cell::new(0),
            retired: Cell::new(false),
            next_spare: AtomicPtr::new(std::ptr::null_mut()),
            request: Request::new(),
            why: Cell::new(Why::Slice),
            detached: Detached::default(),
        }
    }

    /// Whether it is this fiber that runs here.
    pub(crate) fn runs(&self, fiber: FiberRef) -> bool {
        self.running.load(Ordering::Acquire) == fiber.as_pointer()
    }

    /// The OS thread's own thread pointer.
    pub(crate) fn thread_pointer(&self) -> usize {
        // SAFETY: `fs` is written when the carrier starts, and never after.
        unsafe { (*self.context.get()).fs }
    }

    /// The kernel's id of the OS thread.
    pub(crate) fn thread_id(&self) -> u32 {
        self.thread_id.get()
    }

    /// In the child of a fork, on the thread that goes on: this carrier gets the worker of a fresh
    /// runtime.
    pub(crate) fn adopt(&'static self, worker: &'static Worker) {
        self.lease.grant(worker);
        self.retired.set(false);
        worker.carrier.store(std::ptr::from_ref(self).cast_mut(), Ordering::Release);
        self.next_spare.store(std::ptr::null_mut(), Ordering::Relaxed);
        self.thread_id.set(crate::sys::thread_id());
        self.stat.set(crate::sys::open_own_stat()); // the old one is closed
        runtime().carriers.add(self);
        self.lease.leave();
    }

    /// The fiber that runs here; `None` in the loop.
    pub(crate) fn running(&self) -> Option<FiberRef> {
        FiberRef::from_pointer(self.running.load(Ordering::Acquire))
    }

    /// CPU time that the OS thread has used, in nanoseconds.
    pub(crate) fn cpu_time(&self) -> u64 {
        crate::sys::cpu_time(self.thread_id())
    }

    /// Whether the kernel has put the OS thread to sleep; `None` where that cannot be known.
    pub(crate) fn is_blocked(&self) -> Option<bool> {
        crate::sys::is_blocked(self.stat.get())
    }

    /// Goes from the running fiber's stack to the next fiber's, or to the loop's. Comes back when
    /// the fiber is resumed, perhaps on another carrier, with the runtime left.
    ///
    /// In the runtime, on the fiber itself; `next` is ours to run.
    pub(super) fn leave_fiber(&self, from: FiberRef, next: Option<FiberRef>, after: After) {
        // Out of line as a whole: a call here would have every switch keep its arguments for afterwards.
        if trace::is_on() {
            self.leave_fiber_traced(from, next, after);
        } else {
            self.switch_from(from, next, after);
        }
    }

    #[cold]
    #[inline(never)]
    fn leave_fiber_traced(&self, from: FiberRef, next: Option<FiberRef>, after: After) {
        trace::switch(self, Some((from, after.left())), next);
        self.switch_from(from, next, after);
    }

    #[inline(always)]
    fn switch_from(&self, from: FiberRef, next: Option<FiberRef>, after: After) {
        self.left.set(from.as_pointer());
        self.after.set(after);
        let from_context = from.context.get();
        let (to, to_fs) = match next {
            Some(fiber) => (self.prepare(fiber), fiber.pthread()),
            None => {
                self.running.store(std::ptr::null_mut(), Ordering::Relaxed);
                let own = self.context.get();
                // SAFETY: written when the carrier started.
                (own.cast_const(), unsafe { (*own).fs })
            }
        };
        // SAFETY: we go from the one block to the other.
        unsafe { block::carry_malloc(from.pthread(), to_fs) };
        // SAFETY: `to` is a fiber that is ours to run, or this carrier's loop, which waits.
        unsafe { switch(from_context, to) };
        from.carrier().arrive();
        from.leave();
    }

    /// Goes from the loop to a fiber; comes back when a fiber leaves to the loop.
    pub(super) fn run(&self, fiber: FiberRef) {
        if trace::is_on() {
            trace::switch(self, None, Some(fiber));
        }
        let own = self.context.get();
        let to = self.prepare(fiber);
        // SAFETY: written when the carrier started.
        let own_fs = unsafe { (*own).fs };
        // SAFETY: we go from the one block to the other.
        unsafe { block::carry_malloc(own_fs, fiber.pthread()) };
        // SAFETY: the fiber is ours to run.
        unsafe { switch(own, to) };
        self.arrive();
    }

    /// Makes a fiber ready to be resumed here.
    #[inline]
    fn prepare(&self, fiber: FiberRef) -> *const Context {
        fiber.carrier.store(std::ptr::from_ref(self).cast_mut(), Ordering::Relaxed);
        self.running.store(fiber.as_pointer(), Ordering::Release);
        if let Some(worker) = self.lease.worker() {
            let switches = worker.switches.load(Ordering::Relaxed);
            worker.switches.store(switches + 1, Ordering::Relaxed);
        }
        let context = fiber.context.get();
        // SAFETY: the fiber is ours: nobody else reads or writes its context.
        if unsafe { (*context).sp } == 0 {
            self.build(fiber);
        }
        context
    }

    /// Gives a fiber that never ran its block and its first frame.
    fn build(&self, fiber: FiberRef) {
        let slot = fiber.slot();
        // SAFETY: the fiber owns its slot and has not run.
        unsafe { block::build(slot, fiber.as_pointer().cast()) };
        let (top, fs) = (block::stack_top(slot), fiber.pthread());
        // SAFETY: the stack is nobody else's; `first` does not return.
        let context = unsafe {
            Context::fresh(top, fs, first, fiber.as_pointer() as usize, fiber.control_words.get())
        };
        // SAFETY: nobody reads it yet.
        unsafe { fiber.context.get().write(context) };
    }

    /// Finishes the switch: does what is to be done with the fiber that was left.
    #[inline]
    fn arrive(&self) {
        let after = self.after.replace(After::Nothing);
        let Some(left) = FiberRef::from_pointer(self.left.get()) else { return };
        match after {
            After::Nothing => {}
            After::Park => {
                if !left.state.publish() {
                    if trace::is_on() {
                        trace::woken(self.lease.worker(), left, None);
                    }
                    self.queue(left);
                }
            }
            After::Requeue => self.queue_in_turn(left),
            After::Behind => {
                let (item, priority) = (left.as_runnable(), left.runnable.priority.get());
                if runtime().backlog.push_behind(item, priority) {
                    super::notify();
                } else {
                    self.queue_in_turn(left);
                }
            }
            After::Scattered => {
                if super::enqueue_in_turn(None, left.as_runnable()) {
                    super::notify();
                }
            }
            After::MadeWay => queue_hog(left, true),
            After::SliceOver => queue_hog(left, false),
            After::Recycle => self.recycle(left),
        }
    }

    fn queue(&self, fiber: FiberRef) {
        if super::enqueue(self.lease.worker(), fiber.as_runnable()) {
            super::notify();
        }
    }

    fn queue_in_turn(&self, fiber: FiberRef) {
        if super::enqueue_in_turn(self.lease.worker(), fiber.as_runnable()) {
            super::notify();
        }
    }

    fn recycle(&self, fiber: FiberRef) {
        if !fiber.drop_hold() {
            return; // someone may still ask for its result
        }
        let slot = fiber.slot();
        // SAFETY: the fiber has ended; its record is ours until the slot is given back.
        let class = unsafe { slot.as_ref() }.class();
        super::give_slot(self.lease.worker(), slot, class);
    }
}

fn queue_hog(fiber: FiberRef, in_front: bool) {
    let priority = fiber.runnable.priority.get();
    runtime().backlog.push_hog(fiber.as_runnable(), priority, in_front);
    super::notify();
}

impl Carrier {
    /// Makes the calling OS thread this carrier, with `fiber` running on it: the code that calls.
    ///
    /// # Safety
    ///
    /// Nobody else has the carrier; `loop_slot` holds a fresh block; `fiber` a fresh record.
    pub(super) unsafe fn begin_here(
        &'static self,
        worker: &'static Worker,
        loop_slot: timestop_fiber::slab::SlotPtr,
        fiber: FiberRef,
    ) {
        let fs = block::thread_pointer(loop_slot);
        let argument = std::ptr::from_ref(self) as usize;
        // SAFETY: the slot's stack is nobody else's; `resume_loop` does not return.
        let context = unsafe {
            let top = block::stack_top(loop_slot);
            Context::fresh(top, fs, resume_loop, argument, DEFAULT_CONTROL_WORDS)
        };
        // SAFETY: nobody reads it yet.
        unsafe { self.context.get().write(context) };
        self.thread_id.set(crate::sys::thread_id());
        self.stat.set(crate::sys::open_own_stat());
        crate::overflow::prepare_thread();
        runtime().carriers.add(self);
        worker.carrier.store(std::ptr::from_ref(self).cast_mut(), Ordering::Release);
        self.lease.grant(worker);
        self.running.store(fiber.as_pointer(), Ordering::Release);
        fiber.carrier.store(std::ptr::from_ref(self).cast_mut(), Ordering::Relaxed);
        let own = timestop_fiber::switch::thread_pointer();
        // SAFETY: the fiber has never been switched to or from.
        unsafe { fiber.context.get().write(Context::empty(own)) };
        // SAFETY: our own block; the word says from here on that we are a fiber.
        unsafe { current::set(own, fiber.as_pointer().cast()) };
        fiber.leave();
    }
}

/// First frame of the loop of a carrier whose OS thread had a life before.
unsafe extern "C" fn resume_loop(argument: usize) -> ! {
    // SAFETY: `begin_here` passes a carrier, which is never freed.
    let carrier: &'static Carrier = unsafe { &*(argument as *const Carrier) };
    block::begin();
    current::deepen();
    carrier.arrive();
    super::carrier_loop(carrier);
    // Retired. The process's first thread must not end before the process does.
    loop {
        let _ = crate::sys::futex_wait(&std::sync::atomic::AtomicU32::new(0), 0, None);
    }
}

/// First frame of every fiber.
unsafe extern "C" fn first(argument: usize) -> ! {
    let fiber = FiberRef::from_pointer(argument as *mut Fiber).expect("a fiber's address");
    debug_assert_eq!(current::get() as usize, argument);
    // Whoever builds a fiber's block is in the runtime, and so is the fiber until it leaves.
    fiber.carrier().arrive();
    fiber.leave();
    block::begin();
    let start = fiber.start.take().expect("a fiber starts once");
    // SAFETY: what was asked for when the fiber was made.
    unsafe { (start.function)(start.argument) };
    end(fiber)
}

/// Ends the running fiber: its destructors run, its end is told, its stack goes back.
pub(super) fn end(fiber: FiberRef) -> ! {
    block::run_destructors();
    super::run_key_destructors();
    block::finish(fiber.slot());
    fiber.ended.store(true, Ordering::Relaxed);
    if let Some(finish) = fiber.finish.take() {
        // SAFETY: what was asked for by the code that this fiber ran.
        unsafe { (finish.function)(finish.argument) };
    }
    let (carrier, worker) = fiber.enter();
    if let Some(worker) = worker {
        worker.counters.ended();
    } else {
        runtime().counters.ended();
    }
    if crate::fork::was_last() {
        fiber.leave();
        // SAFETY: what libc does when the last thread of a process ends.
        unsafe { libc::exit(0) };
    }
    let next = worker.and_then(Worker::next_fiber);
    carrier.leave_fiber(fiber, next, After::Recycle);
    unreachable!("a fiber that has ended was resumed in slot {:?}", Slot::top(fiber.slot()))
}
