//! The thread-local words of ours: whom the running code belongs to, a flag, how many of the
//! runtime's locks it holds, whether it may be preempted, whether its memory is lent, and where it waits
//! beneath a signal's handler.
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
    ".section .tbss.timestop_shut, \"awT\", @nobits",
    ".globl timestop_shut",
    ".hidden timestop_shut",
    ".type timestop_shut, @object",
    ".size timestop_shut, 8",
    ".p2align 3",
    "timestop_shut:",
    ".zero 8",
    ".text",
    ".section .tbss.timestop_lent, \"awT\", @nobits",
    ".globl timestop_lent",
    ".hidden timestop_lent",
    ".type timestop_lent, @object",
    ".size timestop_lent, 8",
    ".p2align 3",
    "timestop_lent:",
    ".zero 8",
    ".text",
    ".section .tbss.timestop_places, \"awT\", @nobits",
    ".globl timestop_places",
    ".hidden timestop_places",
    ".type timestop_places, @object",
    ".size timestop_places, 8",
    ".p2align 3",
    "timestop_places:",
    ".zero 8",
    ".text",
);

/// Reads a word of the caller's own TLS block.
macro_rules! read_word {
    ($name:literal) => {{
        let value: u64;
        // SAFETY: reads one aligned word of the caller's own TLS block.
        unsafe {
            asm!(
                concat!("mov {0}, qword ptr [rip + ", $name, "@GOTTPOFF]"),
                "mov {0}, qword ptr fs:[{0}]",
                out(reg) value,
                options(nostack, readonly, preserves_flags),
            );
        }
        value
    }};
}

/// Writes a word of the caller's own TLS block. (Not `nomem`: the compiler must not move other accesses
/// across.)
macro_rules! write_word {
    ($name:literal, $value:expr) => {{
        // SAFETY: writes one aligned word of the caller's own TLS block.
        unsafe {
            asm!(
                concat!("mov {0}, qword ptr [rip + ", $name, "@GOTTPOFF]"),
                "mov qword ptr fs:[{0}], {1}",
                out(reg) _,
                in(reg) u64::from($value),
                options(nostack, preserves_flags),
            );
        }
    }};
}

/// The word of the running fiber; null on an OS thread.
#[inline(always)]
#[must_use]
pub fn get() -> *mut () {
    read_word!("timestop_current") as *mut ()
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
    read_word!("timestop_flag") != 0
}

/// Sets the flag and returns the one before.
pub fn replace_flag(value: bool) -> bool {
    let before = flag();
    write_word!("timestop_flag", value);
    before
}

/// Why no signal handler of the program may run here, and no preemption: one for each of the runtime's locks that this
/// thread or fiber holds, and one for ever on the runtime's own OS threads.
#[inline]
#[must_use]
pub fn depth() -> u64 {
    read_word!("timestop_depth")
}

/// Whether the running fiber is between entering the runtime and leaving it.
#[inline(always)]
#[must_use]
pub fn is_shut() -> bool {
    read_word!("timestop_shut") != 0
}

/// Says that the running fiber enters the runtime (`true`) or has left it. Until it has left, it is
/// not preempted: what it reads of its carrier stays true.
///
/// A plain store: it stands on the path of every switch.
#[inline(always)]
pub fn set_shut(shut: bool) {
    write_word!("timestop_shut", shut);
}

/// Whether a child of `vfork` runs in the memory of this thread or fiber.
#[inline]
#[must_use]
pub fn is_lent() -> bool {
    read_word!("timestop_lent") != 0
}

/// Says that a child of `vfork` is about to run in this thread's memory, or has given it back.
pub fn set_lent(lent: bool) {
    write_word!("timestop_lent", lent);
}

/// The innermost of the places in queues that lie on this thread's or fiber's stack and that a jump out of
/// a signal's handler would leave behind; 0 where there is none. What it means is the owner's matter.
#[must_use]
pub fn places() -> usize {
    read_word!("timestop_places") as usize
}

/// Sets what [`places`] answers.
pub fn set_places(innermost: usize) {
    write_word!("timestop_places", innermost as u64);
}

/// Runs `body` where the running fiber is neither preempted nor runs signal handlers of the program:
/// for what must begin and end on one OS thread.
#[inline]
pub fn undisturbed<R>(body: impl FnOnce() -> R) -> R {
    deepen();
    let result = body();
    rise();
    result
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
