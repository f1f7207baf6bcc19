//! Several messages a call, and from descriptor to descriptor: each waits by suspending the fiber.
#![allow(missing_docs, missing_debug_implementations, unreachable_pub, dead_code)]

mod common;

use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::{Duration, Instant};

use common::{fiber, on_fiber, start};
use timestop_runtime::{Reason, snapshots};

/// Waits until a fiber is suspended for the descriptor: it does not hold up an OS thread.
fn suspends(reason: Reason, descriptor: RawFd) {
    let start = Instant::now();
    let waits = || {
        snapshots()
            .any(|one| one.parked && one.reason == reason && one.argument == descriptor as u64)
    };
    while !waits() {
        assert!(start.elapsed() < Duration::from_secs(10), "no fiber waits: {reason:?}");
        std::thread::yield_now();
    }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let mut numbers = [0; 2];
    // SAFETY: room for two.
    assert_eq!(unsafe { libc::pipe2(numbers.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    let [from, to] = numbers.map(|number| {
        // SAFETY: the kernel has just made it.
        unsafe { OwnedFd::from_raw_fd(number) }
    });
    (from, to)
}

fn tcp() -> (OwnedFd, OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    let here = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    (here.into(), listener.accept().expect("connected").0.into())
}

fn local() -> (OwnedFd, OwnedFd) {
    let (here, there) = UnixStream::pair().expect("a pair");
    (here.into(), there.into())
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 + index / 251) as u8).collect()
}

fn read_all(from: OwnedFd) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::fs::File::from(from).read_to_end(&mut bytes).expect("readable");
    bytes
}

/// Messages with one buffer each.
fn messages(buffers: &mut [Vec<u8>], parts: &mut Vec<libc::iovec>) -> Vec<libc::mmsghdr> {
    *parts = buffers
        .iter_mut()
        .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() })
        .collect();
    parts
        .iter_mut()
        .map(|part| {
            // SAFETY: all-zero is an empty message.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (part, 1);
            message
        })
        .collect()
}

fn send_all(to: RawFd, mut buffers: Vec<Vec<u8>>) -> (i32, Vec<u32>) {
    let mut parts = Vec::new();
    let mut all = messages(&mut buffers, &mut parts);
    // SAFETY: whole messages.
    let sent = unsafe { libc::sendmmsg(to, all.as_mut_ptr(), all.len() as u32, 0) };
    (sent, all.iter().map(|message| message.msg_len).collect())
}

fn receive(from: RawFd, count: usize, flags: i32, limit: Option<libc::timespec>) -> Vec<Vec<u8>> {
    let mut buffers = vec![vec![0_u8; 600]; count];
    let mut parts = Vec::new();
    let mut all = messages(&mut buffers, &mut parts);
    let mut limit = limit;
    let limit = limit.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
    // SAFETY: whole messages.
    let received = unsafe { libc::recvmmsg(from, all.as_mut_ptr(), count as u32, flags, limit) };
    assert!(received >= 0, "{}", std::io::Error::last_os_error());
    let lengths = all[..received as usize].iter().map(|message| message.msg_len as usize);
    lengths.zip(buffers).map(|(length, buffer)| buffer[..length].to_vec()).collect()
}

#[test]
fn batches_of_datagrams() {
    const COUNT: usize = 600;
    start();
    let (here, there) = UnixDatagram::pair().expect("a pair");
    let (to, from) = (here.as_raw_fd(), there.as_raw_fd());
    let all: Vec<_> = (0..COUNT).map(|index| pattern(index % 500 + 1)).collect();
    let sender = {
        let all = all.clone();
        fiber(move || send_all(to, all))
    };
    suspends(Reason::Write, to); // the queue is full
    let receiver = fiber(move || {
        let mut got = receive(from, COUNT - 10, 0, None);
        assert_eq!(got.len(), COUNT - 10, "it waits for all");
        // What is there, after the first.
        while got.len() < COUNT {
            got.extend(receive(from, 100, libc::MSG_WAITFORONE, None));
        }
        got
    });
    let (sent, lengths) = sender.join();
    assert_eq!(sent as usize, COUNT);
    assert!(lengths.iter().zip(&all).all(|(length, one)| *length as usize == one.len()));
    assert!(receiver.join() == all);
    // A time that is over ends the call after the next message.
    let late = fiber(move || {
        let time = libc::timespec { tv_sec: 0, tv_nsec: 1 };
        receive(from, 5, 0, Some(time)).len()
    });
    suspends(Reason::Read, from);
    here.send(b"one").expect("there is room");
    assert_eq!(late.join(), 1);
    // In non-blocking mode the call takes what is there.
    there.set_nonblocking(true).expect("a socket can be");
    here.send(b"two").expect("there is room");
    assert_eq!(on_fiber(move || receive(from, 5, 0, None)), [b"two"]);
}

#[test]
fn a_batch_on_a_stream_goes_whole() {
    const LENGTH: usize = 8 << 20;
    start();
    for pair in [tcp, local] {
        let (here, there) = pair();
        let to = here.as_raw_fd();
        let sender = fiber(move || send_all(to, vec![pattern(LENGTH); 3]));
        suspends(Reason::Write, to);
        let reader = fiber(move || read_all(there));
        assert_eq!(sender.join(), (3, vec![LENGTH as u32; 3]));
        drop(here);
        assert!(reader.join() == pattern(LENGTH).repeat(3));
    }
}

fn file_of(bytes: &[u8]) -> std::fs::File {
    // SAFETY: makes a descriptor.
    let number = unsafe { libc::memfd_create(c"transfers".as_ptr(), libc::MFD_CLOEXEC) };
    // SAFETY: the kernel has just made it.
    let mut file = unsafe { std::fs::File::from_raw_fd(number) };
    file.write_all(bytes).expect("memory");
    file.seek(SeekFrom::Start(0)).expect("it begins somewhere");
    file
}

