//! What is concluded from a short read, on a connection that no epoll watches.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use super::*;

#[test]
fn a_short_read_empties_plain_tcp_only() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    let address = listener.local_addr().expect("it is bound");
    let stream = TcpStream::connect(address).expect("it listens");
    let number = stream.as_raw_fd();
    let attempt = Attempt::begin(number, Direction::Read).expect("a small number");
    assert_ne!(attempt.kind() & flag::STREAM, 0);
    assert_eq!(attempt.rules(), Rules::AtMost(None));
    assert!(!attempt.is_hopeless());
    attempt.was_short();
    assert!(attempt.is_hopeless());
    layered(number);
    assert!(!attempt.is_hopeless(), "what was concluded before holds no more");
    attempt.was_short();
    assert!(!attempt.is_hopeless(), "and is not concluded again");
    forget(number);
}

/// Another fiber changes mode or file between the question to the kernel and the remembering of its answer.
#[test]
fn an_answer_that_is_out_of_date_is_not_remembered() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    let number = listener.as_raw_fd();
    let attempt = Attempt::begin(number, Direction::Read).expect("a small number");
    let known = |bits| attempt.entry.flags.load(Ordering::Relaxed) & bits;

    let before = attempt.entry.flags.load(Ordering::Relaxed);
    let answer = flag::MODE_KNOWN | mode_of(number, false);
    listener.set_nonblocking(true).expect("a socket has a mode");
    mode_changed(number);
    assert_eq!(attempt.entry.remember(before, flag::NONBLOCKING, answer) & flag::NONBLOCKING, 0);
    assert_eq!(known(flag::MODE_KNOWN), 0);
    assert!(attempt.is_nonblocking());
    assert_ne!(known(flag::MODE_KNOWN), 0, "one that holds is remembered");

    for first in [true, false] {
        let before = attempt.entry.flags.load(Ordering::Relaxed);
        assert_eq!(before & flag::ALL != 0, first, "with and without something known before");
        forget(number);
        let _ = attempt.entry.remember(before, 0, flag::KNOWN | flag::STREAM);
        assert_eq!(known(flag::ALL), 0, "it is another file's");
    }
}

/// Far beyond the life of anyone, but not for ever: the kernel says it in seconds.
#[test]
fn a_very_long_time_limit_is_one() {
    let (stream, _peer) = std::os::unix::net::UnixStream::pair().expect("descriptors are left");
    let limit = std::time::Duration::from_millis(u64::MAX);
    stream.set_read_timeout(Some(limit)).expect("a limit");
    let attempt = Attempt::begin(stream.as_raw_fd(), Direction::Read).expect("a small number");
    let Rules::AtMost(limit) = attempt.rules() else { panic!("it waits") };
    assert!(limit.is_none_or(|limit| limit > 1 << 60), "{limit:?}");
    forget(stream.as_raw_fd());
}
