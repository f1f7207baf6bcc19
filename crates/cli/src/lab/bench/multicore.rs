//! The same work in two fibers, on one core and on two: does the second help?

use std::hint::black_box;
use std::time::Instant;

use super::warm_up;
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;
use crate::lab::threads::{OnThreads, Threads, on};

struct Computing {
    workers: usize,
    rounds: usize,
}

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    on(trial.subject, Computing { workers: trial.row.workers(), rounds: trial.amount() })
}

impl OnThreads for Computing {
    type Output = Measured;

    fn on<T: Threads>(self) -> Measured {
        let halves = |rounds: usize| {
            let half = |seed| T::spawn(move || compute(seed, rounds / 2));
            [half(1), half(2)].map(T::join)
        };
        T::run(self.workers, || {
            halves(warm_up(self.rounds));
            let begin = Instant::now();
            halves(self.rounds);
            Measured::new(begin.elapsed().as_secs_f64() * 1e3)
        })
    }
}

/// Knuth's linear congruential generator: each number needs the one before. The compiler is kept from making one
/// step of several rounds, which programs in other languages do not.
fn compute(seed: u64, rounds: usize) -> u64 {
    let mut number = seed;
    for _ in 0..rounds {
        number = black_box(
            number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407),
        );
    }
    number
}
