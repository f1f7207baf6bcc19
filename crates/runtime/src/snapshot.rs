//! What the live fibers are doing, for reports.

use crate::clock;
use crate::fiber::{FiberRef, Reason};
use crate::start::is_started;

/// A live fiber, as it was a moment ago.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Snapshot {
    /// Which.
    pub fiber: FiberRef,
    /// Its number.
    pub id: u64,
    /// Whether a carrier runs it.
    pub running: bool,
    /// Whether it is suspended until something happens.
    pub parked: bool,
    /// Why, and what for.
    pub reason: Reason,
    /// Descriptor, address, or another fiber's number, as the reason says.
    pub argument: u64,
    /// Nanoseconds since it began to wait, to some milliseconds.
    pub waited: u64,
}

/// Every fiber that has begun to run and not ended. Safe to call anywhere but in a signal handler.
pub fn snapshots() -> impl Iterator<Item = Snapshot> {
    use std::sync::atomic::Ordering::Relaxed;
    let now = clock::coarse();
    timestop_fiber::slab::all().filter(|_| is_started()).filter_map(move |slot| {
        // SAFETY: slots hold records, which are never unmapped.
        let fiber = unsafe { FiberRef::from_address(slot.as_ptr() as usize) };
        if !fiber.is_live() {
            return None;
        }
        let waiting = &fiber.waiting;
        let since = waiting.since.load(Relaxed);
        Some(Snapshot {
            fiber,
            id: fiber.id(),
            running: fiber.is_running(),
            parked: fiber.state.is_parked(),
            reason: Reason::from_number(waiting.reason.load(Relaxed)),
            argument: waiting.argument.load(Relaxed),
            waited: if since == 0 { 0 } else { now.saturating_sub(since) },
        })
    })
}
