//! TCP over loopback through `std::net`: many connections, both directions at once, time limits.

use std::fs::File;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::{
    CONNECTIONS, MANY, echo_server, fan_out, listen, on_fiber, pattern, raise_descriptor_limit,
    tcp_pair,
};

const SHORT: Duration = Duration::from_millis(20);

/// Sends `message` and reads as much back.
fn ask(stream: &mut TcpStream, message: &[u8]) -> Vec<u8> {
    stream.write_all(message).expect("the peer reads");
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer).expect("the peer answers");
    answer
}

#[test]
fn many_connections_at_once() {
    raise_descriptor_limit();
    on_fiber(|| {
        let (address, server) = echo_server(CONNECTIONS);
        let (connected, all_connected) = mpsc::channel();
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|index| {
                let (go, gate) = mpsc::channel::<()>();
                let connected = connected.clone();
                let fiber = timestop::spawn(move || {
                    let mut stream = TcpStream::connect(address).expect("connects");
                    connected.send(()).expect("the test listens");
                    gate.recv().expect_err("opens when all are connected");
                    for round in 0..10 {
                        let message = pattern(index + round, 1 + (index * 37) % 3_000);
                        assert_eq!(ask(&mut stream, &message), message);
                    }
                });
                (go, fiber)
            })
            .collect();
        for _ in &clients {
            all_connected.recv().expect("a client lives");
        }
        let (gates, fibers): (Vec<_>, Vec<_>) = clients.into_iter().unzip();
        drop(gates);
        for fiber in fibers {
            fiber.join().expect("every echo was right");
        }
        server.join().expect("no panic");
    });
}

#[test]
fn many_short_connections() {
    on_fiber(|| {
        const CLIENTS: usize = 50;
        let each = MANY.min(10_000) / CLIENTS;
        let (address, server) = echo_server(CLIENTS * each);
        fan_out(CLIENTS, move |index| {
            for round in 0..each {
                let mut stream = TcpStream::connect(address).expect("connects");
                let message = pattern(index * each + round, 100);
                assert_eq!(ask(&mut stream, &message), message);
            }
        });
        server.join().expect("no panic");
    });
}

#[test]
fn clones_read_and_write_in_two_fibers() {
    const LENGTH: usize = 8 << 20;
    on_fiber(|| {
        let (here, there) = tcp_pair();
        // Both ends write more than the kernel buffers while both read: whoever fails to suspend deadlocks.
        let ends: Vec<_> = [(here, 1, 2), (there, 2, 1)]
            .into_iter()
            .map(|(stream, seed, expected)| {
                let mut writer = stream.try_clone().expect("a descriptor is free");
                let mut reader = stream;
                let write = timestop::spawn(move || {
                    writer.write_all(&pattern(seed, LENGTH)).expect("the peer reads");
                    writer.shutdown(Shutdown::Write).expect("connected");
                });
                let read = timestop::spawn(move || {
                    let mut bytes = Vec::new();
                    reader.read_to_end(&mut bytes).expect("the peer writes");
                    assert!(bytes == pattern(expected, LENGTH), "{} bytes came", bytes.len());
                });
                (write, read)
            })
            .collect();
        for (write, read) in ends {
            write.join().expect("no panic");
            read.join().expect("no panic");
        }
    });
}

#[test]
fn two_readers_of_one_socket_share_its_bytes() {
    const LENGTH: usize = 1 << 20;
    on_fiber(|| {
        let (mut here, there) = tcp_pair();
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let mut clone = there.try_clone().expect("a descriptor is free");
                timestop::spawn(move || {
                    let (mut buffer, mut sum, mut count) = ([0; 1000], 0, 0);
                    loop {
                        match clone.read(&mut buffer).expect("the peer writes") {
                            0 => return (sum, count),
                            length => {
                                count += length;
                                sum += buffer[..length]
                                    .iter()
                                    .map(|&byte| byte as usize)
                                    .sum::<usize>();
                            }
                        }
                    }
                })
            })
            .collect();
        let bytes = pattern(3, LENGTH);
        here.write_all(&bytes).expect("somebody reads");
        drop(here);
        let read = readers.into_iter().map(|reader| reader.join().expect("no panic"));
        let (sum, count) = read.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        assert_eq!((sum, count), (bytes.iter().map(|&byte| byte as usize).sum(), LENGTH));
    });
}

