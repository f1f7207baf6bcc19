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
    /// OS threads of the runtime: carriers (running, spare, or stuck in a blocking call) and the
    /// three that keep house.
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
}

/// Reads all counters. Cost: a few loads a worker; not a snapshot of one moment.
#[must_use]
pub fn stats() -> Stats {
    let Some(runtime) = crate::sched::started() else { return Stats::default() };
    let mut stats = Stats {
        workers: runtime.workers.len() as u64,
        os_threads: runtime.spares.carriers() as u64 + 3,
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
    stats.fibers = stats.spawned.saturating_sub(ended);
    stats
}
