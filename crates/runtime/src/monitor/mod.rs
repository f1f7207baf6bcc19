//! The monitor: a thread that sees to it that no fiber keeps others waiting (Go's sysmon).
//!
//! It compares each worker's count of switches with the one before: one that stands still is a run
//! that lasts. What is then done follows from who waits, and from what the kernel says of the OS
//! thread (state S or D is blocked; CPU time that stands still proves nothing, a descheduled
//! spinner's does too):
//!
//! | the run | and | then |
//! |---|---|---|
//! | lasts | a worker sleeps | that one is woken: it takes what waits |
//! | is blocked in the kernel | somebody waits | the worker is handed to a spare carrier |
//! | is a hog's, or takes longer than [`GRACE`] | somebody interactive waits | it is preempted, and goes on soon |
//! | has used its slice | anybody waits | the fiber is preempted, and queues behind other hogs |
//! | was asked to, and went on for two slices | | the worker is handed off |
//!
//! A fiber that was handed off and computes is preempted back into a queue (`Detached`).
//!
//! While every worker is busy with hogs or with runs that last long, nobody looks at epoll and timers: the
//! monitor waits there in their place, so that a fiber that is due now is seen now. *Long* is a
//! [`TICK`], however close together the looks are: what changes after a fraction of that looks by itself,
//! and may not be preempted yet.
//!
//! The monitor never allocates, creates no thread and takes no lock that a fiber's code can hold.

mod allowance;
mod bell;
mod muster;
mod watch;

use std::sync::atomic::{AtomicU32, Ordering};

use allowance::Allowance;
pub(crate) use allowance::Turns;
pub(crate) use bell::Bell;
use muster::Muster;
use watch::Watch;
pub(crate) use watch::Detached;

use crate::fiber::FiberRef;
use crate::preempt::{self, Why};
use crate::reactor::descriptor;
use crate::report::{self, HogReports};
use crate::sched::{self, Carrier, Runtime, Worker, runtime, spare, worker};
use crate::{clock, deadlock, sites, sys, trace};

/// How often the monitor looks, in nanoseconds.
const TICK: u64 = 1_000_000;
/// … and when there is nothing to do but to count.
const LONG_TICK: u64 = 20 * TICK;
/// Looks without anything running before the monitor sleeps.
const IDLE_LOOKS: u32 = 20;
/// How long nothing may have happened before it is called a standstill.
const STILL: u64 = 20 * TICK;
/// Between two rounds of preemption in favour of who is due: they come in batches then.
const ROUND: u64 = 50_000;
/// The monitor sleeps so many times as long as it was awake, at least. Linux's scheduler (EEVDF) lets
/// one that wakes up go before one that computes only if it has had less than its share lately, half of
/// a CPU beside a hog. One that has had more waits for the next tick of the kernel's clock, which may be
/// 4 ms away; whoever is due waits with it.
const REST: u64 = 2;
/// What a fiber that was no hog before may compute before it makes way for others that are not, in
/// nanoseconds of CPU time. Many that begin to compute at once would else keep everybody waiting for a
/// slice each.
const GRACE: u64 = TICK;
/// After a preemption that did not follow, the next is asked for after so long.
const AGAIN: u64 = TICK / 2;
/// Looks, a [`ROUND`] apart, before workers that were taken by hogs are thought to do other work.
const PATIENCE: u32 = 20;
/// How often long waits are looked for.
const SWEEP: u64 = 50 * TICK;
/// Runs that last for so many looks, with nobody waiting, are looked at less often.
const SETTLED_LOOKS: u32 = 5;
/// A fiber that is stuck in an unknown call for so long is told of.
const LONG_BLOCKED: u64 = 20 * TICK;

