//! UDP and Unix sockets through std.

use std::io::{ErrorKind, Read, Write};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::{fan_out, on_fiber, pattern};

const SHORT: Duration = Duration::from_millis(20);

fn udp() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").expect("a loopback port is free")
}

#[test]
fn udp_asks_and_answers() {
    on_fiber(|| {
        const CLIENTS: usize = 100;
        let socket = udp();
        let address = socket.local_addr().expect("it is bound");
        let server = timestop::spawn(move || {
            let mut buffer = [0; 2_000];
            for _ in 0..CLIENTS * 10 {
                let (length, sender) = socket.recv_from(&mut buffer).expect("a client asks");
                socket.send_to(&buffer[..length], sender).expect("loopback");
            }
        });
        fan_out(CLIENTS, move |index| {
            let socket = udp();
            socket.connect(address).expect("loopback");
            for round in 0..10 {
                let message = pattern(index + round, 1 + index * 10);
                socket.send(&message).expect("loopback");
                let mut buffer = [0; 2_000];
                let length = socket.recv(&mut buffer).expect("answered");
                assert_eq!(buffer[..length], message);
            }
        });
        server.join().expect("no panic");
    });
}

#[test]
fn udp_peeks() {
    on_fiber(|| {
        let (here, there) = (udp(), udp());
        let address = there.local_addr().expect("it is bound");
        let fiber = timestop::spawn(move || {
            let mut buffer = [0; 8];
            let (peeked, sender) = there.peek_from(&mut buffer).expect("it is sent");
            let received = there.recv_from(&mut buffer).expect("it is still there");
            assert_eq!((peeked, sender), received);
            peeked
        });
        here.send_to(b"peek", address).expect("loopback");
        assert_eq!(fiber.join().expect("no panic"), 4);
    });
}

