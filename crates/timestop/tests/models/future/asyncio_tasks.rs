//! The cases of CPython's `test_tasks.py`, `test_waitfor.py` and `test_timeouts.py`: gather, wait_for, shield.

use std::future::{IntoFuture, pending, ready};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use futures::future::BoxFuture;
use timestop::future::{
    Elapsed, Interrupted, block_on, gather, join_all, select, shield, sleep, spawn_async, wait_for,
};

use crate::support::{on_fiber, until};

const SHORT: Duration = Duration::from_millis(2);
const LONG: Duration = Duration::from_secs(3_600);

type Step = Result<u32, &'static str>;

/// After `turns` polls.
async fn after(turns: u32, result: Step) -> Step {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
    result
}

#[test]
fn gather_success_in_order() {
    on_fiber(|| {
        let all = gather([after(3, Ok(1)), after(1, Ok(2)), after(2, Ok(3))]);
        assert_eq!(block_on(all), Ok(Ok(vec![1, 2, 3])));
        let none: [std::future::Ready<Step>; 0] = [];
        assert_eq!(block_on(gather(none)), Ok(Ok(vec![])));
    });
}

#[test]
fn gather_first_error_in_time() {
    on_fiber(|| {
        let all = gather([after(9, Ok(1)), after(2, Err("late")), after(1, Err("first"))]);
        assert_eq!(block_on(all), Ok(Err("first")));
    });
}

#[test]
fn gather_return_exceptions() {
    on_fiber(|| {
        let all = gather([after(2, Ok(1)), after(1, Err("no")), after(0, Ok(3))]);
        let results = block_on(all.return_exceptions()).unwrap();
        assert_eq!(results, [Ok(1), Err("no"), Ok(3)]);
    });
}

/// `test_gather` and friends: an error does not end the other tasks.
#[test]
fn gather_lets_other_fibers_go_on() {
    on_fiber(|| {
        let (go, gone) = mpsc::channel();
        let done = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&done);
        let fibers = [
            timestop::spawn(|| panic!("first")),
            timestop::spawn(move || {
                gone.recv().expect("told");
                theirs.store(true, Ordering::SeqCst);
            }),
        ];
        assert!(block_on(gather(fibers)).unwrap().is_err());
        assert!(!done.load(Ordering::SeqCst));
        go.send(()).expect("it goes on");
        until("the other is done", || done.load(Ordering::SeqCst));
    });
}

/// `test_cancel_gather_1`: cancelling who gathers ends the gathering, and drops what it gathers.
#[test]
fn gather_cancelled() {
    on_fiber(|| {
        let polled = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&polled);
        let held = Arc::new(());
        let parts: Vec<_> = (0..3)
            .map(|_| {
                let (polled, held) = (Arc::clone(&theirs), Arc::clone(&held));
                async move {
                    polled.fetch_add(1, Ordering::SeqCst);
                    pending::<()>().await;
                    drop(held);
                    Step::Ok(0)
                }
            })
            .collect();
        let fiber = spawn_async(gather(parts));
        until("all are polled", || polled.load(Ordering::SeqCst) == 3);
        fiber.cancel();
        assert_eq!(fiber.join().unwrap(), Err(Interrupted::Cancelled));
        assert_eq!(Arc::strong_count(&held), 1);
    });
}

#[test]
fn join_all_of_anything() {
    on_fiber(|| {
        assert_eq!(block_on(join_all([ready(1), ready(2)])), Ok(vec![1, 2]));
        let fibers = (0..20).map(|index| timestop::spawn(move || index * index));
        let squares = block_on(join_all(fibers)).unwrap();
        assert!(
            squares.into_iter().enumerate().all(|(index, square)| square.unwrap() == index * index)
        );
    });
}

