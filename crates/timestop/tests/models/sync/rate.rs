//! `golang.org/x/time/rate`'s tests of limiters that wait. Those of the bucket, which have a clock of their
//! own, are beside it: `src/sync/rate/golang.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use timestop::sync::{AcquireError, Rate, RateLimiter};

use crate::support::waits;
use crate::support::{Mix, Task, on_fiber, until};

const HOUR: Rate = Rate::every(Duration::from_secs(3_600));

/// `TestSimultaneousRequests`
#[test]
fn simultaneous_requests() {
    Mix::each(|mix| {
        let limiter = Arc::new(RateLimiter::new(HOUR, 15));
        let tasks: Vec<_> = (0..40)
            .map(|index| {
                let limiter = Arc::clone(&limiter);
                mix.spawn(index, move || limiter.try_acquire(1))
            })
            .collect();
        assert_eq!(tasks.into_iter().map(Task::join).filter(|allowed| *allowed).count(), 15);
    });
}

/// `TestWaitSimple`, `TestWaitTimeout`, `TestWaitInf`
#[test]
fn what_need_not_wait() {
    on_fiber(|| {
        let limiter = RateLimiter::new(HOUR, 3);
        assert_eq!(limiter.acquire(4), Err(AcquireError::Never));
        assert_eq!(limiter.acquire(1), Ok(()));
        assert_eq!(limiter.acquire_timeout(2, Duration::ZERO), Ok(()));
        // In an hour: known at once, and nothing taken.
        assert_eq!(limiter.acquire_timeout(1, Duration::from_secs(60)), Err(AcquireError::Timeout));
        let limit = Duration::from_secs(60);
        let within = timestop::timeout(limit, || limiter.acquire(1));
        assert_eq!(within, Err(AcquireError::Timeout));
        assert_eq!(limiter.tokens(), 0);

        let endless = RateLimiter::new(Rate::INFINITE, 0);
        assert_eq!(endless.acquire(u32::MAX), Ok(()));
        let zero = RateLimiter::new(Rate::ZERO, 1);
        assert_eq!((zero.acquire(1), zero.acquire(1)), (Ok(()), Err(AcquireError::Never)));
    });
}

/// `TestWaitCancel`: cancelling ends the wait, and the tokens come back.
#[test]
fn cancel_gives_tokens_back() {
    on_fiber(|| {
        let limiter = Arc::new(RateLimiter::new(HOUR, 3));
        assert!(limiter.try_acquire(2));
        let theirs = Arc::clone(&limiter);
        let waiter = timestop::spawn(move || {
            let ended = theirs.acquire(3);
            assert_eq!(theirs.acquire(1), Err(AcquireError::Cancelled));
            ended
        });
        until("it waits", || waits(&waiter));
        assert_eq!(limiter.tokens(), -2);
        assert!(!limiter.try_acquire(1), "who waits comes first");
        waiter.cancel();
        assert_eq!(waiter.join().expect("no panic"), Err(AcquireError::Cancelled));
        assert_eq!(limiter.tokens(), 1);
        assert!(limiter.try_acquire(1));
    });
}

/// Reservations, dropped or cancelled.
#[test]
fn reservations() {
    let limiter = RateLimiter::new(HOUR, 2);
    let now = limiter.reserve(2).expect("not more than the burst");
    assert_eq!((now.delay(), now.count()), (Duration::ZERO, 2));
    let later = limiter.reserve(1).expect("not more than the burst");
    assert!(later.delay() > Duration::from_secs(3_000));
    assert_eq!(limiter.tokens(), -1);
    later.cancel();
    assert_eq!(limiter.tokens(), 0);
    // Its time has come: nothing comes back.
    now.cancel();
    assert_eq!(limiter.tokens(), 0);
    assert_eq!(limiter.reserve(3).map(|one| one.delay()), Err(AcquireError::Never));
}

/// Each is promised a later time than those before, and none goes before its own.
#[test]
fn in_turn_and_not_too_fast() {
    Mix::each(|mix| {
        const PAUSE: Duration = Duration::from_millis(1);
        let limiter = Arc::new(RateLimiter::new(Rate::every(PAUSE), 1));
        let start = Instant::now();
        assert!(limiter.try_acquire(1));
        let tasks: Vec<_> = (0..10)
            .map(|index| {
                let limiter = Arc::clone(&limiter);
                mix.spawn(index, move || {
                    limiter.acquire(1).expect("nobody is cancelled");
                    Instant::now()
                })
            })
            .collect();
        let mut times: Vec<_> = tasks.into_iter().map(Task::join).collect();
        times.sort_unstable();
        for (index, time) in times.into_iter().enumerate() {
            assert!(time - start >= PAUSE * (index as u32 + 1), "the {index}th came too soon");
        }
    });
}

/// On an OS thread, without a runtime.
#[test]
fn on_a_thread() {
    let limiter = RateLimiter::new(Rate::every(Duration::from_millis(1)), 1);
    let start = Instant::now();
    for _ in 0..5 {
        limiter.acquire(1).expect("no fiber, no end");
    }
    assert!(start.elapsed() >= Duration::from_millis(4));
}
