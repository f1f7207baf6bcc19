//! How much of the time preemptions may take that turn out to help nobody.
//!
//! Whoever is due may be due for nothing: in a program whose code runs under one lock (Python's), a fiber that is woken
//! waits at once for the lock that the preempted one holds, and each of those that wait so wakes up again every few
//! milliseconds, to ask for it. A web server on one core made 1,400 preemptions a second for those who looked for the
//! lock in vain, and the monitor woke 15,000 times, each time that another was due.
//!
//! So each is judged when its fiber goes on: if the first of those that it made way for waits for another fiber then, the
//! preemption was *vain*. So is every one in a program that is known to run under one lock: if it helped somebody, then
//! to the lock, which another had in the middle of its work. Vain ones draw on an [`Allowance`]. Where that is used up
//! nobody is preempted in favour of others before his slice is over, and the monitor looks no sooner, until there is
//! something left again, after two milliseconds at most. One that helped fills it up.
//!
//! Rejected: to forbid them. Python's lock goes from a thread that computes to another one only because that one wakes up
//! and asks.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::fiber::FiberRef;

/// What a vain preemption costs, in nanoseconds: itself, its resumption, the run in between, the look of the monitor.
const COST: i64 = 20_000;
/// They may take one in so many nanoseconds.
const SHARE: i64 = 100;
/// So many may follow one another after a while without.
const BURST: i64 = 5;

/// What came of preemptions in favour of who was due.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    helped: AtomicU64,
    vain: AtomicU64,
}

impl Turns {
    /// A fiber goes on that had made way, for `first` at first.
    pub(crate) fn count(&self, first: FiberRef, one_lock: bool) {
        let counter = if one_lock || first.waits_for_others() { &self.vain } else { &self.helped };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub(super) struct Allowance {
    /// Nanoseconds.
    left: i64,
    seen: u64,
    helped: u64,
    vain: u64,
}

impl Allowance {
    pub(super) fn new() -> Self {
        Self { left: BURST * COST, seen: 0, helped: 0, vain: 0 }
    }

    /// Accounts for the time and the preemptions since the last look.
    pub(super) fn look(&mut self, turns: &Turns, now: u64) {
        let [helped, vain] = [&turns.helped, &turns.vain].map(|count| count.load(Ordering::Relaxed));
        let passed = now.saturating_sub(self.seen).cast_signed() / SHARE;
        let used = (vain - self.vain).cast_signed().saturating_mul(COST);
        self.left = if helped == self.helped {
            self.left.saturating_add(passed).min(BURST * COST).saturating_sub(used).max(-COST)
        } else {
            BURST * COST
        };
        (self.seen, self.helped, self.vain) = (now, helped, vain);
    }

    pub(super) fn is_left(&self) -> bool {
        self.left > 0
    }

    /// When something is left, unless that is the case.
    pub(super) fn next(&self) -> u64 {
        if self.is_left() { 0 } else { self.seen + ((1 - self.left) * SHARE).cast_unsigned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every 50 µs for a second, preempts whenever it may, in vain if that is what `vain` says of the time; how
    /// often it did.
    fn second(vain: impl Fn(u64) -> bool) -> u64 {
        let (turns, mut allowance, mut preempted) = (Turns::default(), Allowance::new(), 0);
        for now in (0..1_000_000_000).step_by(50_000) {
            allowance.look(&turns, now);
            assert_eq!(allowance.is_left(), allowance.next() <= now);
            if allowance.is_left() {
                preempted += 1;
                let counter = if vain(now) { &turns.vain } else { &turns.helped };
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
        preempted
    }

    #[test]
    fn vain_ones_take_their_share_of_the_time() {
        let count = second(|_| true).cast_signed();
        assert!((400..=510).contains(&count), "{count} at {COST} ns each");
    }

    #[test]
    fn those_that_help_are_not_rationed() {
        assert_eq!(second(|_| false), 20_000);
        // Nor those beside which some are vain.
        assert!(second(|now| now / 50_000 % 4 != 0) > 19_000);
    }
}
