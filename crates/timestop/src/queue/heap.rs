//! A binary heap whose smallest item comes first, and of equal ones the one that came first.
//!
//! It compares first and moves afterwards: the path that items move along is found without touching them. So
//! a comparison that panics leaves everything as it was, and no item is in two places or in none.
//!
//! Rejected: `std::collections::BinaryHeap`, which moves while it compares: after a panic its order is
//! unspecified, and an item that was being taken is dropped.

use std::cmp::Ordering;
use std::fmt;

use super::order::Store;

/// The heap. No item comes before its parent, which has half its index (counted from 1).
pub struct Heap<T> {
    items: Vec<Item<T>>,
    /// How many have come so far.
    came: u64,
}

struct Item<T> {
    value: T,
    /// How many had come before it.
    number: u64,
}

/// From the top down, at each step to the left or the right.
#[derive(Debug, Clone, Copy)]
pub struct Path {
    /// A bit a step, the first one lowest: 1 is to the right.
    turns: u64,
    steps: u32,
}

impl<T> Default for Heap<T> {
    fn default() -> Self {
        Self { items: Vec::new(), came: 0 }
    }
}

impl<T: Ord> Heap<T> {
    /// Whether the `index`th goes before the `other`.
    fn before(&self, index: usize, other: usize) -> bool {
        let (one, other) = (&self.items[index], &self.items[other]);
        match one.value.cmp(&other.value) {
            Ordering::Less => true,
            Ordering::Equal => one.number < other.number,
            Ordering::Greater => false,
        }
    }

    /// How far `value`, the `number`th, sinks from the top of the first `len` items.
    fn sink(&self, value: &T, number: u64, len: usize) -> Path {
        let mut path = Path { turns: 0, steps: 0 };
        let mut index = 0;
        loop {
            let left = 2 * index + 1;
            if left >= len {
                return path;
            }
            let right = left + 1;
            let turn = right < len && self.before(right, left);
            let child = if turn { right } else { left };
            let stays = match value.cmp(&self.items[child].value) {
                Ordering::Less => true,
                Ordering::Equal => number < self.items[child].number,
                Ordering::Greater => false,
            };
            if stays {
                return path;
            }
            path.turns |= u64::from(turn) << path.steps;
            path.steps += 1;
            index = child;
        }
    }
}

impl<T: Ord> Store<T> for Heap<T> {
    /// The index.
    type Spot = usize;
    type Way = Path;

    fn len(&self) -> usize {
        self.items.len()
    }

    fn spot(&self, item: &T) -> usize {
        let mut index = self.items.len();
        // A new one comes after its equals.
        while index > 0 && item.cmp(&self.items[(index - 1) / 2].value) == Ordering::Less {
            index = (index - 1) / 2;
        }
        index
    }

    fn add(&mut self, value: T, spot: usize) {
        let mut index = self.items.len();
        self.items.push(Item { value, number: self.came });
        self.came += 1;
        while index > spot {
            self.items.swap(index, (index - 1) / 2);
            index = (index - 1) / 2;
        }
    }

    fn way(&self, instead: Option<&T>) -> Option<Path> {
        let last = self.items.len().checked_sub(1)?;
        Some(match instead {
            Some(value) => self.sink(value, self.came, last + 1),
            // The last goes to the top, and sinks.
            None => self.sink(&self.items[last].value, self.items[last].number, last),
        })
    }

    fn take(&mut self, way: Path, instead: Option<T>) -> T {
        let item = match instead {
            Some(value) => {
                self.items.push(Item { value, number: self.came });
                self.came += 1;
                self.items.swap_remove(0)
            }
            None => self.items.swap_remove(0),
        };
        let mut index = 0;
        for step in 0..way.steps {
            let child = 2 * index + 1 + (way.turns >> step & 1) as usize;
            self.items.swap(index, child);
            index = child;
        }
        item.value
    }

    fn into_vec(self) -> Vec<T> {
        self.items.into_iter().map(|item| item.value).collect()
    }
}

impl<T> fmt::Debug for Heap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Heap({} items)", self.items.len())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    thread_local! {
        /// How many comparisons are left before one panics.
        static LEFT: Cell<u32> = const { Cell::new(u32::MAX) };
    }

    /// Compared by its rank alone.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Ranked(u8, u32);

    impl Ord for Ranked {
        fn cmp(&self, other: &Self) -> Ordering {
            let left = LEFT.get();
            assert!(left > 0, "it was time");
            LEFT.set(left - 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Ranked {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    /// One operation on the heap, one on a sorted list, which are to agree. `op` is a random number; if the
    /// operation panics nothing has changed.
    fn step(heap: &mut Heap<Ranked>, list: &mut Vec<Ranked>, op: u64, serial: u32) {
        let new = Ranked((op >> 40) as u8 % 8, serial);
        let end = |list: &[Ranked]| list.partition_point(|other| other.0 <= new.0);
        match op >> 60 {
            0..8 => {
                let spot = heap.spot(&new);
                heap.add(new.clone(), spot);
                let end = end(list);
                list.insert(end, new);
            }
            8..14 => {
                let Some(way) = heap.way(None) else { return };
                assert_eq!(heap.take(way, None), list.remove(0));
            }
            _ => {
                let Some(way) = heap.way(Some(&new)) else { return };
                assert_eq!(heap.take(way, Some(new.clone())), list.remove(0));
                let end = end(list);
                list.insert(end, new);
            }
        }
    }

    #[test]
    fn as_a_sorted_list_whatever_panics() {
        let (mut heap, mut list) = (Heap::default(), Vec::new());
        let (mut seed, mut panics) = (1_u64, 0);
        for serial in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if list.len() > 300 {
                seed |= 8 << 60;
            }
            // Every third breaks off at one of its first comparisons, then is done in full.
            if serial % 3 == 0 {
                LEFT.set((seed >> 20) as u32 % 6);
                let before = list.len();
                let tried =
                    catch_unwind(AssertUnwindSafe(|| step(&mut heap, &mut list, seed, serial)));
                LEFT.set(u32::MAX);
                if tried.is_ok() {
                    continue;
                }
                panics += 1;
                assert_eq!((heap.len(), list.len()), (before, before));
            }
            step(&mut heap, &mut list, seed, serial);
            assert_eq!(heap.len(), list.len());
        }
        assert!(panics > 1_000, "{panics} panics");
        while let Some(way) = heap.way(None) {
            assert_eq!(heap.take(way, None), list.remove(0));
        }
        assert!(list.is_empty());
    }
}
