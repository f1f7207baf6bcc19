//! Contention: eight fibers count together under one std `Mutex`, on two workers.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::{nanoseconds_each, warm_up};
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;
use crate::lab::threads::{OnThreads, Threads, on};

const FIBERS: usize = 8;

struct Counting {
    workers: usize,
    /// Locks and unlocks of each fiber.
    each: usize,
}

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    let each = trial.amount().div_ceil(FIBERS);
    on(trial.subject, Counting { workers: trial.row.workers(), each })
}

impl OnThreads for Counting {
    type Output = Measured;

    fn on<T: Threads>(self) -> Measured {
        T::run(self.workers, || {
            count::<T>(warm_up(self.each));
            let begin = Instant::now();
            count::<T>(self.each);
            nanoseconds_each(begin.elapsed(), FIBERS * self.each)
        })
    }
}

fn count<T: Threads>(each: usize) {
    let total = Arc::new(Mutex::new(0));
    let handles: Vec<_> = (0..FIBERS)
        .map(|_| {
            let total = Arc::clone(&total);
            T::spawn(move || {
                for _ in 0..each {
                    *total.lock().expect("no holder panics") += 1;
                }
            })
        })
        .collect();
    handles.into_iter().for_each(T::join);
    assert_eq!(*total.lock().expect("no holder panics"), FIBERS * each);
}
