//! Coroutines that sleep beside others that compute or are blocked, on the workers, as happens by mistake.

use std::sync::Arc;

use common::{Args, Holder, SLEEP, SLEEPERS, Window, hogs, report_late, stuck};
use may::coroutine::sleep;
use may::go;

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
            go!(move || {
                while let Some(due) = lateness.next_due() {
                    sleep(SLEEP);
                    lateness.woke(due);
                }
                lateness.into_micros()
            })
        })
        .collect();
    for other in others {
        let window = window.clone();
        go!(move || {
            sleep(window.before_begin());
            other();
        });
    }
    let all = sleepers.into_iter().map(|sleeper| sleeper.join().expect("it only sleeps"));
    report_late(args, all);
}
