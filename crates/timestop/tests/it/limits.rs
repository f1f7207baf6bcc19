//! Time limits and cancellation, which threads do not have: blocking I/O fails with an error that the code around it
//! already knows, sleeps end early, locks are not broken.

use std::io::{self, ErrorKind, Read, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{listen, on_fiber, pattern, tcp_pair};

/// Long enough that a test which waits for it has failed.
const FOREVER: Duration = Duration::from_secs(100_000);

/// Short enough that a test may wait for it.
const SOON: Duration = Duration::from_millis(20);

fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> ErrorKind {
    result.expect_err("the limit ends it").kind()
}

fn is_cancelled<T: std::fmt::Debug>(result: io::Result<T>) -> bool {
    let error = result.expect_err("it was cancelled");
    error.raw_os_error() == Some(rustix::io::Errno::CANCELED.raw_os_error())
}

#[test]
fn a_timeout_that_is_not_met_changes_nothing() {
    on_fiber(|| {
        let (mut here, mut there) = UnixStream::pair().expect("a pair");
        there.write_all(b"x").expect("the buffer is empty");
        let read = timestop::timeout(FOREVER, || here.read(&mut [0; 8]));
        assert_eq!(read.expect("a byte is there"), 1);
        assert_eq!(timestop::deadline(Instant::now() + FOREVER, || 7), 7);
    });
}

#[test]
fn a_timeout_ends_blocking_io() {
    on_fiber(|| {
        let (mut here, _there) = UnixStream::pair().expect("a pair");
        assert_eq!(kind(timestop::timeout(SOON, || here.read(&mut [0; 8]))), ErrorKind::TimedOut);

        let (mut tcp, _peer) = tcp_pair();
        assert_eq!(kind(timestop::timeout(SOON, || tcp.read(&mut [0; 8]))), ErrorKind::TimedOut);
        let chunk = pattern(1, 1 << 20);
        let filled = timestop::timeout(SOON, || {
            loop {
                tcp.write_all(&chunk)?;
            }
            #[allow(unreachable_code, reason = "names the type of the closure's result")]
            Ok::<(), io::Error>(())
        });
        assert_eq!(kind(filled), ErrorKind::TimedOut);

        let (listener, _) = listen();
        assert_eq!(kind(timestop::timeout(SOON, || listener.accept())), ErrorKind::TimedOut);

        let udp = UdpSocket::bind("127.0.0.1:0").expect("a loopback port is free");
        let received = timestop::timeout(SOON, || udp.recv_from(&mut [0; 8]));
        assert_eq!(kind(received), ErrorKind::TimedOut);

        let (mut reader, _writer) = io::pipe().expect("a pipe");
        assert_eq!(kind(timestop::timeout(SOON, || reader.read(&mut [0; 8]))), ErrorKind::TimedOut);
    });
}

#[test]
fn a_descriptor_outlives_a_timeout() {
    on_fiber(|| {
        let (mut here, mut there) = UnixStream::pair().expect("a pair");
        assert_eq!(kind(timestop::timeout(SOON, || here.read(&mut [0; 8]))), ErrorKind::TimedOut);
        there.write_all(b"later").expect("the buffer is empty");
        let mut buffer = [0; 5];
        here.read_exact(&mut buffer).expect("no limit any more");
        assert_eq!(&buffer, b"later");
    });
}

#[test]
fn a_timeout_ends_sleep() {
    on_fiber(|| {
        timestop::timeout(SOON, || thread::sleep(FOREVER));
        timestop::deadline(Instant::now(), || thread::sleep(FOREVER));
    });
}

#[test]
fn the_nearest_of_nested_limits_wins() {
    on_fiber(|| {
        let (mut here, mut there) = UnixStream::pair().expect("a pair");
        let outer =
            timestop::timeout(SOON, || timestop::timeout(FOREVER, || here.read(&mut [0; 8])));
        assert_eq!(kind(outer), ErrorKind::TimedOut);

        let after_inner = timestop::timeout(FOREVER, || {
            let inner = timestop::timeout(SOON, || here.read(&mut [0; 8]));
            assert_eq!(kind(inner), ErrorKind::TimedOut);
            there.write_all(b"x").expect("the buffer is empty");
            here.read(&mut [0; 8])
        });
        assert_eq!(after_inner.expect("the outer limit is far"), 1);
    });
}

#[test]
fn a_timeout_is_its_fibers_own() {
    on_fiber(|| {
        let (mut here, mut there) = UnixStream::pair().expect("a pair");
        let mut other = here.try_clone().expect("a descriptor is free");
        let unlimited = timestop::spawn(move || other.read(&mut [0; 8]));
        assert_eq!(kind(timestop::timeout(SOON, || here.read(&mut [0; 8]))), ErrorKind::TimedOut);
        there.write_all(b"x").expect("the buffer is empty");
        assert_eq!(unlimited.join().expect("no panic").expect("no limit there"), 1);
    });
}

#[test]
fn a_timeout_breaks_no_lock_wait() {
    on_fiber(|| {
        let (past, is_past) = mpsc::channel();
        let (sender, receiver) = mpsc::channel();
        let waiter = timestop::spawn(move || {
            timestop::timeout(SOON, || {
                thread::sleep(FOREVER);
                past.send(()).expect("the test listens");
                receiver.recv()
            })
        });
        is_past.recv().expect("the sleep ends early");
        sender.send(7).expect("the waiter waits");
        assert_eq!(waiter.join().expect("no panic"), Ok(7));
    });
}

#[test]
fn cancel_ends_blocking_io() {
    on_fiber(|| {
        let (mut here, mut there) = UnixStream::pair().expect("a pair");
        let (started, has_started) = mpsc::channel();
        let fiber = timestop::spawn(move || {
            started.send(()).expect("the test listens");
            let first = here.read(&mut [0; 8]);
            let second = here.read(&mut [0; 8]);
            (is_cancelled(first), is_cancelled(second))
        });
        has_started.recv().expect("it starts");
        fiber.cancel();
        assert_eq!(fiber.join().expect("no panic"), (true, true));
        there.write_all(b"x").expect_err("the cancelled fiber dropped its end");
    });
}

#[test]
fn cancel_ends_sleep() {
    on_fiber(|| {
        let sleepers: Vec<_> =
            (0..1_000).map(|_| timestop::spawn(|| thread::sleep(FOREVER))).collect();
        for sleeper in &sleepers {
            sleeper.cancel();
        }
        for sleeper in sleepers {
            sleeper.join().expect("a sleep cannot fail");
        }
    });
}

#[test]
fn cancel_is_its_fibers_own() {
    on_fiber(|| {
        let (mut here, mut there) = UnixStream::pair().expect("a pair");
        let mut other = here.try_clone().expect("a descriptor is free");
        let cancelled = timestop::spawn(move || is_cancelled(here.read(&mut [0; 8])));
        let untouched = timestop::spawn(move || other.read(&mut [0; 8]));
        cancelled.cancel();
        assert!(cancelled.join().expect("no panic"));
        there.write_all(b"x").expect("the buffer is empty");
        assert_eq!(untouched.join().expect("no panic").expect("nobody cancelled it"), 1);
    });
}

#[test]
fn cancelling_what_has_ended_is_harmless() {
    on_fiber(|| {
        let fiber = timestop::spawn(|| 7);
        crate::support::until("the fiber is finished", || fiber.is_finished());
        fiber.cancel();
        assert_eq!(fiber.join().expect("no panic"), 7);
    });
}
