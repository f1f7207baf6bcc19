//! Tasks that sleep beside others that compute or are blocked, on the workers, as happens by mistake. That tokio has
//! `spawn_blocking` for these is what its users must know.

use std::sync::Arc;

use common::{Args, Held, SLEEP, SLEEPERS, Window, fail, report, write_late};
use tokio::time::sleep;

pub(crate) async fn beside_hogs(args: &Args) {
    let window = Window::open(args.secs(), || {});
    let hogs = (0..args.number("hogs"))
        .map(|_| {
            let window = window.clone();
            async move { window.hog() }
        })
        .collect();
    measure(args, &window, hogs).await;
}

pub(crate) async fn beside_blocked(args: &Args) {
    let (held, others) =
        Held::new(args.number("stuck")).unwrap_or_else(|error| fail(&format!("no file: {error}")));
    let window = Window::open(args.secs(), || drop(held));
    let stuck = others
        .into_iter()
        .map(|file| async move { file.lock().expect("it is unlocked when the window is over") })
        .collect();
    measure(args, &window, stuck).await;
}

async fn measure(
    args: &Args,
    window: &Arc<Window>,
    others: Vec<impl Future<Output = ()> + Send + 'static>,
) {
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
            other.await;
        });
    }
    let mut all = Vec::new();
    for sleeper in sleepers {
        all.push(sleeper.await.expect("it only sleeps"));
    }
    if let Err(error) = write_late(args.late(), all) {
        fail(&format!("{}: {error}", args.late()));
    }
    report(&[("value", 0.0)]);
}
