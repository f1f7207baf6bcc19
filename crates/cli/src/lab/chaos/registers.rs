//! Registers: each class is filled with random bits, held for some tens of microseconds by a loop that touches none of
//! them, and read back.
//!
//! The loop counts in `rcx` without the flags (`lea`, `jrcxz`), so that flags can be held too, the direction flag among
//! them. Control words are held with another rounding mode than anybody else's. What is filled and what is read lie in
//! one [`Image`], the second in its second half.

use std::arch::asm;

use super::dice::Dice;
use super::part::{Outcome, Part, same};

const WORDS: usize = 1024;
/// Where what was read begins: in words, and in bytes for the assembler.
const READ: usize = WORDS / 2;
const READ_BYTES: usize = READ * 8;
/// Mask registers and control word, behind 32 vector registers of 64 bytes.
const MASKS: usize = 256;
const CONTROL: usize = 264;
const SAVED: usize = 272;

/// The flags that a program may set: carry, parity, adjust, zero, sign, direction, overflow.
const FLAGS: u64 = 0x1 | 0x4 | 0x10 | 0x40 | 0x80 | 0x400 | 0x800;
/// Interrupts are on, and bit 1 always is.
const FLAGS_ALWAYS: u64 = 0x202;

/// Turns of the holding loop, at most: a tenth of a millisecond or so.
const MOST_TURNS: usize = 100_000;

#[repr(C, align(64))]
struct Image([u64; WORDS]);

/// Holds what the image says, and reads it back.
///
/// # Safety
///
/// The processor has the registers. The image is filled as the function wants it.
type Hold = unsafe fn(image: *mut Image, turns: u64);

pub(super) fn part() -> Part {
    Part::of("registers", 4, |_| {
        let mut image = Box::new(Image([0; WORDS]));
        move |dice: &mut Dice| round(&mut image, dice)
    })
}

fn round(image: &mut Image, dice: &mut Dice) -> Outcome {
    let turns = dice.up_to(MOST_TURNS) as u64;
    general_purpose(image, dice, turns)?;
    x87(image, dice, turns)?;
    vectors("xmm", hold_xmm, (16, 2), 0, image, dice, turns)?;
    if is_x86_feature_detected!("avx") {
        vectors("ymm", hold_ymm, (16, 4), 0, image, dice, turns)?;
    }
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
        vectors("zmm", hold_zmm, (32, 8), 8, image, dice, turns)?;
    }
    Ok(())
}

const NAMES: [&str; 15] = [
    "rax", "rbx", "rdx", "rsi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
    "flags", "rdi",
];
const FLAGS_AT: usize = 13;

fn general_purpose(image: &mut Image, dice: &mut Dice, turns: u64) -> Outcome {
    for word in &mut image.0[..NAMES.len()] {
        *word = dice.number();
    }
    image.0[FLAGS_AT] = image.0[FLAGS_AT] & FLAGS | FLAGS_ALWAYS;
    // SAFETY: every processor has these, and the flags are such that a program may set.
    unsafe { hold_general_purpose(image, turns) };
    image.0[READ + FLAGS_AT] = image.0[READ + FLAGS_AT] & FLAGS | FLAGS_ALWAYS;
    for (at, name) in NAMES.iter().enumerate() {
        same(name, image.0[READ + at], image.0[at])?;
    }
    Ok(())
}

/// Eight registers of ten bytes, in two words each, and the control word.
fn x87(image: &mut Image, dice: &mut Dice, turns: u64) -> Outcome {
    for at in 0..8 {
        // A normal number: anything else a load may change.
        image.0[2 * at] = dice.number() | 1 << 63;
        image.0[2 * at + 1] = (0x3f00 + dice.below(0x200)) as u64;
    }
    // No exceptions, full precision, any rounding.
    image.0[CONTROL] = 0x037f | (dice.below(4) as u64) << 10;
    image.0[READ..].fill(0);
    // SAFETY: every processor has these.
    unsafe { hold_x87(image, turns) };
    for at in 0..16 {
        same("a half of an x87 register", image.0[READ + at], image.0[at])?;
    }
    same("the x87 control word", image.0[READ + CONTROL], image.0[CONTROL])
}

/// `count` registers of so many words, `masks` mask registers, and MXCSR.
fn vectors(
    class: &str,
    hold: Hold,
    (count, words): (usize, usize),
    masks: usize,
    image: &mut Image,
    dice: &mut Dice,
    turns: u64,
) -> Outcome {
    image.0[..MASKS + masks].iter_mut().for_each(|word| *word = dice.number());
    image.0[CONTROL] = 0x1f80 | (dice.below(4) as u64) << 13;
    image.0[READ..].fill(0);
    // SAFETY: the caller has looked whether the processor has them, and MXCSR is valid: all exceptions are masked.
    unsafe { hold(image, turns) };
    for register in 0..count {
        let from = 8 * register;
        let (filled, read) = (from..from + words, READ + from..READ + from + words);
        if image.0[read.clone()] != image.0[filled.clone()] {
            same(&format!("{class}{register}"), &image.0[read], &image.0[filled])?;
        }
    }
    for at in MASKS..MASKS + masks {
        same(&format!("k{}", at - MASKS), image.0[READ + at], image.0[at])?;
    }
    // The low six bits are what arithmetic has met.
    same("MXCSR", image.0[READ + CONTROL] & !0x3f, image.0[CONTROL])
}

