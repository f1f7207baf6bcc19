//! What a generator costs here: a step, a step through a hundred delegations, one from making to end.
//!
//! ```sh
//! cargo run --release -p timestop --example generator_cost
//! ```
//!
//! Each line is the median of some rounds, and how far the quickest and the slowest of them lie apart.

use std::hint::black_box;
use std::time::Instant;

use timestop::coro::{Generator, Yielder, scoped};

const ROUNDS: usize = 31;
const STEPS: u32 = 200_000;

/// Median, least and most of `ROUNDS` measurements, in nanoseconds each of `count`.
fn measure(what: &str, count: u32, mut round: impl FnMut()) {
    round();
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed().as_nanos() as f64 / f64::from(count)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let [least, median, most] = [0, ROUNDS / 2, ROUNDS - 1].map(|at| times[at]);
    println!("{what:<44} {median:>8.1} ns   ({least:.1} to {most:.1})");
}

fn count(y: &Yielder<u32>) {
    for number in 0_u32.. {
        y.yield_(number);
    }
}

/// Counts from within so many generators.
fn deep(depth: u32) -> Generator<u32> {
    Generator::new(move |y| if depth <= 1 { count(y) } else { y.yield_from(deep(depth - 1)) })
}

/// Counts from within so many calls.
#[inline(never)]
fn called(y: &Yielder<u32>, depth: u32) {
    if depth == 0 {
        count(y)
    } else {
        called(y, black_box(depth - 1))
    }
    black_box(depth);
}

fn steps(generator: &mut Generator<u32>) {
    for _ in 0..STEPS {
        black_box(generator.next());
    }
}

fn main() {
    let mut plain = deep(1);
    measure("a step", STEPS, || steps(&mut plain));
    let mut nested = Generator::new(|y| called(y, 10));
    measure("a step, ten calls deep", STEPS, || steps(&mut nested));
    for depth in [10, 100] {
        let mut delegated = deep(depth);
        measure(&format!("a step through {depth} delegations"), STEPS, || steps(&mut delegated));
    }
    measure("made, three steps, and dropped", 1_000, || {
        for _ in 0..1_000 {
            let sum: u32 = Generator::new(count).take(black_box(3)).sum();
            black_box(sum);
        }
    });
    measure("made, three steps, and ended", 1_000, || {
        for _ in 0..1_000 {
            let sum: u32 = Generator::new(|y: &Yielder<u32>| y.yield_all(0..3)).sum();
            black_box(sum);
        }
    });
    measure("a scoped one, made and ended", 1_000, || {
        for _ in 0..1_000 {
            let text = black_box("a b c");
            black_box(scoped(|y| y.yield_all(text.split(' ')), |words| words.count()));
        }
    });
}
