//! What the loops have done so far: written by them, read by the watchdog and the report.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Mismatches beyond these are counted and not told.
const TOLD: usize = 20;

#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Loop {
    pub(super) part: &'static str,
    rounds: AtomicU64,
    ended: AtomicBool,
}

impl Loop {
    pub(super) fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) loops: Vec<Loop>,
    over: AtomicBool,
    mismatches: AtomicU64,
    told: Mutex<Vec<String>>,
}

impl Ledger {
    /// Of one loop for each name.
    pub(super) fn of(parts: impl Iterator<Item = &'static str>) -> Self {
        let record = |part| Loop { part, rounds: AtomicU64::new(0), ended: AtomicBool::new(false) };
        Ledger { loops: parts.map(record).collect(), ..Ledger::default() }
    }

    pub(super) fn stop(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(super) fn round_done(&self, nth: usize) {
        self.loops[nth].rounds.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn loop_ended(&self, nth: usize) {
        self.loops[nth].ended.store(true, Ordering::Relaxed);
    }

    /// Something was not as it must be.
    pub(super) fn mismatch(&self, part: &str, what: &str) {
        self.mismatches.fetch_add(1, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap_or_else(|broken| broken.into_inner());
        if told.len() < TOLD {
            eprintln!("timestop lab chaos: {part}: {what}");
            told.push(format!("{part}: {what}"));
        }
    }

    pub(super) fn mismatches(&self) -> u64 {
        self.mismatches.load(Ordering::Relaxed)
    }

    /// Rounds by part, in the order of the loops.
    pub(super) fn operations(&self) -> Vec<(&'static str, u64)> {
        let parts = self.loops.chunk_by(|one, other| one.part == other.part);
        parts.map(|loops| (loops[0].part, loops.iter().map(Loop::rounds).sum())).collect()
    }
}
