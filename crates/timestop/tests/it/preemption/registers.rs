//! Everything that a fiber has in registers is there when it goes on, on whichever OS thread that is.
//!
//! A few fibers on fewer workers fill a class of registers with patterns of their own, spin in assembly that touches
//! nothing else, and look at what is there afterwards: the routines of [`routines`]. `TIMESTOP_PREEMPTIONS` says how
//! many preemptions each class has to survive; a few thousand unless it is set.

mod routines;

use std::arch::x86_64::__cpuid_count;
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::thread::gettid;

use self::routines::{
    FLAGS, TILE_CONFIGURATION, hold_flags, hold_general, hold_red_zone, hold_rounding, hold_tiles,
    hold_vectors_128, hold_vectors_256, hold_vectors_512, hold_x87,
};
use super::{CHAOS, passes, preempted, preemptions};
use crate::support::{child, fan_out, is_child, on_fiber, splitmix};

/// Preemptions that each class survives by default, and rounds that it goes through where there are none.
const FEW: u64 = 3_000;
const ROUNDS: u64 = 200;

/// Turns of the loop in which a routine spins: some hundred microseconds, more than lies between two preemptions.
const SPINS: u64 = 200_000;

/// More than workers, so that they change places.
const FIBERS: usize = 5;
const WORKERS: usize = 2;

/// Runs `round`, which holds registers and compares them, in fibers that are preempted all the time. It is given a seed,
/// and panics if it finds anything changed.
fn survives(name: &str, round: fn(u64)) {
    if !is_child() {
        let mut command = child(&format!("preemption::registers::{name}"));
        command.env("TIMESTOP_WORKERS", WORKERS.to_string()).env("TIMESTOP_CHAOS", CHAOS);
        passes(&mut command);
        return;
    }
    let wanted = env::var("TIMESTOP_PREEMPTIONS")
        .map_or(FEW, |text| text.parse().unwrap_or_else(|_| panic!("{text} is no number")));
    on_fiber(move || {
        let enough = preemptions() + wanted;
        let moves = Arc::new(AtomicU64::new(0));
        let moved = moves.clone();
        fan_out(FIBERS, move |index| {
            let mut seed = index as u64;
            for number in 0.. {
                if number >= ROUNDS && preempted(enough) {
                    break;
                }
                let before = gettid();
                round(splitmix(&mut seed));
                moved.fetch_add(u64::from(gettid() != before), Ordering::Relaxed);
                if number % 16 == 0 {
                    // Now and then one that waits, which makes room and takes it.
                    timestop::spawn(move || round(splitmix(&mut seed))).join().expect("no panic");
                }
            }
        });
        let moves = moves.load(Ordering::Relaxed);
        println!("{} preemptions, {moves} moves to another OS thread meanwhile", preemptions());
        assert!(moves > 0, "none was moved as it held registers");
    });
}

/// `N` words that depend on `seed`, none of them twice.
fn words<const N: usize>(mut seed: u64) -> [u64; N] {
    std::array::from_fn(|_| splitmix(&mut seed))
}

#[test]
fn general() {
    survives("general", |seed| {
        let input = words(seed);
        let mut output = [0; 14];
        // SAFETY: both arrays are as long as the routine has it.
        let left = unsafe { hold_general(&raw const input, &raw mut output, SPINS) };
        assert_eq!(output, input);
        assert_eq!(left, 0, "two counters that go down together");
    });
}

#[test]
fn flags() {
    survives("flags", |seed| {
        // Any mixture of carry, parity, adjust, zero, sign, overflow and direction; interrupts stay on.
        let input = seed & FLAGS;
        // SAFETY: no flag that is set means anything but to arithmetic and string instructions.
        let output = unsafe { hold_flags(input, SPINS) };
        assert_eq!(output & FLAGS, input);
    });
}

