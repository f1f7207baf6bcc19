//! Contention: eight fibers count together under one std `Mutex`, on two workers.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::nanoseconds_each;
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;
use crate::lab::threads::{OnThreads, Threads, on};

const FIBERS: usize = 8;
const WORKERS: usize = 2;

struct Counting {
    /// Locks and unlocks of each fiber.
    each: usize,
}

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    on(trial.subject, Counting { each: trial.count(1_000_000) })
}

impl OnThreads for Counting {
    type Output = Measured;

    fn on<T: Threads>(self) -> Measured {
        let each = self.each;
        T::run(WORKERS, || {
            let total = Arc::new(Mutex::new(0));
            let begin = Instant::now();
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
            let elapsed = begin.elapsed();
            assert_eq!(*total.lock().expect("no holder panics"), FIBERS * each);
            nanoseconds_each(elapsed, FIBERS * each)
        })
    }
}
