//! What the live fibers are doing, for reports.

use std::ops::Range;

use timestop_fiber::switch;

use crate::fiber::{FiberRef, Reason};
use crate::report::Registers;
use crate::{clock, preempt};
use crate::start::is_started;

/// A live fiber, as it was a moment ago.
#[derive(Debug, Clone)]
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
    /// CPU time in nanoseconds, see [`FiberRef::cpu_time`].
    pub cpu: u64,
    /// Where a parked fiber was left.
    pub stack: Option<Suspended>,
}

/// The stack of a suspended fiber. It may be resumed at any moment: whoever wants to read the stack
/// copies it first and asks [`is_still`](Self::is_still) then.
#[derive(Debug, Clone)]
pub struct Suspended {
    /// What the fiber goes on with.
    pub registers: Registers,
    /// From the stack pointer to the top.
    pub stack: Range<usize>,
    saved: usize,
}

impl Suspended {
    /// Reads what [`switch`](timestop_fiber::switch) has saved.
    fn of(fiber: FiberRef) -> Option<Self> {
        // SAFETY: a word that its owner may write meanwhile; any value will do.
        let saved = unsafe { (&raw const (*fiber.context.get()).sp).read_volatile() };
        let stack = preempt::stack_of(fiber);
        if !stack.contains(&saved) || saved + switch::SAVED > stack.end {
            return None;
        }
        // SAFETY: words of a stack, which stays mapped; they may change meanwhile.
        let word = |offset: usize| unsafe { ((saved + offset) as *const usize).read_volatile() };
        let registers = Registers {
            ip: word(switch::SAVED_IP),
            sp: saved + switch::SAVED,
            bp: word(switch::SAVED_BP),
        };
        Some(Self { registers, stack: registers.sp..stack.end, saved })
    }

    /// Whether the fiber still waits where it did: then what was copied since is its stack.
    #[must_use]
    pub fn is_still(&self, fiber: FiberRef) -> bool {
        // SAFETY: as above.
        let saved = unsafe { (&raw const (*fiber.context.get()).sp).read_volatile() };
        fiber.state.is_parked() && saved == self.saved
    }
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
        let parked = fiber.state.is_parked();
        Some(Snapshot {
            fiber,
            cpu: fiber.cpu_time(),
            stack: if parked { Suspended::of(fiber) } else { None },
            id: fiber.id(),
            running: fiber.is_running(),
            parked,
            reason: Reason::from_number(waiting.reason.load(Relaxed)),
            argument: waiting.argument.load(Relaxed),
            waited: if since == 0 { 0 } else { now.saturating_sub(since) },
        })
    })
}
