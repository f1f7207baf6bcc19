//! Coroutines that sleep beside others that compute or are blocked, on the workers, as happens by mistake.

use std::fs::File;
use std::sync::Arc;

use common::{Args, Held, SLEEP, SLEEPERS, Window, fail, report, write_late};
use may::coroutine::sleep;
use may::go;

pub(crate) fn beside_hogs(args: &Args) {
    let window = Window::open(args.secs(), || {});
    let hogs = (0..args.number("hogs"))
        .map(|_| {
            let window = window.clone();
            move || window.hog()
        })
        .collect();
    measure(args, &window, hogs);
}

pub(crate) fn beside_blocked(args: &Args) {
    let (held, others) =
        Held::new(args.number("stuck")).unwrap_or_else(|error| fail(&format!("no file: {error}")));
    let window = Window::open(args.secs(), || drop(held));
    let stuck = others.into_iter().map(|file| move || wait_for(file)).collect();
    measure(args, &window, stuck);
}

fn wait_for(file: File) {
    file.lock().expect("it is unlocked when the window is over");
}

fn measure(args: &Args, window: &Arc<Window>, others: Vec<impl FnOnce() + Send + 'static>) {
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
    if let Err(error) = write_late(args.late(), all) {
        fail(&format!("{}: {error}", args.late()));
    }
    report(&[("value", 0.0)]);
}
