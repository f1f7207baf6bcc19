//! The switch alone: fibers that do nothing but yield, on one worker.

use std::time::Instant;

use super::{nanoseconds_each, warm_up};
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;
use crate::lab::threads::{OnThreads, Threads, on};

struct Yielding {
    fibers: usize,
    /// In all.
    yields: usize,
}

/// Two fibers: the least a switch can cost.
pub(in crate::lab) fn two(trial: &Trial) -> Result<Measured, String> {
    on(trial.subject, Yielding { fibers: 2, yields: trial.amount() })
}

/// Many fibers: a switch that finds a cold stack.
pub(in crate::lab) fn many(trial: &Trial) -> Result<Measured, String> {
    on(trial.subject, Yielding { fibers: 1_000, yields: trial.amount() })
}

impl OnThreads for Yielding {
    type Output = Measured;

    fn on<T: Threads>(self) -> Measured {
        let fibers = self.fibers;
        let each = self.yields.div_ceil(fibers);
        let yield_in_turn = move |each| {
            let yielding = move || (0..each).for_each(|_| T::yield_now());
            let handles: Vec<_> = (0..fibers).map(|_| T::spawn(yielding)).collect();
            handles.into_iter().for_each(T::join);
        };
        T::run(1, || {
            yield_in_turn(warm_up(each));
            let begin = Instant::now();
            yield_in_turn(each);
            nanoseconds_each(begin.elapsed(), fibers * each)
        })
    }
}