/// The monitor's OS thread. It takes no argument.
pub(crate) extern "C" fn main(_: *mut std::ffi::c_void) -> *mut std::ffi::c_void {
    timestop_fiber::thread::begin(c"timestop-monitor", false);
    sys::wake_promptly();
    let mut monitor = Monitor::new(runtime());
    loop {
        crate::signal::dispatch();
        let now = sys::now();
        clock::set_coarse(now);
        if now >= monitor.next_sweep {
            descriptor::sweep(now);
            monitor.next_sweep = now + SWEEP;
        }
        let scene = monitor.look(now);
        monitor.watch_detached(now);
        monitor.pause(scene, now);
    }
}

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scene {
    /// All workers sleep.
    Idle,
    /// Workers do their work.
    Busy,
    /// Nobody waits, and what runs has run for a while; some worker sleeps.
    Settled,
    /// All workers are taken by hogs or by runs that last long. Whether anybody waits.
    Taken(bool),
}

struct Monitor {
    runtime: &'static Runtime,
    /// One for each worker. Made before the first fiber runs; never grows.
    watches: Box<[Watch]>,
    muster: Muster,
    allowance: Allowance,
    pause: AtomicU32,
    idle: u32,
    /// Looks for which workers that were taken are still expected to be so again.
    patience: u32,
    /// How often fibers had been resumed, and since when that has been so.
    still: (u64, u64),
    next_sweep: u64,
    random: u64,
}

impl Monitor {
    fn new(runtime: &'static Runtime) -> Self {
        Self {
            runtime,
            watches: runtime.workers.iter().map(|_| Watch::default()).collect(),
            muster: Muster::new(),
            allowance: Allowance::new(),
            pause: AtomicU32::new(0),
            idle: 0,
            patience: 0,
            still: (0, 0),
            next_sweep: 0,
            random: sys::now() | 1,
        }
    }

    /// Looks at every worker once, and does what is to be done.
    fn look(&mut self, now: u64) -> Scene {
        let runtime = self.runtime;
        if all_idle(runtime) {
            for watch in &mut self.watches {
                watch.nothing(now);
            }
            return Scene::Idle;
        }
        let (mut taken, mut settled, mut runs) = (true, true, 0);
        for (worker, watch) in runtime.workers.iter().zip(&mut self.watches) {
            let Some((carrier, fiber)) = worker.run() else {
                watch.nothing(now);
                worker.held_up.store(false, Ordering::Relaxed);
                taken = false;
                continue;
            };
            let lasts = watch.look(worker, carrier, fiber, now);
            worker.held_up.store(lasts, Ordering::Relaxed);
            taken &= fiber.is_hog() || watch.lasts_long(now);
            settled &= lasts && watch.looks >= SETTLED_LOOKS;
            runs += 1;
        }
        if taken {
            sched::fire_timers(runtime, None, now);
        } else if self.patience > 0 || self.watches.iter().any(|watch| watch.looks > 0) {
            // One is held up, and the others may be in no hurry to look.
            sched::fire_timers(runtime, None, now);
            if runtime.reactor.poll(Some(0), None) {
                give_epoll_back(runtime);
            }
        }
        let waits = Waits::now(runtime);
        if runtime.reserve.is_kept() {
            self.muster.look(&runtime.reserve, &self.watches, (runs > 0, waits.anybody()), now);
        }
        self.allowance.look(&runtime.turns, now);
        if waits.anybody() {
            self.make_way(waits, now);
        }
        let sleeping = runtime.idle.sleeping() > 0;
        if runtime.settings.chaos != 0 {
            self.disturb();
            Scene::Busy
        } else if taken && !sleeping {
            Scene::Taken(waits.anybody())
        } else if settled && runs > 0 && !waits.anybody() {
            Scene::Settled
        } else {
            Scene::Busy
        }
    }

