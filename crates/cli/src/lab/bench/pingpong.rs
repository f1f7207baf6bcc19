//! A message there and back between two fibers: what it costs to block and to be woken, twice.

use std::time::Instant;

use super::{channels, nanoseconds_each, warm_up};
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;
use crate::lab::threads::{OnThreads, Threads, on};

/// The two ends that one fiber holds: it sends to the other, and receives from it.
struct End<S, R> {
    send: S,
    receive: R,
}

struct PingPong<S, R> {
    workers: usize,
    count: usize,
    ends: [End<S, R>; 2],
}

/// Over the channels that fibers are measured with, with room for one message.
pub(in crate::lab) fn over_channels(trial: &Trial) -> Result<Measured, String> {
    use channels::{Receiver, Sender, bounded};
    let end = |to: Sender<usize>, from: Receiver<usize>| End {
        send: move |message| to.send(message).is_ok(),
        receive: move || from.recv().ok(),
    };
    let ((there, arrived), (back, returned)) = (bounded(1), bounded(1));
    play(trial, [end(there, returned), end(back, arrived)])
}

/// Over crossbeam's, whatever those are.
pub(in crate::lab) fn over_crossbeam(trial: &Trial) -> Result<Measured, String> {
    use crossbeam_channel::{Receiver, Sender, bounded};
    let end = |to: Sender<usize>, from: Receiver<usize>| End {
        send: move |message| to.send(message).is_ok(),
        receive: move || from.recv().ok(),
    };
    let ((there, arrived), (back, returned)) = (bounded(1), bounded(1));
    play(trial, [end(there, returned), end(back, arrived)])
}

fn play<S, R>(trial: &Trial, ends: [End<S, R>; 2]) -> Result<Measured, String>
where
    S: Fn(usize) -> bool + Send + 'static,
    R: Fn() -> Option<usize> + Send + 'static,
{
    on(trial.subject, PingPong { workers: trial.row.workers(), count: trial.amount(), ends })
}

impl<S, R> OnThreads for PingPong<S, R>
where
    S: Fn(usize) -> bool + Send + 'static,
    R: Fn() -> Option<usize> + Send + 'static,
{
    type Output = Measured;

    fn on<T: Threads>(self) -> Measured {
        let PingPong { workers, count, ends: [ping, pong] } = self;
        T::run(workers, move || {
            let pong = T::spawn(move || while (pong.receive)().is_some_and(&pong.send) {});
            let ping = T::spawn(move || {
                let round_trips = |count| {
                    for message in 0..count {
                        assert!((ping.send)(message), "the other end is there");
                        assert_eq!((ping.receive)(), Some(message));
                    }
                };
                round_trips(warm_up(count));
                let begin = Instant::now();
                round_trips(count);
                begin.elapsed()
            });
            let elapsed = T::join(ping);
            T::join(pong);
            nanoseconds_each(elapsed, count)
        })
    }
}
