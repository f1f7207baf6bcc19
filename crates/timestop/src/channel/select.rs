//! Choosing from several arms.
//!
//! **First pass**: which arms seem ready? One of them is taken by lot and done, as if there were no
//! others. No queue knows of the select yet, so only the partner has to be claimed.
//!
//! **Then**, if none is, it waits in all their queues ([`meeting`](super::meeting)).
//!
//! Rejected: Go's way, to lock all channels at once (a select over a thousand holds a thousand locks);
//! crossbeam's, to order the message by the arm that was chosen (a value must then be made for each).

use std::cell::Cell;
use std::time::Duration;

use timestop_runtime::sys;

use super::arm::ArmRef;
use super::meeting::{Slept, queue_and_sleep};
use crate::wait::sleeper::interrupted;
use crate::wait::sync::Interrupted;
use crate::wait::time;
use crate::wait::waiter::Waiter;

/// How a select ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// This arm was done.
    Chose(usize),
    /// None could be done in time.
    Nothing,
    /// The fiber is to end.
    Interrupted(Interrupted),
}

/// How long a select waits.
#[derive(Debug, Clone, Copy)]
pub enum Patience {
    /// For ever.
    Endless,
    /// Not at all.
    None,
    /// Until that time, in monotonic nanoseconds.
    Until(u64),
}

/// What `default(limit)` says: a duration from now.
#[must_use]
pub fn patience(limit: Duration) -> Patience {
    Patience::Until(time::from_now(limit))
}

/// Does one of the arms.
///
/// As a receiver, a cancelled fiber gets nothing, even where there is something; it still sends where it
/// need not wait. Without waiting ([`Patience::None`]) nothing is ended by cancelling.
#[inline]
pub fn run(arms: &[ArmRef<'_>], patience: Patience) -> Ended {
    let ended = match patience {
        Patience::None => None,
        _ => interrupted(),
    };
    if let Some(index) = choose(arms, ended.is_some()) {
        return Ended::Chose(index);
    }
    match (ended, patience) {
        (Some(why), _) => Ended::Interrupted(why),
        (None, Patience::None) => Ended::Nothing,
        (None, Patience::Endless) => wait(arms, u64::MAX),
        (None, Patience::Until(deadline)) => wait(arms, deadline),
    }
}

/// The first pass. All that are ready have the same chance.
#[inline]
fn choose(arms: &[ArmRef<'_>], only_sends: bool) -> Option<usize> {
    loop {
        let (mut ready, mut chosen) = (0, 0);
        for (index, arm) in arms.iter().enumerate() {
            if (!only_sends || arm.0.sends()) && arm.0.seems_ready() {
                ready += 1;
                // The n-th takes the place of the one before with a chance of one in n.
                if ready == 1 || below(ready) == 0 {
                    chosen = index;
                }
            }
        }
        if ready == 0 {
            return None;
        }
        // Where another was faster, the next look says so: the attempt has tidied up.
        if arms[chosen].0.attempt() {
            return Some(chosen);
        }
    }
}

/// A random number below `end`.
#[inline]
fn below(end: u32) -> u32 {
    thread_local! {
        static RANDOM: Cell<u64> = const { Cell::new(0) };
    }
    let random = RANDOM.with(|word| {
        let mut random = word.get();
        if random == 0 {
            // Different in each thread and fiber.
            random = sys::now() ^ (std::ptr::from_ref(word) as u64) << 20 | 1;
        }
        // xorshift64, whose upper half is good enough for a lot.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        word.set(random);
        random >> 32
    });
    ((random * u64::from(end)) >> 32) as u32
}

/// None was ready: waits until one is done, or is worth another look.
#[cold]
fn wait(arms: &[ArmRef<'_>], deadline: u64) -> Ended {
    let mut order: Vec<_> = arms.iter().map(|arm| arm.0).collect();
    order.sort_by_key(|arm| arm.channel());
    let waiter = Waiter::select();
    loop {
        let due = arms.iter().map(|arm| arm.0.due()).min().unwrap_or(u64::MAX);
        let outcome = queue_and_sleep(&order, &waiter, deadline.min(due));
        match outcome {
            Slept::Served => {
                let index = waiter.arm();
                arms[index].0.complete(waiter.end());
                return Ended::Chose(index);
            }
            Slept::Ready => {}
            Slept::Ended(why) => {
                // What came together with the end has come.
                if why == Interrupted::TimedOut
                    && let Some(index) = choose(arms, false)
                {
                    return Ended::Chose(index);
                }
                if let Some(why) = interrupted() {
                    return Ended::Interrupted(why);
                }
                if deadline <= sys::now() {
                    return Ended::Nothing;
                }
            }
        }
        waiter.reopen();
        if let Some(index) = choose(arms, false) {
            return Ended::Chose(index);
        }
    }
}
