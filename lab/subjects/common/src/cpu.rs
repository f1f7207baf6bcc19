//! Cores, and work that nothing but a core can do.

use std::hint::black_box;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Leaves the process the first `cores` of those that it may use: OS threads have no other count of workers. To be called
/// before there is a second thread.
pub fn pin_to_cores(cores: usize) {
    let allowed = sched_getaffinity(None).expect("the kernel tells the cores of this thread");
    let mut kept = CpuSet::new();
    for core in (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).take(cores) {
        kept.set(core);
    }
    sched_setaffinity(None, &kept).expect("some of the cores that it has are left");
}

/// A linear congruential generator (Knuth's MMIX): each round needs the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lcg(u64);

impl Lcg {
    const A: u64 = 6_364_136_223_846_793_005;
    const C: u64 = 1_442_695_040_888_963_407;

    /// One that starts at `seed`.
    pub fn new(seed: u64) -> Lcg {
        Lcg(seed)
    }

    /// One round.
    pub fn round(&mut self) {
        // Without the box, LLVM unrolls a loop over this and composes its rounds into one of other constants.
        self.0 = black_box(self.0.wrapping_mul(Self::A).wrapping_add(Self::C));
    }

    /// `count` rounds, one by one.
    pub fn rounds(mut self, count: u64) -> Lcg {
        for _ in 0..count {
            self.round();
        }
        self
    }

    /// Where `count` rounds lead, by squaring: to check those who went.
    pub fn jump(self, mut count: u64) -> Lcg {
        let (mut a, mut c) = (Self::A, Self::C);
        let mut x = self.0;
        while count > 0 {
            if count & 1 == 1 {
                x = x.wrapping_mul(a).wrapping_add(c);
            }
            c = c.wrapping_mul(a.wrapping_add(1));
            a = a.wrapping_mul(a);
            count >>= 1;
        }
        Lcg(x)
    }
}

#[cfg(test)]
mod tests {
    use super::Lcg;

    #[test]
    fn a_jump_arrives_where_the_rounds_do() {
        for count in [0, 1, 2, 3, 1_000, 12_345] {
            assert_eq!(Lcg::new(7).rounds(count), Lcg::new(7).jump(count));
        }
    }
}
