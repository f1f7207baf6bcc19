//! The hand-off as a whole, for the model checker: a fiber is stuck on one carrier, the monitor gives the
//! worker to a spare one, and the stuck carrier comes back meanwhile, has its fiber parked and perhaps
//! woken, and becomes a spare that may be taken in its turn.
//!
//! Real are the lease with its owner word, the list of spares, the parker, and the fiber's state; the glue
//! between them is what `monitor::hand_off`, `spare::retire` and `carrier_loop` do. What the worker has
//! beside them stands in a cell, as does the fiber's stack: loom reports two that touch one without an
//! order between them. A carrier that nobody wakes is a deadlock to loom.

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::lease::Lease;
use super::parker::Parker;
use super::spare_list::{Listed, SpareList};
use super::state::State;
use crate::sync::{AtomicPtr, Ordering};

struct Worker {
    carrier: AtomicPtr<Carrier>,
    /// The fields marked *owner*.
    owned: UnsafeCell<u32>,
    /// Whoever gets this one has no more to do.
    is_end: bool,
}

impl Worker {
    fn new(is_end: bool) -> &'static Self {
        leak(Self {
            carrier: AtomicPtr::new(std::ptr::null_mut()),
            owned: UnsafeCell::new(0),
            is_end,
        })
    }

    /// At the beginning: `carrier` has it, and runs a fiber's code.
    fn give(&'static self, carrier: &'static Carrier) {
        self.carrier.store(std::ptr::from_ref(carrier).cast_mut(), Ordering::Release);
        carrier.lease.grant(self);
        self.touch();
        carrier.lease.leave();
    }

    fn carrier(&self) -> &'static Carrier {
        // SAFETY: leaked.
        unsafe { self.carrier.load(Ordering::Acquire).as_ref() }.expect("set at the beginning")
    }

    fn touch(&self) {
        // SAFETY: loom reports a concurrent access as an error.
        self.owned.with_mut(|owned| unsafe { *owned += 1 });
    }
}

// SAFETY: `touch` says who looks after the cell.
unsafe impl Sync for Worker {}

struct Carrier {
    lease: Lease<Worker>,
    parker: Parker,
    next_spare: AtomicPtr<Self>,
}

impl Listed for Carrier {
    fn next_spare(&self) -> &AtomicPtr<Self> {
        &self.next_spare
    }
}

impl Carrier {
    fn new() -> &'static Self {
        leak(Self {
            lease: Lease::new(),
            parker: Parker::new(),
            next_spare: AtomicPtr::new(std::ptr::null_mut()),
        })
    }
}

/// Everything in a model lives for ever, as the real ones do.
fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

struct Fiber {
    state: State,
    /// Its stack, and how often it has run.
    runs: UnsafeCell<u32>,
}

// SAFETY: `run` says who looks after the cell.
unsafe impl Sync for Fiber {}

impl Fiber {
    fn run(&self) {
        // SAFETY: loom reports a concurrent access as an error.
        self.runs.with_mut(|runs| unsafe { *runs += 1 });
    }
}

