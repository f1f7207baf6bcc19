//! A message there and back between two fibers: what it costs to block and to be woken, twice.

use std::sync::mpsc;
use std::time::Instant;

use super::nanoseconds_each;
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

/// Over the standard library's unbounded channel.
pub(in crate::lab) fn std_channels(trial: &Trial) -> Result<Measured, String> {
    let end = |to: mpsc::Sender<usize>, from: mpsc::Receiver<usize>| End {
        send: move |message| to.send(message).is_ok(),
        receive: move || from.recv().ok(),
    };
    let ((there, arrived), (back, returned)) = (mpsc::channel(), mpsc::channel());
    play(trial, [end(there, returned), end(back, arrived)])
}

/// Over crossbeam's channels, with room for one message.
pub(in crate::lab) fn crossbeam_channels(trial: &Trial) -> Result<Measured, String> {
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
    on(trial.subject, PingPong { workers: trial.parameter(), count: trial.count(200_000), ends })
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
            let begin = Instant::now();
            let pong = T::spawn(move || while (pong.receive)().is_some_and(&pong.send) {});
            let ping = T::spawn(move || {
                for message in 0..count {
                    assert!((ping.send)(message), "the other end is there");
                    assert_eq!((ping.receive)(), Some(message));
                }
            });
            T::join(ping);
            T::join(pong);
            nanoseconds_each(begin.elapsed(), count)
        })
    }
}
