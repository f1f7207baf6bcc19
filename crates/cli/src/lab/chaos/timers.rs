//! Time: nobody wakes early, and a time limit ends a read.

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use super::dice::Dice;
use super::part::{Outcome, Part, same};

pub(super) fn part() -> Part {
    Part::of("timers", 3, |_| round)
}

fn round(dice: &mut Dice) -> Outcome {
    let (limit, begin) = (Duration::from_micros(dice.below(2_000) as u64), Instant::now());
    thread::sleep(limit);
    same("a sleep lasts", begin.elapsed() >= limit, true)?;

    let (mut ours, _theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
    let begin = Instant::now();
    let read = timestop::timeout(limit, || ours.read(&mut [0]));
    let kind = read.map_err(|error| error.kind());
    same("a read with a time limit", kind, Err(ErrorKind::TimedOut))?;
    same("a time limit lasts", begin.elapsed() >= limit, true)
}
