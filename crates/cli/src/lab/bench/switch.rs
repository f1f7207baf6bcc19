//! The switch alone: fibers that do nothing but yield, on one worker.

use std::time::Instant;

use super::nanoseconds_each;
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;
use crate::lab::threads::{OnThreads, Threads, on};

struct Yielding {
    fibers: usize,
    yields: usize,
}

/// Two fibers: the least a switch can cost.
pub(in crate::lab) fn two(trial: &Trial) -> Result<Measured, String> {
    on(trial.subject, Yielding { fibers: 2, yields: trial.count(1_000_000) })
}

/// Many fibers: a switch that finds a cold stack.
pub(in crate::lab) fn many(trial: &Trial) -> Result<Measured, String> {
    on(trial.subject, Yielding { fibers: 1_000, yields: trial.count(2_000) })
}

impl OnThreads for Yielding {
    type Output = Measured;

    fn on<T: Threads>(self) -> Measured {
        let Yielding { fibers, yields } = self;
        T::run(1, || {
            let begin = Instant::now();
            let yielding = move || (0..yields).for_each(|_| T::yield_now());
            let handles: Vec<_> = (0..fibers).map(|_| T::spawn(yielding)).collect();
            handles.into_iter().for_each(T::join);
            nanoseconds_each(begin.elapsed(), fibers * yields)
        })
    }
}
