//! Threads that sleep beside others that compute or are blocked.

use std::sync::Arc;
use std::thread;

use common::{Args, Holder, SLEEP, SLEEPERS, Window, hogs, report_late, stuck};

pub(crate) fn beside_hogs(args: &Args) {
    measure(args, hogs(args));
}

pub(crate) fn beside_blocked(args: &Args) {
    measure(args, stuck(args));
}

fn measure(args: &Args, (window, others): (Arc<Window>, Vec<Holder>)) {
    let sleepers: Vec<_> = (0..SLEEPERS)
        .map(|_| {
            let mut lateness = window.lateness();
            thread::spawn(move || {
                while let Some(due) = lateness.next_due() {
                    thread::sleep(SLEEP);
                    lateness.woke(due);
                }
                lateness.into_micros()
            })
        })
        .collect();
    for other in others {
        let window = window.clone();
        thread::spawn(move || {
            thread::sleep(window.before_begin());
            other();
        });
    }
    let all = sleepers.into_iter().map(|sleeper| sleeper.join().expect("it only sleeps"));
    report_late(args, all);
}