#[test]
fn several_acceptors_share_a_listener() {
    on_fiber(|| {
        let (listener, address) = listen();
        let acceptors: Vec<_> = (0..10)
            .map(|_| {
                let listener = listener.try_clone().expect("a descriptor is free");
                timestop::spawn(move || {
                    for _ in 0..10 {
                        let (mut stream, _) = listener.accept().expect("a client comes");
                        stream.write_all(b"hello").expect("the client reads");
                    }
                })
            })
            .collect();
        fan_out(100, move |_| {
            let mut text = String::new();
            let mut stream = TcpStream::connect(address).expect("connects");
            stream.read_to_string(&mut text).expect("greeted");
            assert_eq!(text, "hello");
        });
        for acceptor in acceptors {
            acceptor.join().expect("no panic");
        }
    });
}

#[test]
fn read_timeout_gives_would_block() {
    on_fiber(|| {
        let (mut here, mut there) = tcp_pair();
        here.set_read_timeout(Some(SHORT)).expect("a socket has one");
        let start = Instant::now();
        let error = here.read(&mut [0; 8]).expect_err("nobody writes");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        // The kernel counts in ticks of up to 10 ms, and may round down by one.
        assert!(start.elapsed() >= SHORT / 2);
        there.write_all(b"late").expect("connected");
        here.set_read_timeout(None).expect("a socket has one");
        let mut buffer = [0; 4];
        here.read_exact(&mut buffer).expect("it was written");
        assert_eq!(&buffer, b"late");
    });
}

