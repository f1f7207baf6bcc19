//! Coroutines that come, compute, and go.

use std::sync::Arc;

use common::{Lcg, Timed, fail, share};
use may::coroutine::yield_now;
use may::go;
use may::sync::Mutex;

/// One after the other.
pub(crate) fn spawn_join(count: u64) {
    let run = |count| {
        for _ in 0..count {
            go!(|| {}).join().expect("it does nothing");
        }
    };
    run(count / 10);
    let start = Timed::start();
    run(count);
    start.report_each(count);
}

/// All, and then all are waited for.
pub(crate) fn spawn_many(count: u64) {
    let run = |count| {
        let coroutines: Vec<_> = (0..count).map(|_| go!(|| {})).collect();
        for coroutine in coroutines {
            coroutine.join().expect("it does nothing");
        }
    };
    run(count / 10);
    let start = Timed::start();
    run(count);
    start.report_each(count);
}

/// Two that yield. With two workers each may have its own.
pub(crate) fn yields(count: u64) {
    let run = |count| {
        let coroutines = [0, 1].map(|index| {
            go!(move || {
                for _ in 0..share(count, 2, index) {
                    yield_now();
                }
            })
        });
        for coroutine in coroutines {
            coroutine.join().expect("it only yields");
        }
    };
    run(count / 10);
    let start = Timed::start();
    run(count);
    start.report_each(count);
}

/// Eight that want the same lock.
pub(crate) fn mutex(count: u64) {
    let run = |count| {
        let counter = Arc::new(Mutex::new(0_u64));
        let coroutines: Vec<_> = (0..8)
            .map(|index| {
                let counter = counter.clone();
                go!(move || {
                    for _ in 0..share(count, 8, index) {
                        *counter.lock().expect("nobody panics with it") += 1;
                    }
                })
            })
            .collect();
        for coroutine in coroutines {
            coroutine.join().expect("it only adds");
        }
        if *counter.lock().expect("nobody panicked with it") != count {
            fail("an increment was lost");
        }
    };
    run(count / 10);
    let start = Timed::start();
    run(count);
    start.report_each(count);
}

/// A tree of coroutines.
pub(crate) fn skynet(leaves: u64) {
    fn node(first: u64, leaves: u64) -> u64 {
        if leaves == 1 {
            return first;
        }
        let part = leaves / 10;
        let children: Vec<_> =
            (0..10).map(|index| go!(move || node(first + index * part, part))).collect();
        children.into_iter().map(|child| child.join().expect("it only adds")).sum()
    }
    let start = Timed::start();
    let sum = go!(move || node(0, leaves)).join().expect("it only adds");
    if sum != leaves * (leaves - 1) / 2 {
        fail("the sum is wrong");
    }
    start.report_ms();
}

/// The work of one core, on as many as there are workers.
pub(crate) fn multicore(count: u64) {
    let run = |count| {
        let coroutines =
            [0, 1].map(|index| go!(move || Lcg::new(index).rounds(share(count, 2, index))));
        for (index, coroutine) in (0..2).zip(coroutines) {
            let done = coroutine.join().expect("it only computes");
            if done != Lcg::new(index).jump(share(count, 2, index)) {
                fail("the result is wrong");
            }
        }
    };
    run(count / 10);
    let start = Timed::start();
    run(count);
    start.report_ms();
}
