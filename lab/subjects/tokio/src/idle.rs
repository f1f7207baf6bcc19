//! Tasks that wait.

use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{Memory, Timed, moments, report_timers};
use tokio::time::sleep;

/// How many have come to where they wait.
static WAITING: AtomicU64 = AtomicU64::new(0);

/// Each waits for a message of one channel.
pub(crate) async fn receivers(tasks: u64) {
    let (_sender, receiver) = async_channel::bounded::<()>(1);
    measure(tasks, || {
        let receiver = receiver.clone();
        tokio::spawn(async move {
            WAITING.fetch_add(1, Ordering::Relaxed);
            receiver.recv().await
        });
    })
    .await;
}

/// Each sleeps.
pub(crate) async fn sleepers(tasks: u64) {
    measure(tasks, || {
        tokio::spawn(async {
            WAITING.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_secs(3600)).await;
        });
    })
    .await;
}

async fn measure(tasks: u64, spawn: impl Fn()) {
    let before = Memory::now();
    for _ in 0..tasks {
        spawn();
    }
    while WAITING.load(Ordering::Relaxed) < tasks {
        sleep(Duration::from_millis(10)).await;
    }
    // From there to the wait itself.
    sleep(Duration::from_millis(200)).await;
    before.report_growth(tasks);
    // They are not to be dropped one by one.
    process::exit(0)
}

/// Each sleeps for a random part of a second.
pub(crate) async fn timers(tasks: u64) {
    let start = Timed::start();
    // The future of `sleep` has its deadline from when it is made; a task of its own has it from when it runs.
    let tasks: Vec<_> =
        moments(tasks).map(|moment| tokio::spawn(async move { sleep(moment).await })).collect();
    for task in tasks {
        task.await.expect("it only sleeps");
    }
    report_timers(start);
}
