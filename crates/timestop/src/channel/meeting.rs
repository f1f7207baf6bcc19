//! A select in the queues of all its channels.
//!
//! The select queues itself in each channel, under the lock of one at a time. One that
//! turns out to be ready after all ends the pass: the select withdraws, leaves all queues and begins again.
//! It is not done there and then, because another could claim the select by an arm that is queued
//! already, at the same time as the select claims its partner: two claims that cannot be made as one.
//! Whoever withdraws has seen a partner that was queued; if that one withdraws too, it has seen
//! another further on, since all selects go through channels in order of address. So there is a last
//! one, which does not withdraw, and of any number that meet at least one goes on.
//!
//! Else it sleeps until one has claimed it, and leaves the other queues.

use crate::wait::sync::{For, Interrupted, Limit};
use crate::wait::waiter::{End, Waiter};

/// An arm, whatever it receives or sends. Used by one thread or fiber at a time.
pub(super) trait Arm {
    /// The address of its channel: the order in which a select enters queues.
    fn channel(&self) -> usize;
    fn sends(&self) -> bool;
    /// Whether it could be done at once, as far as can be told without a lock.
    fn seems_ready(&self) -> bool;
    /// Does it, if that needs no waiting.
    fn attempt(&self) -> bool;
    /// Queues it for a waiter; false if it could be done at once.
    fn enlist(&self, waiter: &Waiter) -> bool;
    fn delist(&self);
    /// It was chosen by another, who has ended the wait so.
    fn complete(&self, end: End);
    /// It was not done, nor any other: this one has to say why.
    fn fail(&self, why: Interrupted);
    /// When it can be done, by the clock; `u64::MAX` for never.
    fn due(&self) -> u64;
}

/// How the sleep ended.
pub(super) enum Slept {
    Served,
    /// An arm was ready.
    Ready,
    Ended(Interrupted),
}

/// Queues the waiter everywhere, in the order of `arms`, sleeps, and takes it out of all queues.
pub(super) fn queue_and_sleep(arms: &[&dyn Arm], waiter: &Waiter, deadline: u64) -> Slept {
    let queued = arms.iter().take_while(|arm| arm.enlist(waiter)).count();
    let mut slept = Slept::Ready;
    if queued == arms.len() {
        let what = (For::OneOf, arms.len());
        slept = match waiter.wait(what, Limit::until(deadline)) {
            None => Slept::Served,
            Some(why) => Slept::Ended(why),
        };
    }
    if !matches!(slept, Slept::Served) && !waiter.withdraw() {
        // Claimed, and about to be served.
        let ended = waiter.wait((For::OneOf, arms.len()), Limit::COMING);
        debug_assert!(ended.is_none());
        slept = Slept::Served;
    }
    arms[..queued].iter().for_each(|arm| arm.delist());
    slept
}
