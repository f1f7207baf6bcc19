//! Four send, four receive, all on one channel: what a message costs when nobody is a partner of anybody.

use std::time::Instant;

use super::channels::bounded;
use super::{nanoseconds_each, warm_up};
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;
use crate::lab::threads::{OnThreads, Threads, on};

const SIDES: usize = 4;
const CAPACITY: usize = 1_024;

struct Crowd {
    workers: usize,
    /// Messages of each sender.
    each: usize,
}

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    let each = trial.amount().div_ceil(SIDES);
    on(trial.subject, Crowd { workers: trial.row.workers(), each })
}

impl OnThreads for Crowd {
    type Output = Measured;

    fn on<T: Threads>(self) -> Measured {
        T::run(self.workers, || {
            pass::<T>(warm_up(self.each));
            let begin = Instant::now();
            pass::<T>(self.each);
            nanoseconds_each(begin.elapsed(), SIDES * self.each)
        })
    }
}

/// Each sender sends the numbers from 0; the sum of what all receive says that nothing was lost.
fn pass<T: Threads>(each: usize) {
    let (sender, receiver) = bounded::<usize>(CAPACITY);
    let receivers: Vec<_> = (0..SIDES)
        .map(|_| {
            let receiver = receiver.clone();
            T::spawn(move || receiver.iter().sum::<usize>())
        })
        .collect();
    let senders: Vec<_> = (0..SIDES)
        .map(|_| {
            let sender = sender.clone();
            T::spawn(move || {
                (0..each).for_each(|n| sender.send(n).expect("there are receivers"));
            })
        })
        .collect();
    // The last sender that goes ends the channel.
    drop(sender);
    senders.into_iter().for_each(T::join);
    let sum: usize = receivers.into_iter().map(T::join).sum();
    assert_eq!(sum, SIDES * (each * (each - 1) / 2), "messages were lost or doubled");
}
