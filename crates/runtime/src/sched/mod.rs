//! Who runs next: workers, the carriers that run them, and the loop of a carrier.
//!
//! - [`worker`]: run queue, LIFO slot, timers, stacks of one worker.
//! - [`carrier`]: the switches, and what is done with the fiber that was left.
//! - [`lease`]: which worker a carrier runs; [`owner`]: whether the monitor may take it away.
//! - [`run_queue`], [`injector`]: local and global queue; [`list`]: how the latter is linked.
//! - [`backlog`]: who computes for long, and who has another priority.
//! - [`idle`], [`parker`]: sleeping and waking without losing work; [`reserve`]: who sleeps on although
//!   there is work.
//! - [`state`]: parking and waking one fiber; [`wakes`]: waking many.
//! - [`spare`]: carriers without a worker, for hand-offs; [`spare_list`]: where they wait.
//! - [`crew`]: the OS threads at the start.

pub(crate) mod backlog;
pub(crate) mod carrier;
pub(crate) mod crew;
pub(crate) mod idle;
pub(crate) mod injector;
pub(crate) mod lease;
mod list;
pub(crate) mod owner;
pub(crate) mod parker;
pub(crate) mod reserve;
pub(crate) mod run_queue;
pub(crate) mod spare;
pub(crate) mod spare_list;
pub(crate) mod state;
pub(crate) mod wakes;
pub(crate) mod worker;

use std::io;
use std::sync::atomic::AtomicUsize;

pub(crate) use carrier::Carrier;
use carrier::After;
use backlog::Backlog;
use crew::Crew;
use idle::Idle;
use injector::Injector;
use reserve::Reserve;
use spare_list::SpareList;
use timestop_fiber::fault::{self, Fault};
use timestop_fiber::lock::Lock;
use timestop_fiber::slab::{Class, SlotPtr};
use timestop_fiber::{block, current, switch};
pub(crate) use wakes::Wakes;
pub(crate) use worker::Worker;

use crate::monitor::Turns;
use crate::fiber::{FiberRef, Priority, Runnable, Start, Task};
use crate::preempt::Why;
use crate::reactor::Reactor;
use crate::stats::Counters;
use crate::sync::{AtomicPtr, Ordering};
use crate::timer::{Timer, Wheel};
use crate::{Settings, sys, trace};

/// Everything there is one of.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) workers: Box<[Worker]>,
    pub(crate) injector: Injector,
    pub(crate) backlog: Backlog,
    pub(crate) idle: Idle,
    pub(crate) reserve: Reserve,
    /// Carriers asleep with their workers.
    sleepers: Lock<Vec<&'static Carrier>>,
    pub(crate) spares: SpareList<Carrier>,
    /// All carriers there are.
    pub(crate) carriers: spare::Census,
    /// Carriers whose worker was taken while a fiber runs on them.
    pub(crate) detached: AtomicUsize,
    pub(crate) reactor: Reactor,
    pub(crate) default_class: Class,
    /// What happens on no worker's account.
    pub(crate) counters: Counters,
    /// What it helped that fibers made way.
    pub(crate) turns: Turns,
    pub(crate) settings: Settings,
    pub(crate) monitor: crate::monitor::Bell,
}

impl Runtime {
    /// A runtime without OS threads.
    pub(crate) fn build(settings: Settings) -> io::Result<Self> {
        let now = sys::now();
        let default_class = block::class_for(settings.stack_size)
            .ok_or_else(|| io::Error::other("the default stack size is beyond 64 GiB"))?;
        let count = settings.workers;
        let reactor = Reactor::new().map_err(|number| {
            let error = io::Error::from_raw_os_error(number);
            io::Error::new(error.kind(), format!("no descriptor for epoll ({error}): see `ulimit -n`"))
        })?;
        // What workers keep for themselves must not be missing from what others were promised.
        let reserved = default_class.reserve(count * worker::KEPT_AT_MOST);
        reserved.inspect_err(|_| reactor.close())?;
        Ok(Self {
            workers: (0..count).map(|index| Worker::new(index as u32, now)).collect(),
            injector: Injector::new(),
            backlog: Backlog::new(),
            idle: Idle::new(),
            reserve: Reserve::new(settings.reserve && count > 1),
            sleepers: Lock::new(Vec::with_capacity(count)),
            spares: SpareList::new(spare::wanted(count)),
            carriers: spare::Census::new(settings.carriers),
            detached: AtomicUsize::new(0),
            reactor,
            default_class,
            counters: Counters::new(true),
            turns: Turns::default(),
            settings,
            monitor: crate::monitor::Bell::new(),
        })
    }
}

