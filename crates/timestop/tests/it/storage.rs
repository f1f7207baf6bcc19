//! What belongs to a thread belongs to a fiber: thread-locals, with their destructors, and `errno`.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use crate::support::{fan_out, on_fiber};

/// Counts the drops of a thread-local.
struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        // A destructor may block like any other code.
        timestop::yield_now();
        thread::sleep(Duration::from_micros(1));
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

thread_local! {
    static COUNTER: Cell<usize> = const { Cell::new(0) };
    static WORDS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static LAZY: RefCell<Option<CountDrop>> = const { RefCell::new(None) };
    static FIRST: RefCell<Option<LogDrop>> = const { RefCell::new(None) };
    static SECOND: RefCell<Option<LogDrop>> = const { RefCell::new(None) };
}

#[test]
fn destructors_run_before_join_returns() {
    on_fiber(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        for round in 1..=50 {
            let guard = CountDrop(drops.clone());
            let fiber = timestop::spawn(move || LAZY.set(Some(guard)));
            fiber.join().expect("no panic");
            assert_eq!(drops.load(Ordering::Relaxed), round);
        }
    });
}

#[test]
fn destructors_run_after_a_panic() {
    on_fiber(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let guard = CountDrop(drops.clone());
        let fiber = timestop::spawn(move || {
            LAZY.set(Some(guard));
            std::panic::resume_unwind(Box::new(()));
        });
        fiber.join().expect_err("it panicked");
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    });
}

/// Writes its name down as it drops, and uses another thread-local while it does.
struct LogDrop(&'static str, Arc<Mutex<Vec<&'static str>>>);

impl Drop for LogDrop {
    fn drop(&mut self) {
        COUNTER.with(|counter| counter.set(counter.get() + 1));
        self.1.lock().expect("nobody panics").push(self.0);
    }
}

#[test]
fn destructors_that_register_destructors() {
    /// Sets another thread-local from its own destructor.
    struct Chain(Option<LogDrop>);
    impl Drop for Chain {
        fn drop(&mut self) {
            SECOND.set(self.0.take());
        }
    }
    thread_local!(static CHAIN: RefCell<Option<Chain>> = const { RefCell::new(None) });

    on_fiber(|| {
        let log = Arc::new(Mutex::new(Vec::new()));
        let [first, second] = ["first", "second"].map(|name| LogDrop(name, log.clone()));
        let fiber = timestop::spawn(move || {
            FIRST.set(Some(first));
            CHAIN.set(Some(Chain(Some(second))));
        });
        fiber.join().expect("no panic");
        let mut names = log.lock().expect("nobody panics").clone();
        names.sort_unstable();
        assert_eq!(names, ["first", "second"]);
    });
}

#[test]
fn every_fiber_starts_with_fresh_locals() {
    for _ in 0..5 {
        let seen = fan_out(100, |index| {
            let before = COUNTER.get();
            COUNTER.set(index + 1);
            WORDS.with_borrow_mut(|words| {
                words.push(index.to_string());
                (before, words.len())
            })
        });
        assert!(seen.iter().all(|&seen| seen == (0, 1)), "a local outlived its fiber: {seen:?}");
    }
}

#[test]
fn locals_stay_while_fibers_migrate() {
    fan_out(64, |index| {
        let address = COUNTER.with(|counter| counter as *const _ as usize);
        COUNTER.set(index);
        for round in 0..1_000 {
            timestop::yield_now();
            assert_eq!(COUNTER.get(), index + round);
            assert_eq!(COUNTER.with(|counter| counter as *const _ as usize), address);
            COUNTER.set(index + round + 1);
        }
    });
}

#[test]
fn a_borrowed_local_stays_borrowed_across_suspension() {
    fan_out(64, |index| {
        WORDS.with_borrow_mut(|words| {
            for round in 0..100 {
                words.push(format!("{index} {round}"));
                thread::sleep(Duration::from_micros(10));
            }
            assert!(words.iter().all(|word| word.starts_with(&format!("{index} "))));
            assert_eq!(words.len(), 100);
        });
    });
}

