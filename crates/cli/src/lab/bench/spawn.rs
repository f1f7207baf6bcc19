//! The life of a fiber that does nothing: spawned and joined before the next one, or spawned with very many others and
//! joined after them.

use std::time::Instant;

use super::{nanoseconds_each, warm_up};
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;
use crate::lab::threads::{OnThreads, Threads, on};

struct Spawning {
    workers: usize,
    count: usize,
    /// As many at a time.
    batch: usize,
}

pub(in crate::lab) fn one_by_one(trial: &Trial) -> Result<Measured, String> {
    let (workers, count) = (trial.row.workers(), trial.amount());
    on(trial.subject, Spawning { workers, count, batch: 1 })
}

pub(in crate::lab) fn all_at_once(trial: &Trial) -> Result<Measured, String> {
    let (workers, count) = (trial.row.workers(), trial.amount());
    on(trial.subject, Spawning { workers, count, batch: count })
}

impl OnThreads for Spawning {
    type Output = Measured;

    fn on<T: Threads>(self) -> Measured {
        let Spawning { workers, count, batch } = self;
        T::run(workers, || {
            let lives = |count| match batch {
                1 => (0..count).for_each(|_| T::join(T::spawn(|| ()))),
                _ => {
                    let handles: Vec<_> = (0..count).map(|_| T::spawn(|| ())).collect();
                    handles.into_iter().for_each(T::join);
                }
            };
            lives(warm_up(count));
            let begin = Instant::now();
            lives(count);
            nanoseconds_each(begin.elapsed(), count)
        })
    }
}