/// Puts a fresh runtime in the place of the one that was inherited, in the child of a fork.
pub(crate) fn replace(runtime: &'static Runtime) {
    POINTER.store(std::ptr::from_ref(runtime).cast_mut(), Ordering::Release);
}

/// Null before the start. For one plain load on the hot paths.
static POINTER: AtomicPtr<Runtime> = AtomicPtr::new(std::ptr::null_mut());

/// The runtime; it has been started.
#[inline(always)]
pub(crate) fn runtime() -> &'static Runtime {
    // SAFETY: set to what is never freed before the first fiber or carrier exists, and every
    // path to here starts from one of those.
    unsafe { &*POINTER.load(Ordering::Acquire) }
}

/// The runtime, if it has been started.
#[inline]
pub(crate) fn started() -> Option<&'static Runtime> {
    // SAFETY: null, or as above.
    unsafe { POINTER.load(Ordering::Acquire).as_ref() }
}

/// Makes the runtime and starts its OS threads. Under the caller's lock.
///
/// With `here`, the calling thread becomes the first worker's carrier, and its code a fiber. All that
/// can fail comes before anything that others see: after an error nothing has begun.
pub(crate) fn start(settings: Settings, here: bool) -> io::Result<()> {
    if started().is_some() {
        return Ok(());
    }
    sys::register_membarrier();
    let place = if here { Some(Place::take()?) } else { None };
    let built = Runtime::build(settings).inspect_err(|_| Place::give_back(place))?;
    let workers = built.workers.len() - usize::from(here);
    let crew = Crew::gather(workers).inspect_err(|_| {
        built.reactor.close();
        built.default_class.release(built.workers.len() * worker::KEPT_AT_MOST);
        Place::give_back(place);
    })?;
    let runtime: &'static Runtime = Box::leak(Box::new(built));
    replace(runtime);
    crate::debugger::keep();
    crate::overflow::install();
    if runtime.settings.preempt {
        crate::preempt::install(runtime.settings.preempt_signal);
    }
    // Each worker gets a carrier; the starter makes spares, which wait for the first hand-offs.
    crew.begin(runtime.workers.iter().skip(usize::from(here)));
    if let Some(place) = place {
        carry_this_thread(&runtime.workers[0], place);
    }
    Ok(())
}

/// What the calling OS thread needs to be a carrier with a fiber on it: a stack for the carrier's loop,
/// and a record for the fiber.
#[derive(Debug, Clone, Copy)]
struct Place {
    loop_slot: SlotPtr,
    record: SlotPtr,
}

impl Place {
    fn class() -> Class {
        block::class_for(256 * 1024).expect("fibers have been made")
    }

    fn take() -> io::Result<Self> {
        if fault::is(Fault::MainMemory) {
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, "no memory for a stack"));
        }
        let class = Self::class();
        class.reserve(2)?;
        let loop_slot = class.take().inspect_err(|_| class.release(2))?;
        let record = class.take().inspect_err(|_| {
            class.give(loop_slot);
            class.release(2);
        })?;
        Ok(Self { loop_slot, record })
    }

    fn give_back(place: Option<Self>) {
        if let Some(Self { loop_slot, record }) = place {
            Self::class().give(loop_slot);
            Self::class().give(record);
            Self::class().release(2);
        }
    }
}

/// Makes the calling OS thread the carrier of `worker`, and the code that calls a fiber on it.
///
/// The code keeps its stack and its block, so the carrier's loop needs others: those of a slot.
fn carry_this_thread(worker: &'static Worker, Place { loop_slot, record }: Place) {
    // SAFETY: the slot is ours and fresh. The loop is no fiber: its word stays null.
    unsafe { block::build(loop_slot, std::ptr::null_mut()) };
    // SAFETY: as above.
    unsafe { block::clear_malloc(block::thread_pointer(loop_slot)) };
    let carrier: &'static Carrier = Box::leak(Box::new(Carrier::new()));
    let start = Start { function: |_| {}, argument: 0 };
    // SAFETY: the slot is ours. Only its record is used: the fiber has a stack already.
    let fiber = unsafe { FiberRef::create(record, Task::new(|_| {}).id(), start) };
    runtime().counters.spawned();
    // SAFETY: we run on this carrier's thread, and its loop has not started.
    unsafe { carrier.begin_here(worker, loop_slot, fiber) };
    runtime().carriers.count();
}

