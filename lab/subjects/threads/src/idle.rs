//! Threads that wait.

use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::{Memory, Timed, moments, report_timers};

/// How many have come to where they wait.
static WAITING: AtomicU64 = AtomicU64::new(0);

/// Each waits for a message of one channel.
pub(crate) fn receivers(tasks: u64) {
    let (_sender, receiver) = crossbeam_channel::bounded::<()>(1);
    measure(tasks, || {
        let receiver = receiver.clone();
        thread::spawn(move || {
            WAITING.fetch_add(1, Ordering::Relaxed);
            receiver.recv()
        });
    });
}

/// Each sleeps.
pub(crate) fn sleepers(tasks: u64) {
    measure(tasks, || {
        thread::spawn(|| {
            WAITING.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_secs(3600));
        });
    });
}

fn measure(tasks: u64, spawn: impl Fn()) {
    let before = Memory::now();
    for _ in 0..tasks {
        spawn();
    }
    while WAITING.load(Ordering::Relaxed) < tasks {
        thread::sleep(Duration::from_millis(10));
    }
    // From there to the wait itself.
    thread::sleep(Duration::from_millis(200));
    before.report_growth(tasks);
    // They are not to be ended one by one.
    process::exit(0)
}

/// Each sleeps for a random part of a second.
pub(crate) fn timers(tasks: u64) {
    let start = Timed::start();
    let threads: Vec<_> =
        moments(tasks).map(|moment| thread::spawn(move || thread::sleep(moment))).collect();
    for thread in threads {
        thread.join().expect("it only sleeps");
    }
    report_timers(start);
}