/// `test_wait_first_completed`.
#[test]
fn select_takes_the_first() {
    on_fiber(|| {
        let held = Arc::new(());
        let loser = Arc::clone(&held);
        let slow = async move {
            sleep(LONG).await;
            drop(loser);
            1
        };
        let both: [BoxFuture<'_, i32>; 2] = [Box::pin(slow), Box::pin(async { 2 })];
        assert_eq!(block_on(select(both)), Ok((1, 2)));
        assert_eq!(Arc::strong_count(&held), 1, "the loser is dropped");
    });
}

#[test]
#[should_panic(expected = "select needs a future")]
fn select_of_nothing() {
    drop(select([] as [std::future::Ready<()>; 0]));
}

/// `test_wait_for_timeout_less_then_0_or_0_future_done`.
#[test]
fn wait_for_what_is_done() {
    on_fiber(|| {
        assert_eq!(block_on(wait_for(Duration::ZERO, ready(1))), Ok(Ok(1)));
        assert_eq!(block_on(wait_for(Duration::ZERO, pending::<()>())), Ok(Err(Elapsed)));
        assert_eq!(block_on(wait_for(LONG, after(5, Ok(2)))), Ok(Ok(Ok(2))));
    });
}

/// `test_wait_for_does_not_let_callbacks_run` and `test_cancel_wait_for`: who waits is cancelled.
#[test]
fn wait_for_cancelled_from_outside() {
    on_fiber(|| {
        let fiber = spawn_async(wait_for(LONG, pending::<()>()));
        fiber.cancel();
        assert_eq!(fiber.join().unwrap(), Err(Interrupted::Cancelled));
    });
}

/// `test_wait_for_waits_for_task_cancellation`: when it returns the fiber has ended.
#[test]
fn wait_for_waits_for_the_cancelled() {
    on_fiber(|| {
        let (mut ours, _theirs) = UnixStream::pair().unwrap();
        let cleaned = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&cleaned);
        let reader = timestop::spawn(move || {
            let result = ours.read(&mut [0]);
            for _ in 0..100 {
                timestop::yield_now();
            }
            theirs.store(true, Ordering::SeqCst);
            result
        });
        let late = block_on(reader.into_future().wait_for(SHORT)).unwrap().unwrap_err();
        assert!(cleaned.load(Ordering::SeqCst));
        assert_eq!(late.0.unwrap().unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    });
}

/// `test_wait_for_timeout_with_exception…`: what it panics with when it is cancelled comes out.
#[test]
fn wait_for_one_that_panics_when_cancelled() {
    on_fiber(|| {
        let (mut ours, _theirs) = UnixStream::pair().unwrap();
        let reader = timestop::spawn(move || {
            ours.read_exact(&mut [0]).expect("no error");
        });
        let late = block_on(reader.into_future().wait_for(SHORT)).unwrap().unwrap_err();
        assert!(late.0.is_err());
        assert!(late.to_string().contains("not done in time"));
    });
}

#[test]
fn wait_for_a_fiber_in_time() {
    on_fiber(|| {
        let fiber = timestop::spawn(|| 3);
        assert_eq!(block_on(fiber.into_future().wait_for(LONG)).unwrap().unwrap().unwrap(), 3);
    });
}

/// `test_shield_effect` and `test_shield_cancel_outer`: the outer one goes, the inner one goes on.
#[test]
fn shield_from_cancelling() {
    on_fiber(|| {
        let (go, gone) = futures::channel::oneshot::channel::<u32>();
        let got = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&got);
        let inner = async move {
            let value = gone.await.expect("told");
            theirs.store(value as usize, Ordering::SeqCst);
        };
        let outer = timestop::spawn(move || block_on(shield(inner)).map(drop));
        outer.cancel();
        assert_eq!(outer.join().unwrap(), Err(Interrupted::Cancelled));
        // Cancelled before its first poll it has not made the fiber; else that waits yet.
        let _ = go.send(7);
    });
    on_fiber(|| {
        let (go, gone) = futures::channel::oneshot::channel::<u32>();
        let got = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&got);
        let shielded = shield(async move {
            theirs.store(gone.await.expect("told") as usize, Ordering::SeqCst);
        });
        assert_eq!(block_on(wait_for(SHORT, shielded)).unwrap().map(|_| ()), Err(Elapsed));
        go.send(7).expect("the inner one waits");
        until("the inner one is done", || got.load(Ordering::SeqCst) == 7);
    });
}

/// `test_shield_result`, `test_shield_exception`.
#[test]
fn shield_gives_the_result() {
    on_fiber(|| {
        assert_eq!(block_on(shield(after(2, Ok(4)))).unwrap().unwrap(), Ok(Ok(4)));
        assert!(block_on(shield(async { panic!("inner") })).unwrap().is_err());
    });
}
