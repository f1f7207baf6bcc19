//! The thread-local words of ours: whom the running code belongs to, a flag, and how many of the
//! runtime's locks it holds.
//!
//! They lie in the static TLS of whatever holds the runtime (program or shared object), so every
//! fiber's block has its own. The first is written once, when the block is made, and constant for the
//! fiber's life. On an OS thread it is null. Declared in assembly because stable Rust can neither choose
//! the initial-exec model (a `thread_local!` in a shared object would call `__tls_get_addr`, which
//! may allocate) nor give a thread-local an offset that can be written from outside.

use std::arch::{asm, global_asm};

global_asm!(
    ".section .tbss.timestop_current, \"awT\", @nobits",
    ".globl timestop_current",
    ".hidden timestop_current",
    ".type timestop_current, @object",
    ".size timestop_current, 8",
    ".p2align 3",
    "timestop_current:",
    ".zero 8",
    ".text",
    ".section .tbss.timestop_flag, \"awT\", @nobits",
    ".globl timestop_flag",
    ".hidden timestop_flag",
    ".type timestop_flag, @object",
    ".size timestop_flag, 8",
    ".p2align 3",
    "timestop_flag:",
    ".zero 8",
    ".text",
    ".section .tbss.timestop_depth, \"awT\", @nobits",
    ".globl timestop_depth",
    ".hidden timestop_depth",
    ".type timestop_depth, @object",
    ".size timestop_depth, 8",
    ".p2align 3",
    "timestop_depth:",
    ".zero 8",
    ".text",
);

/// The word of the running fiber; null on an OS thread.
#[inline(always)]
#[must_use]
pub fn get() -> *mut () {
    let value;
    // SAFETY: reads one aligned word of the caller's own TLS block.
    unsafe {
        asm!(
            "mov {0}, qword ptr [rip + timestop_current@GOTTPOFF]",
            "mov {0}, qword ptr fs:[{0}]",
            out(reg) value,
            options(nostack, readonly, preserves_flags),
        );
    }
    value
}

/// Where the word lies from the thread pointer: the same in every thread and fiber.
#[inline]
#[must_use]
pub fn offset() -> isize {
    let offset;
    // SAFETY: reads a constant that the dynamic linker has filled in before any code of ours ran.
    unsafe {
        asm!(
            "mov {}, qword ptr [rip + timestop_current@GOTTPOFF]",
            out(reg) offset,
            options(nostack, readonly, preserves_flags),
        );
    }
    offset
}

/// Sets the word in the TLS block at `fs`.
///
/// # Safety
///
/// `fs` addresses a whole static TLS block, and its owner does not read the word meanwhile.
pub unsafe fn set(fs: usize, value: *mut ()) {
    let word = fs.wrapping_add_signed(offset()) as *mut *mut ();
    // SAFETY: the word lies in the block's static TLS, as the dynamic linker laid it out.
    unsafe { word.write(value) };
}

/// The flag of the running thread or fiber: threads that it creates become fibers.
#[must_use]
pub fn flag() -> bool {
    let value: u64;
    // SAFETY: reads one aligned word of the caller's own TLS block.
    unsafe {
        asm!(
            "mov {0}, qword ptr [rip + timestop_flag@GOTTPOFF]",
            "mov {0}, qword ptr fs:[{0}]",
            out(reg) value,
            options(nostack, readonly, preserves_flags),
        );
    }
    value != 0
}

/// Sets the flag and returns the one before.
pub fn replace_flag(value: bool) -> bool {
    let before = flag();
    // SAFETY: writes one aligned word of the caller's own TLS block.
    unsafe {
        asm!(
            "mov {0}, qword ptr [rip + timestop_flag@GOTTPOFF]",
            "mov qword ptr fs:[{0}], {1}",
            out(reg) _,
            in(reg) u64::from(value),
            options(nostack, preserves_flags),
        );
    }
    before
}

/// Why no signal handler of the program may run here: one for each of the runtime's locks that this
/// thread or fiber holds, and one for ever on the runtime's own OS threads.
#[inline]
#[must_use]
pub fn depth() -> u64 {
    let value: u64;
    // SAFETY: reads one aligned word of the caller's own TLS block.
    unsafe {
        asm!(
            "mov {0}, qword ptr [rip + timestop_depth@GOTTPOFF]",
            "mov {0}, qword ptr fs:[{0}]",
            out(reg) value,
            options(nostack, readonly, preserves_flags),
        );
    }
    value
}

/// Goes one deeper. One instruction on the word, so a signal handler in between sees it whole.
#[inline(always)]
pub fn deepen() {
    // SAFETY: writes one aligned word of the caller's own TLS block.
    unsafe {
        asm!(
            "mov {0}, qword ptr [rip + timestop_depth@GOTTPOFF]",
            "add qword ptr fs:[{0}], 1",
            out(reg) _,
            options(nostack),
        );
    }
}

/// Comes back from [`deepen`].
#[inline(always)]
pub fn rise() {
    // SAFETY: writes one aligned word of the caller's own TLS block.
    unsafe {
        asm!(
            "mov {0}, qword ptr [rip + timestop_depth@GOTTPOFF]",
            "sub qword ptr fs:[{0}], 1",
            out(reg) _,
            options(nostack),
        );
    }
}
