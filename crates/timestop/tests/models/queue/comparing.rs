//! Items whose `Ord` panics, blocks, yields, or uses the queue: whoever calls it bears that, nobody else.

use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::Duration;

use timestop::queue::{GetError, PriorityQueue};

use crate::support::waits;
use crate::support::{Mix, on_fiber, until};

/// What comparing does besides.
#[derive(Clone)]
enum Does {
    Nothing,
    Panic,
    Sleep,
    Use(Weak<PriorityQueue<Item>>),
}

#[derive(Clone)]
struct Item(u32, Does);

impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        for does in [&self.1, &other.1] {
            match does {
                Does::Nothing => {}
                // Without a word on standard error.
                Does::Panic => resume_unwind(Box::new("these cannot be compared")),
                Does::Sleep => std::thread::sleep(Duration::from_millis(1)),
                Does::Use(queue) => drop(queue.upgrade().map(|queue| queue.len())),
            }
        }
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Item {}

fn plain(number: u32) -> Item {
    Item(number, Does::Nothing)
}

fn text(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it panics");
    (*payload.downcast_ref::<&str>().expect("a text")).to_owned()
}

#[test]
fn a_panic_changes_nothing() {
    on_fiber(|| {
        let queue = PriorityQueue::new(0);
        for number in [5, 3, 4, 1, 2] {
            queue.put(plain(number)).unwrap();
        }
        let cannot = text(|| drop(queue.put(Item(0, Does::Panic))));
        assert_eq!(cannot, "these cannot be compared");
        assert_eq!((queue.len(), queue.unfinished()), (5, 5));
        let numbers = [(); 5].map(|()| queue.get().unwrap().0);
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
        // Alone it need not be compared; a second one has to be.
        queue.put(Item(9, Does::Panic)).unwrap();
        text(|| drop(queue.put(plain(1))));
        assert_eq!(queue.get().unwrap().0, 9);
        assert!(matches!(queue.try_get(), Err(GetError::Empty)));
    });
}

/// Who gets compares the item of one who waits to put. If that panics nothing has changed for either.
#[test]
fn a_panic_over_an_item_that_waits() {
    on_fiber(|| {
        let queue = Arc::new(PriorityQueue::new(2));
        queue.put(plain(1)).unwrap();
        queue.put(plain(2)).unwrap();
        let theirs = Arc::clone(&queue);
        let putter = timestop::spawn(move || theirs.put(Item(3, Does::Panic)));
        until("the putter waits", || waits(&putter));
        assert_eq!(text(|| drop(queue.get())), "these cannot be compared");
        assert_eq!((queue.len(), queue.unfinished(), waits(&putter)), (2, 2, true));
        putter.cancel();
        let error = putter.join().expect("no panic").expect_err("it was cancelled");
        assert_eq!(error.into_inner().0, 3);
        assert_eq!([(); 2].map(|()| queue.get().unwrap().0), [1, 2]);
    });
}

#[test]
fn a_panic_of_one_hangs_no_other() {
    Mix::each(|mix| {
        let queue = Arc::new(PriorityQueue::new(4));
        let panics = Arc::new(AtomicUsize::new(0));
        let workers: Vec<_> = (0..6)
            .map(|index| {
                let (queue, panics) = (Arc::clone(&queue), Arc::clone(&panics));
                mix.spawn(index, move || {
                    for number in 0..200 {
                        let does = if number % 7 == 3 { Does::Panic } else { Does::Nothing };
                        let one = || match index % 2 {
                            0 => queue
                                .put_timeout(Item(number, does), Duration::from_millis(5))
                                .is_ok(),
                            _ => queue.get_timeout(Duration::from_millis(5)).is_ok(),
                        };
                        if catch_unwind(AssertUnwindSafe(one)).is_err() {
                            panics.fetch_add(1, SeqCst);
                        }
                    }
                })
            })
            .collect();
        workers.into_iter().for_each(crate::support::Task::join);
        let left = queue.len();
        assert_eq!(queue.shutdown_now().len(), left);
    });
}

/// Others wait meanwhile, and in order afterwards.
#[test]
fn blocking_within_ord() {
    Mix::each(|mix| {
        let queue = Arc::new(PriorityQueue::new(0));
        let putters: Vec<_> = (0..8)
            .map(|number| {
                let queue = Arc::clone(&queue);
                mix.spawn(number, move || queue.put(Item(number as u32, Does::Sleep)).is_ok())
            })
            .collect();
        assert!(putters.into_iter().all(crate::support::Task::join));
        assert!((0..8).all(|number| queue.get().is_ok_and(|item| item.0 == number)));
    });
}

#[test]
fn using_the_queue_within_ord_panics() {
    on_fiber(|| {
        let queue = Arc::new(PriorityQueue::new(0));
        queue.put(plain(1)).unwrap();
        let item = Item(0, Does::Use(Arc::downgrade(&queue)));
        let said = text(|| drop(queue.put(item)));
        assert_eq!(said, "timestop::queue: an item's `Ord` uses the queue that compares it");
        assert_eq!((queue.len(), queue.get().unwrap().0), (1, 1));
    });
}

/// An item is handed to one who waits without being compared at all.
#[test]
fn handing_over_compares_nothing() {
    on_fiber(|| {
        let queue = Arc::new(PriorityQueue::new(1));
        let theirs = Arc::clone(&queue);
        let getter = timestop::spawn(move || theirs.get().map(|item: Item| item.0).ok());
        until("the getter waits", || waits(&getter));
        queue.put(Item(7, Does::Panic)).unwrap();
        assert_eq!(getter.join().expect("no panic"), Some(7));
    });
}
