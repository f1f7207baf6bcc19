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
