//! The life of a fiber that does nothing: spawned and joined before the next one, after a tenth as many to warm up.

use std::time::Instant;

use super::nanoseconds_each;
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;
use crate::lab::threads::{OnThreads, Threads, on};

struct SpawnJoin {
    workers: usize,
    count: usize,
}

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    on(trial.subject, SpawnJoin { workers: trial.parameter(), count: trial.count(50_000) })
}

impl OnThreads for SpawnJoin {
    type Output = Measured;

    fn on<T: Threads>(self) -> Measured {
        let one_by_one = |count| (0..count).for_each(|_| T::join(T::spawn(|| ())));
        T::run(self.workers, || {
            one_by_one(self.count / 10);
            let begin = Instant::now();
            one_by_one(self.count);
            nanoseconds_each(begin.elapsed(), self.count)
        })
    }
}
