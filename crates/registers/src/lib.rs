//! Whether what code has in registers survives what happens to it meanwhile: each [`Class`] of registers
//! is filled from a seed, held for a while by a loop that touches none of them, and read back.
//!
//! Knows nothing of fibers: whoever holds registers sees to it that something happens. For the tests of
//! preemption and for `timestop lab chaos`, which must not each have assembly of their own.

mod routines;

use std::arch::x86_64::__cpuid_count;
use std::fmt::Debug;

use self::routines::{
    FLAGS, TILE_CONFIGURATION, hold_flags, hold_general, hold_red_zone, hold_rounding, hold_tiles,
    hold_vectors_128, hold_vectors_256, hold_vectors_512, hold_x87,
};

/// What is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// `rax` to `r15`, but for the stack pointer, and a word of the stack that is written all the while.
    General,
    /// What a program may set of the flags: carry, parity, adjust, zero, sign, overflow, direction, and
    /// alignment check, under which an access that is not aligned is a fault.
    Flags,
    /// The 128 bytes below the stack pointer.
    RedZone,
    /// The x87 stack, its control word and its status word.
    X87,
    /// Roundings and exceptions of vector arithmetic.
    Mxcsr,
    /// SSE.
    Xmm,
    /// AVX.
    Ymm,
    /// AVX-512, mask registers included.
    Zmm,
    /// AMX: tiles and their configuration.
    Tiles,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::General,
        Self::Flags,
        Self::RedZone,
        Self::X87,
        Self::Mxcsr,
        Self::Xmm,
        Self::Ymm,
        Self::Zmm,
        Self::Tiles,
    ];

    /// Why it cannot be held here, if that is so. Asks the kernel for the use of tiles.
    #[must_use]
    pub fn missing(self) -> Option<&'static str> {
        match self {
            Self::Ymm if !is_x86_feature_detected!("avx") => Some("this CPU has no AVX"),
            Self::Zmm if !is_x86_feature_detected!("avx512bw") => Some("this CPU has no AVX-512"),
            Self::Tiles if !may_use_tiles() => Some("no AMX here, or not for this process"),
            _ => None,
        }
    }

    /// Fills the registers with what `seed` says, goes `turns` times through a loop of a nanosecond or
    /// so, and compares what is there then.
    ///
    /// # Errors
    ///
    /// What was changed.
    ///
    /// # Panics
    ///
    /// If the class is [missing](Self::missing).
    pub fn hold(self, seed: u64, turns: u64) -> Result<(), String> {
        assert_eq!(self.missing(), None, "{self:?}");
        match self {
            Self::General => general(seed, turns),
            Self::Flags => flags(seed, turns),
            Self::RedZone => red_zone(seed, turns),
            Self::X87 => x87(seed, turns),
            Self::Mxcsr => mxcsr(seed, turns),
            Self::Xmm => xmm(seed, turns),
            Self::Ymm => ymm(seed, turns),
            Self::Zmm => zmm(seed, turns),
            Self::Tiles => tiles(seed, turns),
        }
    }
}

fn same<T: PartialEq + Debug + ?Sized>(what: &str, found: &T, held: &T) -> Result<(), String> {
    if found == held {
        return Ok(());
    }
    Err(format!("{what}: found {found:x?}, held {held:x?}"))
}

/// Compares register by register, so that what is told is short.
fn same_each<T: PartialEq + Debug>(
    what: &str,
    length: usize,
    found: &[T],
    held: &[T],
) -> Result<(), String> {
    let registers = found.chunks(length).zip(held.chunks(length));
    registers.enumerate().try_for_each(|(number, (found, held))| {
        if found == held { Ok(()) } else { same(&format!("{what}{number}"), found, held) }
    })
}

/// `N` words that depend on `seed` (splitmix64, Vigna's).
fn words<const N: usize>(mut seed: u64) -> [u64; N] {
    std::array::from_fn(|_| {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = seed;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    })
}

fn general(seed: u64, turns: u64) -> Result<(), String> {
    let input = words(seed);
    let mut output = [0; 14];
    // SAFETY: both arrays are as long as the routine has it.
    let left = unsafe { hold_general(&raw const input, &raw mut output, turns) };
    same_each("general register ", 1, &output, &input)?;
    same("the difference of two counters that go down together", &left, &0)
}

fn flags(seed: u64, turns: u64) -> Result<(), String> {
    let [input] = words(seed);
    // SAFETY: no flag that is set means anything but to arithmetic, to string instructions, and to
    // accesses that are not aligned, of which the routine has none.
    let output = unsafe { hold_flags(input & FLAGS, turns) };
    same("flags", &(output & FLAGS), &(input & FLAGS))
}

