//! A token that goes round a thousand fibers, each of which waits for it and hands it on: a wake-up whose stack and
//! channel have been out of the cache for a while.

use std::time::Instant;

use super::channels::{Receiver, Sender, bounded};
use super::{nanoseconds_each, warm_up};
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;
use crate::lab::threads::{OnThreads, Threads, on};

pub(in crate::lab) const FIBERS: usize = 1_000;

struct Ring {
    workers: usize,
    hops: usize,
}

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    on(trial.subject, Ring { workers: trial.row.workers(), hops: trial.amount() })
}

impl OnThreads for Ring {
    type Output = Measured;

    fn on<T: Threads>(self) -> Measured {
        T::run(self.workers, || {
            let (first, mut receiver) = bounded::<usize>(1);
            let mut handles = Vec::with_capacity(FIBERS);
            // All but the one that counts.
            for _ in 1..FIBERS {
                let (sender, next) = bounded(1);
                handles.push(T::spawn(move || hand_on(&receiver, &sender)));
                receiver = next;
            }
            let hops = self.hops;
            let counting = T::spawn(move || {
                go_round(&first, &receiver, warm_up(hops));
                let begin = Instant::now();
                let done = go_round(&first, &receiver, hops);
                // Dropping the ends tells the next that it is over, and so on round the ring.
                (begin.elapsed(), done)
            });
            let (elapsed, hops) = T::join(counting);
            handles.into_iter().for_each(T::join);
            nanoseconds_each(elapsed, hops)
        })
    }
}

fn hand_on(receiver: &Receiver<usize>, sender: &Sender<usize>) {
    for token in receiver.iter() {
        if sender.send(token + 1).is_err() {
            return;
        }
    }
}

/// Whole rounds, `hops` hops or a few more: returns how many.
fn go_round(first: &Sender<usize>, last: &Receiver<usize>, hops: usize) -> usize {
    let mut token = 0;
    while token < hops {
        first.send(token + 1).expect("the ring is there");
        token = last.recv().expect("the ring is there");
    }
    token
}
