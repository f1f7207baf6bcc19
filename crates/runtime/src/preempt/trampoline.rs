//! Where a preempted fiber goes on: saves everything that its code was in the middle of, has the
//! scheduler suspend it, and restores.
//!
//! The signal handler does not suspend. A signal frame belongs to the OS thread that received the
//! signal: resumed on another it brings the wrong mask and alternate stack with it. So the handler
//! only rewrites the interrupted instruction pointer to [`trampoline`] and returns; what follows
//! happens in user mode, on the fiber's own stack, and may end on another OS thread.
//!
//! ```text
//!   interrupted rsp ─▶ ┌──────────────────────────────┐
//!                      │ red zone, 128 bytes          │ leaf functions keep data there
//!                      │ interrupted rip              │ ◀─ rsp as the handler leaves it
//!                      │ rflags                       │
//!                      │ rax rbx rcx rdx rsi rdi rbp  │
//!                      │ r8 … r15                     │ ◀─ rbp meanwhile
//!                      │ (to a multiple of 64)        │
//!                      │ XSAVE area                   │ x87, SSE, AVX, AVX-512, AMX
//!                      └──────────────────────────────┘
//! ```
//!
//! The last instruction is `ret 128`: it takes the instruction pointer and the red zone off the stack
//! in one go, and changes no flag.
//!
//! Every component of XCR0 is saved but PKRU, which stays the OS thread's, as in any other switch.
//! `xsavec` writes only what is in use. Rejected: to save in the handler and restore by
//! `rt_sigreturn` (lost AVX and AMX state where the fiber went on elsewhere).

use std::arch::naked_asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::ops::Range;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};

/// Bytes below the stack pointer that code may use without telling.
pub(super) const RED_ZONE: usize = 128;
/// What the trampoline pushes: flags and fifteen registers; with the instruction pointer before.
const PUSHED: usize = 17 * 8;
/// Alignment of the XSAVE area.
const ALIGNMENT: usize = 64;
/// The pkru component: see above.
const PKRU: u32 = 1 << 9;

/// Bytes of the XSAVE area.
static AREA: AtomicUsize = AtomicUsize::new(0);
/// Which components: the two halves that `xsave` wants in registers.
static COMPONENTS_LOW: AtomicU32 = AtomicU32::new(0);
static COMPONENTS_HIGH: AtomicU32 = AtomicU32::new(0);
/// Whether the processor has `xsavec`.
static COMPACT: AtomicU8 = AtomicU8::new(0);

/// Asks the processor what there is to save. False where it cannot.
pub(super) fn prepare() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const XSAVEC: u32 = 1 << 1;
    if __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    let (low, high): (u32, u32);
    // SAFETY: XGETBV exists where OSXSAVE is set; it reads a register.
    unsafe {
        std::arch::asm!(
            "xgetbv",
            in("ecx") 0,
            out("eax") low,
            out("edx") high,
            options(nomem, nostack, preserves_flags),
        );
    }
    // The size in the standard format; the compact one is no larger.
    let size = __cpuid_count(0xD, 0).ebx as usize;
    AREA.store(size.next_multiple_of(ALIGNMENT), Ordering::Relaxed);
    COMPONENTS_LOW.store(low & !PKRU, Ordering::Relaxed);
    COMPONENTS_HIGH.store(high, Ordering::Relaxed);
    let compact = __cpuid_count(0xD, 1).eax & XSAVEC != 0;
    COMPACT.store(u8::from(compact), Ordering::Release);
    true
}

/// Bytes of stack that all of this needs below the interrupted stack pointer, the scheduler's own
/// frames not included.
pub(super) fn room() -> usize {
    RED_ZONE + PUSHED + ALIGNMENT + AREA.load(Ordering::Relaxed)
}

/// Entered by the handler's return, not by a call: see the picture above.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn trampoline() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_signal_frame", // the return address is an instruction to go on with, not after a call
        ".cfi_def_cfa rsp, 136",
        ".cfi_offset rip, -136",
        "pushfq",
        ".cfi_adjust_cfa_offset 8",
        "push rax",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rax, 0",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbx, 0",
        "push rcx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rcx, 0",
        "push rdx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rdx, 0",
        "push rsi",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rsi, 0",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rdi, 0",
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbp, 0",
        "push r8",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r8, 0",
        "push r9",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r9, 0",
        "push r10",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r10, 0",
        "push r11",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r11, 0",
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
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        // Functions expect the direction flag clear, and may make accesses that are not aligned.
        "push 0",
        "popfq",
        "sub rsp, qword ptr [rip + {area}]",
        "and rsp, -64",
        // The header of the area: what is reserved in it must be zero.
        "xor eax, eax",
        "mov qword ptr [rsp + 512], rax",
        "mov qword ptr [rsp + 520], rax",
        "mov qword ptr [rsp + 528], rax",
        "mov qword ptr [rsp + 536], rax",
        "mov qword ptr [rsp + 544], rax",
        "mov qword ptr [rsp + 552], rax",
        "mov qword ptr [rsp + 560], rax",
        "mov qword ptr [rsp + 568], rax",
        "mov eax, dword ptr [rip + {low}]",
        "mov edx, dword ptr [rip + {high}]",
        "cmp byte ptr [rip + {compact}], 0",
        "je 2f",
        "xsavec64 [rsp]",
        "jmp 3f",
        "2:",
        "xsave64 [rsp]",
        "3:",
        // Whoever runs next expects what the psABI promises a function, and what a call would have
        // left: an empty x87 stack, and the default control words for a fiber that is new.
        "fninit",
        "push 0x1f80",
        "ldmxcsr dword ptr [rsp]",
        "pop rax",
        "call {suspend}",
        "mov eax, dword ptr [rip + {low}]",
        "mov edx, dword ptr [rip + {high}]",
        "xrstor64 [rsp]",
        "mov rsp, rbp",
        ".cfi_def_cfa_register rsp",
        "pop r15",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r15",
        "pop r14",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r14",
        "pop r13",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r13",
        "pop r12",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r12",
        "pop r11",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r11",
        "pop r10",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r10",
        "pop r9",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r9",
        "pop r8",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r8",
        "pop rbp",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rbp",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rdi",
        "pop rsi",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rsi",
        "pop rdx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rdx",
        "pop rcx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rcx",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rbx",
        "pop rax",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rax",
        "popfq",
        ".cfi_adjust_cfa_offset -8",
        "ret {red_zone}",
        ".cfi_endproc",
        ".globl timestop_trampoline_end",
        ".hidden timestop_trampoline_end",
        "timestop_trampoline_end:",
        area = sym AREA,
        low = sym COMPONENTS_LOW,
        high = sym COMPONENTS_HIGH,
        compact = sym COMPACT,
        suspend = sym suspend,
        red_zone = const RED_ZONE,
    )
}

unsafe extern "C" {
    safe fn timestop_trampoline_end();
}

/// Where the code of the trampoline lies.
pub(super) fn code() -> Range<usize> {
    trampoline as *const () as usize..timestop_trampoline_end as *const () as usize
}

/// Has the scheduler suspend the running fiber, which the handler has shut.
extern "C" fn suspend() {
    crate::sched::preempt();
}
