//! Assembly that fills registers, spins, and stores what is there then. Each routine follows the C calling convention
//! towards its caller, and keeps its counter in `rcx`, counted down with `lea` and `jrcxz`, which change no flags.
//!
//! They are naked functions, so that no compiler puts anything of its own between filling and looking.

use std::arch::naked_asm;

/// Carry, parity, adjust, zero, sign, direction, overflow, alignment check.
pub(super) const FLAGS: u64 = 0x4_0cd5;

/// Holds `input` in every general register but `rsp` and `rcx`, which counts, as a word in memory does; returns what is
/// left of that: 0, unless one of the two was changed.
///
/// # Safety
///
/// The pointers are valid.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn hold_general(
    input: *const [u64; 14],
    output: *mut [u64; 14],
    spins: u64,
) -> u64 {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rsi",
        // The other counter: all registers are taken.
        "push rdx",
        "mov rcx, rdx",
        "mov rax, [rdi]",
        "mov rbx, [rdi + 8]",
        "mov rdx, [rdi + 16]",
        "mov rsi, [rdi + 24]",
        "mov rbp, [rdi + 32]",
        "mov r8, [rdi + 40]",
        "mov r9, [rdi + 48]",
        "mov r10, [rdi + 56]",
        "mov r11, [rdi + 64]",
        "mov r12, [rdi + 72]",
        "mov r13, [rdi + 80]",
        "mov r14, [rdi + 88]",
        "mov r15, [rdi + 96]",
        "mov rdi, [rdi + 104]",
        "2:",
        "dec qword ptr [rsp]",
        "lea rcx, [rcx - 1]",
        "jrcxz 3f",
        "jmp 2b",
        "3:",
        // On the stack: the counter, and output, whose place rax takes.
        "xchg rax, [rsp + 8]",
        "mov [rax + 8], rbx",
        "mov [rax + 16], rdx",
        "mov [rax + 24], rsi",
        "mov [rax + 32], rbp",
        "mov [rax + 40], r8",
        "mov [rax + 48], r9",
        "mov [rax + 56], r10",
        "mov [rax + 64], r11",
        "mov [rax + 72], r12",
        "mov [rax + 80], r13",
        "mov [rax + 88], r14",
        "mov [rax + 96], r15",
        "mov [rax + 104], rdi",
        "pop rdx",
        "pop rbx",
        "mov [rax], rbx",
        "mov rax, rdx",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}

/// Holds the flags that `input` has set, the others clear; returns them as they are afterwards.
///
/// # Safety
///
/// `input` has no bits but those of [`FLAGS`].
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn hold_flags(input: u64, spins: u64) -> u64 {
    naked_asm!(
        "mov rcx, rsi",
        "pushfq",
        "pop rax",
        "mov rdx, {others}",
        "and rax, rdx",
        "or rax, rdi",
        "push rax",
        "popfq",
        "2:",
        "lea rcx, [rcx - 1]",
        "jrcxz 3f",
        "jmp 2b",
        "3:",
        "pushfq",
        "pop rax",
        // As functions are expected to leave them.
        "push 0",
        "popfq",
        "ret",
        others = const !FLAGS,
    )
}

/// Holds `input` in the 128 bytes below the stack pointer.
///
/// # Safety
///
/// The pointers are valid.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn hold_red_zone(
    input: *const [u64; 16],
    output: *mut [u64; 16],
    spins: u64,
) {
    naked_asm!(
        "mov rcx, rdx",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "mov rax, [rdi + 8 * \\n]",
        "mov [rsp + 8 * \\n - 128], rax",
        ".endr",
        "2:",
        "lea rcx, [rcx - 1]",
        "jrcxz 3f",
        "jmp 2b",
        "3:",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "mov rax, [rsp + 8 * \\n - 128]",
        "mov [rsi + 8 * \\n], rax",
        ".endr",
        "ret",
    )
}

/// Holds eight numbers of ten bytes on the x87 stack under the given control word. Returns, 16 bits each from the lowest:
/// the control word afterwards, the status word before and after.
///
/// # Safety
///
/// The pointers are valid for 80 bytes, and the control word masks all exceptions.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn hold_x87(
    input: *const u8,
    output: *mut u8,
    spins: u64,
    control: u64,
) -> u64 {
    // Below the stack pointer, in the red zone: the caller's control word, ours, ours afterwards.
    naked_asm!(
        "mov [rsp - 16], cx",
        "mov rcx, rdx",
        "fnstcw [rsp - 8]",
        "fldcw [rsp - 16]",
        // The last is stored first.
        ".irp n, 7,6,5,4,3,2,1,0",
        "fld tbyte ptr [rdi + 10 * \\n]",
        ".endr",
        "fnstsw ax",
        "movzx r8d, ax",
        "2:",
        "lea rcx, [rcx - 1]",
        "jrcxz 3f",
        "jmp 2b",
        "3:",
        "fnstsw ax",
        "movzx r9d, ax",
        "fnstcw [rsp - 24]",
        ".irp n, 0,1,2,3,4,5,6,7",
        "fstp tbyte ptr [rsi + 10 * \\n]",
        ".endr",
        "fldcw [rsp - 8]",
        "movzx eax, word ptr [rsp - 24]",
        "shl r8, 16",
        "shl r9, 32",
        "or rax, r8",
        "or rax, r9",
        "ret",
    )
}

