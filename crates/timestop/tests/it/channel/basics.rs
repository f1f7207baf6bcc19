//! What each operation promises, with one test for each promise.

use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use timestop::channel::{
    Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender, TryRecvError,
    TrySendError, after, bounded, never, tick, unbounded, unbuffered,
};

use crate::support::{Mix, on_fiber, until};

/// A moment: long enough for the other side to be there first, where that must not matter.
const MOMENT: Duration = Duration::from_millis(2);

#[test]
fn messages_come_in_order() {
    Mix::each(|mix| {
        for (sender, receiver) in [unbuffered(), bounded(1), bounded(7), unbounded()] {
            let producer = mix.spawn(1, move || {
                for number in 0..1_000_u64 {
                    sender.send(number).expect("somebody receives");
                }
            });
            assert!(receiver.iter().eq(0..1_000));
            assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
            producer.join();
        }
    });
}

#[test]
fn an_unbuffered_send_waits_for_its_receiver() {
    Mix::each(|mix| {
        let (sender, receiver) = unbuffered();
        let received = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&received);
        let consumer = mix.spawn(1, move || {
            theirs.store(1, Ordering::SeqCst);
            receiver.recv()
        });
        sender.send("now").expect("somebody receives");
        assert_eq!(received.load(Ordering::SeqCst), 1);
        assert_eq!(consumer.join(), Ok("now"));
    });
}

#[test]
fn without_a_runtime() {
    // Called on an OS thread; nothing here starts fibers.
    let (sender, receiver) = bounded(2);
    let producer = thread::spawn(move || (0..100).all(|number| sender.send(number).is_ok()));
    assert!(receiver.into_iter().eq(0..100));
    assert!(producer.join().expect("no panic"));
}

#[test]
fn try_send_and_try_recv() {
    let (sender, receiver) = bounded(1);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(sender.try_send(1), Ok(()));
    assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
    assert_eq!(receiver.try_recv(), Ok(1));
    drop(sender);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    let (sender, receiver) = unbuffered();
    assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
    drop(receiver);
    assert_eq!(sender.try_send(4), Err(TrySendError::Disconnected(4)));
}

#[test]
fn time_limits() {
    fn check() {
        let (sender, receiver) = bounded(1);
        let begin = Instant::now();
        assert_eq!(receiver.recv_timeout(MOMENT), Err(RecvTimeoutError::Timeout));
        assert_eq!(receiver.recv_deadline(begin), Err(RecvTimeoutError::Timeout));
        sender.send(1).expect("room");
        assert_eq!(sender.send_timeout(2, MOMENT), Err(SendTimeoutError::Timeout(2)));
        assert!(begin.elapsed() >= 2 * MOMENT);
        assert_eq!(receiver.recv_timeout(Duration::MAX), Ok(1));
        drop(receiver);
        assert_eq!(sender.send_timeout(3, MOMENT), Err(SendTimeoutError::Disconnected(3)));
    }
    check();
    on_fiber(check);
}