/// An inconsistency that must not be survived: one line, and abort.
#[cold]
pub(crate) fn fatal(what: &str, error: &dyn std::fmt::Display) -> ! {
    let text = format!("timestop: {what}: {error}\n");
    // SAFETY: writes the text to standard error.
    let _ = unsafe { syscalls::raw_syscall!(syscalls::Sysno::write, 2, text.as_ptr(), text.len()) };
    std::process::abort()
}

static KEY_DESTRUCTORS: AtomicUsize = AtomicUsize::new(0);

/// Has `function` run at each fiber's end, after the destructors of thread-locals: where pthread
/// keys are kept.
pub fn set_key_destructors(function: fn()) {
    KEY_DESTRUCTORS.store(function as usize, Ordering::Release);
}

fn run_key_destructors() {
    let function = KEY_DESTRUCTORS.load(Ordering::Acquire);
    if function != 0 {
        // SAFETY: only `set_key_destructors` writes the word.
        let function: fn() = unsafe { std::mem::transmute(function) };
        function();
    }
}

impl Runtime {
    /// Whether one that is awake does the work, and the others are to sleep on. Asked by whoever has queued
    /// work or has said that it sleeps: of the last one that falls asleep and one that queues, one sees the
    /// other.
    fn one_suffices(&self) -> bool {
        !self.reserve.is_called()
            && self.idle.sleeping() < self.workers.len() as u64
            // Where only one worker has a carrier yet the others do not sleep, but are not awake either.
            && !crate::fork::is_young()
    }
}

/// Wakes one worker if one sleeps and none is searching. After work was queued.
#[inline]
pub(crate) fn notify() {
    let runtime = runtime();
    if runtime.idle.wants_wake() {
        wake_one(runtime);
    }
}

#[cold]
fn wake_one(runtime: &'static Runtime) {
    if runtime.one_suffices() {
        return;
    }
    let sleeper = {
        let mut sleepers = runtime.sleepers.lock();
        let Some(sleeper) = sleepers.pop() else { return };
        // Counted as a searcher from here on, so that nobody wakes a second one for the same work.
        runtime.idle.wake(true);
        sleeper
    };
    wake_carrier(runtime, sleeper);
}

/// Gives a carrier its token, and makes it see it.
pub(crate) fn wake_carrier(runtime: &Runtime, carrier: &Carrier) {
    carrier.parker.call(|| runtime.reactor.interrupt());
}

/// Queues something runnable: next to run here if a worker is at hand, else globally.
pub(crate) fn schedule(worker: Option<&Worker>, item: *mut Runnable) {
    // SAFETY: a runnable that the caller queues is valid.
    let normal = unsafe { &*item }.priority.get() == Priority::Normal;
    match worker {
        Some(worker) if normal => {
            // What merely takes the LIFO slot wakes nobody: it runs as soon as its waker waits,
            // and the monitor has it stolen if that takes long.
            if worker.push_lifo(item) && runtime().workers.len() > 1 {
                notify();
            }
        }
        _ => {
            enqueue(None, item);
            notify();
        }
    }
    runtime().monitor.nudge();
}

/// Queues at the end of where it belongs. True if nobody in particular will come for it.
pub(crate) fn enqueue(worker: Option<&Worker>, item: *mut Runnable) -> bool {
    // SAFETY: a runnable that the caller queues is valid.
    let priority = unsafe { &*item }.priority.get();
    enqueue_as(priority, worker, item)
}

/// Queues behind the others one that lets them go first. High priority is no help to it: two of that
/// kind that spin for a lock would keep its holder waiting for ever.
fn enqueue_in_turn(worker: Option<&Worker>, item: *mut Runnable) -> bool {
    // SAFETY: as above.
    let priority = unsafe { &*item }.priority.get();
    let priority = if priority == Priority::High { Priority::Normal } else { priority };
    enqueue_as(priority, worker, item)
}

fn enqueue_as(priority: Priority, worker: Option<&Worker>, item: *mut Runnable) -> bool {
    let runtime = runtime();
    match worker {
        _ if priority != Priority::Normal => runtime.backlog.push(item, priority),
        Some(worker) => {
            worker.push(item);
            return false;
        }
        None => runtime.injector.push(item),
    }
    true
}

