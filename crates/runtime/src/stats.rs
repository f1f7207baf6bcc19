//! Counters. A worker's are written by its owner alone, with plain adds; the runtime's own, for
//! what happens on no worker's account, are shared.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted for a worker, or for everything outside the workers.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    shared: bool,
    spawned: AtomicU64,
    ended: AtomicU64,
    steals: AtomicU64,
    polls: AtomicU64,
    hand_offs: AtomicU64,
    preemptions: AtomicU64,
    refusals: [AtomicU64; Refusal::COUNT],
}

/// Why a fiber could not be preempted at the instant at which that was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Runtime,
    Library,
    Stack,
    ForeignStack,
    Pinned,
    Disabled,
    Late,
}

impl Refusal {
    const COUNT: usize = 7;
}

/// Preemptions that could not be made at the instant at which they were wanted, by reason. Each is
/// tried again a millisecond later; after two slices the worker is handed off instead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusals {
    /// In a section of the runtime, or of a hook.
    pub runtime: u64,
    /// In the code of libc, the loader, the unwinder or the vDSO.
    pub library: u64,
    /// Too little stack was left.
    pub stack: u64,
    /// On a stack that is not the fiber's own.
    pub foreign_stack: u64,
    /// The fiber must stay on its OS thread.
    pub pinned: u64,
    /// Within `without_preemption`.
    pub disabled: u64,
    /// Another fiber ran there by the time the signal came.
    pub late: u64,
}

impl Counters {
    pub(crate) fn new(shared: bool) -> Self {
        Self { shared, ..Self::default() }
    }

    #[inline]
    fn add(&self, counter: &AtomicU64) {
        if self.shared {
            counter.fetch_add(1, Ordering::Relaxed);
        } else {
            counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn spawned(&self) {
        self.add(&self.spawned);
    }

    #[inline]
    pub(crate) fn ended(&self) {
        self.add(&self.ended);
    }

    pub(crate) fn stolen(&self) {
        self.add(&self.steals);
    }

    pub(crate) fn polled(&self) {
        self.polls.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn preempted(&self) {
        self.preemptions.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, reason: Refusal) {
        self.refusals[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn handed_off(&self) {
        self.hand_offs.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counters since the start, and gauges of now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Run queues: how many fibers may run at once.
    pub workers: u64,
    /// How many of them work only while fibers compute and could do so at once.
    pub reserve: u64,
    /// OS threads of the runtime: carriers (running, spare, or stuck in a blocking call), the three
    /// or four that keep house, and those that look up names for fibers.
    pub os_threads: u64,
    /// Fibers that live now.
    pub fibers: u64,
    /// Fibers spawned so far.
    pub spawned: u64,
    /// Times a fiber was resumed.
    pub switches: u64,
    /// Times a worker took work from another.
    pub steals: u64,
    /// Times a worker was taken from a stuck OS thread and given to another.
    pub hand_offs: u64,
    /// Looks at epoll.
    pub polls: u64,
    /// Times a fiber that computed was suspended by signal.
    pub preemptions: u64,
    /// Times it could not be.
    pub refusals: Refusals,
}

/// Reads all counters. Cost: a few loads a worker; not a snapshot of one moment.
#[must_use]
pub fn stats() -> Stats {
    let Some(runtime) = crate::sched::started() else { return Stats::default() };
    let mut stats = Stats {
        workers: runtime.workers.len() as u64,
        reserve: if runtime.reserve.is_kept() { runtime.workers.len() as u64 - 1 } else { 0 },
        os_threads: (runtime.carriers.living() + crate::start::housekeepers()) as u64,
        ..Stats::default()
    };
    let mut ended = 0;
    let all = runtime.workers.iter().map(|worker| &worker.counters);
    for counters in all.chain([&runtime.counters]) {
        stats.spawned += counters.spawned.load(Ordering::Relaxed);
        ended += counters.ended.load(Ordering::Relaxed);
        stats.steals += counters.steals.load(Ordering::Relaxed);
        stats.hand_offs += counters.hand_offs.load(Ordering::Relaxed);
        stats.polls += counters.polls.load(Ordering::Relaxed);
    }
    stats.switches = runtime.workers.iter().map(crate::sched::Worker::pulse).sum();
    let counters = &runtime.counters;
    stats.preemptions = counters.preemptions.load(Ordering::Relaxed);
    let refused = |reason: Refusal| counters.refusals[reason as usize].load(Ordering::Relaxed);
    stats.refusals = Refusals {
        runtime: refused(Refusal::Runtime),
        library: refused(Refusal::Library),
        stack: refused(Refusal::Stack),
        foreign_stack: refused(Refusal::ForeignStack),
        pinned: refused(Refusal::Pinned),
        disabled: refused(Refusal::Disabled),
        late: refused(Refusal::Late),
    };
    stats.fibers = stats.spawned.saturating_sub(ended);
    stats
}
