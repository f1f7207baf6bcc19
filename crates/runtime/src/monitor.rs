//! The monitor: a thread that watches for workers that are stuck with one fiber while others wait
//! (Go's sysmon).
//!
//! Every [`TICK`] it compares each worker's count of switches with the one before. A worker whose
//! count stands still is held up: others may now take what it was about to run. If something waits
//! and no worker is free, the monitor asks the kernel whether the carrier is blocked (state S or D;
//! CPU time that stands still proves nothing, a descheduled spinner's does too) and hands the worker
//! to a spare carrier. A fiber that computes instead of blocking keeps its worker for a slice; then
//! it is handed off as well. *Preemption by signal will take that place.*
//!
//! The monitor never allocates and takes no lock that a fiber's code can hold. It sleeps for good
//! while all workers sleep; the first to wake rings its bell.

use std::sync::atomic::{AtomicU32, Ordering};
use std::{io, ptr};

use crate::reactor::descriptor;
use crate::sched::{self, Carrier, Runtime, Worker, runtime, spare, unpark_on};
use crate::{clock, deadlock, sys};

/// How often the monitor looks, in nanoseconds.
const TICK: u64 = 1_000_000;
/// Ticks that a computing fiber keeps its worker while others wait: 10 ms.
const SLICE_TICKS: u32 = 10;
/// Idle ticks before the monitor sleeps.
const IDLE_TICKS: u32 = 20;

/// How often long waits are looked for, in ticks.
const SWEEP_TICKS: u32 = 50;

/// What the monitor sleeps on while all workers do.
#[derive(Debug)]
pub(crate) struct Bell(AtomicU32);

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;

impl Bell {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(AWAKE))
    }

    /// A worker is awake: so must the monitor be.
    #[inline]
    pub(crate) fn ring_if_asleep(&self) {
        if self.0.load(Ordering::SeqCst) == ASLEEP && self.0.swap(AWAKE, Ordering::SeqCst) == ASLEEP {
            sys::futex_wake(self.0.as_ptr() as usize, 1);
        }
    }

    fn sleep(&self, runtime: &Runtime) {
        self.0.store(ASLEEP, Ordering::SeqCst);
        if all_idle(runtime) {
            deadlock::look(runtime);
            let _ = sys::futex_wait(&self.0, ASLEEP, None);
        }
        self.0.store(AWAKE, Ordering::SeqCst);
    }
}

/// Starts the monitor's OS thread.
pub(crate) fn start() -> io::Result<()> {
    // SAFETY: it takes no argument.
    unsafe { timestop_fiber::thread::start(main, ptr::null_mut()) }
}

extern "C" fn main(_: *mut std::ffi::c_void) -> *mut std::ffi::c_void {
    timestop_fiber::thread::begin(c"timestop-monitor", false);
    let runtime = runtime();
    let pause = AtomicU32::new(0);
    let (mut idle, mut ticks) = (0, 0_u32);
    loop {
        crate::signal::dispatch();
        if all_idle(runtime) {
            idle += 1;
        } else {
            idle = 0;
            look(runtime);
        }
        let now = sys::now();
        clock::set_coarse(now);
        ticks = ticks.wrapping_add(1);
        if ticks % SWEEP_TICKS == 0 {
            descriptor::sweep(now);
        }
        if idle >= IDLE_TICKS && !descriptor::wants_sweep() {
            runtime.monitor.sleep(runtime);
            idle = 0;
        }
        let _ = sys::futex_wait(&pause, 0, Some(now + TICK));
    }
}

fn all_idle(runtime: &Runtime) -> bool {
    runtime.idle.sleeping() == runtime.workers.len() as u64
}

/// Looks at every worker once.
fn look(runtime: &'static Runtime) {
    for worker in &runtime.workers {
        let Some(carrier) = worker.carrier() else { continue };
        let ticks = carrier.ticks_unchanged(worker.pulse());
        let stuck = ticks > 0 && carrier.runs_a_fiber();
        worker.held_up.store(stuck, Ordering::Relaxed);
        if !stuck {
            continue;
        }
        serve_outside(runtime);
        if !someone_waits(runtime, worker) {
            continue;
        }
        if runtime.idle.sleeping() > 0 {
            sched::notify();
            continue;
        }
        if ticks >= SLICE_TICKS || carrier.is_blocked() {
            hand_off(runtime, worker, carrier);
        }
    }
}

/// Does what a free worker would do: fires timers, looks at descriptors.
fn serve_outside(runtime: &Runtime) {
    let now = sys::now();
    for worker in &runtime.workers {
        worker.wheel.expire(now, |fiber| unpark_on(None, fiber));
    }
    runtime.reactor.poll(Some(0), None);
}

fn someone_waits(runtime: &Runtime, worker: &Worker) -> bool {
    runtime.injector.len() != 0 || worker.has_work()
}

/// Gives the worker of a stuck carrier to a spare one, if there is one.
fn hand_off(runtime: &Runtime, worker: &'static Worker, carrier: &Carrier) {
    let Some(spare) = runtime.spares.take() else { return };
    if carrier.retake() {
        worker.counters.handed_off();
        spare::hand_over(worker, spare);
    } else {
        runtime.spares.put(spare);
    }
}
