//! Where fibers are preempted, and where workers are taken from their OS threads: counted by call
//! site, for who wants to know what costs.
//!
//! Off until [`count`] is called, and one load then. What is counted is found by the monitor and in a
//! signal handler, so the table has a fixed size, its lock is only ever tried there, and what finds it
//! taken or full is a number ([`Sites::missed`]).

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use timestop_fiber::lock::Lock;

use crate::fiber::FiberRef;
use crate::report::{self, Registers};
use crate::sys;

/// Return addresses kept of a stack.
pub const FRAMES: usize = 16;
/// Call sites that are told apart.
const PLACES: usize = 512;

/// What happened at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A fiber computed for longer than it may, and was suspended.
    Preempted,
    /// A fiber was blocked in a system call; its worker went on with another OS thread.
    Blocked,
    /// A fiber computed where it could not be suspended; its worker went on with another OS thread.
    Computing,
}

/// A place, and how often it was met.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    /// What happened.
    pub cause: Cause,
    /// The number of the system call; negative where there is none.
    pub call: i64,
    /// How often.
    pub count: u64,
    /// Where, innermost first. Of a preempted fiber the first one is an example.
    pub frames: [usize; FRAMES],
    /// How many of them there are.
    pub depth: u32,
}

impl Site {
    /// The stack.
    #[must_use]
    pub fn stack(&self) -> &[usize] {
        &self.frames[..FRAMES.min(self.depth as usize)]
    }

    fn is_as(&self, other: &Self) -> bool {
        // A fiber that computes is met at any instruction of its innermost function.
        let start = usize::from(self.cause == Cause::Preempted && self.depth > 1);
        (self.cause, self.call, self.depth) == (other.cause, other.call, other.depth)
            && self.stack()[start..] == other.stack()[start..]
    }
}

static ON: AtomicBool = AtomicBool::new(false);
static MISSED: AtomicU64 = AtomicU64::new(0);
static TABLE: Lock<[Option<Site>; PLACES]> = Lock::new([None; PLACES]);

/// Has call sites counted from now on.
pub fn count() {
    ON.store(true, Ordering::Relaxed);
}

/// All that was counted.
#[derive(Debug, Default)]
pub struct Sites {
    /// In no order.
    pub sites: Vec<Site>,
    /// How many events found no place.
    pub missed: u64,
}

/// What was counted so far.
#[must_use]
pub fn sites() -> Sites {
    // The table is copied with what is allocated before: nobody waits for memory with the lock.
    let mut sites = Vec::with_capacity(PLACES);
    sites.extend(TABLE.lock().iter().flatten());
    Sites { sites, missed: MISSED.load(Ordering::Relaxed) }
}

/// In the child of a fork: nothing has happened yet.
///
/// # Safety
///
/// The caller is the only thread of its process.
pub(crate) unsafe fn reset() {
    // SAFETY: whoever held the lock is not there any more.
    unsafe { TABLE.reset() };
    *TABLE.lock() = [None; PLACES];
    MISSED.store(0, Ordering::Relaxed);
}

fn add(site: Site) {
    let Some(mut table) = TABLE.try_lock() else {
        MISSED.fetch_add(1, Ordering::Relaxed);
        return;
    };
    for place in table.iter_mut() {
        match place {
            Some(known) if known.is_as(&site) => known.count += 1,
            Some(_) => continue,
            None => *place = Some(site),
        }
        return;
    }
    MISSED.fetch_add(1, Ordering::Relaxed);
}

fn at(cause: Cause, call: i64, registers: &Registers, stack: Range<usize>) -> Site {
    let mut frames = [0; FRAMES];
    let depth = report::unwind(registers, stack, &mut frames);
    Site { cause, call, count: 1, frames, depth: depth.min(FRAMES) as u32 }
}

/// A fiber is preempted here. In the handler that has interrupted it.
pub(crate) fn preempted(registers: &Registers, stack: Range<usize>) {
    if ON.load(Ordering::Relaxed) && stack.contains(&registers.sp) {
        add(at(Cause::Preempted, -1, registers, registers.sp..stack.end));
    }
}

/// The worker of an OS thread that a fiber runs on is about to be given away. The monitor's.
pub(crate) fn handed_off(fiber: FiberRef, thread: u32) {
    if !ON.load(Ordering::Relaxed) {
        return;
    }
    let nowhere = Registers::default();
    let site = match sys::blocked_in(thread) {
        Some((call, registers)) => match fiber.top_of_stack(registers.sp) {
            Some(top) => at(Cause::Blocked, call, &registers, registers.sp..top),
            None => at(Cause::Blocked, call, &nowhere, 0..0),
        },
        None => at(Cause::Computing, -1, &nowhere, 0..0),
    };
    add(site);
}