fn red_zone(seed: u64, turns: u64) -> Result<(), String> {
    let input = words(seed);
    let mut output = [0; 16];
    // SAFETY: both arrays are as long as the routine has it.
    unsafe { hold_red_zone(&raw const input, &raw mut output, turns) };
    same_each("red zone word ", 1, &output, &input)
}

fn x87(seed: u64, turns: u64) -> Result<(), String> {
    // Numbers whose last bits a double would lose: a significand with its top bit set, and an exponent
    // near 1.
    let numbers: [u64; 8] = words(seed);
    let mut input = [0_u8; 80];
    for (place, number) in input.chunks_exact_mut(10).zip(numbers) {
        place[..8].copy_from_slice(&(number | 1 << 63).to_le_bytes());
        place[8..].copy_from_slice(&(0x3fff + (number % 64) as u16).to_le_bytes());
    }
    // Every rounding and precision, all exceptions masked.
    let rounding = (numbers[0] % 4) as u16;
    let precision = [0, 2, 3][(numbers[0] / 4 % 3) as usize];
    let control = 0x7f | precision << 8 | rounding << 10;
    let mut output = [0_u8; 80];
    // SAFETY: both arrays are as long as the routine has it, and the control word masks all exceptions.
    let words = unsafe { hold_x87(input.as_ptr(), output.as_mut_ptr(), turns, control.into()) };
    same_each("st", 10, &output, &input)?;
    same("the x87 control word", &(words as u16), &control)?;
    same("the x87 status word", &((words >> 32) as u16), &((words >> 16) as u16))
}

fn mxcsr(seed: u64, turns: u64) -> Result<(), String> {
    // Exceptions masked; any rounding, flush to zero, denormals are zero, any exceptions noted.
    let [word] = words(seed);
    let input = 0x1f80 | (word as u32 & 0xe07f);
    // SAFETY: all exceptions are masked.
    let output = unsafe { hold_rounding(input, turns) };
    same("MXCSR", &output, &input)
}

fn xmm(seed: u64, turns: u64) -> Result<(), String> {
    let input = words(seed);
    let mut output = [0; 32];
    // SAFETY: both arrays are as long as the routine has it.
    unsafe { hold_vectors_128(&raw const input, &raw mut output, turns) };
    same_each("xmm", 2, &output, &input)
}

fn ymm(seed: u64, turns: u64) -> Result<(), String> {
    let input = words(seed);
    let mut output = [0; 64];
    // SAFETY: both arrays are as long as the routine has it, and the CPU has AVX: it is not missing.
    unsafe { hold_vectors_256(&raw const input, &raw mut output, turns) };
    same_each("ymm", 4, &output, &input)
}

fn zmm(seed: u64, turns: u64) -> Result<(), String> {
    let input: [u64; 264] = words(seed);
    let mut output = [0; 264];
    // SAFETY: both arrays are as long as the routine has it, and the CPU has AVX-512: it is not missing.
    unsafe { hold_vectors_512(&raw const input, &raw mut output, turns) };
    same_each("zmm", 8, &output[..256], &input[..256])?;
    same_each("k", 1, &output[256..], &input[256..])
}

fn tiles(seed: u64, turns: u64) -> Result<(), String> {
    let input: Vec<u64> = words::<1024>(seed).into();
    let mut output = vec![0_u64; 1024];
    // SAFETY: both arrays are eight tiles long, and the process may use tiles: they are not missing.
    unsafe {
        hold_tiles(input.as_ptr(), output.as_mut_ptr(), turns, &raw const TILE_CONFIGURATION);
    }
    same_each("tmm", 128, &output, &input)
}

/// Whether the CPU has tiles and the kernel lets this process use them.
fn may_use_tiles() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_int = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    let has_tiles = __cpuid_count(7, 0).edx & 1 << 24 != 0;
    // SAFETY: it asks for a permission, and touches no memory.
    has_tiles && unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) } == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_changes_where_nothing_happens() {
        for class in Class::ALL {
            match class.missing() {
                Some(why) => println!("{class:?}: skipped: {why}"),
                None => (0..100).for_each(|seed| class.hold(seed, 1 + seed).expect("the same")),
            }
        }
    }

    #[test]
    fn seeds_differ() {
        let [one, other]: [[u64; 264]; 2] = [words(1), words(2)];
        assert!(one.iter().zip(&other).all(|(one, other)| one != other));
    }
}
