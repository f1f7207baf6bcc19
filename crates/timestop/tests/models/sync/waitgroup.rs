//! `sync/waitgroup_test.go`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use timestop::sync::{Interrupted, WaitGroup};

use super::text;
use crate::support::waits;
use crate::support::{Mix, Task, on_fiber, until};

const SOON: Duration = Duration::from_millis(2);

/// `TestWaitGroup`: sixteen of each side, through two groups in turn, eight times.
#[test]
fn two_groups() {
    Mix::each(|mix| {
        const COUNT: usize = 16;
        let (one, two) = (WaitGroup::new(), WaitGroup::new());
        for _ in 0..8 {
            one.add(COUNT);
            two.add(COUNT);
            let exited = Arc::new(AtomicUsize::new(0));
            let tasks: Vec<_> = (0..COUNT)
                .map(|index| {
                    let (one, two, exited) = (one.clone(), two.clone(), Arc::clone(&exited));
                    mix.spawn(index, move || {
                        one.done();
                        two.wait().expect("nobody is cancelled");
                        exited.fetch_add(1, Ordering::SeqCst);
                    })
                })
                .collect();
            one.wait().expect("nobody is cancelled");
            for _ in 0..COUNT {
                assert_eq!(exited.load(Ordering::SeqCst), 0, "released too soon");
                two.done();
            }
            tasks.into_iter().for_each(Task::join);
            assert_eq!(exited.load(Ordering::SeqCst), COUNT);
        }
    });
}

/// `TestWaitGroupMisuse`
#[test]
fn misuse() {
    on_fiber(|| {
        let group = WaitGroup::new();
        group.add(1);
        group.done();
        assert!(text(|| group.done()).starts_with("timestop::sync::WaitGroup: done()"));
        group.add(1);
        assert!(text(|| group.add(usize::MAX)).starts_with("timestop::sync::WaitGroup: too many"));
        assert_eq!(group.count(), 1);
        group.done();
        assert_eq!(group.wait(), Ok(()));
    });
}

/// `TestWaitGroupRace`: what was done before is seen by who waited.
#[test]
fn race() {
    Mix::each(|mix| {
        for _ in 0..200 {
            let group = WaitGroup::new();
            let count = Arc::new(AtomicUsize::new(0));
            group.add(2);
            let tasks = [0, 1].map(|index| {
                let (group, count) = (group.clone(), Arc::clone(&count));
                mix.spawn(index, move || {
                    count.fetch_add(1, Ordering::Relaxed);
                    group.done();
                })
            });
            group.wait().expect("nobody is cancelled");
            assert_eq!(count.load(Ordering::Relaxed), 2);
            tasks.into_iter().for_each(Task::join);
        }
    });
}

/// `TestWaitGroupGo`; and one that panics is done, too.
#[test]
fn go() {
    on_fiber(|| {
        let group = WaitGroup::new();
        let count = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&count);
        let adds = group.spawn(move || theirs.fetch_add(1, Ordering::SeqCst));
        let panics = group.spawn(|| panic!("on purpose"));
        group.wait().expect("nobody is cancelled");
        assert_eq!(count.load(Ordering::SeqCst), 1);
        assert_eq!(adds.join().expect("no panic"), 0);
        let _: Box<dyn std::any::Any + Send> = panics.join().expect_err("it panicked");
    });
}

/// A group is used again while those who waited before may still be on their way.
#[test]
fn reuse() {
    Mix::each(|mix| {
        let group = WaitGroup::new();
        let mut waiters = Vec::new();
        for index in 0..100 {
            group.add(1);
            let theirs = group.clone();
            waiters.push(mix.spawn(index, move || theirs.wait()));
            group.done();
        }
        waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join(), Ok(())));
    });
}

#[test]
fn cancel_and_time_limits_end_waits() {
    on_fiber(|| {
        let group = WaitGroup::new();
        group.add(1);
        let theirs = group.clone();
        let waiter = timestop::spawn(move || theirs.wait());
        until("it waits", || waits(&waiter));
        waiter.cancel();
        assert_eq!(waiter.join().expect("no panic"), Err(Interrupted::Cancelled));
        assert_eq!(group.wait_timeout(SOON), Ok(false));
        assert_eq!(timestop::timeout(SOON, || group.wait()), Err(Interrupted::TimedOut));
        group.done();
        assert_eq!(group.wait_timeout(SOON), Ok(true));
    });
}
