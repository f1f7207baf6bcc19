//! Receives that wait for more than a first byte, and those that take nothing away.
#![allow(missing_docs, missing_debug_implementations, unreachable_pub, dead_code)]

mod common;

use std::ffi::c_int;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use common::{Kind, fiber, on_fiber, spawn, start};
use timestop_runtime::{Reason, snapshots};

fn tcp() -> (OwnedFd, OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    let here = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    let there = listener.accept().expect("connected").0;
    here.set_nodelay(true).expect("TCP has it");
    (here.into(), there.into())
}

fn local() -> (OwnedFd, OwnedFd) {
    let (here, there) = UnixStream::pair().expect("a pair");
    (here.into(), there.into())
}

fn send(to: &OwnedFd, count: usize) {
    send_with(to, count, 0);
}

fn send_with(to: &OwnedFd, count: usize, flags: c_int) {
    let bytes = vec![7_u8; count];
    // SAFETY: as many bytes as said.
    let sent = unsafe { libc::send(to.as_raw_fd(), bytes.as_ptr().cast(), count, flags) };
    assert_eq!(sent, count as isize);
}

fn receive(from: &OwnedFd, count: usize, flags: c_int) -> isize {
    let mut bytes = vec![0_u8; count];
    // SAFETY: as many bytes as said.
    unsafe { libc::recv(from.as_raw_fd(), bytes.as_mut_ptr().cast(), count, flags) }
}

fn set_low_mark(of: &OwnedFd, mark: c_int) {
    let value = (&raw const mark).cast();
    let (level, name) = (libc::SOL_SOCKET, libc::SO_RCVLOWAT);
    // SAFETY: one integer.
    assert_eq!(unsafe { libc::setsockopt(of.as_raw_fd(), level, name, value, 4) }, 0);
}

fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::yield_now();
    }
}

/// Waits until a peek sees so many bytes.
fn arrived(at: &OwnedFd, count: usize) {
    let peek = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    until("arrives", || receive(at, 1000, peek) == count as isize);
}

/// Waits until a fiber waits to read the descriptor.
fn is_read(descriptor: c_int) {
    until("is read", || {
        snapshots().any(|one| {
            one.parked && one.reason == Reason::Read && one.argument == descriptor as u64
        })
    });
}

/// A reader that finds less than its low mark waits for the rest, as a thread does.
#[test]
fn the_low_mark_is_obeyed() {
    start();
    for kind in [Kind::Thread, Kind::Fiber] {
        for by_read in [false, true] {
            for (pair, more) in [(tcp as fn() -> (OwnedFd, OwnedFd), 100), (local, 60)] {
                let (here, there) = pair();
                set_low_mark(&there, 100);
                send(&here, 40);
                arrived(&there, 40);
                let descriptor = there.as_raw_fd();
                let reader = spawn(kind, move || {
                    if !by_read {
                        return receive(&there, 1000, 0);
                    }
                    let mut bytes = [0_u8; 1000];
                    // SAFETY: as many bytes as said.
                    unsafe { libc::read(there.as_raw_fd(), bytes.as_mut_ptr().cast(), 1000) }
                });
                if kind == Kind::Fiber {
                    is_read(descriptor);
                }
                send(&here, more);
                assert_eq!(reader.join(), 40 + more as isize, "{kind:?}");
            }
        }
    }
    // Less than the mark is enough where the buffer holds no more, and at the end.
    on_fiber(|| {
        let (here, there) = local();
        set_low_mark(&there, 100);
        send(&here, 40);
        assert_eq!(receive(&there, 30, 0), 30);
        drop(here);
        assert_eq!(receive(&there, 100, 0), 10);
        assert_eq!(receive(&there, 100, 0), 0);
    });
}

fn receive_message(from: &OwnedFd, lengths: [usize; 3], flags: c_int) -> isize {
    let mut buffers = lengths.map(|length| vec![0_u8; length]);
    let mut parts = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; 3];
    for (part, buffer) in parts.iter_mut().zip(&mut buffers) {
        (part.iov_base, part.iov_len) = (buffer.as_mut_ptr().cast(), buffer.len());
    }
    // SAFETY: all-zero is an empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (parts.as_mut_ptr(), 3);
    // SAFETY: a whole message.
    let received = unsafe { libc::recvmsg(from.as_raw_fd(), &raw mut message, flags) };
    let filled = buffers.iter().flatten().filter(|byte| **byte == 7).count();
    assert_eq!(filled as isize, received);
    assert_eq!((message.msg_iov, message.msg_iovlen), (parts.as_mut_ptr(), 3));
    received
}

#[test]
fn recvmsg_waits_for_all() {
    start();
    for pair in [tcp, local] {
        let (here, there) = pair();
        let descriptor = there.as_raw_fd();
        let reader = fiber(move || {
            let first = receive_message(&there, [5, 10, 15], libc::MSG_WAITALL);
            let second = receive_message(&there, [5, 10, 15], libc::MSG_WAITALL);
            (first, second)
        });
        for count in [1, 3, 4, 7, 14, 18] {
            is_read(descriptor);
            send(&here, count);
        }
        // The end comes before all is there.
        is_read(descriptor);
        drop(here);
        assert_eq!(reader.join(), (30, 17));
    }
}

/// A peek waits for all on TCP, and leaves all there: what was seen is not taken for read.
#[test]
fn a_peek_takes_nothing_away() {
    start();
    let (here, there) = tcp();
    let descriptor = there.as_raw_fd();
    let (told, read) = channel();
    let reader = fiber(move || {
        let all = receive(&there, 8, libc::MSG_PEEK | libc::MSG_WAITALL);
        let some = receive(&there, 100, libc::MSG_PEEK);
        let (first, rest) = (receive(&there, 3, 0), receive(&there, 100, 0));
        told.send(()).expect("the test listens");
        let end = receive(&there, 100, libc::MSG_PEEK | libc::MSG_WAITALL);
        (all, some, first, rest, end)
    });
    is_read(descriptor);
    send(&here, 3);
    send(&here, 5);
    read.recv().expect("it reads");
    send(&here, 2);
    drop(here);
    assert_eq!(reader.join(), (8, 8, 3, 5, 2));
}

/// Urgent data is no data that was read, and its mark leaves data behind.
#[test]
fn urgent_data_is_beside_the_stream() {
    start();
    let (here, there) = tcp();
    let descriptor = there.as_raw_fd();
    let reader = fiber(move || {
        let first = receive(&there, 100, 0); // up to the mark
        until("urgent data comes", || receive(&there, 1, libc::MSG_OOB) == 1);
        let mut sum = first;
        while sum < 9 {
            sum += receive(&there, 100, 0);
        }
        (first, sum)
    });
    is_read(descriptor);
    send(&here, 4);
    send_with(&here, 1, libc::MSG_OOB);
    send(&here, 5);
    assert_eq!(reader.join(), (4, 9));
}
