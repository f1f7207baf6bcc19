//! A wait for a queue ends when its fiber is cancelled or past its time limit, and no item is lost.

use std::sync::Arc;
use std::time::Duration;

use timestop::queue::{GetError, Interrupted, PutError, Queue};

use crate::support::waits;
use crate::support::{on_fiber, until};

const SOON: Duration = Duration::from_millis(2);
const LATE: Duration = Duration::from_secs(100);

#[test]
fn cancel_ends_put_get_and_join() {
    on_fiber(|| {
        let (full, empty) = (Arc::new(Queue::new(1)), Arc::new(Queue::<i32>::new(1)));
        full.put(1).expect("room");
        let (one, other, third) = (Arc::clone(&full), Arc::clone(&empty), Arc::clone(&full));
        let putter = timestop::spawn(move || one.put(2));
        let getter = timestop::spawn(move || other.get());
        let joiner = timestop::spawn(move || third.join());
        until("all wait", || waits(&putter) && waits(&getter) && waits(&joiner));
        putter.cancel();
        getter.cancel();
        joiner.cancel();
        assert_eq!(putter.join().expect("no panic"), Err(PutError::Cancelled(2)));
        assert_eq!(getter.join().expect("no panic"), Err(GetError::Cancelled));
        assert_eq!(joiner.join().expect("no panic"), Err(Interrupted::Cancelled));
        // They are out of the queues: nobody is served in their stead.
        assert_eq!((full.get(), full.try_get()), (Ok(1), Err(GetError::Empty)));
        empty.put(3).expect("room");
        assert_eq!(empty.get(), Ok(3));
        assert_eq!(full.unfinished(), 1);
    });
}

/// As with channels: what a cancelled fiber need not wait for to put it puts, and it gets nothing.
#[test]
fn a_cancelled_fiber_gets_nothing_and_can_say_so() {
    on_fiber(|| {
        let queue = Arc::new(Queue::new(2));
        queue.put(1).expect("room");
        let theirs = Arc::clone(&queue);
        let fiber = timestop::spawn(move || {
            until("it is cancelled", || theirs.get() == Err(GetError::Cancelled));
            assert_eq!(theirs.get_timeout(LATE), Err(GetError::Cancelled));
            assert_eq!(theirs.try_get(), Ok(1));
            assert_eq!(theirs.iter().next(), None);
            theirs.put(2).expect("room");
            theirs.put(3).expect("room");
            theirs.put(4)
        });
        fiber.cancel();
        assert_eq!(fiber.join().expect("no panic"), Err(PutError::Cancelled(4)));
        assert_eq!((queue.get(), queue.get()), (Ok(2), Ok(3)));
    });
}

#[test]
fn a_time_limit_ends_waits() {
    on_fiber(|| {
        let queue = Queue::new(1);
        timestop::timeout(SOON, || {
            assert_eq!(queue.get(), Err(GetError::TimedOut));
            assert_eq!(queue.get_timeout(LATE), Err(GetError::TimedOut));
            queue.put(1).expect("room");
            assert_eq!(queue.put(2), Err(PutError::TimedOut(2)));
            assert_eq!(queue.put_timeout(2, LATE), Err(PutError::TimedOut(2)));
            assert_eq!(queue.join(), Err(Interrupted::TimedOut));
            assert_eq!(queue.join_timeout(LATE), Err(Interrupted::TimedOut));
        });
        // The call's own, in time.
        timestop::timeout(LATE, || {
            assert_eq!(queue.put_timeout(2, SOON), Err(PutError::Full(2)));
            assert_eq!(queue.join_timeout(SOON), Ok(false));
            assert_eq!(queue.get(), Ok(1));
            assert_eq!(queue.get_timeout(SOON), Err(GetError::Empty));
        });
    });
}

#[test]
fn items_left_are_dropped_with_the_queue() {
    let item = Arc::new(());
    let queue = Queue::new(0);
    for _ in 0..3 {
        queue.put(Arc::clone(&item)).expect("room");
    }
    drop(queue.get());
    assert_eq!(Arc::strong_count(&item), 3);
    drop(queue);
    assert_eq!(Arc::strong_count(&item), 1);
}
