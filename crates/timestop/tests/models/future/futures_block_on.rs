//! The cases of futures-rs' `local_pool` and `block_on` tests, and of pollster's and tokio's.

use std::cell::Cell;
use std::future::{pending, poll_fn, ready};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use timestop::future::{Interrupted, block_on, sleep, wait_for};

use crate::support::{fan_out, on_fiber, until};

/// On a fiber, and on an OS thread.
fn everywhere(test: fn()) {
    on_fiber(test);
    thread::spawn(test).join().expect("no panic");
}

#[test]
fn a_ready_future_is_polled_once() {
    everywhere(|| assert_eq!(block_on(ready(7)), Ok(7)));
}

#[test]
fn a_future_need_not_be_send() {
    everywhere(|| {
        let shared = Rc::new(Cell::new(0));
        let theirs = Rc::clone(&shared);
        block_on(async move { theirs.set(3) }).expect("not cancelled");
        assert_eq!(shared.get(), 3);
    });
}

/// A future that wakes itself while it is polled is polled again.
#[test]
fn waking_oneself_in_a_poll() {
    everywhere(|| {
        let mut left = 1_000;
        let counted = poll_fn(move |context| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        });
        assert_eq!(block_on(counted), Ok(()));
    });
}

/// One that wakes itself lets others run: both get their turns although neither waits.
#[test]
fn waking_oneself_lets_others_run() {
    on_fiber(|| {
        let turns = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&turns);
        let other = timestop::spawn(move || theirs.fetch_add(1, Ordering::SeqCst));
        let spins = poll_fn(|context| {
            if turns.load(Ordering::SeqCst) > 0 {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        });
        block_on(spins).expect("not cancelled");
        other.join().expect("no panic");
    });
}

/// The waker may be called from an OS thread, a fiber, and after it was cloned and dropped.
#[test]
fn woken_from_anywhere() {
    fn woken_by(run: fn(Box<dyn FnOnce() + Send>)) {
        let slot: Arc<Mutex<(bool, Option<Waker>)>> = Arc::default();
        let theirs = Arc::clone(&slot);
        run(Box::new(move || {
            until("a waker is left", || theirs.lock().unwrap().1.is_some());
            let waker = {
                let mut slot = theirs.lock().unwrap();
                slot.0 = true;
                slot.1.take().unwrap()
            };
            drop(waker.clone());
            waker.wake();
        }));
        let wait = poll_fn(|context| {
            let mut slot = slot.lock().unwrap();
            if slot.0 {
                return Poll::Ready(());
            }
            slot.1 = Some(context.waker().clone());
            Poll::Pending
        });
        assert_eq!(block_on(wait), Ok(()));
    }
    everywhere(|| {
        woken_by(|wake| drop(thread::spawn(wake)));
        woken_by(|wake| drop(timestop::spawn(wake)));
    });
}

/// A `block_on` within a poll of another, of ours and of another executor: neither takes the other's wake-ups.
#[test]
fn nested() {
    everywhere(|| {
        let (sender, receiver) = futures::channel::oneshot::channel();
        let outer = async {
            timestop::spawn(move || sender.send(5));
            // The fiber's message may come while the inner one waits.
            block_on(sleep(Duration::from_millis(5))).expect("not cancelled");
            futures::executor::block_on(async { sleep(Duration::from_millis(5)).await });
            receiver.await
        };
        assert_eq!(block_on(outer), Ok(Ok(5)));
    });
}

/// A call that comes for the outer future while the inner one waits is not lost.
#[test]
fn nested_keeps_the_outer_wake_up() {
    everywhere(|| {
        let woken = Arc::new(AtomicUsize::new(0));
        let mut polls = 0;
        let outer = poll_fn(|context| {
            polls += 1;
            if woken.load(Ordering::SeqCst) == 1 && polls > 1 {
                return Poll::Ready(());
            }
            let (waker, theirs) = (context.waker().clone(), Arc::clone(&woken));
            timestop::spawn(move || {
                theirs.store(1, Ordering::SeqCst);
                waker.wake();
            });
            let done = Arc::clone(&woken);
            let inner = poll_fn(move |context| {
                context.waker().wake_by_ref();
                if done.load(Ordering::SeqCst) == 1 { Poll::Ready(()) } else { Poll::Pending }
            });
            block_on(inner).expect("not cancelled");
            Poll::Pending
        });
        block_on(outer).expect("not cancelled");
    });
}

/// Fibers hand a token round by futures' channels: no wake-up is lost among many.
#[test]
fn a_ring_of_channels() {
    use futures::channel::mpsc;
    use futures::{SinkExt, StreamExt};
    on_fiber(|| {
        const FIBERS: usize = 50;
        const ROUNDS: usize = 100;
        let (mut first, mut previous) = mpsc::channel::<usize>(1);
        let fibers: Vec<_> = (0..FIBERS)
            .map(|_| {
                let (mut next, receiver) = mpsc::channel(1);
                let mut receiver = std::mem::replace(&mut previous, receiver);
                timestop::spawn(move || {
                    block_on(async {
                        while let Some(token) = receiver.next().await {
                            if next.send(token + 1).await.is_err() {
                                break;
                            }
                        }
                    })
                })
            })
            .collect();
        for round in 0..ROUNDS {
            block_on(first.send(round)).unwrap().unwrap();
            assert_eq!(block_on(previous.next()), Ok(Some(round + FIBERS)));
        }
        drop(first);
        for fiber in fibers {
            assert_eq!(fiber.join().unwrap(), Ok(()));
        }
    });
}

/// Many sleep at once, on fibers and in one future, and all wake.
#[test]
fn many_sleeps() {
    on_fiber(|| {
        fan_out(1_000, |index| {
            block_on(sleep(Duration::from_micros(index as u64 * 7))).expect("not cancelled");
        });
        let sleeps = (0..200).map(|index| sleep(Duration::from_micros(index * 7)));
        let all = futures::future::join_all(sleeps); // wakers of its own
        assert_eq!(block_on(all).unwrap().len(), 200);
    });
}

/// Without a limit a sleep never ends, and its drop disarms it.
#[test]
fn a_sleep_that_is_dropped() {
    everywhere(|| {
        let long = sleep(Duration::MAX);
        let short = wait_for(Duration::from_millis(1), long);
        assert!(block_on(short).unwrap().is_err());
        let hour = sleep(Duration::from_secs(3_600));
        assert!(block_on(wait_for(Duration::from_millis(1), hour)).unwrap().is_err());
        let never = wait_for(Duration::from_millis(1), pending::<()>());
        assert!(block_on(never).unwrap().is_err());
    });
}

#[test]
fn an_error_for_io() {
    let error = std::io::Error::from(Interrupted::TimedOut);
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    let error = std::io::Error::from(Interrupted::Cancelled);
    assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
}
