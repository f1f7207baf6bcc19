//! A fiber that is cancelled, or past its limit, in a `block_on`.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use timestop::future::{Interrupted, block_on, sleep, spawn_async};

use crate::support::{on_fiber, until};

/// Says that it was dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn cancelling_drops_the_future() {
    on_fiber(|| {
        let (dropped, polled) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (guard, started) = (Dropped(Arc::clone(&dropped)), Arc::clone(&polled));
        let seen = Arc::clone(&dropped);
        let fiber = timestop::spawn(move || {
            let ended = block_on(async move {
                let _guard = guard;
                started.store(true, Ordering::SeqCst);
                pending::<()>().await;
            });
            (ended, seen.load(Ordering::SeqCst))
        });
        until("the future is polled", || polled.load(Ordering::SeqCst));
        fiber.cancel();
        assert_eq!(fiber.join().unwrap(), (Err(Interrupted::Cancelled), true));
    });
}

/// Not polled at all, even where it is ready.
#[test]
fn a_cancelled_fiber_polls_nothing() {
    on_fiber(|| {
        let go = Arc::new(AtomicBool::new(false));
        let gone = Arc::clone(&go);
        let fiber = timestop::spawn(move || {
            until("it is cancelled", || gone.load(Ordering::SeqCst));
            block_on(async { panic!("it is polled") })
        });
        fiber.cancel();
        go.store(true, Ordering::SeqCst);
        assert_eq!(fiber.join().unwrap(), Err::<(), _>(Interrupted::Cancelled));
    });
}

#[test]
fn a_future_that_is_always_woken_ends_too() {
    on_fiber(|| {
        let fiber = spawn_async(std::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            std::task::Poll::<()>::Pending
        }));
        fiber.cancel();
        assert_eq!(fiber.join().unwrap(), Err(Interrupted::Cancelled));
    });
}

#[test]
fn a_limit_ends_it() {
    on_fiber(|| {
        let limit = Duration::from_millis(2);
        let ended = timestop::timeout(limit, || block_on(pending::<()>()));
        assert_eq!(ended, Err(Interrupted::TimedOut));
        // Past the limit it is not tried, and afterwards all is as before.
        timestop::timeout(Duration::ZERO, || {
            assert_eq!(block_on(sleep(Duration::ZERO)), Err(Interrupted::TimedOut));
        });
        assert_eq!(block_on(sleep(Duration::ZERO)), Ok(()));
    });
}

#[test]
fn a_limit_ends_it_on_a_pinned_fiber() {
    on_fiber(|| {
        let _pin = timestop::pin();
        let limit = Duration::from_millis(2);
        let ended = timestop::timeout(limit, || block_on(pending::<()>()));
        assert_eq!(ended, Err(Interrupted::TimedOut));
        assert_eq!(block_on(sleep(Duration::from_millis(1))), Ok(()));
    });
}

/// The inner one ends, and so does the outer one as soon as its poll returns.
#[test]
fn nested_ones_end_both() {
    on_fiber(|| {
        let fiber = timestop::spawn(|| {
            block_on(async {
                let inner = block_on(pending::<()>());
                assert_eq!(inner, Err(Interrupted::Cancelled));
                pending::<()>().await;
            })
        });
        fiber.cancel();
        assert_eq!(fiber.join().unwrap(), Err(Interrupted::Cancelled));
    });
}
