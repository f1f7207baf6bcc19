//! The cases of CPython's `Lib/test/test_queue.py` (Python Software Foundation License), in our words and
//! code. Not here: those that replace a queue's insides to make them fail (for which see
//! [`comparing`](super::comparing)), of arguments that do not compile here (negative time-outs), and of
//! `SimpleQueue`, which is a channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use timestop::queue::{
    AnyQueue, Fifo, GetError, Interrupted, Lifo, LifoQueue, Order, PriorityQueue, PutError, Queue,
    Smallest,
};

use crate::support::waits;
use crate::support::{Mix, on_fiber, until};

const MOMENT: Duration = Duration::from_millis(2);

/// Runs a test for each order and mix of fibers and threads.
macro_rules! for_each_order {
    ($($(#[$attribute:meta])* $name:ident: $test:ident;)*) => { $(
        $(#[$attribute])*
        #[test]
        fn $name() {
            Mix::each($test::<Fifo>);
            Mix::each($test::<Lifo>);
            Mix::each($test::<Smallest>);
        }
    )* };
}

for_each_order! {
    /// `test_basic`
    basic: simple_queue_test;
    /// `test_queue_task_done`
    queue_task_done: task_done_too_often;
    /// `test_queue_join`
    queue_join: join_with_workers;
    /// `test_shutdown_empty`, `test_shutdown_nonempty`
    shutdown_empty_and_nonempty: shutdown_gets_and_puts;
    /// `test_shutdown_immediate`
    shutdown_immediate: drained;
    /// `test_shutdown_allowed_transitions`
    shutdown_transitions: transitions;
    /// `test_shutdown_*_all_methods_in_many_threads`
    shutdown_many: many_threads;
    /// `test_shutdown_*_get`, `_put`, `_join`, `_task_done_…`
    shutdown_releases: releases;
    /// `test_shutdown_pending_get`
    shutdown_pending_get: pending_get;
}

/// Both directions wait, and are released by the other side.
fn simple_queue_test<O: Order<u32> + Send + 'static>(mix: Mix)
where
    AnyQueue<u32, O>: Send + Sync,
{
    const SIZE: u32 = 2;
    let queue = Arc::new(AnyQueue::<u32, O>::new(SIZE as usize));
    assert!(queue.is_empty());
    queue.put(111).expect("room");
    queue.put(333).expect("room");
    assert!(!queue.is_empty() && queue.is_full());
    assert_eq!((queue.len(), queue.capacity()), (2, Some(2)));
    assert_eq!(queue.try_put(222), Err(PutError::Full(222)));
    assert_eq!(queue.put_timeout(222, MOMENT), Err(PutError::Full(222)));
    // One waits to put.
    let theirs = Arc::clone(&queue);
    let putter = mix.spawn(1, move || theirs.put(222));
    let first = queue.get().expect("an item");
    putter.join().expect("there is room now");
    let mut got = [first, queue.get().expect("an item"), queue.get().expect("an item")];
    got.sort_unstable();
    assert_eq!(got, [111, 222, 333]);
    assert_eq!(queue.try_get(), Err(GetError::Empty));
    assert_eq!(queue.get_timeout(MOMENT), Err(GetError::Empty));
    // One waits to get.
    let theirs = Arc::clone(&queue);
    let getter = mix.spawn(1, move || theirs.get());
    queue.put(7).expect("room");
    assert_eq!(getter.join(), Ok(7));
}

/// The orders that the three have.
#[test]
fn orders() {
    let (fifo, lifo, smallest) = (Queue::new(0), LifoQueue::new(0), PriorityQueue::new(0));
    for item in [2, 3, 1] {
        fifo.put(item).expect("room");
        lifo.put(item).expect("room");
        smallest.put(item).expect("room");
    }
    assert_eq!([(); 3].map(|()| fifo.get().unwrap()), [2, 3, 1]);
    assert_eq!([(); 3].map(|()| lifo.get().unwrap()), [1, 3, 2]);
    assert_eq!([(); 3].map(|()| smallest.get().unwrap()), [1, 2, 3]);
}

/// `test_maxsize`
#[test]
fn maxsize() {
    let queue = Queue::new(0);
    assert_eq!(queue.capacity(), None);
    for item in 0..10_000 {
        queue.try_put(item).expect("any number");
    }
    assert!(!queue.is_full());
    assert_eq!(Queue::<()>::default().capacity(), None);
}

fn task_done_too_often<O: Order<u32> + 'static>(_mix: Mix) {
    let queue = AnyQueue::<u32, O>::new(0);
    let often = |queue: &AnyQueue<u32, O>| {
        let done = std::panic::AssertUnwindSafe(|| queue.task_done());
        let payload = std::panic::catch_unwind(done).expect_err("called too often");
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        assert!(text.expect("a text").contains("timestop::queue: task_done()"));
    };
    often(&queue);
    queue.put(1).expect("room");
    queue.task_done();
    often(&queue);
    assert_eq!(queue.join(), Ok(()));
}

/// Twice, as the original does: a queue can be joined again.
fn join_with_workers<O: Order<u32> + Send + 'static>(mix: Mix)
where
    AnyQueue<u32, O>: Send + Sync,
{
    let queue = Arc::new(AnyQueue::<u32, O>::new(0));
    let sum = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..2)
        .map(|index| {
            let (queue, sum) = (Arc::clone(&queue), Arc::clone(&sum));
            mix.spawn(index, move || {
                for item in &*queue {
                    sum.fetch_add(item.into(), Ordering::Relaxed);
                    queue.task_done();
                }
            })
        })
        .collect();
    for round in 1..=2 {
        for item in 0..100 {
            queue.put(item).expect("room");
        }
        assert_eq!(queue.join(), Ok(()));
        assert_eq!(sum.load(Ordering::Relaxed), round * 4_950);
        assert_eq!(queue.unfinished(), 0);
    }
    queue.shutdown();
    workers.into_iter().for_each(crate::support::Task::join);
}