/// Runs `body` in the runtime with this thread's worker, if it has one.
#[inline]
pub(crate) fn with_worker<R>(body: impl FnOnce(Option<&'static Worker>) -> R) -> R {
    let Some(fiber) = FiberRef::current() else { return body(None) };
    // A signal handler that came in the middle: the worker is being worked on.
    if current::is_shut() {
        return body(None);
    }
    current::set_shut(true);
    let carrier = fiber.carrier();
    if carrier.lease.in_runtime() {
        current::set_shut(false);
        return body(None);
    }
    let result = body(carrier.lease.enter());
    fiber.leave();
    result
}

/// Makes a parked fiber runnable; a running one finds the wake-up when it next parks.
#[inline]
pub fn unpark(fiber: FiberRef) {
    if fiber.state.unpark() {
        with_worker(|worker| {
            if trace::is_on() {
                trace::woken(worker, fiber, FiberRef::current());
            }
            match FiberRef::current() {
            Some(waker) if waker.goes_on.load(Ordering::Relaxed) != 0 => {
                waker.woke_at.set(sys::now());
                enqueue(worker, fiber.as_runnable());
                notify();
                runtime().monitor.nudge();
            }
            _ => schedule(worker, fiber.as_runnable()),
            }
        });
    }
}

/// How often in a row a fiber that goes on after it has woken somebody must wait at once before whom it
/// wakes takes the LIFO slot again.
const PROOFS: u32 = 8;
/// What is at once, in nanoseconds. To wake another worker takes longer.
const AT_ONCE: u64 = 3_000;

/// A fiber that [goes on](crate::fiber::Fiber::goes_on) waits.
#[cold]
fn weigh_wait(fiber: FiberRef) {
    let woke_at = fiber.woke_at.replace(0);
    if woke_at != 0 {
        let proofs = fiber.goes_on.load(Ordering::Relaxed);
        let at_once = sys::now() - woke_at < AT_ONCE;
        fiber.goes_on.store(if at_once { proofs - 1 } else { PROOFS }, Ordering::Relaxed);
    }
}

/// The same from a carrier's loop or the monitor, whose worker is known: at the end of its queue.
pub(crate) fn unpark_on(worker: Option<&Worker>, fiber: FiberRef) {
    if !fiber.state.unpark() {
        return;
    }
    fiber.prefetch_stack(); // others that were woken with it come first
    if trace::is_on() {
        trace::woken(worker, fiber, None);
    }
    if enqueue(worker, fiber.as_runnable()) && worker.is_some() {
        notify(); // of another priority: not in the queue that the caller looks at
    }
}

/// Suspends the running fiber until it is unparked. May return without.
#[inline]
pub(crate) fn park(fiber: FiberRef) {
    if fiber.state.take_token() {
        return;
    }
    if fiber.is_pinned() {
        // Its waker does not know that it must be woken in the kernel: look again soon.
        let pause = std::sync::atomic::AtomicU32::new(0);
        let _ = sys::futex_wait(&pause, 0, Some(sys::now() + 200_000));
        return;
    }
    leave(fiber, After::Park);
}

fn leave(fiber: FiberRef, after: After) {
    let (carrier, worker) = fiber.enter();
    if fiber.is_hog() {
        // It blocks: interactive again.
        fiber.hog.store(false, Ordering::Relaxed);
        fiber.set_slice_used(0);
    }
    fiber.yields.set(0);
    if fiber.goes_on.load(Ordering::Relaxed) != 0 {
        weigh_wait(fiber);
    }
    carrier.leave_fiber(fiber, worker.and_then(Worker::next_fiber), after);
}

/// Yields of a fiber that does not block in between, before it gives way to hogs. Locks that yield before
/// they sleep do so less often.
const MANY_YIELDS: u32 = 16;

/// Lets the others go first. Returns at once where nobody waits.
///
/// Of one that does so [again and again](MANY_YIELDS) hogs go first too: it may wait for what a preempted
/// fiber holds.
pub fn yield_now() {
    let Some(fiber) = FiberRef::current().filter(|fiber| fiber.may_suspend()) else {
        sys::yield_thread();
        return;
    };
    let (carrier, worker) = fiber.enter();
    let backlog = runtime().backlog.is_waiting();
    let yields = fiber.yields.get().saturating_add(1);
    fiber.yields.set(yields);
    let gives_way = backlog && yields > MANY_YIELDS;
    let after = if gives_way { After::Behind } else { After::Requeue };
    match worker.map(Worker::next_fiber) {
        None => carrier.leave_fiber(fiber, None, after),
        Some(Some(next)) => carrier.leave_fiber(fiber, Some(next), after),
        Some(_) if backlog || runtime().injector.len() != 0 => {
            carrier.leave_fiber(fiber, None, after);
        }
        Some(_) => fiber.leave(),
    }
    crate::signal::resumed(fiber);
}

/// Lets those go first that are in turn, hogs not: for a fiber that does not wait because there is always something
/// for it to do. Returns at once where nobody is.
pub fn take_turns() {
    let Some(fiber) = FiberRef::current().filter(|fiber| fiber.may_suspend()) else { return };
    let (carrier, worker) = fiber.enter();
    match worker.and_then(Worker::next_fiber) {
        Some(next) => carrier.leave_fiber(fiber, Some(next), After::Requeue),
        None => fiber.leave(),
    }
    crate::signal::resumed(fiber);
}

/// Suspends the running fiber, which computes and was interrupted. It is shut.
pub(crate) fn preempt() {
    let fiber = FiberRef::current().expect("only fibers are preempted");
    make_way(fiber);
    crate::signal::resumed(fiber);
}

fn make_way(fiber: FiberRef) {
    let (carrier, worker) = fiber.enter();
    let why = carrier.why.get();
    let after = match why {
        Why::Slice => After::SliceOver,
        Why::Turn => After::MadeWay,
        Why::Chance => After::Scattered,
    };
    if why != Why::Chance {
        fiber.hog.store(true, Ordering::Relaxed);
    }
    runtime().counters.preempted();
    let Some(worker) = worker else {
        fiber.set_slice_used(0);
        carrier.leave_fiber(fiber, None, After::SliceOver); // handed off meanwhile
        return;
    };
    let mut next = worker.next().or_else(|| worker.take_share(1));
    if why == Why::Slice {
        fiber.set_slice_used(0);
        next = next.or_else(|| worker.take_from_backlog(sys::now()));
    }
    match next {
        Some(next) => {
            let next = worker.materialise(next);
            carrier.leave_fiber(fiber, Some(next), after);
            if why == Why::Turn {
                let runtime = runtime();
                runtime.turns.count(next, runtime.settings.reserve);
            }
        }
        // Chance wants it to move.
        None if why == Why::Chance => carrier.leave_fiber(fiber, None, after),
        None => fiber.leave(),
    }
}

/// Ends the running fiber as if its first function had returned.
///
/// # Safety
///
/// Nothing on the fiber's stack needs to be dropped.
pub unsafe fn exit() -> ! {
    let fiber = FiberRef::current().expect("only a fiber can end itself");
    carrier::end(fiber)
}

/// Queues a task: it becomes a fiber with a default stack when it first runs.
///
/// # Errors
///
/// No room for one more stack; the text says what to do. The task is still the caller's then.
///
/// # Safety
///
/// `task` heads a record that lives until its function has consumed it.
pub unsafe fn spawn(task: std::ptr::NonNull<Task>) -> io::Result<()> {
    crate::fork::grow_up()?;
    with_worker(|worker| {
        match worker {
            Some(worker) => {
                worker.reserve()?;
                worker.counters.spawned();
            }
            None => {
                runtime().default_class.reserve(1)?;
                runtime().counters.spawned();
            }
        }
        schedule(worker, task.as_ptr().cast());
        Ok(())
    })
}

/// A fiber with a stack of at least `stack` bytes, that has not run and is not queued: for callers
/// that need its address first. Then [`launch`] it.
///
/// # Errors
///
/// No room for the stack; the text says what to do.
pub fn create(stack: usize, start: Start) -> io::Result<FiberRef> {
    crate::fork::grow_up()?;
    let class = Class::for_stack(stack.saturating_add(block::overhead()))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a stack beyond 64 GiB"))?;
    class.reserve(1)?;
    let slot = class.take().inspect_err(|_| class.release(1))?;
    let id = Task::new(|_| {}).id();
    // SAFETY: the slot was just taken.
    let fiber = unsafe { FiberRef::create(slot, id, start) };
    // As POSIX has it of threads. (What waits as a closure begins with the defaults.)
    fiber.control_words.set(switch::control_words());
    Ok(fiber)
}

/// Queues a fiber made by [`create`].
pub fn launch(fiber: FiberRef) {
    with_worker(|worker| {
        worker.map_or(&runtime().counters, |worker| &worker.counters).spawned();
        if trace::is_on() {
            trace::woken(worker, fiber, FiberRef::current());
        }
        schedule(worker, fiber.as_runnable());
    });
}

/// Gives up a hold on a fiber's record. The last one frees the slot.
pub fn release(fiber: FiberRef) {
    if fiber.drop_hold() {
        let slot = fiber.slot();
        // SAFETY: the record is ours until the slot is given back.
        let class = unsafe { slot.as_ref() }.class();
        with_worker(|worker| give_slot(worker, slot, class));
    }
}

/// Takes back the slot of a fiber that has ended.
fn give_slot(worker: Option<&Worker>, slot: SlotPtr, class: Class) {
    match worker {
        Some(worker) => worker.give_slot(slot, class),
        None => {
            class.give_back(slot);
            class.release(1);
        }
    }
}

/// The wheel of a worker, for entries that name it.
pub(crate) fn wheel(index: u32) -> &'static Wheel {
    &runtime().workers[index as usize].wheel
}