#[test]
fn sendfile_waits_for_room() {
    const LENGTH: usize = 8 << 20;
    start();
    for pair in [tcp, local] {
        let (here, there) = pair();
        let to = here.as_raw_fd();
        let sender = fiber(move || {
            let mut file = file_of(&pattern(LENGTH));
            let mut offset = 5;
            // SAFETY: an offset of ours.
            let first = unsafe { libc::sendfile(to, file.as_raw_fd(), &raw mut offset, 100) };
            assert_eq!((first, offset), (100, 105));
            assert_eq!(file.stream_position().expect("a file"), 0);
            // SAFETY: no offset: the file's own moves.
            let null = std::ptr::null_mut();
            // SAFETY: as above.
            let sent = unsafe { libc::sendfile(to, file.as_raw_fd(), null, LENGTH + 10) };
            (sent, file.stream_position().expect("a file"))
        });
        suspends(Reason::Write, to);
        let reader = fiber(move || read_all(there));
        assert_eq!(sender.join(), (LENGTH as isize, LENGTH as u64));
        drop(here);
        let bytes = reader.join();
        let expected = pattern(LENGTH);
        assert!(bytes[..100] == expected[5..105]);
        assert!(bytes[100..] == expected);
    }
    let (from, to) = pipe();
    let number = to.as_raw_fd();
    let sender = fiber(move || {
        let file = file_of(&pattern(LENGTH));
        let mut sent = 0;
        while sent < LENGTH {
            let null = std::ptr::null_mut();
            // SAFETY: no offset.
            let count =
                unsafe { libc::sendfile(to.as_raw_fd(), file.as_raw_fd(), null, LENGTH - sent) };
            assert!(count > 0);
            sent += count as usize;
        }
    });
    suspends(Reason::Write, number);
    let reader = fiber(move || read_all(from));
    sender.join();
    assert!(reader.join() == pattern(LENGTH));
}

/// Moves everything until the end of `from`.
fn splice_all(from: &OwnedFd, to: &OwnedFd) {
    let null = std::ptr::null_mut();
    loop {
        // SAFETY: no offsets.
        let moved =
            unsafe { libc::splice(from.as_raw_fd(), null, to.as_raw_fd(), null, 1 << 16, 0) };
        match moved {
            0 => return,
            1.. => {}
            _ => panic!("{}", std::io::Error::last_os_error()),
        }
    }
}

#[test]
fn splice_waits_on_either_side() {
    const LENGTH: usize = 4 << 20;
    start();
    for (first, second) in [
        (pipe as fn() -> _, pipe as fn() -> _),
        (tcp, pipe),
        (pipe, tcp),
        (local, pipe),
        (pipe, local),
    ] {
        let ((a, b), (c, d)): ((OwnedFd, OwnedFd), (OwnedFd, OwnedFd)) = (first(), second());
        // The first of a pipe is the end to read; sockets do both.
        let (source, feed, drain, sink) = (a, b, c, d);
        let (from, to) = (source.as_raw_fd(), sink.as_raw_fd());
        let mover = fiber(move || splice_all(&source, &sink));
        suspends(Reason::Read, from);
        let writer = fiber(move || {
            std::fs::File::from(feed).write_all(&pattern(LENGTH)).expect("somebody reads");
        });
        suspends(Reason::Write, to);
        let reader = fiber(move || read_all(drain));
        writer.join();
        mover.join();
        assert!(reader.join() == pattern(LENGTH));
    }
}

#[test]
fn tee_and_vmsplice_wait() {
    start();
    let ((source, mut feed), (drain, sink)) = {
        let (source, feed) = pipe();
        ((source, std::fs::File::from(feed)), pipe())
    };
    let (from, to) = (source.as_raw_fd(), sink.as_raw_fd());
    let copier = fiber(move || {
        // SAFETY: touches no memory.
        let copied = unsafe { libc::tee(from, to, 100, 0) };
        (copied, sink)
    });
    suspends(Reason::Read, from);
    feed.write_all(b"hello").expect("there is room");
    let (copied, sink) = copier.join();
    assert_eq!(copied, 5);
    // From memory, more than the pipe holds: what there is room for, then a wait.
    let filler = fiber(move || {
        let bytes = pattern(1 << 20);
        let mut sent = 0;
        while sent < bytes.len() {
            let rest = &bytes[sent..];
            let part =
                libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() };
            // SAFETY: the bytes stay until all is read, below.
            let moved = unsafe { libc::vmsplice(sink.as_raw_fd(), &raw const part, 1, 0) };
            assert!(moved > 0);
            sent += moved as usize;
        }
        (bytes, sink)
    });
    suspends(Reason::Write, to);
    let reader = fiber(move || read_all(drain));
    let (bytes, sink) = filler.join();
    drop(sink);
    let read = reader.join();
    assert!(read[..5] == *b"hello" && read[5..] == bytes);
    assert_eq!(source.as_raw_fd(), from);
}

/// A pipe in non-blocking mode answers at once, whichever it is.
#[test]
fn nonblocking_pipes_are_left_so() {
    start();
    let ((source, _feed), (_drain, sink)) = (pipe(), pipe());
    // SAFETY: a flag.
    unsafe { libc::fcntl(sink.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    on_fiber(move || {
        let null = std::ptr::null_mut();
        // SAFETY: no offsets.
        let moved =
            unsafe { libc::splice(source.as_raw_fd(), null, sink.as_raw_fd(), null, 100, 0) };
        let error = std::io::Error::last_os_error();
        assert_eq!((moved, error.raw_os_error()), (-1, Some(libc::EAGAIN)));
    });
}
