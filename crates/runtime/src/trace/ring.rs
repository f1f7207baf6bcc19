//! A ring of events of one size: many writers, none of whom waits or locks, and one reader.
//!
//! ```text
//!        tail                    head
//!   ───────┬───────────┬───────────┬─────────
//!    read  │ published │ reserved  │ free
//! ```
//!
//! A writer reserves the place at `head`, fills it, and publishes it by the place's own word. So whoever
//! interrupts a writer (a signal handler that wakes a fiber) writes behind it, and the reader stops at
//! what is not published yet, until it is. A ring that is full loses the *newest* events, and counts
//! them: what is there stays whole.
//!
//! Rejected: to overwrite the oldest (the reader would have to check what it has read again, and a trace
//! with many small holes is harder to read than one with a large one); a ring of one writer (a plain store in
//! place of a locked instruction, 5 ns of some 50; but handlers, the monitor and the program's own
//! threads write too).

use crate::sync::{AtomicU64, Ordering};

/// Words of an event.
#[cfg(not(loom))]
pub(crate) const WORDS: usize = 7;
#[cfg(loom)]
pub(crate) const WORDS: usize = 2;
/// An event.
pub(crate) type Words = [u64; WORDS];

/// Events in a ring: 4 MiB of them.
#[cfg(not(loom))]
pub(crate) const CAPACITY: usize = 1 << 16;
#[cfg(loom)]
pub(crate) const CAPACITY: usize = 2;

#[derive(Debug)]
#[repr(C)]
struct Place {
    /// One more than the position of the event that is published here.
    published: AtomicU64,
    words: [AtomicU64; WORDS],
}

/// The ring. Zeroed memory is an empty one.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Ring {
    /// The next position to reserve. Writers'.
    head: AtomicU64,
    lost: AtomicU64,
    /// On a cache line of its own: the next position to read. The reader's.
    tail: Apart,
    places: [Place; CAPACITY],
}

#[derive(Debug)]
#[repr(C, align(64))]
struct Apart(AtomicU64);

impl Ring {
    #[cfg(loom)]
    fn new() -> Self {
        let place = || Place {
            published: AtomicU64::new(0),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
        };
        Self {
            head: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            tail: Apart(AtomicU64::new(0)),
            places: std::array::from_fn(|_| place()),
        }
    }

    /// Adds an event, or counts it as lost. How many wait then, this one included.
    pub(crate) fn push(&self, words: Words) -> usize {
        let mut at = self.head.load(Ordering::Relaxed);
        let waiting = loop {
            // Acquire pairs with `pop`: the place has been read. A reader may be ahead of a position that
            // is out of date, and then the exchange fails.
            let waiting = at.wrapping_sub(self.tail.0.load(Ordering::Acquire)).cast_signed();
            if waiting >= CAPACITY as i64 {
                self.lost.fetch_add(1, Ordering::Relaxed);
                return CAPACITY;
            }
            // Relaxed: a position is all that is agreed on here.
            match self.head.compare_exchange_weak(at, at + 1, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => break waiting,
                Err(now) => at = now,
            }
        };
        let place = &self.places[at as usize % CAPACITY];
        for (to, word) in place.words.iter().zip(words) {
            to.store(word, Ordering::Relaxed);
        }
        // Release: the reader sees the words.
        place.published.store(at + 1, Ordering::Release);
        waiting as usize + 1
    }

    /// Takes the oldest event. One reader at a time.
    pub(crate) fn pop(&self) -> Option<Words> {
        let at = self.tail.0.load(Ordering::Relaxed);
        let place = &self.places[at as usize % CAPACITY];
        if place.published.load(Ordering::Acquire) != at + 1 {
            return None;
        }
        let words = std::array::from_fn(|index| place.words[index].load(Ordering::Relaxed));
        // Release: whoever reserves the place again writes after we have read.
        self.tail.0.store(at + 1, Ordering::Release);
        Some(words)
    }

    /// How many were lost since the last call.
    pub(crate) fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// A writer of two events, one of one, in a ring of two, and a reader: every event that was not counted as lost
    /// is read once, whole, and each writer's in their order.
    #[test]
    fn loom_events_are_read_once_and_whole() {
        loom::model(|| {
            let ring = Arc::new(Ring::new());
            let writers: Vec<_> = (1..=2_u64)
                .map(|writer| {
                    let ring = Arc::clone(&ring);
                    thread::spawn(move || {
                        for event in 0..writer {
                            ring.push([10 * writer + event; WORDS]);
                        }
                    })
                })
                .collect();
            let mut read: Vec<u64> = Vec::new();
            let mut take = |ring: &Ring| {
                while let Some(words) = ring.pop() {
                    assert!(words.iter().all(|word| *word == words[0]), "torn: {words:?}");
                    read.push(words[0]);
                }
            };
            take(&ring);
            for writer in writers {
                writer.join().expect("writers do not panic");
            }
            take(&ring);
            assert_eq!(read.len() as u64 + ring.take_lost(), 3);
            for writer in 1..=2 {
                let own: Vec<_> = read.iter().filter(|event| **event / 10 == writer).collect();
                assert!(own.is_sorted_by(|one, other| one < other), "{read:?}");
            }
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let bytes = vec![0_u64; size_of::<Ring>() / 8 + 8];
        let start = (bytes.as_ptr() as usize).next_multiple_of(align_of::<Ring>());
        // SAFETY: zeroed memory of that size, aligned, which the vector keeps.
        let ring = unsafe { &*(start as *const Ring) };
        for round in 0..3 {
            for event in 0..CAPACITY as u64 + 5 {
                let waiting = ring.push([event; WORDS]);
                assert_eq!(waiting, CAPACITY.min(event as usize + 1));
            }
            assert_eq!(ring.take_lost(), 5, "round {round}");
            for event in 0..CAPACITY as u64 {
                assert_eq!(ring.pop(), Some([event; WORDS]));
            }
            assert_eq!((ring.pop(), ring.take_lost()), (None, 0));
        }
    }
}
