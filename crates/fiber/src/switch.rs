//! The context switch: callee-saved registers, floating-point control words, stack pointer and
//! thread pointer, all in user mode.
//!
//! ```text
//!   a suspended stack (grows down)            a fresh stack
//!   ┌───────────────────────────┐             ┌───────────────────────────┐
//!   │ frames of the fiber       │             │ 0 (end of the frame chain)│ top, 16-aligned
//!   │ return address            │             │ address of `start`        │
//!   │ rbp rbx r12 r13 r14 r15   │             │ 0 0 argument entry 0 0    │
//!   │ MXCSR, x87 control word   │ ◀─ saved sp │ control words             │
//!   └───────────────────────────┘             └───────────────────────────┘
//! ```
//!
//! The thread pointer (FS base) changes in the same instructions as the stack, so that no code ever
//! runs on one fiber's stack with another's thread-locals. The control words are loaded only where
//! they differ: `ldmxcsr` and `fldcw` cost more than the compare. Rejected: corosensei's switch (it
//! would have to be followed by a second step for FS, with a window between the two), and
//! `arch_prctl`, 150 ns where `wrfsbase` costs 5.

use std::arch::{asm, naked_asm};

/// MXCSR and x87 control word that the psABI prescribes at process entry.
pub const DEFAULT_CONTROL_WORDS: u64 = 0x1f80 | (0x037f << 32);

/// The caller's MXCSR (lower half) and x87 control word: how it rounds, and what it traps.
#[inline]
#[must_use]
pub fn control_words() -> u64 {
    let mut words = [0_u32; 2];
    // SAFETY: each instruction writes its own word, the second one half of it.
    unsafe {
        asm!(
            "stmxcsr [{0}]",
            "fnstcw [{0} + 4]",
            in(reg) words.as_mut_ptr(),
            options(nostack, preserves_flags),
        );
    }
    u64::from(words[0]) | u64::from(words[1]) << 32
}

/// A suspended computation: where its registers lie, and its thread pointer.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Context {
    /// The stack pointer; the saved registers are above it.
    pub sp: usize,
    /// The FS base that the computation runs under.
    pub fs: usize,
}

impl Context {
    /// Where above [`sp`](Self::sp) a suspended computation's `rbp` lies.
    pub const SAVED_BP: usize = 48;
    /// Where its return address lies.
    pub const SAVED_IP: usize = 56;
    /// Bytes that [`switch`] saves: the computation goes on with its stack pointer above them.
    pub const SAVED: usize = 64;

    /// A context that holds nothing yet, to be filled by [`switch`].
    #[must_use]
    pub const fn empty(fs: usize) -> Self {
        Self { sp: 0, fs }
    }

    /// A context that calls `entry(argument)` on the stack that ends at `top`, with the floating-point
    /// control words that are given.
    ///
    /// # Safety
    ///
    /// The 80 bytes below `top` are writable and nobody else's; `top` is a multiple of 16; `entry`
    /// never returns.
    #[must_use]
    pub unsafe fn fresh(
        top: usize,
        fs: usize,
        entry: unsafe extern "C" fn(usize) -> !,
        argument: usize,
        control_words: u64,
    ) -> Self {
        let frame: [u64; 10] = [
            control_words,
            0, // r15
            0, // r14
            entry as *const () as u64,
            argument as u64,
            0, // rbx
            0, // rbp
            start as *const () as u64,
            0, // what `start` would return to
            0,
        ];
        let sp = top - size_of_val(&frame);
        // SAFETY: the caller gives us the bytes below `top`.
        unsafe { (sp as *mut [u64; 10]).write(frame) };
        Self { sp, fs }
    }
}

/// Suspends the caller into `from.sp` and goes on with `to`.
///
/// `from.fs` is not written: a computation's thread pointer never changes. Returns when someone
/// switches back to `from`, perhaps on another OS thread.
///
/// # Safety
///
/// `to` was made by [`Context::fresh`] or saved by this function and has not been resumed since;
/// its stack and TLS block are whole. The caller may hold no reference into OS-thread state across
/// the call.
#[unsafe(naked)]
pub unsafe extern "C" fn switch(from: *mut Context, to: *const Context) {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbp, 0",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbx, 0",
        "push r12",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r12, 0",
        "push r13",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r13, 0",
        "push r14",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r14, 0",
        "push r15",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r15, 0",
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 8",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov r8d, [rsp]",
        "movzx r9d, word ptr [rsp + 4]",
        "mov rdx, [rsi + 8]",
        "mov [rdi], rsp",
        "mov rsp, [rsi]",
        "wrfsbase rdx",
        "cmp r8d, [rsp]",
        "jne 3f",
        "2:",
        "cmp r9w, word ptr [rsp + 4]",
        "jne 4f",
        "5:",
        "add rsp, 8",
        ".cfi_remember_state",
        ".cfi_adjust_cfa_offset -8",
        "pop r15",
        ".cfi_adjust_cfa_offset -8",
        "pop r14",
        ".cfi_adjust_cfa_offset -8",
        "pop r13",
        ".cfi_adjust_cfa_offset -8",
        "pop r12",
        ".cfi_adjust_cfa_offset -8",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        "pop rbp",
        ".cfi_adjust_cfa_offset -8",
        "ret",
        ".cfi_restore_state",
        "3:",
        "ldmxcsr [rsp]",
        "jmp 2b",
        "4:",
        "fldcw [rsp + 4]",
        "jmp 5b",
        ".cfi_endproc",
    )
}

/// First instructions of a fresh stack. "Return address undefined" ends every unwinder here.
#[unsafe(naked)]
unsafe extern "C" fn start() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        ".cfi_undefined rbp",
        "xor ebp, ebp",
        "mov rdi, r12",
        "call r13",
        "ud2",
        ".cfi_endproc",
    )
}

/// The caller's thread pointer.
#[inline]
#[must_use]
pub fn thread_pointer() -> usize {
    let fs;
    // SAFETY: the x86-64 psABI keeps the thread pointer's own value at fs:0.
    unsafe { asm!("mov {}, fs:[0]", out(reg) fs, options(nostack, readonly, preserves_flags)) };
    fs
}

/// Sets the caller's thread pointer and returns the one before.
///
/// # Safety
///
/// `fs` addresses a whole TLS block, and the code until the pointer is set back keeps no reference
/// to a thread-local.
#[inline]
pub unsafe fn set_thread_pointer(fs: usize) -> usize {
    let before = thread_pointer();
    // SAFETY: FSGSBASE was checked at start; the caller vouches for the block.
    unsafe { asm!("wrfsbase {}", in(reg) fs, options(nostack, preserves_flags)) };
    before
}
