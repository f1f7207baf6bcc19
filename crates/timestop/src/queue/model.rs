//! What the queues promise, in every order of the steps of two or three threads. A limit that is `LATE` has
//! passed already.

use loom::sync::Arc;
use loom::thread;

use super::core::{Core, Why};
use super::order::{Fifo, Smallest};
use crate::wait::sync::{Interrupted, Limit};

type Queue = Core<u32, Fifo>;

const LATE: Limit = Limit { deadline: 0, breakable: true };
const TIMED_OUT: Why = Why::Ended(Interrupted::TimedOut);

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(check);
}

fn spawn<T: 'static>(
    queue: &Arc<Queue>,
    body: impl FnOnce(&Queue) -> T + 'static,
) -> thread::JoinHandle<T> {
    let queue = Arc::clone(queue);
    thread::spawn(move || body(&queue))
}

/// Whoever comes first waits, for an item or for room, and all items come out in order.
#[test]
fn loom_queue_room_for_one() {
    model(|| {
        let queue = Arc::new(Queue::new(1));
        let putter = spawn(&queue, |queue| {
            for item in 1..=3 {
                queue.put(item, Limit::NONE).expect("nobody shuts down");
            }
        });
        for item in 1..=3 {
            assert_eq!(queue.get(Limit::NONE), Ok(item));
        }
        putter.join().expect("no panic");
        assert_eq!(queue.unfinished(), 3);
    });
}

/// Who waits for room has the item put by who makes room, in its place by the order.
#[test]
fn loom_queue_smallest() {
    model(|| {
        let queue = Arc::new(Core::<u32, Smallest>::new(1));
        queue.try_put(2).expect("there is room");
        let theirs = Arc::clone(&queue);
        let putter = thread::spawn(move || theirs.put(1, Limit::NONE));
        let first = queue.get(Limit::NONE).expect("there is an item");
        let second = queue.get(Limit::NONE).expect("there will be one");
        assert_eq!((first, second), (2, 1));
        assert_eq!(putter.join().expect("no panic"), Ok(()));
    });
}

/// One gives up, the other comes: both say that the item went over, or both that it did not.
#[test]
fn loom_queue_time_out_of_get() {
    model(|| {
        let queue = Arc::new(Queue::new(1));
        let getter = spawn(&queue, |queue| queue.get(LATE));
        queue.try_put(9).expect("there is room");
        match getter.join().expect("no panic") {
            Ok(item) => assert_eq!((item, queue.len()), (9, 0)),
            Err(why) => assert_eq!((why, queue.len()), (TIMED_OUT, 1)),
        }
        assert_eq!(queue.unfinished(), 1);
    });
}

#[test]
fn loom_queue_time_out_of_put() {
    model(|| {
        let queue = Arc::new(Queue::new(1));
        queue.try_put(1).expect("there is room");
        let putter = spawn(&queue, |queue| queue.put(2, LATE));
        assert_eq!(queue.try_get(), Ok(1));
        match putter.join().expect("no panic") {
            Ok(()) => assert_eq!((queue.try_get(), queue.unfinished()), (Ok(2), 2)),
            Err(error) => {
                assert_eq!(error, (2, TIMED_OUT));
                assert_eq!((queue.try_get(), queue.unfinished()), (Err(Why::NotNow), 1));
            }
        }
    });
}

/// The end reaches who waits to put and who waits to get.
#[test]
fn loom_queue_shutdown() {
    model(|| {
        let queue = Arc::new(Queue::new(1));
        let putter = spawn(&queue, |queue| {
            queue.put(1, Limit::NONE).and_then(|()| queue.put(2, Limit::NONE))
        });
        let closer = spawn(&queue, Queue::shut_down);
        let mut got = Vec::new();
        let why = loop {
            match queue.get(Limit::NONE) {
                Ok(item) => got.push(item),
                Err(why) => break why,
            }
        };
        closer.join().expect("no panic");
        let put = match putter.join().expect("no panic") {
            Ok(()) => 2,
            Err((item, Why::ShutDown)) => item - 1,
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!((why, got.len() as u32), (Why::ShutDown, put));
    });
}

/// Whoever says that the last item is done releases who waits for that; nobody waits on.
#[test]
fn loom_queue_join() {
    model(|| {
        let queue = Arc::new(Queue::new(2));
        queue.try_put(1).expect("there is room");
        queue.try_put(2).expect("there is room");
        let workers = [(); 2].map(|()| {
            spawn(&queue, |queue| {
                queue.try_get().expect("one for each");
                assert!(queue.task_done());
            })
        });
        queue.join(Limit::NONE).expect("no limit");
        assert_eq!((queue.unfinished(), queue.task_done()), (0, false));
        workers.into_iter().for_each(|worker| worker.join().expect("no panic"));
    });
}

/// Who gives up in `join` is not told any more.
#[test]
fn loom_queue_time_out_of_join() {
    model(|| {
        let queue = Arc::new(Queue::new(1));
        queue.try_put(1).expect("there is room");
        let joiner = spawn(&queue, |queue| queue.join(LATE));
        let drained = queue.shut_down_and_drain();
        assert_eq!(drained, [1]);
        let joined = joiner.join().expect("no panic");
        assert!(matches!(joined, Ok(()) | Err(Interrupted::TimedOut)));
        assert_eq!(queue.join(Limit::NONE), Ok(()));
    });
}