/// Fifteen words: registers and flags as [`NAMES`] has them.
///
/// # Safety
///
/// The flags are such that a program may set.
unsafe fn hold_general_purpose(image: *mut Image, turns: u64) {
    // SAFETY: it reads the image and writes its second half. `rbx`, `rbp` and the stack are as before in the end, and so is
    // the direction flag; all else that it changes is named.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "push rdi",
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
            "push qword ptr [rdi + 104]",
            "mov rdi, [rdi + 112]",
            "popfq",
            "2:",
            "lea rcx, [rcx - 1]",
            "jrcxz 3f",
            "jmp 2b",
            "3:",
            // The image's address for the last register.
            "xchg rdi, [rsp]",
            "mov [rdi + {read}], rax",
            "mov [rdi + {read} + 8], rbx",
            "mov [rdi + {read} + 16], rdx",
            "mov [rdi + {read} + 24], rsi",
            "mov [rdi + {read} + 32], rbp",
            "mov [rdi + {read} + 40], r8",
            "mov [rdi + {read} + 48], r9",
            "mov [rdi + {read} + 56], r10",
            "mov [rdi + {read} + 64], r11",
            "mov [rdi + {read} + 72], r12",
            "mov [rdi + {read} + 80], r13",
            "mov [rdi + {read} + 88], r14",
            "mov [rdi + {read} + 96], r15",
            "pushfq",
            "cld",
            "pop qword ptr [rdi + {read} + 104]",
            "pop qword ptr [rdi + {read} + 112]",
            "pop rbp",
            "pop rbx",
            read = const READ_BYTES,
            inout("rdi") image => _,
            inout("rcx") turns => _,
            out("rax") _, out("rdx") _, out("rsi") _, out("r8") _, out("r9") _, out("r10") _,
            out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
}

/// # Safety
///
/// The control word masks all exceptions.
unsafe fn hold_x87(image: *mut Image, turns: u64) {
    // SAFETY: it reads the image and writes its second half; the x87 stack is empty in the end, and the control word as
    // before.
    unsafe {
        asm!(
            "fnstcw [rdi + 8 * {saved}]",
            "fldcw [rdi + 8 * {control}]",
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7",
            "fld tbyte ptr [rdi + 16 * \\n]",
            ".endr",
            "2:",
            "lea rcx, [rcx - 1]",
            "jrcxz 3f",
            "jmp 2b",
            "3:",
            "fnstcw [rdi + {read} + 8 * {control}]",
            ".irp n, 7, 6, 5, 4, 3, 2, 1, 0",
            "fstp tbyte ptr [rdi + {read} + 16 * \\n]",
            ".endr",
            "fldcw [rdi + 8 * {saved}]",
            read = const READ_BYTES,
            control = const CONTROL,
            saved = const SAVED,
            inout("rdi") image => _,
            inout("rcx") turns => _,
            clobber_abi("sysv64"),
        );
    }
}

/// A [`Hold`] for one width of vector register: how it is moved, what it is called, which there are, and what else.
macro_rules! hold_vectors {
    ($name:ident, $move:literal, $class:literal, $registers:literal, $filled:literal, $read:literal) => {
        /// # Safety
        ///
        /// The processor has the registers, and the control word masks all exceptions.
        unsafe fn $name(image: *mut Image, turns: u64) {
            // SAFETY: it reads the image and writes its second half; MXCSR is as before in the end.
            unsafe {
                asm!(
                    "stmxcsr [rdi + 8 * {saved}]",
                    "ldmxcsr [rdi + 8 * {control}]",
                    concat!(".irp n, ", $registers),
                    concat!($move, " ", $class, "\\n, [rdi + 64 * \\n]"),
                    ".endr",
                    $filled,
                    "2:",
                    "lea rcx, [rcx - 1]",
                    "jrcxz 3f",
                    "jmp 2b",
                    "3:",
                    "stmxcsr [rdi + {read} + 8 * {control}]",
                    concat!(".irp n, ", $registers),
                    concat!($move, " [rdi + {read} + 64 * \\n], ", $class, "\\n"),
                    ".endr",
                    $read,
                    "ldmxcsr [rdi + 8 * {saved}]",
                    "/* {masks} */",
                    read = const READ_BYTES,
                    masks = const MASKS,
                    control = const CONTROL,
                    saved = const SAVED,
                    inout("rdi") image => _,
                    inout("rcx") turns => _,
                    clobber_abi("sysv64"),
                );
            }
        }
    };
}

hold_vectors!(hold_xmm, "movups", "xmm", "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15", "", "");
hold_vectors!(
    hold_ymm,
    "vmovups",
    "ymm",
    "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    "",
    "vzeroupper"
);
hold_vectors!(
    hold_zmm,
    "vmovups",
    "zmm",
    "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7
     kmovq k\\n, [rdi + 8 * {masks} + 8 * \\n]
     .endr",
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7
     kmovq [rdi + {read} + 8 * {masks} + 8 * \\n], k\\n
     .endr
     vzeroupper"
);