    /// Somebody waits: has sleepers woken, hogs preempted, blocked carriers replaced.
    fn make_way(&mut self, waits: Waits, now: u64) {
        let runtime = self.runtime;
        if runtime.idle.sleeping() > 0 && runtime.reserve.is_called() {
            sched::notify();
            return;
        }
        // No more preemptions for the sake of who is due than there are of those; but one that was
        // asked for before and has not followed does not count: the kernel may have taken the CPU
        // from that carrier.
        let mut due = waits.due;
        for (worker, watch) in runtime.workers.iter().zip(&mut self.watches) {
            let Some((carrier, fiber)) = worker.run() else { continue };
            let lasts = watch.looks > 0;
            if !lasts && !fiber.is_hog() {
                continue;
            }
            let over = watch.used() >= runtime.settings.slice;
            let computes = fiber.is_hog() || watch.used() >= GRACE;
            let owed = worker.owed.load(Ordering::Relaxed) && watch.lasted() < worker::owed();
            let turn = computes && due > 0 && !owed && self.allowance.is_left();
            if lasts && watch.stands && carrier.is_blocked() == Some(true) {
                hand_off(runtime, worker, carrier, now);
            } else if runtime.settings.chaos != 0 {
                // Chance preempts, but for who cannot be.
                if watch.used() >= 3 * runtime.settings.slice {
                    hand_off(runtime, worker, carrier, now);
                }
            } else if (over || turn) && preempt(runtime, worker, carrier, fiber, watch, (over, now)) {
                due = due.saturating_sub(1);
            }
        }
    }

    /// Looks at fibers that run without a worker: those that compute are preempted into a queue.
    fn watch_detached(&self, now: u64) {
        if self.runtime.detached.load(Ordering::Relaxed) == 0 {
            return;
        }
        for (carrier, fiber) in detached(self.runtime) {
            if now < carrier.detached.next() {
                continue;
            }
            let since = carrier.detached.look(fiber, now, carrier.cpu_time());
            if carrier.is_blocked() != Some(true) {
                if self.runtime.settings.preempt && !fiber.is_pinned() {
                    preempt::request(carrier, fiber, Why::Slice, false);
                }
            } else if since >= LONG_BLOCKED
                && self.runtime.settings.hogs == HogReports::Warn
                && !carrier.detached.told.swap(true, Ordering::Relaxed)
            {
                report::blocked(fiber, carrier.thread_id(), since);
            }
        }
    }

    /// For tests: preempts what happens to run on some worker. All others wait in turn then, however
    /// much they compute: no run lasts for a slice, so nobody is a hog.
    fn disturb(&mut self) {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let workers = &self.runtime.workers;
        if let Some((carrier, fiber)) = workers[self.random as usize % workers.len()].run()
            && carrier.is_blocked() != Some(true)
        {
            preempt::request(carrier, fiber, Why::Chance, false);
        }
    }

    /// Sleeps until it is time to look again.
    fn pause(&mut self, scene: Scene, now: u64) {
        let runtime = self.runtime;
        if scene != Scene::Idle {
            self.idle = 0;
        }
        match scene {
            Scene::Idle => {
                self.idle += 1;
                if self.idle < IDLE_LOOKS || descriptor::wants_sweep() {
                    self.wait(now + TICK);
                    return;
                }
                let quiet = self.is_quiet(now);
                let again = if quiet { u64::MAX } else { now + STILL };
                let due = detached(runtime).map(|(carrier, _)| carrier.detached.next());
                let until = due.chain([again]).min().filter(|until| *until != u64::MAX);
                let woken = runtime.monitor.sleep(until, || {
                    let idle = all_idle(runtime);
                    if idle && until.is_none() {
                        deadlock::look(runtime);
                    }
                    idle
                });
                // What woke somebody may be under way still: a standstill begins anew.
                if woken {
                    self.idle = 0;
                }
            }
            Scene::Busy if runtime.settings.chaos != 0 => self.wait(now + runtime.settings.chaos),
            // One of the workers serves somebody for whom a hog made way: it will be taken again.
            Scene::Busy if self.patience > 0 => {
                self.patience -= 1;
                self.wait(self.soonest(now));
            }
            Scene::Busy => self.wait(now + TICK),
            Scene::Settled => runtime.monitor.doze(now + LONG_TICK),
            Scene::Taken(waits) => {
                self.patience = PATIENCE;
                let tick = if waits { TICK } else { LONG_TICK };
                let due = runtime.workers.iter().map(|worker| worker.wheel.next_deadline()).min();
                let soonest = self.soonest(now);
                let until = due.unwrap_or(u64::MAX).clamp(soonest, soonest.max(now + tick));
                if !runtime.monitor.poll(runtime, until) || sys::now() < soonest {
                    self.wait(soonest);
                }
                give_epoll_back(runtime);
            }
        }
    }

