//! What neither asyncio nor Twisted has: where callbacks meet fibers.

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use timestop::reactor::{Deferred, EventLoop, Failure, inline_callbacks, wait};

use crate::asyncio_base_events::with_loop;
use crate::support::{child_passes, is_child, on_fiber};

/// A body that blocks suspends the loop's fiber, wherever its stack lies: it comes back right, on any worker.
#[test]
fn a_body_may_block() {
    with_loop(|event_loop| {
        let (mut ours, mut theirs) = UnixStream::pair().expect("descriptors");
        let other = timestop::spawn(move || {
            let mut byte = [0];
            while theirs.read(&mut byte).expect("no error") == 1 {
                theirs.write_all(&byte).expect("room");
            }
        });
        let body = inline_callbacks(move || {
            for byte in 0..100_u8 {
                ours.write_all(&[byte])?;
                let mut back = [0];
                ours.read_exact(&mut back)?;
                assert_eq!(back[0], byte);
                std::thread::sleep(Duration::from_micros(10));
                timestop::yield_now();
            }
            Ok::<_, Failure>(())
        });
        event_loop.run_until_complete(body).expect("it runs").expect("no error");
        other.join().expect("no panic");
    });
}

/// A body that computes for several slices, beside others that want to run.
#[test]
fn a_body_may_compute() {
    on_fiber(|| {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let others: Vec<_> = (0..4)
            .map(|_| {
                let stop = std::sync::Arc::clone(&stop);
                timestop::spawn(move || {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        let body = inline_callbacks(|| {
            let start = std::time::Instant::now();
            let mut sum = 0_u64;
            while start.elapsed() < Duration::from_millis(60) {
                sum = sum.wrapping_mul(31).wrapping_add(1);
            }
            Ok::<_, Failure>(sum)
        });
        assert!(body.try_result().expect("fired").is_ok());
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for other in others {
            other.join().expect("no panic");
        }
    });
}

/// Thread-locals are those of the loop's fiber, before and after a wait.
#[test]
fn a_body_has_the_thread_locals_of_its_loop() {
    thread_local!(static WORD: Cell<u32> = const { Cell::new(0) });
    with_loop(|event_loop| {
        WORD.set(1);
        let (trigger, deferred) = Deferred::<()>::new();
        let body = inline_callbacks(move || {
            WORD.set(WORD.get() + 1);
            wait(deferred)?;
            Ok::<_, Failure>(WORD.get())
        });
        event_loop.call_soon(move || {
            WORD.set(WORD.get() + 10);
            trigger.callback(()).expect("once");
        });
        let word = event_loop.run_until_complete(body).expect("it runs").expect("no error");
        assert_eq!(word, 12);
    });
}

/// A loop that is dropped drops what waits in it.
#[test]
fn a_loop_that_is_closed_unwinds_its_bodies() {
    on_fiber(|| {
        let held = Rc::new(());
        let theirs = Rc::clone(&held);
        let event_loop = EventLoop::new().expect("descriptors");
        let (trigger, deferred) = Deferred::<()>::new();
        event_loop
            .call_later(Duration::from_secs(1_000), move || trigger.callback(()).expect("once"));
        let body = inline_callbacks(move || {
            let result = wait(deferred);
            drop(theirs);
            result
        });
        drop(event_loop);
        assert!(!body.is_fired());
        assert_eq!(Rc::strong_count(&held), 1);
    });
}

/// A fiber that ends with a body that waits, in a thread-local.
#[test]
fn a_body_that_outlives_its_fibers_code() {
    thread_local! {
        static KEPT: Cell<Option<timestop::reactor::Trigger<()>>> = const { Cell::new(None) };
    }
    on_fiber(|| {
        let (trigger, deferred) = Deferred::<()>::new();
        KEPT.set(Some(trigger));
        drop(inline_callbacks(move || wait(deferred)));
    });
}

#[test]
fn without_a_loop_errors_go_to_standard_error() {
    if is_child() {
        drop(timestop::reactor::fail::<(), _>("nobody handles it"));
        return;
    }
    let (_, stderr) = child_passes("reactor::without_a_loop_errors_go_to_standard_error");
    assert!(stderr.contains("Unhandled error in Deferred made at"), "{stderr}");
    assert!(stderr.contains("reactor.rs") && stderr.contains("nobody handles it"), "{stderr}");
}

#[test]
fn a_loop_of_the_parent_is_refused_in_a_forked_child() {
    if is_child() {
        on_fiber(|| {
            let event_loop = EventLoop::new().expect("descriptors");
            // SAFETY: the child does no more than run the loop and end.
            let process = unsafe { libc::fork() };
            if process == 0 {
                let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    drop(event_loop.run_forever());
                }));
                // SAFETY: ends the child at once.
                unsafe { libc::_exit(if refused.is_err() { 7 } else { 8 }) };
            }
            let mut status = 0;
            // SAFETY: one word, and the child is ours.
            assert_eq!(unsafe { libc::waitpid(process, &raw mut status, 0) }, process);
            assert_eq!(libc::WEXITSTATUS(status), 7);
        });
        return;
    }
    let (_, stderr) = child_passes("reactor::a_loop_of_the_parent_is_refused_in_a_forked_child");
    assert!(stderr.contains("EventLoop was made before a fork"), "{stderr}");
}
