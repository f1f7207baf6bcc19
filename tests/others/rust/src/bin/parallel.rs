//! Computing in parallel on rayon's threads: a sort, and a sum of many small pieces.

use rayon::prelude::*;

fn main() {
    let mut numbers: Vec<u64> =
        (0..4_000_000_u64).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7).collect();
    for _ in 0..4 {
        numbers.par_sort_unstable_by_key(|number| number.reverse_bits());
        numbers.par_sort_unstable();
    }
    let sum: u64 = (0..200_000_u64)
        .into_par_iter()
        .map(|seed| (0..500).fold(seed, |sum, step| sum.rotate_left(7) ^ step))
        .reduce(|| 0, u64::wrapping_add);
    println!("{} {sum}", numbers[numbers.len() / 2]);
}