/// Arms the running fiber's timer.
pub(crate) fn arm_timer(fiber: FiberRef, deadline: u64) {
    arm(fiber.timer(), deadline);
}

/// Arms a timer.
pub(crate) fn arm(timer: &'static Timer, deadline: u64) {
    with_worker(|worker| {
        let own = worker.is_some();
        let worker = worker.unwrap_or(&runtime().workers[0]);
        let first = worker.wheel.arm(worker.index, timer, deadline);
        // Our own worker looks at its wheel before it sleeps; another may be asleep already.
        if first && !own {
            notify();
        }
    });
}

/// Wakes whoever is due, in the wheels of all workers.
pub(crate) fn fire_timers(runtime: &Runtime, worker: Option<&Worker>, now: u64) {
    for other in &runtime.workers {
        other.wheel.expire(now, Wakes::new(worker));
    }
}

/// Looks at timers and descriptors without waiting.
fn poll_briefly(worker: &Worker, now: u64) {
    crate::clock::set_coarse(now);
    worker.wheel.expire(now, Wakes::new(Some(worker)));
    runtime().reactor.poll(Some(0), Some(worker));
}

/// What a carrier's OS thread does until it retires: run its worker, or wait as a spare for one.
pub(crate) fn carrier_loop(carrier: &'static Carrier) {
    loop {
        let Some(worker) = carrier.lease.worker() else {
            if carrier.retired.get() {
                return spare::gone(carrier);
            }
            spare::wait_for_worker(carrier);
            continue;
        };
        let item = find_work(carrier, worker);
        // Comes back in the runtime, perhaps without a worker: it was given away while a fiber ran.
        carrier.run(worker.materialise(item));
    }
}