fn shutdown_gets_and_puts<O: Order<u32> + 'static>(_mix: Mix) {
    let queue = AnyQueue::<u32, O>::new(0);
    queue.put(1).expect("room");
    queue.shutdown();
    assert!(queue.is_shut_down());
    assert_eq!(queue.put(2), Err(PutError::ShutDown(2)));
    assert_eq!(queue.try_put(2), Err(PutError::ShutDown(2)));
    assert_eq!(queue.put_timeout(2, MOMENT), Err(PutError::ShutDown(2)));
    assert_eq!(queue.get(), Ok(1));
    assert_eq!(queue.get(), Err(GetError::ShutDown));
    assert_eq!(queue.try_get(), Err(GetError::ShutDown));
    assert_eq!(queue.get_timeout(MOMENT), Err(GetError::ShutDown));
    queue.task_done();
    assert_eq!(queue.join(), Ok(()));
}

fn drained<O: Order<u32> + 'static>(_mix: Mix) {
    let queue = AnyQueue::<u32, O>::new(0);
    for item in [1, 2, 3] {
        queue.put(item).expect("room");
    }
    let first = queue.get().expect("an item");
    let mut left = queue.shutdown_now();
    left.push(first);
    left.sort_unstable();
    assert_eq!(left, [1, 2, 3]);
    assert_eq!(queue.get(), Err(GetError::ShutDown));
    // The one that was got is still at work.
    assert_eq!(queue.unfinished(), 1);
    assert_eq!(queue.join_timeout(MOMENT), Ok(false));
    queue.task_done();
    assert_eq!(queue.join_timeout(MOMENT), Ok(true));
}

