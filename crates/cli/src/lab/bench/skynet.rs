//! A tree of fibers, ten children each, whose leaves are numbered: the root learns the sum of all numbers. Spawning,
//! joining and a million stacks, if it is done in breadth; in depth it is a handful of stacks that stay in the cache.
//!
//! What a child has found is the result of its join: fibers, as threads, have one. (Channels would tell the same, and
//! cost an allocation each.)

use std::time::Instant;

use crate::lab::measured::Measured;
use crate::lab::subject::Trial;
use crate::lab::threads::{OnThreads, Threads, on};

const CHILDREN: u64 = 10;

struct Tree {
    workers: usize,
    leaves: u64,
}

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    let leaves = trial.amount() as u64;
    let is_whole = (1..=9).any(|height| CHILDREN.pow(height) == leaves);
    if !is_whole {
        return Err(format!("{leaves} leaves are no tree of ten children each"));
    }
    on(trial.subject, Tree { workers: trial.row.workers(), leaves })?
}

impl OnThreads for Tree {
    type Output = Result<Measured, String>;

    fn on<T: Threads>(self) -> Self::Output {
        let leaves = self.leaves;
        T::run(self.workers, || {
            let begin = Instant::now();
            let sum = T::join(T::spawn(move || sum::<T>(0, leaves)));
            let elapsed = begin.elapsed();
            let expected = leaves * (leaves - 1) / 2;
            match sum == expected {
                true => Ok(Measured::new(elapsed.as_secs_f64() * 1e3)),
                false => Err(format!("the sum is {sum}, not {expected}")),
            }
        })
    }
}

/// Of the numbers of the leaves below, the first of which is `first`.
fn sum<T: Threads>(first: u64, leaves: u64) -> u64 {
    if leaves <= 1 {
        return first;
    }
    let each = leaves / CHILDREN;
    let children = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|nth| {
        let first = first + nth * each;
        T::spawn(move || sum::<T>(first, each))
    });
    children.into_iter().map(T::join).sum()
}