/// Something to run; sleeps until there is.
fn find_work(carrier: &'static Carrier, worker: &'static Worker) -> *mut Runnable {
    let runtime = runtime();
    let mut searching = false;
    loop {
        crate::signal::dispatch();
        if let Some(item) = search(worker, &mut searching) {
            if searching && runtime.idle.stop_search() {
                notify();
            }
            return item;
        }
        sleep(carrier, worker, &mut searching);
    }
}

fn search(worker: &'static Worker, searching: &mut bool) -> Option<*mut Runnable> {
    let runtime = runtime();
    if worker.is_one_too_many() {
        worker.hand_in();
        return None;
    }
    let workers = if runtime.reserve.is_called() { runtime.workers.len() as u64 } else { 1 };
    let own = || {
        worker.next().or_else(|| {
            let share = runtime.injector.len() / runtime.workers.len() + 1;
            worker.take_share(share.min(128))
        })
    };
    if let Some(item) = own() {
        return Some(item);
    }
    let now = sys::now();
    crate::clock::set_coarse(now);
    if workers == 1 {
        // The others sleep on, and what a fiber without a worker has armed is in the first one's wheel.
        fire_timers(runtime, Some(worker), now);
    } else {
        worker.wheel.expire(now, Wakes::new(Some(worker)));
        // With one worker the poll in `sleep` serves as well, and saves this one.
        runtime.reactor.poll(Some(0), Some(worker));
        worker.looked(now);
    }
    if let Some(item) = own() {
        if workers > 1 && worker.has_work() {
            notify();
        }
        return Some(item);
    }
    if workers > 1 && (*searching || runtime.idle.start_search(workers)) {
        *searching = true;
        if let Some(item) = steal(worker, now) {
            return Some(item);
        }
    }
    worker.take_from_backlog(now)
}

