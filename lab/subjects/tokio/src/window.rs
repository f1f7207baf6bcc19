//! Tasks that sleep beside others that compute or are blocked, on the workers, as happens by mistake. That tokio has
//! `spawn_blocking` for these is what its users must know.

use std::sync::Arc;

use common::{Args, Holder, SLEEP, SLEEPERS, Window, hogs, report_late, stuck};
use tokio::time::sleep;

pub(crate) async fn beside_hogs(args: &Args) {
    measure(args, hogs(args)).await;
}

pub(crate) async fn beside_blocked(args: &Args) {
    measure(args, stuck(args)).await;
}

async fn measure(args: &Args, (window, others): (Arc<Window>, Vec<Holder>)) {
    let sleepers: Vec<_> = (0..SLEEPERS)
        .map(|_| {
            let mut lateness = window.lateness();
            tokio::spawn(async move {
                while let Some(due) = lateness.next_due() {
                    sleep(SLEEP).await;
                    lateness.woke(due);
                }
                lateness.into_micros()
            })
        })
        .collect();
    for other in others {
        let window = window.clone();
        tokio::spawn(async move {
            sleep(window.before_begin()).await;
            other();
        });
    }
    let mut all = Vec::new();
    for sleeper in sleepers {
        all.push(sleeper.await.expect("it only sleeps"));
    }
    report_late(args, all);
}
