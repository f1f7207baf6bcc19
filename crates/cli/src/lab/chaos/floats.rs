//! Arithmetic whose result is known to the last bit: sums of whole numbers, on each unit that the processor has for them.

use std::arch::asm;
use std::arch::x86_64::{
    _mm_add_pd, _mm_cvtsd_f64, _mm_unpackhi_pd, _mm256_add_pd, _mm256_castpd256_pd128,
    _mm256_extractf128_pd, _mm256_set_pd, _mm256_setzero_pd, _mm512_add_pd, _mm512_reduce_add_pd,
    _mm512_set_pd, _mm512_setzero_pd,
};
use std::hint::black_box;

use super::dice::Dice;
use super::part::{Part, same};

/// Numbers summed in a round, at most. The sum is far below 2⁵³.
const MOST: usize = 40_000;

pub(super) fn part() -> Part {
    Part::of("floats", 3, |_| {
        let known = functions(0.7);
        move |dice: &mut Dice| {
            let count = 8 * dice.up_to(MOST / 8) as u64;
            let expected = count * (count + 1) / 2;
            same("an integer sum in x87", x87(count), expected)?;
            same("a sum in f64", scalar(count), expected as f64)?;
            if is_x86_feature_detected!("avx") {
                // SAFETY: the processor has it.
                same("a sum in AVX", unsafe { avx(count) }, expected as f64)?;
            }
            if is_x86_feature_detected!("avx512f") {
                // SAFETY: the processor has it.
                same("a sum in AVX-512", unsafe { avx512(count) }, expected as f64)?;
            }
            same(
                "functions of libm",
                functions(black_box(0.7)).map(f64::to_bits),
                known.map(f64::to_bits),
            )
        }
    })
}

/// The same bits, whoever computes them and whenever.
fn functions(of: f64) -> [f64; 5] {
    [of.sin(), of.exp(), of.ln(), of.powf(3.3), of.sqrt()]
}

fn scalar(count: u64) -> f64 {
    (1..=count).fold(0.0, |sum, number| black_box(sum) + number as f64)
}

#[target_feature(enable = "avx")]
fn avx(count: u64) -> f64 {
    let mut sum = _mm256_setzero_pd();
    for at in (0..count).step_by(4) {
        let at = at as f64;
        let numbers = _mm256_set_pd(at + 4.0, at + 3.0, at + 2.0, at + 1.0);
        sum = _mm256_add_pd(black_box(sum), numbers);
    }
    let halves = _mm_add_pd(_mm256_castpd256_pd128(sum), _mm256_extractf128_pd::<1>(sum));
    _mm_cvtsd_f64(halves) + _mm_cvtsd_f64(_mm_unpackhi_pd(halves, halves))
}

#[target_feature(enable = "avx512f")]
fn avx512(count: u64) -> f64 {
    let mut sum = _mm512_setzero_pd();
    for at in (0..count).step_by(8) {
        let at = at as f64;
        let [a, b, c, d] = [at + 8.0, at + 7.0, at + 6.0, at + 5.0];
        let numbers = _mm512_set_pd(a, b, c, d, at + 4.0, at + 3.0, at + 2.0, at + 1.0);
        sum = _mm512_add_pd(black_box(sum), numbers);
    }
    _mm512_reduce_add_pd(sum)
}

/// Sum and counter stay on the x87 stack from the first to the last.
fn x87(count: u64) -> u64 {
    let mut sum = 0_u64;
    // SAFETY: it writes eight bytes to `sum` and leaves the x87 stack empty, as it found it.
    unsafe {
        asm!(
            "fldz",
            "fldz",
            "2:",
            "fld1",
            "faddp st(1), st",
            "fadd st(1), st",
            "lea rcx, [rcx - 1]",
            "jrcxz 3f",
            "jmp 2b",
            "3:",
            "fstp st(0)",
            "fistp qword ptr [{sum}]",
            sum = in(reg) &raw mut sum,
            inout("rcx") count => _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            options(nostack),
        );
    }
    sum
}
