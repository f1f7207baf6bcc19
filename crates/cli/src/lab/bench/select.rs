//! A select over eight channels, one of which has a message: what it costs to look at all of them and to take it. Nobody
//! waits: the same fiber sends the message just before, to another channel each time.

use std::time::Instant;

use timestop::channel::{Receiver, Sender, bounded, select};

use super::{nanoseconds_each, warm_up};
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;
use crate::lab::threads::{Fibers, Threads};

const CHANNELS: usize = 8;

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    let count = trial.amount();
    let elapsed = Fibers::run(trial.row.workers(), || {
        let selecting = Fibers::spawn(move || {
            let channels: [_; CHANNELS] = std::array::from_fn(|_| bounded(1));
            take(&channels, warm_up(count));
            let begin = Instant::now();
            take(&channels, count);
            begin.elapsed()
        });
        Fibers::join(selecting)
    });
    Ok(nanoseconds_each(elapsed, count))
}

fn take(channels: &[(Sender<usize>, Receiver<usize>); CHANNELS], count: usize) {
    let [c0, c1, c2, c3, c4, c5, c6, c7] = channels.each_ref().map(|(_, receiver)| receiver);
    for message in 0..count {
        channels[message % CHANNELS].0.send(message).expect("there is room");
        let received = select! {
            recv(c0) -> received => received,
            recv(c1) -> received => received,
            recv(c2) -> received => received,
            recv(c3) -> received => received,
            recv(c4) -> received => received,
            recv(c5) -> received => received,
            recv(c6) -> received => received,
            recv(c7) -> received => received,
        };
        assert_eq!(received, Ok(message), "another message was selected");
    }
}