struct World {
    spares: SpareList<Carrier>,
    fiber: Fiber,
    /// The global queue, which holds that fiber or nothing.
    queue: Mutex<u32>,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            spares: SpareList::new(0),
            fiber: Fiber { state: State::new(), runs: UnsafeCell::new(0) },
            queue: Mutex::new(0),
        })
    }

    fn push(&self) {
        *self.queue.lock().expect("nobody panics") += 1;
    }

    fn pop(&self) -> bool {
        let mut queue = self.queue.lock().expect("nobody panics");
        let any = *queue > 0;
        *queue -= u32::from(any);
        any
    }

    /// `monitor::hand_off`.
    fn hand_off(&self, worker: &'static Worker) {
        let stuck = worker.carrier();
        let Some(spare) = self.spares.take() else { return };
        if stuck.lease.retake() {
            self.hand_over(worker, spare);
        } else {
            self.spares.put(spare);
        }
    }

    /// `spare::hand_over`.
    fn hand_over(&self, worker: &'static Worker, spare: &'static Carrier) {
        worker.carrier.store(std::ptr::from_ref(spare).cast_mut(), Ordering::Release);
        spare.lease.grant(worker);
        spare.parker.call(|| unreachable!("a spare does not wait in epoll"));
    }

    /// `park` of the fiber that runs on `carrier`, from user code to the carrier's loop.
    fn park(&self, carrier: &'static Carrier) {
        let goes_on = self.fiber.state.take_token();
        if goes_on {
            self.fiber.run();
        }
        if let Some(worker) = carrier.lease.enter() {
            worker.touch();
        }
        self.fiber.run();
        // On the loop's stack.
        if !goes_on && !self.fiber.state.publish() {
            self.push();
        }
    }

    /// `carrier_loop`, until the carrier has done its share with a worker, or there is nothing more to do.
    fn carrier_loop(&self, carrier: &'static Carrier) {
        for _ in 0..2 {
            let worker = carrier.lease.worker().unwrap_or_else(|| {
                self.spares.put(carrier);
                carrier.lease.wait(&carrier.parker);
                carrier.lease.worker().expect("it has been granted one")
            });
            if worker.is_end {
                return;
            }
            worker.touch();
            if self.pop() {
                self.fiber.run();
            }
            // Some other fiber's code, and back.
            carrier.lease.leave();
            if let Some(worker) = carrier.lease.enter() {
                worker.touch();
                return; // in the runtime: nobody takes it from here
            }
        }
    }

    /// Lets all carriers go that have no worker.
    fn end(&self, spares: usize) {
        for _ in 0..spares {
            loop {
                if let Some(spare) = self.spares.take() {
                    spare.lease.grant(Worker::new(true));
                    spare.parker.call(|| unreachable!("a spare does not wait in epoll"));
                    break;
                }
                thread::yield_now();
            }
        }
    }

    /// In the end, when all have: the fiber has run as often as it was to, or is queued for that, once.
    fn check(&self, worker: &'static Worker) {
        let queued = *self.queue.lock().expect("nobody panics");
        // SAFETY: loom reports a concurrent access as an error.
        let runs = self.fiber.runs.with(|runs| unsafe { *runs });
        assert_eq!(runs + queued, 2, "lost, or queued twice");
        worker.touch();
    }
}

/// Explores what takes no more than so many preemptions of the model's threads.
fn explore(preemptions: usize, check: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(check);
}

fn carry<T: 'static>(
    world: &Arc<World>,
    body: impl FnOnce(&World) -> T + 'static,
) -> thread::JoinHandle<T> {
    let world = Arc::clone(world);
    thread::spawn(move || body(&world))
}

/// The monitor hands the worker off, while the stuck carrier comes back and its fiber is parked and woken;
/// and then once more, from whoever has it to whoever is spare.
#[test]
fn loom_hand_off() {
    explore(2, || {
        let (world, worker) = (World::new(), Worker::new(false));
        let (stuck, spare) = (Carrier::new(), Carrier::new());
        worker.give(stuck);

        let stuck = carry(&world, move |world| {
            world.park(stuck);
            world.carrier_loop(stuck);
        });
        let spare = carry(&world, move |world| world.carrier_loop(spare));
        let waker = carry(&world, |world| {
            if world.fiber.state.unpark() {
                world.push();
            }
        });
        world.hand_off(worker);
        world.hand_off(worker);
        world.end(1);
        for one in [stuck, spare, waker] {
            one.join().expect("no panic");
        }
        world.check(worker);
    });
}

/// A fiber has its carrier give the worker away for good, while the monitor wants to hand it off as well,
/// from there or already from the next.
#[test]
fn loom_a_carrier_retires_while_the_monitor_retakes() {
    explore(2, || {
        let (world, worker) = (World::new(), Worker::new(false));
        let (retires, spares) = (Carrier::new(), [Carrier::new(), Carrier::new()]);
        worker.give(retires);

        let retires = carry(&world, move |world| {
            // `spare::retire`, but that it tries again where there is no spare.
            let taken = world.spares.take();
            match (retires.lease.enter(), taken) {
                (Some(worker), Some(spare)) => {
                    worker.touch();
                    retires.lease.give_up();
                    world.hand_over(worker, spare);
                }
                (Some(worker), None) => {
                    worker.touch();
                    return false;
                }
                (None, taken) => taken.into_iter().for_each(|spare| world.spares.put(spare)),
            }
            retires.lease.leave();
            assert!(retires.lease.enter().is_none(), "it gets no other");
            true
        });
        let spares = spares.map(|spare| carry(&world, move |world| world.carrier_loop(spare)));
        world.hand_off(worker);
        let retired = retires.join().expect("no panic");
        world.end(if retired { 1 } else { 2 });
        for spare in spares {
            spare.join().expect("no panic");
        }
        worker.touch();
    });
}
