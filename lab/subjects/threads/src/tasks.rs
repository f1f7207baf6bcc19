//! Threads that come, compute, and go.

use std::sync::Mutex;
use std::thread;

use common::{Lcg, Timed, fail, share};

/// One after the other.
pub(crate) fn spawn_join(count: u64) {
    let run = |count| {
        for _ in 0..count {
            thread::spawn(|| {}).join().expect("it does nothing");
        }
    };
    run(count / 10);
    let start = Timed::start();
    run(count);
    start.report_each(count);
}

/// All, and then all are waited for. What has ended keeps its stack until then.
pub(crate) fn spawn_many(count: u64) {
    let run = |count| {
        let threads: Vec<_> = (0..count).map(|_| thread::spawn(|| {})).collect();
        for thread in threads {
            thread.join().expect("it does nothing");
        }
    };
    run(count / 10);
    let start = Timed::start();
    run(count);
    start.report_each(count);
}

/// `sched_yield`, which on two cores gives way to nobody.
pub(crate) fn yields(count: u64) {
    let run = |count| {
        thread::scope(|scope| {
            for index in 0..2 {
                scope.spawn(move || (0..share(count, 2, index)).for_each(|_| thread::yield_now()));
            }
        });
    };
    run(count / 10);
    let start = Timed::start();
    run(count);
    start.report_each(count);
}

/// Eight that want the same lock.
pub(crate) fn mutex(count: u64) {
    let run = |count| {
        let counter = Mutex::new(0_u64);
        thread::scope(|scope| {
            for index in 0..8 {
                let counter = &counter;
                scope.spawn(move || {
                    for _ in 0..share(count, 8, index) {
                        *counter.lock().expect("nobody panics with it") += 1;
                    }
                });
            }
        });
        if counter.into_inner().expect("nobody panicked with it") != count {
            fail("an increment was lost");
        }
    };
    run(count / 10);
    let start = Timed::start();
    run(count);
    start.report_each(count);
}

/// A tree of threads.
pub(crate) fn skynet(leaves: u64) {
    fn node(first: u64, leaves: u64) -> u64 {
        if leaves == 1 {
            return first;
        }
        let part = leaves / 10;
        let children: Vec<_> =
            (0..10).map(|index| thread::spawn(move || node(first + index * part, part))).collect();
        children.into_iter().map(|child| child.join().expect("it only adds")).sum()
    }
    let start = Timed::start();
    let sum = thread::spawn(move || node(0, leaves)).join().expect("it only adds");
    if sum != leaves * (leaves - 1) / 2 {
        fail("the sum is wrong");
    }
    start.report_ms();
}

/// The work of one core, on as many as there are.
pub(crate) fn multicore(count: u64) {
    let run = |count| {
        let done: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..2)
                .map(|index| scope.spawn(move || Lcg::new(index).rounds(share(count, 2, index))))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("it only computes")).collect()
        });
        let right = (0..2).map(|index| Lcg::new(index).jump(share(count, 2, index)));
        if !right.eq(done) {
            fail("the result is wrong");
        }
    };
    run(count / 10);
    let start = Timed::start();
    run(count);
    start.report_ms();
}
