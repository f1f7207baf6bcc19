//! When the workers in [reserve](crate::sched::reserve) are called up. Nothing here knows whose lock it is that
//! keeps fibers from running at once, or who holds it: it is tried out.
//!
//! | what is seen | then all workers work |
//! |---|---|
//! | a run computes for long while others wait | for a [`TRIAL`] |
//! | for a [`SPAN`] one worker had no rest, others waited, and the CPU time went into the program and not into the kernel | for a [`TRIAL`] |
//! | at a trial the process had much more than one CPU | for a [`STINT`], which is a trial again |
//! | it had not: whoever has got a worker waits for the lock | not for a [`SPAN`], then for two, … |
//!
//! What goes into the kernel does not count because it runs without the lock in any case: a server that moves
//! messages would always look promising.

use super::TICK;
use super::watch::Watch;
use crate::sched::reserve::Reserve;
use crate::sys;

const SPAN: u64 = 200 * TICK;
const TRIAL: u64 = 20 * TICK;
const STINT: u64 = 500 * TICK;
/// A trial that showed nothing is repeated after a span, then two, … and so many at last.
const SPANS_AT_MOST: u64 = 16;

/// How many in 100 looks, or of the CPU time, are …
const BUSY: u64 = 90;
const SOME: u64 = 30;
const MOST: u64 = 70;
/// … and what is much more than one CPU, in hundredths. (Fibers that only run into a lock use half of a second one.)
const MORE_THAN_ONE: u64 = 165;

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
    /// The next trial comes after that; how many spans it was put off.
    not_before: u64,
    spans: u64,
}

/// Looks, and what they found.
#[derive(Debug, Default)]
struct Seen {
    looks: u64,
    /// Somebody ran; somebody waited.
    busy: u64,
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
            not_before: 0,
            spans: 0,
        }
    }

    /// Looks: somebody `runs`, and perhaps somebody `waits`.
    pub(super) fn look(
        &mut self,
        reserve: &Reserve,
        watches: &[Watch],
        (runs, waits): (bool, bool),
        now: u64,
    ) {
        self.seen.looks += 1;
        self.seen.busy += u64::from(runs);
        self.seen.waited += u64::from(waits);
        let over = now >= self.until;
        let next = if self.trial {
            if !over {
                return;
            }
            self.judge(now).then_some(STINT)
        } else {
            let may = now >= self.not_before;
            let computes = || watches.iter().any(|watch| watch.lasted() >= TICK / 2);
            let wanted = may && (waits && computes() || over && self.is_pressed());
            if !wanted && !over {
                return;
            }
            wanted.then_some(TRIAL)
        };
        self.trial = next.is_some();
        if let Some(time) = next {
            reserve.call(now + time);
        }
        (self.since, self.until) = (now, now + next.unwrap_or(SPAN));
        self.before = (self.cpu_times)();
        self.seen = Seen::default();
    }

    /// CPU time since the beginning: all of it, and in the program.
    fn used(&self) -> (u64, u64) {
        let used = (self.cpu_times)();
        let [program, kernel] = [used[0] - self.before[0], used[1] - self.before[1]];
        (program + kernel, program)
    }

    /// Whether the span that is over calls for a trial.
    fn is_pressed(&mut self) -> bool {
        let Seen { looks, busy, waited } = self.seen;
        let enough = looks >= SPAN / TICK / 4 && 100 * busy >= BUSY * looks;
        enough && 100 * waited >= SOME * looks && {
            let (all, program) = self.used();
            100 * program >= MOST * all
        }
    }

    /// Whether the trial that is over was worth it.
    fn judge(&mut self, now: u64) -> bool {
        let (all, program) = self.used();
        let time = now - self.since;
        // Of a few milliseconds the kernel does not tell what was its own.
        let told = self.until - self.since >= SPAN;
        let worth = 100 * all >= MORE_THAN_ONE * time && (!told || 100 * program >= MOST * all);
        self.spans = if worth { 0 } else { (2 * self.spans).clamp(1, SPANS_AT_MOST) };
        self.not_before = now + self.spans * SPAN;
        worth
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static USED: Cell<[u64; 2]> = const { Cell::new([0; 2]) };
    }

    /// Looks each millisecond for `time`, at a process that uses so much CPU time in it, in the program and in the
    /// kernel, while one works and while all do; how long all were called.
    fn look(state: &mut (Muster, Reserve, u64), time: u64, used: [[u64; 2]; 2]) -> u64 {
        let (muster, reserve, now) = state;
        let mut called = 0;
        for _ in 0..time / TICK {
            *now += TICK;
            let is_called = reserve.is_called_at(*now);
            let more = used[usize::from(is_called)];
            USED.set([0, 1].map(|index| USED.get()[index] + more[index]));
            let runs = more != [0; 2];
            muster.look(reserve, &[], (runs, runs), *now);
            called += u64::from(is_called) * TICK;
        }
        called
    }

    fn state() -> (Muster, Reserve, u64) {
        (Muster { cpu_times: || USED.get(), ..Muster::new() }, Reserve::new(true), TICK)
    }

    const ONE: [u64; 2] = [TICK, 0];
    const TWO: [u64; 2] = [2 * TICK, 0];

    #[test]
    fn who_gets_more_than_one_cpu_stays_called() {
        let mut state = state();
        assert_eq!(look(&mut state, 2 * SPAN, [[0; 2]; 2]), 0, "nobody is busy");
        let called = look(&mut state, 20 * SPAN, [ONE, TWO]);
        assert!(called > 15 * SPAN, "{called}");
        let called = look(&mut state, 10 * STINT, [[0; 2]; 2]);
        assert!(called <= STINT, "{called}");
    }

    #[test]
    fn who_does_not_is_tried_ever_more_seldom() {
        let mut state = state();
        let called = [SPAN * 20, SPAN * 1000]
            .map(|time| 100_000 * look(&mut state, time, [ONE, ONE]) / time);
        assert!(called[0] > 0 && called[1] > 0, "{called:?}");
        assert!(called[1] < called[0] && called[1] < 1_000, "{called:?} of 100,000");
    }

    #[test]
    fn who_is_busy_in_the_kernel_is_not_tried() {
        assert_eq!(look(&mut state(), 100 * SPAN, [[TICK / 2; 2], [TICK; 2]]), 0);
    }
}
