//! Very many hogs, two workers: does each get its share? What the slowest has done, in parts of what the fastest has.
//!
//! A hog's turn is ten milliseconds whatever the window is, so the answer is a quotient of two counts of turns. A hundred
//! hogs on two workers have twenty turns each in ten seconds, where one more or less is a tenth; in two seconds they have
//! four, and a perfectly fair scheduler that is stopped in the middle of a round says 0.75. So the window goes with the
//! number of hogs: each has its twenty turns, under `--quick` too.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::{WORKERS, Window, hog};
use crate::lab::measured::Measured;
use crate::lab::preemption;
use crate::lab::subject::Trial;
use crate::lab::threads::{OnThreads, Threads, on};

/// For each hog: twenty turns of ten milliseconds, on two workers.
const EACH: Duration = Duration::from_millis(100);

/// Rounds of a hog. Two cache lines, which is what the processor fetches at a time.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Progress(AtomicU64);

struct Sharing {
    hogs: usize,
    window: Duration,
}

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    let hogs = trial.parameter();
    on(trial.subject, Sharing { hogs, window: EACH * hogs as u32 })?
}

impl OnThreads for Sharing {
    type Output = Result<Measured, String>;

    fn on<T: Threads>(self) -> Self::Output {
        let Sharing { hogs: count, window } = self;
        T::run(WORKERS, || {
            // All are there before the first begins: or the first would have a start on the last. Each waits by itself:
            // behind a barrier's lock the last would still be queued when others have long begun, and who waits by
            // yielding is held to it by the kernel for seconds.
            let (arrive, arrivals) = mpsc::channel();
            let (go, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
            let done: Arc<[Progress]> = (0..count).map(|_| Progress::default()).collect();
            let hogs: Vec<_> = (0..count)
                .map(|at| {
                    let (arrive, go) = (arrive.clone(), Arc::clone(&go));
                    let (over, done) = (Arc::clone(&over), Arc::clone(&done));
                    T::spawn(move || {
                        arrive.send(thread::current()).expect("we are waited for");
                        while !go.load(Ordering::Acquire) {
                            thread::park();
                        }
                        hog(&over, &done[at].0);
                    })
                })
                .collect();
            let waiting: Vec<_> = arrivals.iter().take(count).collect();
            Window::open_with(over, Duration::ZERO, window);
            go.store(true, Ordering::Release);
            waiting.iter().for_each(thread::Thread::unpark);
            hogs.into_iter().for_each(T::join);
            let rounds = done.iter().map(|progress| progress.0.load(Ordering::Relaxed));
            let (slowest, fastest) = rounds
                .fold((u64::MAX, 0), |(low, high), rounds| (low.min(rounds), high.max(rounds)));
            if fastest == 0 {
                return Err("no hog got anything done".to_owned());
            }
            Ok(Measured::new(slowest as f64 / fastest as f64)
                .with("slowest", slowest as f64)
                .with("fastest", fastest as f64)
                .with("preemptions", preemption::count() as f64))
        })
    }
}