/// Holds `input` in MXCSR: roundings, masks, and the exceptions noted so far. Returns what is there afterwards.
///
/// # Safety
///
/// `input` masks all exceptions.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn hold_rounding(input: u32, spins: u64) -> u32 {
    naked_asm!(
        "mov [rsp - 16], edi",
        "stmxcsr [rsp - 8]",
        "ldmxcsr [rsp - 16]",
        "mov rcx, rsi",
        "2:",
        "lea rcx, [rcx - 1]",
        "jrcxz 3f",
        "jmp 2b",
        "3:",
        "stmxcsr [rsp - 24]",
        "ldmxcsr [rsp - 8]",
        "mov eax, [rsp - 24]",
        "ret",
    )
}

/// Holds `input` in xmm0 to xmm15.
///
/// # Safety
///
/// The pointers are valid.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn hold_vectors_128(
    input: *const [u64; 32],
    output: *mut [u64; 32],
    spins: u64,
) {
    naked_asm!(
        "mov rcx, rdx",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "movdqu xmm\\n, [rdi + 16 * \\n]",
        ".endr",
        "2:",
        "lea rcx, [rcx - 1]",
        "jrcxz 3f",
        "jmp 2b",
        "3:",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "movdqu [rsi + 16 * \\n], xmm\\n",
        ".endr",
        "ret",
    )
}

/// Holds `input` in ymm0 to ymm15.
///
/// # Safety
///
/// The pointers are valid, and the CPU has AVX.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn hold_vectors_256(
    input: *const [u64; 64],
    output: *mut [u64; 64],
    spins: u64,
) {
    naked_asm!(
        "mov rcx, rdx",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "vmovdqu ymm\\n, [rdi + 32 * \\n]",
        ".endr",
        "2:",
        "lea rcx, [rcx - 1]",
        "jrcxz 3f",
        "jmp 2b",
        "3:",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "vmovdqu [rsi + 32 * \\n], ymm\\n",
        ".endr",
        "vzeroupper",
        "ret",
    )
}

/// Holds `input` in zmm0 to zmm31 and then k0 to k7.
///
/// # Safety
///
/// The pointers are valid, and the CPU has AVX-512 with masks of 64 bits.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn hold_vectors_512(
    input: *const [u64; 264],
    output: *mut [u64; 264],
    spins: u64,
) {
    naked_asm!(
        "mov rcx, rdx",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "vmovdqu64 zmm\\n, [rdi + 64 * \\n]",
        ".endr",
        ".irp n, 0,1,2,3,4,5,6,7",
        "kmovq k\\n, [rdi + 2048 + 8 * \\n]",
        ".endr",
        "2:",
        "lea rcx, [rcx - 1]",
        "jrcxz 3f",
        "jmp 2b",
        "3:",
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "vmovdqu64 [rsi + 64 * \\n], zmm\\n",
        ".endr",
        ".irp n, 0,1,2,3,4,5,6,7",
        "kmovq [rsi + 2048 + 8 * \\n], k\\n",
        ".endr",
        "vzeroupper",
        "ret",
    )
}

/// Eight tiles of 16 rows of 64 bytes, as `ldtilecfg` takes it.
pub(super) static TILE_CONFIGURATION: [u8; 64] = {
    let mut configuration = [0; 64];
    configuration[0] = 1;
    let mut tile = 0;
    while tile < 8 {
        configuration[16 + 2 * tile] = 64;
        configuration[48 + tile] = 16;
        tile += 1;
    }
    configuration
};

/// Holds eight tiles of 1 KiB.
///
/// # Safety
///
/// The pointers are valid for 8 KiB and 64 bytes, and the process may use tiles.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn hold_tiles(
    input: *const u64,
    output: *mut u64,
    spins: u64,
    configuration: *const [u8; 64],
) {
    naked_asm!(
        "ldtilecfg [rcx]",
        "mov rcx, rdx",
        "mov eax, 64",
        ".irp n, 0,1,2,3,4,5,6,7",
        "tileloadd tmm\\n, [rdi + rax]",
        "add rdi, 1024",
        ".endr",
        "2:",
        "lea rcx, [rcx - 1]",
        "jrcxz 3f",
        "jmp 2b",
        "3:",
        ".irp n, 0,1,2,3,4,5,6,7",
        "tilestored [rsi + rax], tmm\\n",
        "add rsi, 1024",
        ".endr",
        "tilerelease",
        "ret",
    )
}
