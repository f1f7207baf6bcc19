//! When the workers in [reserve](crate::sched::reserve) are called up. Nothing here knows whose lock it is that
//! keeps fibers from running at once, or who holds it: it is tried out.
//!
//! | what is seen | then all workers work |
//! |---|---|
//! | a run computes for long while others wait, or several do | for [`CALLED`] since |
//! | for a [`SPAN`] one worker had no rest, others waited, and the CPU time went into the program and not into the kernel | for a [`TRIAL`] |
//! | at a trial several ran at once in a good part of the looks | for a [`STINT`], which is a trial again |
//!
//! What goes into the kernel does not count because it runs without the lock in any case: a server that moves
//! messages would always look promising.

use super::TICK;
use super::watch::Watch;
use crate::sched::reserve::Reserve;
use crate::sys;

const CALLED: u64 = 100 * TICK;
const SPAN: u64 = 200 * TICK;
const TRIAL: u64 = 10 * TICK;
const STINT: u64 = 500 * TICK;
/// A trial that showed nothing is repeated after a span, then two, … and so many at last.
const SPANS_AT_MOST: u32 = 16;

/// How many in 100 looks, or of the CPU time, are …
const BUSY: u64 = 90;
const SOME: u64 = 30;
const MOST: u64 = 70;

#[derive(Debug)]
pub(super) struct Muster {
    /// CPU time that the process has used in the program and in the kernel.
    cpu_times: fn() -> [u64; 2],
    /// Whether this is a trial. Else one works, and a trial may follow.
    trial: bool,
    /// When it began, and until when it lasts.
    since: u64,
    until: u64,
    /// CPU time at its beginning.
    before: [u64; 2],
    seen: Seen,
    /// Spans to go before the next trial, and how many there were before the last.
    to_go: u32,
    spans: u32,
}

/// Looks, and what they found.
#[derive(Debug, Default)]
struct Seen {
    looks: u64,
    /// Somebody ran; several did; somebody waited.
    busy: u64,
    several: u64,
    waited: u64,
}

impl Muster {
    pub(super) fn new() -> Self {
        Self {
            cpu_times: sys::cpu_times,
            trial: false,
            since: 0,
            until: 0,
            before: [0; 2],
            seen: Seen::default(),
            to_go: 0,
            spans: 0,
        }
    }

    /// Looks: `runs` workers run something, and perhaps somebody `waits`.
    pub(super) fn look(
        &mut self,
        reserve: &Reserve,
        watches: &[Watch],
        (runs, waits): (usize, bool),
        now: u64,
    ) {
        let computing = watches.iter().filter(|watch| watch.lasted() >= TICK / 2).count();
        if computing + usize::from(waits) > 1 {
            reserve.call(now + CALLED);
        }
        let seen = &mut self.seen;
        seen.looks += 1;
        seen.busy += u64::from(runs > 0);
        seen.several += u64::from(runs > 1);
        seen.waited += u64::from(waits);
        if now >= self.until {
            let next = if self.trial { self.judge() } else { self.is_pressed(reserve, now) };
            match next.then_some(if self.trial { STINT } else { TRIAL }) {
                Some(time) => {
                    reserve.call(now + time);
                    self.begin(true, now, time);
                }
                None => self.begin(false, now, SPAN),
            }
        }
    }

    fn begin(&mut self, trial: bool, now: u64, time: u64) {
        self.trial = trial;
        (self.since, self.until) = (now, now + time);
        self.before = (self.cpu_times)();
        self.seen = Seen::default();
    }

    /// Whether most of the CPU time since the beginning went into the program.
    fn computes(&self) -> bool {
        let used = (self.cpu_times)();
        let [program, kernel] = [used[0] - self.before[0], used[1] - self.before[1]];
        100 * program >= MOST * (program + kernel)
    }

    /// Whether the span that is over calls for a trial.
    fn is_pressed(&mut self, reserve: &Reserve, now: u64) -> bool {
        let Seen { looks, busy, waited, .. } = self.seen;
        let enough = looks >= SPAN / TICK / 4 && 100 * busy >= BUSY * looks;
        if reserve.is_called_at(now) || !enough || 100 * waited < SOME * looks || !self.computes() {
            return false;
        }
        self.to_go = self.to_go.saturating_sub(1);
        self.to_go == 0
    }

    /// Whether the trial that is over was worth it.
    fn judge(&mut self) -> bool {
        let Seen { looks, several, .. } = self.seen;
        // Of a few milliseconds the kernel does not tell.
        let told = self.until - self.since >= SPAN;
        let worth = 100 * several >= SOME * looks && (!told || self.computes());
        self.spans = if worth { 0 } else { (2 * self.spans).clamp(1, SPANS_AT_MOST) };
        self.to_go = self.spans;
        worth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a process that uses no time in the kernel.
    fn computing() -> Muster {
        Muster { cpu_times: || [0, 0], ..Muster::new() }
    }

    /// Looks each millisecond from `now` for `time`; how long all were called.
    fn look(muster: &mut Muster, reserve: &Reserve, now: &mut u64, time: u64, runs: [usize; 2]) -> u64 {
        let mut called = 0;
        for _ in 0..time / TICK {
            *now += TICK;
            muster.look(reserve, &[], (runs[usize::from(reserve.is_called_at(*now))], true), *now);
            called += u64::from(reserve.is_called_at(*now)) * TICK;
        }
        called
    }

    #[test]
    fn who_runs_at_once_when_called_stays_called() {
        let (mut muster, mut now) = (computing(), TICK);
        let reserve = Reserve::new(true);
        assert_eq!(look(&mut muster, &reserve, &mut now, SPAN, [0, 0]), 0, "nobody is busy");
        let called = look(&mut muster, &reserve, &mut now, 20 * SPAN, [1, 2]);
        assert!(called > 15 * SPAN, "{called}");
        let called = look(&mut muster, &reserve, &mut now, 10 * STINT, [0, 0]);
        assert!(called <= 2 * STINT, "{called}");
        assert!(!reserve.is_called_at(now));
    }

    #[test]
    fn who_does_not_is_tried_ever_more_seldom() {
        let (mut muster, mut now) = (computing(), TICK);
        let reserve = Reserve::new(true);
        let called = [SPAN * 20, SPAN * 1000].map(|time| {
            100_000 * look(&mut muster, &reserve, &mut now, time, [1, 1]) / time
        });
        assert!(called[0] > 0 && called[1] > 0, "{called:?}");
        assert!(called[1] < called[0] && called[1] < 500, "{called:?} of 100,000");
    }
    #[test]
    fn who_is_busy_in_the_kernel_is_not_tried() {
        use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
        static USED: AtomicU64 = AtomicU64::new(0);
        let (mut muster, mut now) = (computing(), TICK);
        muster.cpu_times = || [USED.fetch_add(1, Relaxed) + 1; 2];
        let reserve = Reserve::new(true);
        assert_eq!(look(&mut muster, &reserve, &mut now, 100 * SPAN, [1, 2]), 0);
    }
}
