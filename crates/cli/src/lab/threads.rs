//! What a program with threads needs of them, so that a subject is a type and each bench is written once.
//!
//! Only `spawn`, `join` and `yield_now` differ between fibers and OS threads. Everything else a bench does (sleep, lock,
//! send, receive, read, write) is std on both, which is what is being tested.

use std::num::NonZeroUsize;

use super::experiments::Subject;
use super::machine;

pub(crate) trait Threads: 'static {
    type Handle<T: Send + 'static>: Send;

    /// Runs `main` with that many workers below it.
    fn run<R: Send>(workers: usize, main: impl FnOnce() -> R + Send) -> R;

    fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T>;

    /// Waits for the end. A bench has no use for the result of one that panicked, so this panics too.
    fn join<T: Send + 'static>(handle: Self::Handle<T>) -> T;

    fn yield_now();
}

/// The subject `timestop`.
#[derive(Debug)]
pub(crate) struct Fibers;

impl Threads for Fibers {
    type Handle<T: Send + 'static> = timestop::JoinHandle<T>;

    fn run<R: Send>(workers: usize, main: impl FnOnce() -> R + Send) -> R {
        timestop::Config::new().workers(workers).run(main)
    }

    fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T> {
        timestop::spawn(f)
    }

    fn join<T: Send + 'static>(handle: Self::Handle<T>) -> T {
        handle.join().expect("a fiber of a bench does not panic")
    }

    fn yield_now() {
        timestop::yield_now();
    }
}

/// The subject `threads`. Its workers are cores: with one worker, the process is pinned to one.
#[derive(Debug)]
pub(crate) struct OsThreads;

impl Threads for OsThreads {
    type Handle<T: Send + 'static> = std::thread::JoinHandle<T>;

    fn run<R: Send>(workers: usize, main: impl FnOnce() -> R + Send) -> R {
        machine::pin_to_first(NonZeroUsize::new(workers).expect("at least one worker"));
        main()
    }

    fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T> {
        std::thread::spawn(f)
    }

    fn join<T: Send + 'static>(handle: Self::Handle<T>) -> T {
        handle.join().expect("a thread of a bench does not panic")
    }

    fn yield_now() {
        std::thread::yield_now();
    }
}

/// Something to do on either kind of thread.
pub(crate) trait OnThreads {
    type Output;
    fn on<T: Threads>(self) -> Self::Output;
}

/// Does `what` on the kind of threads that `subject` stands for.
pub(crate) fn on<W: OnThreads>(subject: Subject, what: W) -> Result<W::Output, String> {
    match subject {
        Subject::Timestop => Ok(what.on::<Fibers>()),
        Subject::Threads => Ok(what.on::<OsThreads>()),
        other => Err(format!("'{}' has no threads to measure", other.name())),
    }
}
