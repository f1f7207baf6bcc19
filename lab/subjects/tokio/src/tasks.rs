//! Tasks that come, compute, and go.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use common::{Lcg, Timed, fail, note, share};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::{self, yield_now};

/// One after the other.
pub(crate) async fn spawn_join(count: u64) {
    async fn run(count: u64) {
        for _ in 0..count {
            tokio::spawn(async {}).await.expect("it does nothing");
        }
    }
    run(count / 10).await;
    let start = Timed::start();
    run(count).await;
    start.report_each(count);
}

/// All, and then all are waited for.
pub(crate) async fn spawn_many(count: u64) {
    async fn run(count: u64) {
        let tasks: Vec<_> = (0..count).map(|_| tokio::spawn(async {})).collect();
        for task in tasks {
            task.await.expect("it does nothing");
        }
    }
    run(count / 10).await;
    let start = Timed::start();
    run(count).await;
    start.report_each(count);
}

/// Two that yield. With two workers each has its own.
pub(crate) async fn yields(count: u64) {
    async fn run(count: u64) {
        let tasks = [0, 1].map(|index| {
            tokio::spawn(async move {
                for _ in 0..share(count, 2, index) {
                    yield_now().await;
                }
            })
        });
        for task in tasks {
            task.await.expect("it only yields");
        }
    }
    run(count / 10).await;
    let start = Timed::start();
    run(count).await;
    start.report_each(count);
}

/// Eight that want the same lock: std's, as tokio's documents advise where nothing is awaited with it.
pub(crate) async fn mutex(count: u64) {
    async fn run(count: u64) {
        let counter = Arc::new(Mutex::new(0_u64));
        let tasks: Vec<_> = (0..8)
            .map(|index| {
                let counter = counter.clone();
                tokio::spawn(async move {
                    for _ in 0..share(count, 8, index) {
                        *counter.lock().expect("nobody panics with it") += 1;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("it only adds");
        }
        if *counter.lock().expect("nobody panicked with it") != count {
            fail("an increment was lost");
        }
    }
    run(count / 10).await;
    let start = Timed::start();
    run(count).await;
    start.report_each(count);
}

/// A tree of tasks.
pub(crate) async fn skynet(leaves: u64) {
    // In a box, as it spawns itself.
    fn node(first: u64, leaves: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
        Box::pin(async move {
            if leaves == 1 {
                return first;
            }
            let part = leaves / 10;
            let children: Vec<_> =
                (0..10).map(|index| tokio::spawn(node(first + index * part, part))).collect();
            let mut sum = 0;
            for child in children {
                sum += child.await.expect("it only adds");
            }
            sum
        })
    }
    let start = Timed::start();
    let sum = tokio::spawn(node(0, leaves)).await.expect("it only adds");
    if sum != leaves * (leaves - 1) / 2 {
        fail("the sum is wrong");
    }
    start.report_ms();
}

/// The work of one core, on as many as there are workers. Where those are one thread, more cores are to be had by
/// `spawn_blocking`.
pub(crate) async fn multicore(workers: usize, count: u64) {
    let one_thread = Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread;
    let aside = one_thread && workers > 1;
    let run = async |count| {
        let tasks = [0, 1].map(|index| {
            let work = move || Lcg::new(index).rounds(share(count, 2, index));
            if aside { task::spawn_blocking(work) } else { tokio::spawn(async move { work() }) }
        });
        for (index, task) in (0..2).zip(tasks) {
            let done = task.await.expect("it only computes");
            if done != Lcg::new(index).jump(share(count, 2, index)) {
                fail("the result is wrong");
            }
        }
    };
    run(count / 10).await;
    let start = Timed::start();
    run(count).await;
    start.report_ms();
    if aside {
        note("in spawn_blocking");
    }
}