/// `errno` as the last failed call of this thread left it.
fn errno() -> Option<i32> {
    io::Error::last_os_error().raw_os_error()
}

/// Leaves a known `errno` behind: `ENOENT`, or `ENOTDIR` for an odd `index`.
fn fail(index: usize) -> i32 {
    let path = ["/nothing-is-called-this", "/dev/null/no-directory"][index % 2];
    let error = File::open(path).expect_err("there is no such file");
    error.raw_os_error().expect("the system said so")
}

#[test]
fn errno_is_kept_across_suspension() {
    fan_out(64, |index| {
        for _ in 0..100 {
            let expected = fail(index);
            timestop::yield_now();
            assert_eq!(errno(), Some(expected), "after a yield");
        }
        let expected = fail(index);
        thread::sleep(Duration::from_millis(1));
        assert_eq!(errno(), Some(expected), "after a sleep");
    });
}

#[test]
fn errno_is_kept_while_a_lock_is_waited_for() {
    on_fiber(|| {
        let lock = Arc::new(Mutex::new(()));
        let held = lock.lock().expect("nobody panics");
        let (about_to_wait, waiting) = mpsc::channel();
        let fibers: Vec<_> = (0..16)
            .map(|index| {
                let (lock, about_to_wait) = (lock.clone(), about_to_wait.clone());
                timestop::spawn(move || {
                    about_to_wait.send(()).expect("the test listens");
                    let expected = fail(index);
                    let guard = lock.lock();
                    let found = errno();
                    drop(guard.expect("nobody panics"));
                    // `lock` may have met EAGAIN or EINTR from the kernel: then std saw it, too, on a thread.
                    (expected, found)
                })
            })
            .collect();
        for _ in &fibers {
            waiting.recv().expect("every fiber comes by");
        }
        drop(held);
        for fiber in fibers {
            let (expected, found) = fiber.join().expect("no panic");
            let allowed = [expected, rustix::io::Errno::AGAIN.raw_os_error()];
            assert!(found.is_some_and(|found| allowed.contains(&found)), "errno became {found:?}");
        }
    });
}

/// Says as it drops whether a thread-local with a destructor can be had there.
struct Probe(mpsc::Sender<bool>);

impl Drop for Probe {
    fn drop(&mut self) {
        let lives = WORDS.try_with(|words| words.borrow_mut().push("probe".to_owned())).is_ok();
        self.0.send(lives).expect("the test listens");
    }
}

/// Holds its fiber up among its destructors until it is let go.
struct HeldUp(mpsc::Sender<()>, mpsc::Receiver<()>);

impl Drop for HeldUp {
    fn drop(&mut self) {
        self.0.send(()).expect("the test listens");
        self.1.recv().expect("the test lets go");
    }
}

thread_local!(static HELD_UP: RefCell<Option<HeldUp>> = const { RefCell::new(None) });

#[test]
fn a_result_is_dropped_where_thread_locals_live() {
    on_fiber(|| {
        // The handle is gone before the result is there.
        let (probe, lives) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        drop(timestop::spawn(move || {
            WORDS.with(|words| words.borrow_mut().push("used".to_owned()));
            gone.recv().expect("the test lets go");
            Probe(probe)
        }));
        go.send(()).expect("the fiber listens");
        assert_eq!(lives.recv(), Ok(true));

        // It goes while the fiber's thread-locals go.
        let (probe, lives) = mpsc::channel();
        let (at_end, in_destructor) = mpsc::channel();
        let (go, gone) = mpsc::channel();
        let fiber = timestop::spawn(move || {
            HELD_UP.set(Some(HeldUp(at_end, gone)));
            // Destructors run last in, first out: this one's is over by then.
            WORDS.with(|words| words.borrow_mut().push("used".to_owned()));
            Probe(probe)
        });
        in_destructor.recv().expect("the fiber ends");
        drop(fiber);
        assert_eq!(lives.try_recv(), Ok(true), "whoever drops the handle drops the result");
        go.send(()).expect("the fiber waits");
    });
}