    /// Whether no fiber has run for a while. Looks that found nobody at work do not tell: fibers may
    /// run for microseconds in between, and an OS thread that waits for one may be about to go on.
    fn is_quiet(&mut self, now: u64) -> bool {
        let switches = self.runtime.workers.iter().map(Worker::pulse).sum();
        if self.still.0 != switches {
            self.still = (switches, now);
        }
        now - self.still.1 >= STILL
    }

    /// When the monitor, awake since `now`, may be awake again at the soonest. Not before it may preempt in favour
    /// of whom it finds.
    fn soonest(&self, now: u64) -> u64 {
        let end = sys::now();
        (now + ROUND).max(end + REST * (end - now)).max(self.allowance.next())
    }

    fn wait(&self, until: u64) {
        let _ = sys::futex_wait(&self.pause, 0, Some(until));
    }
}

fn all_idle(runtime: &Runtime) -> bool {
    runtime.idle.sleeping() == runtime.workers.len() as u64
}

/// Who waits for a worker.
#[derive(Debug, Clone, Copy)]
struct Waits {
    /// Fibers that are in turn.
    due: usize,
    /// Hogs, and fibers of low priority.
    backlog: bool,
}

impl Waits {
    fn now(runtime: &Runtime) -> Self {
        let queued: usize = runtime.workers.iter().map(Worker::waiting).sum();
        let high = usize::from(runtime.backlog.has_high());
        Self {
            due: queued + runtime.injector.len() + high,
            backlog: runtime.backlog.is_waiting(),
        }
    }

    fn anybody(self) -> bool {
        self.due > 0 || self.backlog
    }
}

/// After the monitor has been in epoll: a worker that fell asleep meanwhile found it taken, and sleeps
/// where no descriptor wakes it. It says that it sleeps before it tries, and we look after we have let
/// go, with a full barrier in between on both sides: one of us sees the other.
fn give_epoll_back(runtime: &Runtime) {
    if runtime.idle.sleeping() > 0 {
        sched::notify();
    }
}

/// The carriers that run a fiber without a worker.
fn detached(runtime: &Runtime) -> impl Iterator<Item = (&'static Carrier, FiberRef)> {
    runtime
        .carriers
        .iter()
        .filter(|carrier| carrier.lease.is_taken())
        .filter_map(|carrier| Some((carrier, carrier.running()?)))
}

/// Asks for the preemption of a run; hands off what has not followed for two slices. False where it
/// was asked for a moment ago.
fn preempt(
    runtime: &'static Runtime,
    worker: &'static Worker,
    carrier: &Carrier,
    fiber: FiberRef,
    watch: &mut Watch,
    (over, now): (bool, u64),
) -> bool {
    let settings = &runtime.settings;
    let blind = carrier.is_blocked().is_none();
    let refused = watch.has_not_followed(2 * settings.slice, blind, now);
    if refused || !settings.preempt || preempt::signal() == 0 {
        hand_off(runtime, worker, carrier, now);
        return true;
    }
    if !watch.ask(now) {
        return false;
    }
    fiber.set_slice_used(watch.used());
    let tell = over
        && settings.hogs == HogReports::Warn
        && !fiber.told.load(Ordering::Relaxed);
    let why = if over { Why::Slice } else { Why::Turn };
    preempt::request(carrier, fiber, why, tell);
    true
}

/// Gives the worker of a stuck carrier to a spare one, if there is one.
fn hand_off(runtime: &Runtime, worker: &'static Worker, carrier: &Carrier, now: u64) {
    let Some(spare) = runtime.spares.take() else { return };
    carrier.detached.begin(now, carrier.cpu_time());
    runtime.detached.fetch_add(1, Ordering::Relaxed);
    let fiber = carrier.running();
    if carrier.lease.retake() {
        if let Some(fiber) = fiber {
            sites::handed_off(fiber, carrier.thread_id());
            trace::handed_off(worker, carrier, fiber, now);
        }
        worker.counters.handed_off();
        spare::hand_over(worker, spare);
    } else {
        runtime.detached.fetch_sub(1, Ordering::Relaxed);
        runtime.spares.put(spare);
    }
}