/// Takes from other workers: half a queue, a LIFO slot, timers that are due.
fn steal(worker: &'static Worker, now: u64) -> Option<*mut Runnable> {
    let workers = &runtime().workers;
    // xorshift: a different victim first each time.
    let mut random = worker.random.get();
    random ^= random << 13;
    random ^= random >> 17;
    random ^= random << 5;
    worker.random.set(random);
    let others = (0..workers.len())
        .map(|offset| &workers[(random as usize + offset) % workers.len()])
        .filter(|other| other.index != worker.index);
    for other in others.clone() {
        if let Some(item) = other.queue.steal_into(&worker.queue) {
            worker.counters.stolen();
            return Some(item);
        }
    }
    for other in others {
        if other.wheel.expire(now, Wakes::new(Some(worker))) > 0
            && let Some(item) = worker.next()
        {
            return Some(item);
        }
        // The LIFO slot's guest is about to be run by its own worker, unless that is held up.
        if other.held_up.load(Ordering::Relaxed) {
            let item = other.lifo.swap(std::ptr::null_mut(), Ordering::AcqRel);
            if !item.is_null() {
                if let Some((_, waker)) = other.run() {
                    waker.goes_on.store(PROOFS, Ordering::Relaxed);
                }
                worker.counters.stolen();
                return Some(item);
            }
        }
    }
    None
}

/// Whether anything is queued anywhere.
fn work_is_visible(runtime: &Runtime) -> bool {
    runtime.injector.len() != 0
        || !runtime.backlog.is_empty()
        || runtime.workers.iter().any(|worker| worker.queue.len() != 0)
}

/// Sleeps until woken, until a timer is due, or until a descriptor is ready.
fn sleep(carrier: &'static Carrier, worker: &'static Worker, searching: &mut bool) {
    let runtime = runtime();
    {
        let mut sleepers = runtime.sleepers.lock();
        sleepers.push(carrier); // its capacity is the number of workers: never grows
        let last = runtime.idle.sleep(std::mem::take(searching));
        drop(sleepers);
        if runtime.one_suffices() {
            // Whoever is awake is the last one: it looks before it sleeps.
            let deadline = worker.wheel.next_deadline();
            sleep_on_futex(carrier, (deadline != u64::MAX).then_some(deadline));
            *searching = wake_myself(runtime, carrier);
            return;
        }
        if last && work_is_visible(runtime) {
            *searching = wake_myself(runtime, carrier);
            return;
        }
    }
    let mut deadline = u64::MAX;
    for other in &runtime.workers {
        deadline = deadline.min(other.wheel.next_deadline());
    }
    let until = (deadline != u64::MAX).then_some(deadline);
    // Where `prepare` finds a token it is used up: then there is no sleep at all.
    if carrier.parker.prepare(true) {
        let (stays, awake) = (|| carrier.parker.is_polling(), || carrier.parker.finish());
        if runtime.reactor.poll_blocking(until, Some(worker), stays, awake) {
            worker.looked(crate::clock::coarse());
        } else {
            runtime.monitor.stop_polling();
            sleep_on_futex(carrier, until);
        }
    }
    *searching = wake_myself(runtime, carrier);
    // A whole batch for one who was woken by it and not by another worker: share it.
    if !*searching && worker.queue.len() > 1 && runtime.workers.len() > 1 {
        notify();
    }
}

fn sleep_on_futex(carrier: &Carrier, until: Option<u64>) {
    // Either a token came, or another carrier polls for all.
    if carrier.parker.finish() {
        return;
    }
    if carrier.parker.prepare(false) {
        carrier.parker.sleep(until);
        carrier.parker.finish();
    }
}

/// Takes the carrier off the list of sleepers, unless a waker has. True if it now counts as a
/// searcher (a waker made it one).
fn wake_myself(runtime: &Runtime, carrier: &'static Carrier) -> bool {
    let mut sleepers = runtime.sleepers.lock();
    match sleepers.iter().position(|sleeper| std::ptr::eq(*sleeper, carrier)) {
        Some(index) => {
            sleepers.swap_remove(index);
            runtime.idle.wake(false);
            runtime.monitor.ring_if_asleep();
            false
        }
        None => {
            runtime.monitor.ring_if_asleep();
            true
        }
    }
}
