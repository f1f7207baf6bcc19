//! Descriptors of the runtime's own, among the program's.
//!
//! Programs close "all" descriptors in a loop or by one `close_range`, and put files under numbers of
//! their choice with `dup2`. Ours must survive the one and give way to the other. So the hooks of
//! `close` and its kin ask [`is_own`], and act as if nothing were there; `dup2` has the number
//! [vacated](vacate) first. For that, whoever uses a descriptor of ours keeps an [`Own`] and asks it
//! for the number each time.
//!
//! They are numbered at the top of what the limit allows at that moment, so that a program that counts
//! on low numbers has them; not above 2¹⁴, because the kernel copies the table up to its highest number
//! at each fork. Where the limit is lowered later they stay where they are, which the kernel allows.
//!
//! Rejected: to raise the limit for an instant, for numbers above it (`setrlimit` of another thread in
//! that instant would be lost).

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use crate::sys;

/// As many as there may be carriers, by default, and as many waits with a descriptor of their own.
const PLACES: usize = 4096;
/// Numbers from here on are not known as ours.
const NUMBERS: usize = 1 << 20;

/// The numbers, plus one; 0 for a free place.
static TABLE: [AtomicI32; PLACES] = [const { AtomicI32::new(0) }; PLACES];
/// A bit for each number that stands in the table.
static NUMBERED: [AtomicU64; NUMBERS / 64] = [const { AtomicU64::new(0) }; NUMBERS / 64];

/// A descriptor of ours, whatever its number is just now. Not closed when dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Own(i32);

impl Own {
    /// No descriptor; its number is −1.
    pub const NONE: Self = Self(-1);

    /// Takes over a descriptor that the caller has made, and numbers it high. Close-on-exec.
    #[must_use]
    pub fn adopt(number: i32) -> Self {
        let number = sys::move_up(number);
        let free = |place: &&AtomicI32| {
            place.compare_exchange(0, number + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        match TABLE.iter().position(|place| free(&place)) {
            Some(index) => {
                mark(number, true);
                Self(index as i32)
            }
            None => Self(-2 - number), // nothing protects it
        }
    }

    /// The number, which another thread's `dup2` may change.
    #[inline]
    #[must_use]
    pub fn number(self) -> i32 {
        match usize::try_from(self.0) {
            Ok(index) => TABLE[index].load(Ordering::Acquire) - 1,
            Err(_) if self == Self::NONE => -1,
            Err(_) => -2 - self.0,
        }
    }

    /// Closes it. The owner's last use.
    pub fn close(self) {
        let number = match usize::try_from(self.0) {
            Ok(index) => TABLE[index].swap(0, Ordering::AcqRel) - 1,
            Err(_) => self.number(),
        };
        if number >= 0 {
            sys::close(number);
            // Afterwards: who wants the number meanwhile waits until it is free.
            mark(number, false);
        }
    }
}

fn mark(number: i32, own: bool) {
    let Some(word) = NUMBERED.get(number as usize / 64) else { return };
    let bit = 1 << (number % 64);
    if own {
        word.fetch_or(bit, Ordering::AcqRel);
    } else {
        word.fetch_and(!bit, Ordering::AcqRel);
    }
}

/// Whether a number is of a descriptor of ours.
#[inline]
#[must_use]
pub fn is_own(number: i32) -> bool {
    NUMBERED
        .get(number as usize / 64)
        .is_some_and(|word| word.load(Ordering::Acquire) >> (number % 64) & 1 != 0)
}

/// The first number of ours from `first` on.
#[must_use]
pub fn next(first: u32) -> Option<u32> {
    let mut index = first as usize / 64;
    let mut mask = u64::MAX << (first % 64);
    while let Some(word) = NUMBERED.get(index) {
        let found = word.load(Ordering::Acquire) & mask;
        if found != 0 {
            return Some(index as u32 * 64 + found.trailing_zeros());
        }
        (index, mask) = (index + 1, u64::MAX);
    }
    None
}

/// Moves ours away from a number that the program is about to fill by `dup2`. The number stays open
/// for that, and is the program's. False where there is no other number.
///
/// Whoever has asked for the number before and has not used it yet uses what the program puts there:
/// it finds no epoll, or no process, and takes the slow way.
#[must_use]
pub fn vacate(number: i32) -> bool {
    const PATIENCE: u32 = 10_000;
    for _ in 0..PATIENCE {
        if !is_own(number) {
            return true;
        }
        let holder = |place: &&AtomicI32| place.load(Ordering::Acquire) == number + 1;
        let Some(place) = TABLE.iter().find(holder) else {
            sys::yield_thread(); // about to be closed
            continue;
        };
        let Ok(moved) = sys::duplicate_high(number) else { return false };
        mark(moved, true);
        if place
            .compare_exchange(number + 1, moved + 1, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
        {
            mark(number, false);
            return true;
        }
        sys::close(moved);
        mark(moved, false);
    }
    false
}

/// In the child of a `fork`: closes all. They are the parent's too, and of no use here.
///
/// # Safety
///
/// The caller is the only thread of its process, and nobody will ask for a number again.
pub(crate) unsafe fn reset() {
    for (index, place) in TABLE.iter().enumerate() {
        if place.load(Ordering::Relaxed) != 0 {
            Own(index as i32).close();
        }
    }
}