#[test]
fn red_zone() {
    survives("red_zone", |seed| {
        let input = words(seed);
        let mut output = [0; 16];
        // SAFETY: both arrays are as long as the routine has it.
        unsafe { hold_red_zone(&raw const input, &raw mut output, SPINS) };
        assert_eq!(output, input);
    });
}

#[test]
fn x87() {
    survives("x87", |seed| {
        // Numbers whose last bits a double would lose: a significand with its top bit set, and an exponent near 1.
        let numbers: [u64; 8] = words(seed);
        let mut input = [0_u8; 80];
        for (place, number) in input.chunks_exact_mut(10).zip(numbers) {
            place[..8].copy_from_slice(&(number | 1 << 63).to_le_bytes());
            place[8..].copy_from_slice(&(0x3fff + (number % 64) as u16).to_le_bytes());
        }
        // Every rounding and precision, all exceptions masked.
        let rounding = (seed % 4) as u16;
        let precision = [0, 2, 3][(seed / 4 % 3) as usize];
        let control = 0x7f | precision << 8 | rounding << 10;
        let mut output = [0_u8; 80];
        // SAFETY: both arrays are as long as the routine has it, and the control word masks all exceptions.
        let words = unsafe { hold_x87(input.as_ptr(), output.as_mut_ptr(), SPINS, control.into()) };
        assert_eq!(output, input);
        assert_eq!(words as u16, control, "control word");
        assert_eq!((words >> 16) as u16, (words >> 32) as u16, "status word");
    });
}

#[test]
fn mxcsr() {
    survives("mxcsr", |seed| {
        // Exceptions masked; any rounding, flush to zero, denormals are zero, any exceptions noted.
        let input = 0x1f80 | (seed as u32 & 0xe07f);
        // SAFETY: all exceptions are masked.
        let output = unsafe { hold_rounding(input, SPINS) };
        assert_eq!(output, input);
    });
}

#[test]
fn xmm() {
    survives("xmm", |seed| {
        let input = words(seed);
        let mut output = [0; 32];
        // SAFETY: both arrays are as long as the routine has it.
        unsafe { hold_vectors_128(&raw const input, &raw mut output, SPINS) };
        assert_eq!(output, input);
    });
}

#[test]
fn ymm() {
    if !is_x86_feature_detected!("avx") {
        println!("skipped: this CPU has no AVX");
        return;
    }
    survives("ymm", |seed| {
        let input = words(seed);
        let mut output = [0; 64];
        // SAFETY: both arrays are as long as the routine has it, and the CPU has AVX.
        unsafe { hold_vectors_256(&raw const input, &raw mut output, SPINS) };
        assert_eq!(output, input);
    });
}

#[test]
fn zmm_and_masks() {
    if !is_x86_feature_detected!("avx512bw") {
        println!("skipped: this CPU has no AVX-512");
        return;
    }
    survives("zmm_and_masks", |seed| {
        let input = words(seed);
        let mut output = [0; 264];
        // SAFETY: both arrays are as long as the routine has it, and the CPU has AVX-512.
        unsafe { hold_vectors_512(&raw const input, &raw mut output, SPINS) };
        assert_eq!(output, input);
    });
}

/// Whether the CPU has tiles and the kernel lets this process use them.
fn may_use_tiles() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_int = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    let has_tiles = __cpuid_count(7, 0).edx & 1 << 24 != 0;
    // SAFETY: it asks for a permission, and touches no memory.
    has_tiles && unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) } == 0
}

#[test]
fn amx_tiles() {
    if !may_use_tiles() {
        println!("skipped: no AMX here, or not for this process");
        return;
    }
    survives("amx_tiles", |seed| {
        let input: Vec<u64> = words::<1024>(seed).into();
        let mut output = vec![0_u64; 1024];
        // SAFETY: both arrays are eight tiles long, and the process may use tiles.
        unsafe {
            hold_tiles(input.as_ptr(), output.as_mut_ptr(), SPINS, &raw const TILE_CONFIGURATION);
        }
        assert!(output == input, "tiles");
    });
}
