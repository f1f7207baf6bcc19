//! Panics and backtraces across suspension: the panic count is a fiber's own, and an unwinder that walks a fiber's stack
//! finds its end.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;

use crate::support::{child, fan_out, is_child, on_fiber};

/// Runs its closure as it drops.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// What a panic that this module started carried.
fn number(payload: Box<dyn Any + Send>) -> usize {
    *payload.downcast().expect("our payload")
}

#[test]
fn one_fiber_unwinds_and_another_does_not_panic() {
    on_fiber(|| {
        let (unwinding, seen) = mpsc::channel();
        let (answer, answered) = mpsc::channel();
        let unwinder = timestop::spawn(move || {
            let _guard = OnDrop(|| {
                assert!(thread::panicking());
                unwinding.send(()).expect("the witness listens");
                // Suspended in the middle of unwinding.
                answered.recv().expect("the witness answers");
                assert!(thread::panicking());
            });
            panic::resume_unwind(Box::new(1_usize));
        });
        let witness = timestop::spawn(move || {
            seen.recv().expect("the other one unwinds");
            let panicking = thread::panicking();
            let lock = Mutex::new(());
            drop(lock.lock());
            // A panic of its own is a first one, not the second that aborts.
            let caught = panic::catch_unwind(|| panic::resume_unwind(Box::new(2_usize)));
            answer.send(()).expect("the unwinder waits");
            (panicking, lock.is_poisoned(), caught.map_err(number))
        });
        assert_eq!(witness.join().expect("no panic"), (false, false, Err(2)));
        assert_eq!(number(unwinder.join().expect_err("it panicked")), 1);
    });
}

#[test]
fn many_unwind_at_once() {
    const FIBERS: usize = 50;
    on_fiber(|| {
        let all_unwind = Arc::new(Barrier::new(FIBERS));
        let caught = fan_out(FIBERS, move |index| {
            let all_unwind = all_unwind.clone();
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
                let _guard = OnDrop(|| {
                    all_unwind.wait();
                    timestop::yield_now();
                    assert!(thread::panicking());
                });
                panic::resume_unwind(Box::new(index));
            }));
            assert!(!thread::panicking());
            number(outcome.expect_err("it panicked"))
        });
        assert_eq!(caught, (0..FIBERS).collect::<Vec<_>>());
    });
}

#[test]
fn catch_unwind_across_suspension() {
    let caught = fan_out(50, |index| {
        let mut steps = 0;
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..100 {
                timestop::yield_now();
                steps += 1;
            }
            let inner = panic::catch_unwind(|| {
                timestop::yield_now();
                panic::resume_unwind(Box::new(index + 1_000));
            });
            assert_eq!(number(inner.expect_err("it panicked")), index + 1_000);
            timestop::yield_now();
            panic::resume_unwind(Box::new(index));
        }));
        (steps, number(outcome.expect_err("it panicked")))
    });
    for (index, caught) in caught.into_iter().enumerate() {
        assert_eq!(caught, (100, index));
    }
}

#[test]
fn a_panicking_holder_poisons_its_mutex() {
    on_fiber(|| {
        let lock = Arc::new(Mutex::new(0));
        let held = lock.clone();
        let fiber = timestop::spawn(move || {
            let mut guard = held.lock().expect("nobody panicked yet");
            *guard = 1;
            timestop::yield_now();
            panic::resume_unwind(Box::new(()));
        });
        fiber.join().expect_err("it panicked");
        let poisoned = lock.lock().expect_err("the holder panicked");
        assert_eq!(**poisoned.get_ref(), 1);
    });
}

/// A frame to look for. Both of its callers are fibers' closures.
#[inline(never)]
fn capture() -> Backtrace {
    std::hint::black_box(Backtrace::force_capture())
}

#[test]
fn a_backtrace_ends_at_the_fibers_entry() {
    on_fiber(|| {
        for backtrace in [capture(), timestop::spawn(capture).join().expect("no panic")] {
            assert_eq!(backtrace.status(), BacktraceStatus::Captured);
            let text = backtrace.to_string();
            assert!(text.contains("unwinding::capture"), "{text}");
            // Each frame begins with its number and a colon.
            let frames = text
                .lines()
                .filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()));
            assert!(frames.count() < 100, "the unwinder did not find the end:\n{text}");
        }
    });
}

#[test]
fn a_panic_prints_its_backtrace() {
    if is_child() {
        timestop::spawn(|| panic!("look behind you")).join().expect_err("it panicked");
        return;
    }
    let mut command = child("unwinding::a_panic_prints_its_backtrace");
    let output = command.env("RUST_BACKTRACE", "full").output().expect("starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("look behind you") && stderr.contains("stack backtrace:"), "{stderr}");
    assert!(stderr.contains("a_panic_prints_its_backtrace"), "{stderr}");
}

#[test]
fn deep_unwinding() {
    fn descend(levels: usize, drops: &mpsc::Sender<usize>) {
        let _guard = OnDrop(|| {
            timestop::yield_now();
            drops.send(levels).expect("the test listens");
        });
        if levels == 0 {
            panic::resume_unwind(Box::new(7_usize));
        }
        descend(levels - 1, drops);
    }
    let (payload, order) = on_fiber(|| {
        let (drops, dropped) = mpsc::channel();
        let fiber = timestop::spawn(move || descend(200, &drops));
        (number(fiber.join().expect_err("it panicked")), dropped.into_iter().collect::<Vec<_>>())
    });
    assert_eq!(payload, 7);
    assert_eq!(order, (0..=200).collect::<Vec<_>>());
}
