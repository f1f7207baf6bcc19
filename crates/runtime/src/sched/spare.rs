//! Spare carriers: OS threads that wait, parked, for a worker whose carrier is stuck.
//!
//! The monitor hands a worker over without allocating or creating anything: a stuck or suspended
//! fiber may hold the locks of `malloc` and of the dynamic loader. Another thread, the starter,
//! keeps enough spares ready. The number of carriers is capped (`Settings::carriers`): at the cap
//! a worker stuck in an unknown blocking call stays stuck until the call returns.

use std::ffi::c_void;
use std::io;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use timestop_fiber::switch;

use super::{Carrier, Worker, runtime, wake_carrier};
use crate::{FiberRef, sys, trace};

/// Spares that are kept ready at least, for so many workers.
pub(super) fn wanted(workers: usize) -> usize {
    workers.clamp(2, 16)
}

/// All carriers, for the monitor to look at. As many places as there may be carriers.
#[derive(Debug)]
pub(crate) struct Census {
    places: Box<[AtomicPtr<Carrier>]>,
    /// Places given out.
    given: AtomicUsize,
    /// Carriers whose OS threads have not ended, those that are about to start included.
    living: AtomicUsize,
}

impl Census {
    pub(super) fn new(most: usize) -> Self {
        let places = (0..most).map(|_| AtomicPtr::new(std::ptr::null_mut())).collect();
        Self { places, given: AtomicUsize::new(0), living: AtomicUsize::new(0) }
    }

    /// How many there are: with workers, spare, or stuck.
    pub(crate) fn living(&self) -> usize {
        self.living.load(Ordering::Relaxed)
    }

    /// One more is about to be.
    pub(crate) fn count(&self) {
        self.living.fetch_add(1, Ordering::Relaxed);
    }

    /// One is no more.
    fn uncount(&self) {
        self.living.fetch_sub(1, Ordering::Relaxed);
    }

    /// One more to look at. Beyond the last place (two may be started at once at the cap) it is not
    /// listed.
    pub(super) fn add(&self, carrier: &'static Carrier) {
        let at = self.given.fetch_add(1, Ordering::Relaxed);
        if let Some(place) = self.places.get(at) {
            place.store(std::ptr::from_ref(carrier).cast_mut(), Ordering::Release);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static Carrier> {
        let given = self.given.load(Ordering::Relaxed).min(self.places.len());
        // SAFETY: null, or a carrier, which is never freed.
        self.places[..given].iter().filter_map(|place| unsafe { place.load(Ordering::Acquire).as_ref() })
    }
}

/// Gives a worker to a spare, which wakes up and runs it.
pub(crate) fn hand_over(worker: &'static Worker, carrier: &'static Carrier) {
    worker.carrier.store(std::ptr::from_ref(carrier).cast_mut(), Ordering::Release);
    carrier.lease.grant(worker);
    wake_carrier(runtime(), carrier);
}

/// A carrier without a worker waits until it is given one.
pub(super) fn wait_for_worker(carrier: &'static Carrier) {
    if carrier.lease.is_taken() {
        // The fiber that the monitor watches here without a worker has left.
        runtime().detached.fetch_sub(1, Ordering::Relaxed);
    }
    runtime().spares.put(carrier);
    carrier.lease.wait(&carrier.parker);
}

/// A carrier, with a worker or as a spare, for an OS thread that is to run [`carrier_main`].
pub(super) fn new_carrier(worker: Option<&'static Worker>) -> &'static Carrier {
    let carrier: &'static Carrier = Box::leak(Box::new(Carrier::new()));
    if let Some(worker) = worker {
        worker.carrier.store(std::ptr::from_ref(carrier).cast_mut(), Ordering::Release);
        carrier.lease.grant(worker);
    }
    runtime().carriers.count();
    carrier
}

/// Starts the OS thread of a new spare.
fn start_spare() -> io::Result<()> {
    let argument = std::ptr::from_ref(new_carrier(None)).cast_mut().cast();
    // SAFETY: a carrier, which is never freed.
    unsafe { timestop_fiber::thread::start(carrier_main, argument) }
}

/// An OS thread that runs fibers. Its argument is a carrier.
pub(super) extern "C" fn carrier_main(argument: *mut c_void) -> *mut c_void {
    // SAFETY: whoever starts it passes a carrier, which is never freed.
    let carrier: &'static Carrier = unsafe { &*argument.cast::<Carrier>() };
    // SAFETY: nobody switches to the loop before it has run a fiber.
    unsafe { (*carrier.context.get()).fs = switch::thread_pointer() };
    timestop_fiber::thread::begin(c"timestop", true);
    carrier.thread_id.set(sys::thread_id());
    carrier.stat.set(sys::open_own_stat());
    crate::overflow::prepare_thread();
    runtime().carriers.add(carrier);
    super::carrier_loop(carrier);
    std::ptr::null_mut()
}

/// How long a fiber that retires its carrier waits for another to take over, in nanoseconds.
const PATIENCE: u64 = 1_000_000_000;

/// The running fiber's OS thread is to run no other fiber, from now on: it gives its worker away, and
/// ends when the fiber leaves it. The fiber must be pinned.
///
/// # Errors
///
/// There is no other OS thread, and there will be none (`Settings::carriers`).
pub fn retire(fiber: FiberRef) -> Result<(), NoCarrier> {
    let carrier = fiber.carrier(); // pinned, and so not preempted
    let until = sys::now() + PATIENCE;
    while !carrier.retired.get() {
        let spare = runtime().spares.take();
        match (carrier.lease.enter(), spare) {
            (Some(worker), Some(spare)) => {
                let now = sys::now();
                carrier.detached.begin(now, carrier.cpu_time());
                trace::handed_off(worker, carrier, fiber, now);
                runtime().detached.fetch_add(1, Ordering::Relaxed);
                carrier.lease.give_up();
                hand_over(worker, spare);
                carrier.retired.set(true);
            }
            // The monitor has given the worker away already.
            (None, spare) => {
                carrier.retired.set(true);
                spare.into_iter().for_each(|spare| runtime().spares.put(spare));
            }
            (Some(_), None) => {}
        }
        carrier.lease.leave();
        if !carrier.retired.get() {
            if sys::now() > until {
                return Err(NoCarrier);
            }
            sys::yield_thread(); // the starter is at work
        }
    }
    Ok(())
}

/// No OS thread to spare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoCarrier;

/// The carrier's OS thread is about to end.
pub(super) fn gone(carrier: &'static Carrier) {
    runtime().carriers.uncount();
    runtime().detached.fetch_sub(1, Ordering::Relaxed);
    carrier.stat.get().close(); // kept: the monitor may be about to look at it
}

/// The OS thread that keeps spares ready, and makes the OS threads that others want.
pub(super) extern "C" fn starter_main(_: *mut c_void) -> *mut c_void {
    timestop_fiber::thread::begin(c"timestop-start", false);
    let runtime = runtime();
    let (spares, carriers) = (&runtime.spares, &runtime.carriers);
    loop {
        let heard = spares.listen();
        crate::housekeeper::start_wanted();
        let look_again = crate::offload::tend();
        let mut failed = false;
        while spares.are_few() && carriers.living() < runtime.settings.carriers && !failed {
            let before = spares.listed();
            failed = start_spare().is_err();
            if failed {
                carriers.uncount();
            }
            // One at a time: the new one lists itself.
            let patience = sys::now() + 100_000_000;
            while !failed && spares.listed() == before && sys::now() < patience {
                sys::yield_thread();
            }
        }
        spares.sleep(heard, look_again);
    }
}