#[test]
fn write_timeout_gives_would_block() {
    on_fiber(|| {
        let (mut here, _there) = tcp_pair();
        here.set_write_timeout(Some(SHORT)).expect("a socket has one");
        let chunk = [0; 1 << 16];
        let error = loop {
            if let Err(error) = here.write(&chunk) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn nonblocking_gives_would_block_at_once() {
    on_fiber(|| {
        let (mut here, mut there) = tcp_pair();
        here.set_nonblocking(true).expect("a socket can be");
        assert_eq!(here.read(&mut [0]).expect_err("empty").kind(), ErrorKind::WouldBlock);
        here.set_nonblocking(false).expect("a socket can be");
        there.write_all(b"x").expect("connected");
        assert_eq!(here.read(&mut [0]).expect("it was written"), 1);

        let (listener, _) = listen();
        listener.set_nonblocking(true).expect("a socket can be");
        assert_eq!(listener.accept().expect_err("nobody").kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn a_socket_that_was_waited_for_stays_blocking() {
    on_fiber(|| {
        let (mut here, mut there) = tcp_pair();
        let fiber = timestop::spawn(move || {
            here.read_exact(&mut [0; 2]).expect("it is written");
            here
        });
        there.write_all(b"x").expect("connected");
        timestop::yield_now();
        there.write_all(b"y").expect("connected");
        let here = fiber.join().expect("no panic");
        let flags = rustix::fs::fcntl_getfl(&here).expect("an open descriptor");
        assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK), "a child process would inherit it");
    });
}

#[test]
fn shutdown_wakes_a_reader() {
    on_fiber(|| {
        let (here, _there) = tcp_pair();
        let mut reader = here.try_clone().expect("a descriptor is free");
        let (started, has_started) = mpsc::channel();
        let fiber = timestop::spawn(move || {
            started.send(()).expect("the test listens");
            reader.read(&mut [0; 8])
        });
        has_started.recv().expect("it starts");
        here.shutdown(Shutdown::Both).expect("connected");
        assert_eq!(fiber.join().expect("no panic").expect("an orderly end"), 0);
    });
}

#[test]
fn a_reset_is_an_error() {
    on_fiber(|| {
        let (here, mut there) = tcp_pair();
        there.write_all(b"never read").expect("connected");
        // Wait until it came: closing a socket with unread data resets the connection.
        assert_eq!(here.peek(&mut [0; 1]).expect("it was written"), 1);
        drop(here);
        let error = there.read(&mut [0; 8]).expect_err("the peer is gone");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn peek_leaves_the_bytes() {
    on_fiber(|| {
        let (mut here, there) = tcp_pair();
        let fiber = timestop::spawn(move || {
            let mut buffer = [0; 4];
            assert_eq!(there.peek(&mut buffer[..2]).expect("it is written"), 2);
            (&there).read_exact(&mut buffer).expect("it is still there");
            buffer
        });
        here.write_all(b"peek").expect("connected");
        assert_eq!(&fiber.join().expect("no panic"), b"peek");
    });
}

#[test]
fn vectored_io() {
    on_fiber(|| {
        let (mut here, mut there) = tcp_pair();
        let reader = timestop::spawn(move || {
            let (mut head, mut tail) = ([0; 3], [0; 5]);
            let mut count = 0;
            while count < 8 {
                let mut parts = [IoSliceMut::new(&mut head), IoSliceMut::new(&mut tail)];
                let mut rest = &mut parts[..];
                IoSliceMut::advance_slices(&mut rest, count);
                count += there.read_vectored(rest).expect("it is written");
            }
            [&head[..], &tail[..]].concat()
        });
        let parts = [IoSlice::new(b"on"), IoSlice::new(b""), IoSlice::new(b"e by six")];
        assert_eq!(here.write_vectored(&parts[..2]).expect("connected"), 2);
        assert_eq!(here.write_vectored(&parts[2..]).expect("connected"), 8);
        assert_eq!(reader.join().expect("no panic"), b"one by s");
    });
}

#[test]
fn a_reused_descriptor_is_another_connection() {
    on_fiber(|| {
        // Each round most likely gets the descriptor numbers of the round before.
        for round in 0..500 {
            let (mut here, mut there) = tcp_pair();
            let fiber = timestop::spawn(move || {
                let mut buffer = [0; 8];
                here.read_exact(&mut buffer).expect("it is written");
                usize::from_le_bytes(buffer)
            });
            there.write_all(&usize::to_le_bytes(round)).expect("connected");
            assert_eq!(fiber.join().expect("no panic"), round);
        }
    });
}

/// A nonblocking connection is asked each time: nobody waits for it, so nobody counts its edges.
#[test]
fn a_nonblocking_stream_is_read_by_read() {
    on_fiber(|| {
        let (mut here, there) = tcp_pair();
        there.set_nonblocking(true).expect("a socket has the mode");
        // `read(2)`, where std's stream uses `recv`.
        let mut there = File::from(OwnedFd::from(there));
        for round in 0..100_u8 {
            here.write_all(&[round]).expect("the peer reads");
            let mut buffer = [0; 16];
            let start = Instant::now();
            let length = loop {
                match there.read(&mut buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        assert!(start.elapsed() < Duration::from_secs(10), "round {round}");
                        std::thread::yield_now();
                    }
                    other => break other.expect("the peer writes"),
                }
            };
            assert_eq!(buffer[..length], [round]);
        }
    });
}

/// Nothing is read at once, also where the last read has emptied the connection.
#[test]
fn reading_nothing_does_not_wait() {
    on_fiber(|| {
        let (mut here, there) = tcp_pair();
        let mut there = File::from(OwnedFd::from(there));
        let mut buffer = [0; 16];
        for round in 0..3 {
            let fiber = timestop::spawn(move || {
                let length = there.read(&mut buffer).expect("the peer writes");
                (there, length)
            });
            std::thread::sleep(SHORT);
            here.write_all(b"x").expect("the peer reads");
            let (back, length) = fiber.join().expect("no panic");
            there = back;
            assert_eq!(length, 1, "round {round}");
            assert_eq!(there.read(&mut []).expect("it is open"), 0);
        }
    });
}
