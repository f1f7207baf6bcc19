//! What the monitor knows of one worker, and of a carrier whose worker it has taken.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};

use crate::fiber::FiberRef;
use crate::sched::{Carrier, Worker};

/// One run of a fiber on a worker, as the monitor has seen it: from the first look that found it.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The worker's pulse and the carrier: the same as before means the same run.
    pulse: u64,
    carrier: usize,
    /// When the run was first seen, and what CPU time the carrier had used then.
    pub(super) since: u64,
    cpu_before: u64,
    /// And at the last look.
    cpu_seen: u64,
    looked: u64,
    /// What the fiber had used of its slice before.
    base: u64,
    /// Looks that have found this run, the first not counted.
    pub(super) looks: u32,
    /// The OS thread has used no CPU time since the look before: it may be blocked, or descheduled.
    pub(super) stands: bool,
    /// When its preemption was first asked for, and what of its slice it had used then. No time if it was
    /// not.
    asked: Option<(u64, u64)>,
    /// And last.
    last_asked: u64,
}

impl Watch {
    /// Looks at `fiber`, which runs on the worker: whether it is the run of the last look. Charges the
    /// fiber with the time since.
    pub(super) fn look(
        &mut self,
        worker: &Worker,
        carrier: &Carrier,
        fiber: FiberRef,
        now: u64,
    ) -> bool {
        let pulse = worker.pulse();
        let address = std::ptr::from_ref(carrier) as usize;
        let same = self.pulse == pulse && self.carrier == address && self.since != 0;
        if same {
            let cpu = carrier.cpu_time();
            if self.looks == 0 {
                // The carrier's clock is read for runs that last only.
                self.cpu_before = cpu;
                fiber.charge(now.saturating_sub(self.looked));
            } else {
                fiber.charge(cpu.saturating_sub(self.cpu_seen));
            }
            self.stands = self.looks == 0 || cpu == self.cpu_seen;
            self.cpu_seen = cpu;
            self.looks = self.looks.saturating_add(1);
        } else {
            // Whatever is found running stands for all that ran since the last look.
            fiber.charge(now.saturating_sub(self.looked).min(super::TICK));
            let base = if fiber.is_hog() { fiber.slice_used() } else { 0 };
            *self = Self { pulse, carrier: address, since: now, base, ..Self::default() };
        }
        self.looked = now;
        same
    }

    /// Whether the run lasts long enough for others to suffer by it. (Two looks may be much less apart.)
    pub(super) fn lasts_long(&self, now: u64) -> bool {
        self.looks > 0 && now - self.since >= super::TICK
    }

    /// Nothing runs there.
    pub(super) fn nothing(&mut self, now: u64) {
        *self = Self { looked: now, ..Self::default() };
    }

    /// Its preemption is to be asked for. False if that was done a moment ago.
    pub(super) fn ask(&mut self, now: u64) -> bool {
        if self.asked.is_some() && now - self.last_asked < super::AGAIN {
            return false;
        }
        self.asked.get_or_insert((now, self.used()));
        self.last_asked = now;
        true
    }

    /// Whether it has gone on for so long since its preemption was asked for: of CPU time, since a
    /// carrier that the kernel has descheduled cannot follow. Where nothing tells blocked from descheduled
    /// (`blind`) any time counts.
    pub(super) fn has_not_followed(&self, time: u64, blind: bool, now: u64) -> bool {
        self.asked.is_some_and(|(asked, used)| {
            self.used() - used >= time || blind && now - asked >= time
        })
    }

    /// What the run has used of its fiber's slice, in nanoseconds of CPU time.
    pub(super) fn used(&self) -> u64 {
        self.base + self.lasted()
    }

    /// CPU time of the run, in nanoseconds.
    pub(super) fn lasted(&self) -> u64 {
        self.cpu_seen.saturating_sub(self.cpu_before)
    }
}

/// What the monitor knows of a carrier that runs a fiber without a worker.
///
/// The monitor's, but for [`begin`](Self::begin) of a carrier that gives its worker away itself. Should a
/// look at an earlier time without a worker be under way then, the first look comes too soon or too late.
#[derive(Debug, Default)]
pub(crate) struct Detached {
    /// Since when.
    since: AtomicU64,
    /// When to look next, and how long after that.
    next: AtomicU64,
    pause: AtomicU64,
    cpu_seen: AtomicU64,
    /// That the fiber is blocked has been told.
    pub(super) told: AtomicBool,
}

/// The longest pause between two looks at a carrier that is stuck.
const LONGEST_PAUSE: u64 = 64_000_000;

impl Detached {
    /// The worker is about to be taken or given away.
    pub(crate) fn begin(&self, now: u64, cpu: u64) {
        self.since.store(now, Relaxed);
        self.pause.store(super::TICK, Relaxed);
        self.next.store(now + super::TICK, Relaxed);
        self.cpu_seen.store(cpu, Relaxed);
        self.told.store(false, Relaxed);
    }

    /// Since when it has been without a worker.
    pub(crate) fn since(&self) -> u64 {
        self.since.load(Relaxed)
    }

    /// When to look at it next.
    pub(super) fn next(&self) -> u64 {
        self.next.load(Relaxed)
    }

    /// Looks: how long it has been without a worker.
    pub(super) fn look(&self, fiber: FiberRef, now: u64, cpu: u64) -> u64 {
        fiber.charge(cpu.saturating_sub(self.cpu_seen.swap(cpu, Relaxed)));
        let pause = self.pause.load(Relaxed);
        self.next.store(now + pause, Relaxed);
        self.pause.store((2 * pause).min(LONGEST_PAUSE), Relaxed);
        now.saturating_sub(self.since.load(Relaxed))
    }
}
