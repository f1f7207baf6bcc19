//! The next value of a generator: two switches of stacks, on whatever resumes it.

use std::time::Instant;

use timestop::coro::Generator;

use super::{nanoseconds_each, warm_up};
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;
use crate::lab::threads::{Fibers, Threads};

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    let count = trial.amount();
    let elapsed = Fibers::run(trial.row.workers(), || {
        let counting = Fibers::spawn(move || {
            let mut numbers = Generator::new(|y| {
                for number in 0_usize.. {
                    y.yield_(number);
                }
            });
            let warm = warm_up(count);
            assert_eq!(numbers.by_ref().take(warm).last(), Some(warm - 1));
            let begin = Instant::now();
            let last = numbers.by_ref().take(count).last();
            let elapsed = begin.elapsed();
            assert_eq!(last, Some(warm + count - 1), "a value was left out");
            elapsed
        });
        Fibers::join(counting)
    });
    Ok(nanoseconds_each(elapsed, count))
}
