//! What the live fibers are doing, for reports.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use timestop_fiber::block;
use timestop_fiber::slab::{self, Slot};
use timestop_fiber::switch::Context;

use crate::fiber::{FiberRef, Reason};
use crate::report::Registers;
use crate::start::is_started;
use crate::{clock, preempt};

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
    /// Its stack, unless it runs or has never run.
    pub stack: Option<Suspended>,
}

/// The stack of a fiber that does not run. It may be resumed at any moment: whoever reads the stack
/// asks [`FiberRef::suspended`] again afterwards, and if the answer differs forgets what was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspended {
    /// With what the fiber will go on.
    pub registers: Registers,
    /// The live part of its stack. Never unmapped.
    pub stack: Range<usize>,
}

impl FiberRef {
    /// The fiber's stack, unless it runs or has never run.
    #[must_use]
    pub fn suspended(self) -> Option<Suspended> {
        if self.is_running() || !self.is_live() {
            return None;
        }
        let sp = load(self.context.get() as usize + std::mem::offset_of!(Context, sp));
        let top = self.top_of_stack(sp)?;
        if !sp.is_multiple_of(8) || sp.checked_add(Context::SAVED)? > top {
            return None;
        }
        let bp = load(sp + Context::SAVED_BP);
        let ip = load(sp + Context::SAVED_IP);
        let sp = sp + Context::SAVED;
        Some(Suspended { registers: Registers { ip, sp, bp }, stack: sp..top })
    }

    /// The end of the stack that `sp` lies in, if that is the fiber's own or one that is set aside
    /// ([`timestop_fiber::aside`]): a fiber in a generator runs on the latter.
    #[must_use]
    pub fn top_of_stack(self, sp: usize) -> Option<usize> {
        let stack = preempt::stack_at(self, sp);
        stack.contains(&sp).then_some(stack.end)
    }
}

/// The rest, from `sp` upward, of the stack of a fiber, or of one that is set aside, that `sp` lies in. It is
/// never unmapped. For who follows a stack that is set aside to whoever resumed it: `sp` was saved there once.
#[must_use]
pub fn stack_around(sp: usize) -> Option<Range<usize>> {
    let end = match slab::containing(sp) {
        Some(slot) if sp >= Slot::stack_limit(slot) => block::stack_top(slot),
        Some(_) => return None,
        None => preempt::guest_stack().filter(|stack| stack.contains(&sp))?.end,
    };
    (sp < end).then_some(sp..end)
}

/// A word that its owner may be writing.
fn load(address: usize) -> usize {
    // SAFETY: callers pass addresses in records and stacks, which are never unmapped.
    let word = unsafe { AtomicUsize::from_ptr(address as *mut usize) };
    word.load(Ordering::Acquire)
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
            cpu: fiber.cpu_time(),
            stack: fiber.suspended(),
        })
    })
}
