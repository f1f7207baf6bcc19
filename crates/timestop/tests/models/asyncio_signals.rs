//! Cases of CPython's `test_asyncio/test_unix_events.py` and `test_events.py` about signals.
//!
//! Each signal is one test's own: they are the process's.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use timestop::reactor::EventLoop;

use crate::asyncio_base_events::{Steps, with_loop};
use crate::support::{child, is_child, on_fiber};

fn raise(signal: i32) {
    let process = std::process::id() as libc::pid_t;
    // SAFETY: the number of a signal, to ourselves.
    assert_eq!(unsafe { libc::kill(process, signal) }, 0);
}

#[test]
fn a_signal_is_a_callback() {
    with_loop(|event_loop| {
        let steps = Steps::default();
        let (this, mut note) = (event_loop.clone(), steps.note(1));
        event_loop
            .add_signal_handler(libc::SIGUSR1, move || {
                note();
                this.stop();
            })
            .expect("it can be handled");
        event_loop.call_soon(|| raise(libc::SIGUSR1));
        event_loop.run_forever().expect("no error");
        assert_eq!(steps.all(), [1]);
        assert!(event_loop.remove_signal_handler(libc::SIGUSR1));
        assert!(!event_loop.remove_signal_handler(libc::SIGUSR1));
    });
}

/// `test_signal_handling_while_selecting`: a timer of the kernel's, while the loop waits.
#[test]
fn a_signal_ends_the_wait() {
    with_loop(|event_loop| {
        let this = event_loop.clone();
        event_loop
            .add_signal_handler(libc::SIGALRM, move || this.stop())
            .expect("it can be handled");
        let soon = libc::timeval { tv_sec: 0, tv_usec: 5_000 };
        let never = libc::timeval { tv_sec: 0, tv_usec: 0 };
        let timer = libc::itimerval { it_interval: never, it_value: soon };
        let none = std::ptr::null_mut();
        // SAFETY: the kernel reads one timer.
        let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, none) };
        assert_eq!(set, 0);
        event_loop.run_forever().expect("no error");
    });
}

/// Each loop has its own, and one of another fiber goes on.
#[test]
fn several_loops_want_one_signal() {
    on_fiber(|| {
        let (ready, waits) = timestop::channel::bounded(2);
        let fibers: Vec<_> = (0..2)
            .map(|_| {
                let ready = ready.clone();
                timestop::spawn(move || {
                    let event_loop = EventLoop::new().expect("descriptors");
                    let this = event_loop.clone();
                    event_loop
                        .add_signal_handler(libc::SIGUSR2, move || this.stop())
                        .expect("it can be handled");
                    ready.send(()).expect("there is room");
                    event_loop.run_forever().expect("no error");
                    event_loop.close();
                })
            })
            .collect();
        for _ in &fibers {
            waits.recv().expect("each sends one");
        }
        raise(libc::SIGUSR2);
        for fiber in fibers {
            fiber.join().expect("no panic");
        }
    });
}

#[test]
fn signals_that_cannot_be_handled() {
    with_loop(|event_loop| {
        for signal in [0, -1, 65, libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV] {
            let error = event_loop.add_signal_handler(signal, || {}).expect_err("it cannot");
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(&format!("signal {signal} ")), "{error}");
        }
        assert!(!event_loop.remove_signal_handler(libc::SIGHUP));
    });
}

/// Removed, the signal does what it does by default: it ends the process.
#[test]
fn the_default_comes_back() {
    const NAME: &str = "asyncio_signals::the_default_comes_back";
    if is_child() {
        with_loop(|event_loop| {
            let this = event_loop.clone();
            event_loop
                .add_signal_handler(libc::SIGTERM, move || this.stop())
                .expect("it can be handled");
            raise(libc::SIGTERM);
            event_loop.run_forever().expect("no error");
            assert!(event_loop.remove_signal_handler(libc::SIGTERM));
            raise(libc::SIGTERM);
            std::thread::sleep(Duration::from_secs(60));
        });
        return;
    }
    let status = child(NAME).output().expect("this binary starts again").status;
    assert_eq!(status.signal(), Some(libc::SIGTERM), "{status}");
}