#[test]
fn the_last_sender_closes_and_what_is_left_is_received() {
    let (sender, receiver) = unbounded();
    let other = sender.clone();
    assert_eq!((receiver.sender_count(), receiver.receiver_count()), (2, 1));
    sender.send(1).expect("open");
    drop(sender);
    other.send(2).expect("open");
    drop(other);
    assert!(receiver.is_closed());
    assert_eq!(receiver.into_iter().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn the_last_receiver_closes_and_what_is_left_is_dropped() {
    for capacity in [8, usize::MAX] {
        let (sender, receiver) = if capacity == 8 { bounded(8) } else { unbounded() };
        let counted = Arc::new(());
        for _ in 0..8 {
            sender.send(Arc::clone(&counted)).expect("room");
        }
        drop(receiver.clone());
        assert_eq!(Arc::strong_count(&counted), 9);
        drop(receiver);
        assert_eq!(Arc::strong_count(&counted), 1);
        let SendError::Disconnected(back) = sender.send(counted).expect_err("closed") else {
            panic!("closed");
        };
        assert_eq!(Arc::strong_count(&back), 1);
    }
}

#[test]
fn close_ends_both_kinds_of_waits() {
    Mix::each(|mix| {
        let (sender, receiver) = bounded(1);
        sender.send(0).expect("room");
        let blocked: Vec<_> = (1..=4)
            .map(|number| {
                let sender = sender.clone();
                mix.spawn(number, move || sender.send(number))
            })
            .collect();
        thread::sleep(MOMENT);
        assert!(sender.close());
        assert!(!receiver.close());
        for (index, task) in blocked.into_iter().enumerate() {
            assert_eq!(task.join(), Err(SendError::Disconnected(index + 1)));
        }
        assert_eq!(receiver.recv(), Ok(0));
        assert_eq!(receiver.recv(), Err(RecvError::Disconnected));

        let (sender, receiver) = unbuffered::<()>();
        let blocked: Vec<_> = (0..4)
            .map(|index| {
                let receiver = receiver.clone();
                mix.spawn(index, move || receiver.recv())
            })
            .collect();
        thread::sleep(MOMENT);
        assert!(receiver.close());
        assert_eq!(sender.send(()), Err(SendError::Disconnected(())));
        for task in blocked {
            assert_eq!(task.join(), Err(RecvError::Disconnected));
        }
    });
}

#[test]
fn what_a_channel_tells_of_itself() {
    let (sender, receiver) = bounded(2);
    assert_eq!((sender.capacity(), receiver.capacity()), (Some(2), Some(2)));
    assert!(receiver.is_empty() && !sender.is_full());
    sender.send('a').expect("room");
    sender.send('b').expect("room");
    assert_eq!((sender.len(), receiver.len()), (2, 2));
    assert!(sender.is_full() && receiver.is_full() && !sender.is_empty());
    assert!(sender.same_channel(&sender.clone()) && receiver.same_channel(&receiver.clone()));
    assert!(!receiver.same_channel(&bounded(2).1));
    assert_eq!(receiver.try_iter().collect::<String>(), "ab");
    let (sender, receiver) = unbuffered::<()>();
    assert!(sender.is_full() && sender.is_empty());
    assert_eq!(receiver.capacity(), Some(0));
    assert_eq!(unbounded::<()>().0.capacity(), None);
}

#[test]
fn messages_of_any_size() {
    let (sender, receiver) = unbounded();
    for _ in 0..100 {
        sender.send(()).expect("open");
    }
    assert_eq!(receiver.try_iter().count(), 100);
    let (sender, receiver) = unbounded();
    for seed in 0..100_u8 {
        sender.send([seed; 5_000]).expect("open");
    }
    drop(sender);
    assert!(receiver.iter().zip(0..).all(|(big, seed)| big == [seed; 5_000]));
    let (sender, receiver) = unbuffered();
    let producer = timestop::spawn(move || sender.send([7_u64; 1_000]).is_ok());
    assert_eq!(receiver.recv(), Ok([7; 1_000]));
    assert!(producer.join().expect("no panic"));
}

#[test]
fn clocks() {
    fn check() {
        let begin = Instant::now();
        let once = after(MOMENT);
        let twice = once.clone();
        assert_eq!(once.try_recv(), Err(TryRecvError::Empty));
        assert!(once.recv().expect("it comes") >= begin + MOMENT);
        assert_eq!(twice.recv_timeout(MOMENT), Err(RecvTimeoutError::Timeout));
        let ticks = tick(MOMENT);
        let times: Vec<_> = ticks.iter().take(3).collect();
        assert!(times.is_sorted() && times[2] >= begin + 5 * MOMENT);
        assert_eq!(never::<()>().recv_timeout(MOMENT), Err(RecvTimeoutError::Timeout));
    }
    check();
    on_fiber(check);
}

/// Polls a future until it is ready; its waker sends.
fn drive<T>(future: impl Future<Output = T>) -> T {
    struct Woken(Sender<()>);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
        }
    }

    let (woken, wakes) = unbounded();
    let waker = Waker::from(Arc::new(Woken(woken)));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => wakes.recv().expect("the waker lives"),
        }
    }
}

#[test]
fn futures_receive() {
    Mix::each(|mix| {
        for (sender, receiver) in [unbuffered(), bounded(1), unbounded()] {
            let producer = mix.spawn(1, move || (0..100).all(|number| sender.send(number).is_ok()));
            drive(async {
                for number in 0..100 {
                    assert_eq!(receiver.recv_async().await, Ok(number));
                }
                assert_eq!(receiver.recv_async().await, Err(RecvError::Disconnected));
            });
            assert!(producer.join());
        }
        drive(after(MOMENT).recv_async()).expect("it comes");
    });
}

/// A future that was told of a message and is dropped tells the next one.
#[test]
fn a_dropped_future_loses_nothing() {
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    let (sender, receiver) = bounded(4);
    let counts: Vec<_> = (0..2).map(|_| Arc::new(Count(AtomicUsize::new(0)))).collect();
    let wakers: Vec<_> = counts.iter().map(|count| Waker::from(Arc::clone(count))).collect();
    let mut first = Box::pin(receiver.recv_async());
    let mut second = Box::pin(receiver.recv_async());
    assert!(first.as_mut().poll(&mut Context::from_waker(&wakers[0])).is_pending());
    assert!(second.as_mut().poll(&mut Context::from_waker(&wakers[1])).is_pending());
    sender.send("kept").expect("room");
    let woken = |index: usize| counts[index].0.load(Ordering::SeqCst);
    assert_eq!((woken(0), woken(1)), (1, 0));
    drop(first);
    assert_eq!((woken(0), woken(1)), (1, 1));
    let polled = second.as_mut().poll(&mut Context::from_waker(&wakers[1]));
    assert_eq!(polled, Poll::Ready(Ok("kept")));
}

/// Fibers that wait in channels say so.
#[test]
fn reports_name_the_wait() {
    on_fiber(|| {
        let (sender, receiver) = unbuffered::<()>();
        let other: Receiver<()> = never();
        let (full, room) = bounded(0);
        let tasks = [
            timestop::spawn({
                let receiver = receiver.clone();
                move || assert!(receiver.recv().is_err())
            }),
            timestop::spawn(move || assert!(full.send(()).is_err())),
            timestop::spawn(move || {
                timestop::channel::select! {
                    recv(receiver) -> _ => {}
                    recv(other) -> _ => {}
                }
            }),
        ];
        until("all three wait", || {
            let waits: HashSet<_> = timestop::fibers(usize::MAX)
                .into_iter()
                .filter_map(|fiber| fiber.waiting_for)
                .collect();
            let some = |start: &str| waits.iter().any(|wait| wait.starts_with(start));
            some("receive from channel 0x")
                && some("send to channel 0x")
                && some("select over 2 channels")
        });
        drop(sender);
        tasks[1].cancel();
        drop(room);
        for task in tasks {
            task.join().expect("no panic");
        }
    });
}
