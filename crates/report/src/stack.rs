//! Stacks of fibers, as addresses: of one that is suspended, of one that its OS thread has blocked in
//! a system call, of the one that asks.

use std::arch::asm;
use std::ops::Range;

use timestop_runtime::report::Registers;
use timestop_runtime::{FiberRef, Snapshot, sys};

use crate::unwind;

/// Frames that are looked at.
const DEPTH: usize = 64;
/// How often a stack that moves under the walk is tried again.
const TRIES: u32 = 3;

/// The stack of a fiber that does not run; empty where it never ran, or is resumed all the time.
pub(crate) fn of_suspended(snapshot: &Snapshot) -> Vec<usize> {
    let mut suspended = snapshot.stack.clone();
    for _ in 0..TRIES {
        let Some(before) = suspended else { break };
        let frames = collect(&before.registers, before.stack.clone());
        suspended = snapshot.fiber.suspended();
        if suspended.as_ref() == Some(&before) {
            return frames;
        }
    }
    Vec::new()
}

/// A system call that an OS thread is blocked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocked {
    /// Its number; negative where the thread is stopped outside of one.
    pub(crate) call: i64,
    registers: Registers,
}

impl Blocked {
    /// The call's name.
    pub(crate) fn name(&self) -> Option<&'static str> {
        let number = usize::try_from(self.call).ok()?;
        syscalls::Sysno::new(number).map(|call| call.name())
    }
}

/// What an OS thread of this process is blocked in; `None` while it runs.
pub(crate) fn blocked(thread_id: u32) -> Option<Blocked> {
    let (call, registers) = sys::blocked_in(thread_id)?;
    Some(Blocked { call, registers })
}

/// The stack of a fiber whose OS thread is blocked, if it still is.
pub(crate) fn of_blocked(fiber: FiberRef, thread_id: u32, blocked: Blocked) -> Vec<usize> {
    let registers = blocked.registers;
    let Some(top) = fiber.top_of_stack(registers.sp) else { return Vec::new() };
    let frames = collect(&registers, registers.sp..top);
    if self::blocked(thread_id) == Some(blocked) { frames } else { Vec::new() }
}

/// The stack of the calling fiber.
#[inline(never)]
pub(crate) fn of_caller(fiber: FiberRef) -> Vec<usize> {
    let (ip, sp, bp): (usize, usize, usize);
    // SAFETY: reads three registers.
    unsafe {
        asm!(
            "lea {}, [rip]", "mov {}, rsp", "mov {}, rbp",
            out(reg) ip, out(reg) sp, out(reg) bp,
            options(nomem, nostack, preserves_flags)
        );
    }
    let Some(top) = fiber.top_of_stack(sp) else { return Vec::new() };
    collect(&Registers { ip, sp, bp }, sp..top)
}

fn collect(registers: &Registers, stack: Range<usize>) -> Vec<usize> {
    let mut frames = [0; DEPTH];
    let depth = unwind::walk_patiently(registers, stack, &mut frames);
    frames[..depth].to_vec()
}
