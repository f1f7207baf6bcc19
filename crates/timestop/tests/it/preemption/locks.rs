//! Fibers that spin for one another: whoever holds what they spin for must get its turn, and one that only lost its CPU
//! to the kernel is not taken for one that is blocked.

use std::cell::UnsafeCell;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::{Hogs, alone, compute, others_go_on};
use crate::support::fan_out;

/// A lock as those write it who know that they should not.
struct SpinLock<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only by who holds the lock.
unsafe impl<T: Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    fn new(value: T) -> Self {
        Self { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    fn with(&self, spin: fn(), f: impl FnOnce(&mut T)) {
        while self.taken.swap(true, Ordering::Acquire) {
            spin();
        }
        // SAFETY: we hold the lock.
        f(unsafe { &mut *self.value.get() });
        self.taken.store(false, Ordering::Release);
    }
}

/// Fibers that count under a spin lock and compute meanwhile, so that many are preempted as they hold it.
fn count_under(spin: fn(), fibers: usize, rounds: usize, effort: u32) {
    let lock = Arc::new(SpinLock::new((0_usize, 0_usize)));
    let shared = lock.clone();
    fan_out(fibers, move |index| {
        for round in 0..rounds {
            shared.with(spin, |(count, shadow)| {
                *count += 1;
                black_box(compute((index + round) as u64, effort));
                *shadow += 1;
                assert_eq!(count, shadow, "two hold the lock");
            });
        }
    });
    lock.with(spin, |counts| assert_eq!(*counts, (fibers * rounds, fibers * rounds)));
}

#[test]
fn spin_locks_that_yield() {
    fn sched_yield() {
        // SAFETY: it takes nothing and changes nothing.
        assert_eq!(unsafe { libc::sched_yield() }, 0);
    }
    for_workers(|| {
        // Some hold it for less than a slice, some for more.
        for (rounds, effort) in [(20, 10), (2, 1_500)] {
            count_under(thread::yield_now, 4, rounds, effort);
            count_under(sched_yield, 4, rounds, effort);
            count_under(timestop::yield_now, 4, rounds, effort);
        }
    });
}

#[test]
fn spin_locks_that_yield_beside_hogs() {
    alone(2, || {
        let hogs = Hogs::start(3, |index, _| {
            black_box(compute(index as u64, 10));
        });
        count_under(thread::yield_now, 4, 10, 50);
        others_go_on();
        hogs.end();
    });
}

#[test]
fn spin_locks_that_do_not_yield() {
    alone(1, || count_under(std::hint::spin_loop, 3, 3, 2_000));
}

#[test]
fn a_turn_taken_by_spinning() {
    // Each waits for the one before it, which has not been run when it begins.
    for_workers(|| {
        const FIBERS: usize = 8;
        let turn = Arc::new(AtomicUsize::new(FIBERS));
        let taken = turn.clone();
        fan_out(FIBERS, move |index| {
            while taken.load(Ordering::Acquire) != index + 1 {
                std::hint::spin_loop();
            }
            taken.store(index, Ordering::Release);
        });
        assert_eq!(turn.load(Ordering::Acquire), 0);
    });
}

/// The most hand-offs that [`spinners_that_the_kernel_deschedules`] may see: the kernel may put whoever touches a page to
/// sleep, and the monitor look just then. There are dozens where a descheduled OS thread is taken for a blocked one, or
/// for one that does not follow.
const FEW: u64 = 2;

#[test]
fn spinners_that_the_kernel_deschedules() {
    let body = || {
        // OS threads that keep the CPUs from the workers.
        let stop = Arc::new(AtomicBool::new(false));
        let rivals: Vec<_> = (0..4)
            .map(|_| {
                let stop = stop.clone();
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        // What was blocked for a moment at the start does not count.
        others_go_on();
        let before = timestop::stats().hand_offs;
        let hogs = Hogs::start(4, |index, _| {
            black_box(compute(index as u64, 100));
        });
        // Something always waits, which is when a blocked worker would be handed off.
        fan_out(4, |_| (0..200).for_each(|_| thread::sleep(Duration::from_millis(1))));
        let hand_offs = timestop::stats().hand_offs - before;
        hogs.end();
        stop.store(true, Ordering::Relaxed);
        rivals.into_iter().for_each(|rival| rival.join().expect("no panic"));
        assert!(hand_offs <= FEW, "{hand_offs} hand-offs: spinners were taken for blocked");
    };
    // Hogs that share workers, and hogs that share CPUs.
    alone(2, body);
    alone(4, body);
}

/// As [`alone`], for tests that must hold whether the fibers share one worker or have one each.
fn for_workers<F: Fn() + Clone + Send + 'static>(body: F) {
    for workers in [1, 2] {
        alone(workers, body.clone());
    }
}
