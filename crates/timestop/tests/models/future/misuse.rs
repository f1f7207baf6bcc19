//! What is not meant to be done, and does no harm.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use timestop::future::{block_on, sleep};

use crate::support::{fan_out, on_fiber, until};

/// Wakers that outlive their `block_on`, and their fiber: they wake nobody, or for nothing.
#[test]
fn a_waker_kept_after_completion() {
    on_fiber(|| {
        let keep = || block_on(poll_fn(|context| Poll::Ready(context.waker().clone()))).unwrap();
        let own = keep();
        let gone: Vec<Waker> = fan_out(50, move |_| keep());
        let waits = fan_out(1, |_| ()).len();
        assert_eq!(waits, 1);
        // Others have their records by now, and sleep in all kinds of waits.
        let sleepers: Vec<_> = (0..50)
            .map(|_| timestop::spawn(|| block_on(sleep(Duration::from_millis(5)))))
            .collect();
        for _ in 0..100 {
            gone.iter().for_each(Waker::wake_by_ref);
            own.wake_by_ref();
            timestop::yield_now();
        }
        for sleeper in sleepers {
            assert_eq!(sleeper.join().unwrap(), Ok(()));
        }
        assert_eq!(block_on(async { 3 }), Ok(3));
        std::thread::spawn(move || gone.into_iter().for_each(Waker::wake)).join().unwrap();
    });
}

/// A storm of wake-ups from all sides: few polls come of it, and none is lost.
#[test]
fn a_wake_storm() {
    on_fiber(|| {
        const WAKERS: usize = 8;
        const CALLS: usize = 20_000;
        let storm: Arc<(AtomicUsize, AtomicBool)> = Arc::default();
        let mut started = false;
        let mut polls = 0;
        block_on(poll_fn(|context| {
            polls += 1;
            if !std::mem::replace(&mut started, true) {
                for index in 0..WAKERS {
                    let (waker, storm) = (context.waker().clone(), Arc::clone(&storm));
                    let rage = move || {
                        (0..CALLS).for_each(|_| waker.wake_by_ref());
                        storm.0.fetch_add(1, Ordering::SeqCst);
                        waker.wake();
                    };
                    if index % 2 == 0 {
                        timestop::spawn(rage);
                    } else {
                        std::thread::spawn(rage);
                    }
                }
            }
            if storm.0.load(Ordering::SeqCst) == WAKERS { Poll::Ready(()) } else { Poll::Pending }
        }))
        .expect("not cancelled");
        assert!(polls <= WAKERS * (CALLS + 1) + 1);
    });
}

#[test]
fn a_panic_in_a_poll_comes_out() {
    on_fiber(|| {
        let dropped = Arc::new(());
        let held = Arc::clone(&dropped);
        let panics = async move {
            sleep(Duration::from_micros(10)).await;
            assert!(Arc::strong_count(&held) > 5, "in a poll");
        };
        assert!(catch_unwind(AssertUnwindSafe(|| block_on(panics))).is_err());
        assert_eq!(Arc::strong_count(&dropped), 1, "the future is dropped");
        // The fiber can wait again.
        assert_eq!(block_on(sleep(Duration::from_micros(10))), Ok(()));
    });
}

/// A panic of the inner `block_on` that the outer future survives.
#[test]
fn a_panic_in_a_nested_poll() {
    on_fiber(|| {
        let outer = async {
            let inner = catch_unwind(|| block_on(async { panic!("inner") }));
            sleep(Duration::from_millis(1)).await;
            inner.is_err()
        };
        assert_eq!(block_on(outer), Ok(true));
    });
}

struct Evil(Arc<AtomicUsize>);

impl Wake for Evil {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("wakers should not");
    }
}

/// Wakers of others that panic, and one that blocks: those of the rest are called all the same.
#[test]
fn a_waker_that_panics_or_blocks() {
    on_fiber(|| {
        let calls = Arc::new(AtomicUsize::new(0));
        let evil = Waker::from(Arc::new(Evil(Arc::clone(&calls))));
        for _ in 0..3 {
            let mut alarm = pin!(sleep(Duration::from_millis(1)));
            let polled = alarm.as_mut().poll(&mut Context::from_waker(&evil));
            assert!(polled.is_pending());
            let before = calls.load(Ordering::SeqCst);
            until("it is called", || calls.load(Ordering::SeqCst) > before);
        }
        futures::executor::block_on(sleep(Duration::from_millis(1)));
    });
}

/// A foreign waker that was registered and whose future is dropped is not called, nor kept.
#[test]
fn a_dropped_future_lets_its_waker_go() {
    on_fiber(|| {
        let calls = Arc::new(AtomicUsize::new(0));
        let evil = Waker::from(Arc::new(Evil(Arc::clone(&calls))));
        for index in 0..200 {
            let mut alarm = Box::pin(sleep(Duration::from_micros(40 + index % 5)));
            let _ = alarm.as_mut().poll(&mut Context::from_waker(&evil));
            (0..index).for_each(|_| timestop::yield_now());
            drop(alarm);
        }
        until("the ringer lets it go", || Arc::strong_count(&calls) == 2);
        drop(evil);
        assert_eq!(Arc::strong_count(&calls), 1);
    });
}

/// A child of `fork` has none of its parent's fibers: its futures are woken all the same.
#[test]
fn in_a_child_of_fork() {
    on_fiber(|| {
        // The parent has a fiber that calls wakers.
        futures::executor::block_on(sleep(Duration::from_millis(1)));
        // SAFETY: the child does what a fiber may do, and ends by `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let ours = block_on(sleep(Duration::from_millis(1))).is_ok();
            futures::executor::block_on(sleep(Duration::from_millis(1)));
            // SAFETY: ends the child.
            unsafe { libc::_exit(if ours { 7 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: writes one integer.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(libc::WEXITSTATUS(status), 7, "{status:#x}");
    });
}
