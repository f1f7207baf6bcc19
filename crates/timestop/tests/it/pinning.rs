//! `timestop::pin`: the fiber stays on its OS thread, and the others go on.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rustix::thread::{Pid, gettid};

use crate::support::{fan_out, on_fiber, until};

/// Blocks in the ways that suspend a fiber.
fn block(pair: &mut (UnixStream, UnixStream)) {
    thread::sleep(Duration::from_millis(1));
    let (near, far) = pair;
    let mut far = far.try_clone().expect("a descriptor");
    let echo = timestop::spawn(move || {
        let mut byte = [0];
        far.read_exact(&mut byte).expect("a byte");
        far.write_all(&byte).expect("room");
    });
    near.write_all(&[7]).expect("room");
    let mut byte = [0];
    near.read_exact(&mut byte).expect("a byte");
    assert_eq!(byte, [7]);
    echo.join().expect("no panic");
    let (sender, receiver) = mpsc::channel();
    timestop::spawn(move || sender.send(1)).join().expect("no panic").expect("it listens");
    assert_eq!(receiver.recv(), Ok(1));
    thread::yield_now();
}

/// The OS thread that runs this, which must be one.
fn thread_throughout(rounds: usize) -> Pid {
    let mut pair = UnixStream::pair().expect("two sockets");
    let own = gettid();
    for _ in 0..rounds {
        block(&mut pair);
        assert_eq!(gettid(), own);
    }
    own
}

#[test]
fn a_pinned_fiber_stays_on_its_thread() {
    let threads = fan_out(8, |_| {
        let _pinned = timestop::pin();
        thread_throughout(20)
    });
    assert_eq!(threads.len(), 8);
}

#[test]
fn pins_nest() {
    on_fiber(|| {
        let outer = timestop::pin();
        let own = thread_throughout(2);
        drop(timestop::pin());
        assert_eq!(thread_throughout(2), own);
        drop(outer);
        // Free to move, and works.
        let mut pair = UnixStream::pair().expect("two sockets");
        block(&mut pair);
    });
}

#[test]
fn no_other_fiber_runs_on_its_thread() {
    on_fiber(|| {
        let pinned = timestop::pin();
        let own = gettid();
        let stop = Arc::new(AtomicBool::new(false));
        let others: Vec<_> = (0..16)
            .map(|_| {
                let stop = stop.clone();
                timestop::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        assert_ne!(gettid(), own);
                        timestop::yield_now();
                    }
                })
            })
            .collect();
        thread_throughout(20);
        stop.store(true, Ordering::Relaxed);
        others.into_iter().for_each(|other| other.join().expect("no panic"));
        drop(pinned);
    });
}

#[test]
fn others_go_on_while_a_pinned_fiber_blocks() {
    on_fiber(|| {
        // More pinned fibers than workers, all of which wait for one that is not.
        let gates: Vec<_> = (0..16)
            .map(|_| {
                let (go, gate) = mpsc::channel::<()>();
                let fiber = timestop::spawn(move || {
                    let _pinned = timestop::pin();
                    gate.recv()
                });
                (go, fiber)
            })
            .collect();
        let ran = Arc::new(AtomicBool::new(false));
        let other = ran.clone();
        let last = timestop::spawn(move || other.store(true, Ordering::Relaxed));
        until("the last fiber runs", || ran.load(Ordering::Relaxed));
        last.join().expect("no panic");
        for (go, fiber) in gates {
            go.send(()).expect("it waits");
            assert_eq!(fiber.join().expect("no panic"), Ok(()));
        }
    });
}

#[test]
fn on_a_thread_a_pin_does_nothing() {
    let _pinned = timestop::pin();
    thread::sleep(Duration::from_millis(1));
    drop(timestop::pin());
}

#[test]
fn a_leaked_pin_ends_with_its_fiber() {
    for _ in 0..50 {
        on_fiber(|| std::mem::forget(timestop::pin()));
    }
    let mut pair = UnixStream::pair().expect("two sockets");
    on_fiber(move || block(&mut pair));
}