#[test]
fn udp_read_timeout_and_nonblocking() {
    on_fiber(|| {
        let socket = udp();
        socket.set_read_timeout(Some(SHORT)).expect("a socket has one");
        let start = Instant::now();
        let error = socket.recv(&mut [0; 8]).expect_err("nobody sends");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(start.elapsed() >= SHORT / 2);
        socket.set_nonblocking(true).expect("a socket can be");
        let error = socket.recv(&mut [0; 8]).expect_err("nobody sends");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn udp_receivers_of_one_socket_share_its_datagrams() {
    on_fiber(|| {
        const DATAGRAMS: usize = 64;
        let (socket, sender) = (udp(), udp());
        let address = socket.local_addr().expect("it is bound");
        let (found, numbers) = mpsc::channel();
        let receivers: Vec<_> = (0..8)
            .map(|_| {
                let socket = socket.try_clone().expect("a descriptor is free");
                let found = found.clone();
                timestop::spawn(move || {
                    let mut buffer = [0; 8];
                    while socket.recv(&mut buffer).expect("sent") == 8 {
                        found.send(usize::from_le_bytes(buffer)).expect("the test listens");
                    }
                })
            })
            .collect();
        for number in 0..DATAGRAMS {
            sender.send_to(&number.to_le_bytes(), address).expect("loopback");
        }
        let mut all: Vec<_> = numbers.iter().take(DATAGRAMS).collect();
        all.sort_unstable();
        assert_eq!(all, (0..DATAGRAMS).collect::<Vec<_>>());
        for _ in &receivers {
            sender.send_to(b"end", address).expect("loopback");
        }
        for receiver in receivers {
            receiver.join().expect("no panic");
        }
    });
}

#[test]
fn unix_listener_serves_many() {
    on_fiber(|| {
        const CLIENTS: usize = 100;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).expect("the path is new");
        let server = timestop::spawn(move || {
            let fibers: Vec<_> = (0..CLIENTS)
                .map(|_| {
                    let (mut stream, _) = listener.accept().expect("a client comes");
                    timestop::spawn(move || {
                        let mut text = String::new();
                        stream.read_to_string(&mut text).expect("the client writes");
                        stream.write_all(text.to_uppercase().as_bytes()).expect("the client reads");
                    })
                })
                .collect();
            for fiber in fibers {
                fiber.join().expect("no panic");
            }
        });
        fan_out(CLIENTS, move |index| {
            let mut stream = UnixStream::connect(&path).expect("the server listens");
            write!(stream, "client {index}").expect("the server reads");
            stream.shutdown(std::net::Shutdown::Write).expect("connected");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("the server answers");
            assert_eq!(text, format!("CLIENT {index}"));
        });
        server.join().expect("no panic");
    });
}

#[test]
fn unix_streams_push_back() {
    const LENGTH: usize = 4 << 20;
    on_fiber(|| {
        let (mut here, mut there) = UnixStream::pair().expect("a pair");
        let writer = timestop::spawn(move || here.write_all(&pattern(5, LENGTH)));
        let mut bytes = Vec::new();
        there.read_to_end(&mut bytes).expect("the writer writes and closes");
        writer.join().expect("no panic").expect("everything was read");
        assert!(bytes == pattern(5, LENGTH));
    });
}

#[test]
fn unix_read_timeout_and_nonblocking() {
    on_fiber(|| {
        let (mut here, _there) = UnixStream::pair().expect("a pair");
        here.set_read_timeout(Some(SHORT)).expect("a socket has one");
        assert_eq!(here.read(&mut [0]).expect_err("empty").kind(), ErrorKind::WouldBlock);
        here.set_nonblocking(true).expect("a socket can be");
        assert_eq!(here.read(&mut [0]).expect_err("empty").kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn unix_datagrams_keep_their_bounds() {
    on_fiber(|| {
        let (here, there) = UnixDatagram::pair().expect("a pair");
        // More than the queue holds: the sender waits for the receiver.
        let sender = timestop::spawn(move || {
            for number in 0..2_000_usize {
                here.send(&pattern(number, 1 + number % 100)).expect("the receiver reads");
            }
        });
        let mut buffer = [0; 200];
        for number in 0..2_000 {
            let length = there.recv(&mut buffer).expect("the sender sends");
            assert_eq!(buffer[..length], pattern(number, 1 + number % 100));
        }
        sender.join().expect("no panic");
    });
}

#[test]
fn unix_datagrams_by_path() {
    on_fiber(|| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let [server, client] = ["server", "client"].map(|name| directory.path().join(name));
        let socket = UnixDatagram::bind(&server).expect("the path is new");
        let fiber = timestop::spawn(move || {
            let mut buffer = [0; 8];
            let (length, sender) = socket.recv_from(&mut buffer).expect("the client sends");
            let path = sender.as_pathname().expect("it is bound to one").to_owned();
            socket.send_to(&buffer[..length], path).expect("the client listens");
        });
        let socket = UnixDatagram::bind(&client).expect("the path is new");
        socket.send_to(b"hello", &server).expect("the server listens");
        let mut buffer = [0; 8];
        assert_eq!(socket.recv(&mut buffer).expect("the server answers"), 5);
        fiber.join().expect("no panic");
    });
}

/// `MSG_WAITALL` is for streams; datagrams keep their borders.
#[test]
fn waiting_for_all_of_a_datagram_gives_one() {
    on_fiber(|| {
        let (here, there) = UnixDatagram::pair().expect("a pair");
        here.send(b"one").expect("there is room");
        here.send(b"two").expect("there is room");
        let mut buffer = [0; 16];
        // SAFETY: the buffer is as long as said.
        let length = unsafe {
            libc::recv(
                there.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_WAITALL,
            )
        };
        assert_eq!(&buffer[..3], b"one");
        assert_eq!(length, 3);
    });
}

/// The queue of errors and urgent data never make a call wait.
#[test]
fn what_never_waits_does_not() {
    on_fiber(|| {
        let socket = udp();
        let mut buffer = [0; 16];
        // SAFETY: the buffer is as long as said.
        let length = unsafe {
            libc::recv(
                socket.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_ERRQUEUE,
            )
        };
        let error = std::io::Error::last_os_error();
        assert_eq!((length, error.kind()), (-1, ErrorKind::WouldBlock));
    });
}

/// Only the exceptional condition of a connection that has hung up is asked for: there is none.
#[test]
fn select_without_readers_ends_in_time() {
    on_fiber(|| {
        let (here, there) = UnixStream::pair().expect("a pair");
        drop(here);
        // SAFETY: all-zero is an empty set.
        let mut set: libc::fd_set = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is a small number.
        unsafe { libc::FD_SET(there.as_raw_fd(), &raw mut set) };
        let mut time = libc::timeval { tv_sec: 0, tv_usec: 20_000 };
        let none = std::ptr::null_mut();
        // SAFETY: set and time are ours.
        let ready =
            unsafe { libc::select(there.as_raw_fd() + 1, none, none, &raw mut set, &raw mut time) };
        assert_eq!(ready, 0);
    });
}