/// Shut down, and again, and at once; nothing opens it.
fn transitions<O: Order<u32> + 'static>(_mix: Mix) {
    let queue = AnyQueue::<u32, O>::new(0);
    queue.put(1).expect("room");
    queue.shutdown();
    queue.shutdown();
    assert_eq!(queue.len(), 1);
    assert_eq!(queue.shutdown_now(), [1]);
    assert_eq!(queue.shutdown_now(), []);
    queue.shutdown();
    assert!(queue.is_shut_down());
}

/// Some put, some get, some join, while one shuts down: each item is got, drained or back, and all end.
fn many_threads<O: Order<u32> + Send + 'static>(mix: Mix)
where
    AnyQueue<u32, O>: Send + Sync,
{
    for at_once in [false, true] {
        let queue = Arc::new(AnyQueue::<u32, O>::new(4));
        let (put, got) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..9)
            .map(|index| {
                let (queue, put, got) = (Arc::clone(&queue), Arc::clone(&put), Arc::clone(&got));
                mix.spawn(index, move || match index % 3 {
                    0 => {
                        while queue.put(1).is_ok() {
                            put.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    1 => queue.iter().for_each(|_item| {
                        queue.task_done();
                        got.fetch_add(1, Ordering::Relaxed);
                    }),
                    _ => queue.join().expect("nobody is cancelled"),
                })
            })
            .collect();
        until("some items go through", || got.load(Ordering::Relaxed) >= 50);
        let drained = if at_once {
            queue.shutdown_now().len()
        } else {
            queue.shutdown();
            0
        };
        tasks.into_iter().for_each(crate::support::Task::join);
        let got = got.load(Ordering::Relaxed) + drained;
        assert_eq!(put.load(Ordering::Relaxed), got);
        assert_eq!((queue.len(), queue.unfinished()), (0, 0));
    }
}

/// Who waits to put, gets the item back; who waits to get, the end; who joins, when all is done.
fn releases<O: Order<u32> + Send + 'static>(mix: Mix)
where
    AnyQueue<u32, O>: Send + Sync,
{
    let queue = Arc::new(AnyQueue::<u32, O>::new(1));
    queue.put(1).expect("room");
    let putters: Vec<_> = (0..4)
        .map(|index| {
            let queue = Arc::clone(&queue);
            mix.spawn(index, move || queue.put(2))
        })
        .collect();
    let joiners: Vec<_> = (0..2)
        .map(|index| {
            let queue = Arc::clone(&queue);
            mix.spawn(index, move || queue.join())
        })
        .collect();
    queue.shutdown();
    for putter in putters {
        assert_eq!(putter.join(), Err(PutError::ShutDown(2)));
    }
    assert_eq!(queue.shutdown_now(), [1]);
    for joiner in joiners {
        assert_eq!(joiner.join(), Ok::<(), Interrupted>(()));
    }
}

fn pending_get<O: Order<u32> + Send + 'static>(mix: Mix)
where
    AnyQueue<u32, O>: Send + Sync,
{
    let queue = Arc::new(AnyQueue::<u32, O>::new(0));
    let getters: Vec<_> = (0..4)
        .map(|index| {
            let queue = Arc::clone(&queue);
            mix.spawn(index, move || queue.get())
        })
        .collect();
    queue.shutdown();
    for getter in getters {
        assert_eq!(getter.join(), Err(GetError::ShutDown));
    }
}

/// Who waits longest is served first, on either side.
#[test]
fn in_turn() {
    on_fiber(|| {
        let queue = Arc::new(Queue::new(1));
        queue.put(0).expect("room");
        let putters: Vec<_> = (1..5)
            .map(|item| {
                let theirs = Arc::clone(&queue);
                let putter = timestop::spawn(move || theirs.put(item));
                until("the putter waits", || waits(&putter));
                putter
            })
            .collect();
        assert!((0..5).all(|item| queue.get() == Ok(item)));
        for putter in putters {
            assert_eq!(putter.join().expect("no panic"), Ok(()));
        }
    });
}
