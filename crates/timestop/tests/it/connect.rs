//! Connecting where nobody listens, and where nobody accepts.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};

use crate::support::on_fiber;

const SHORT: Duration = Duration::from_millis(20);

/// A loopback socket that is bound but does not listen (yet), so that its port is nobody else's.
fn bound() -> (OwnedFd, SocketAddr) {
    let socket =
        socket(AddressFamily::INET, SocketType::STREAM, None).expect("a descriptor is free");
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
    let address = getsockname(&socket).expect("it is bound");
    (socket, address.try_into().expect("an address of the internet's family"))
}

#[test]
fn connecting_to_nobody_is_refused() {
    on_fiber(|| {
        let (_socket, address) = bound();
        for _ in 0..100 {
            let error = TcpStream::connect(address).expect_err("nobody listens");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        }
        let error = TcpStream::connect_timeout(&address, Duration::from_secs(100));
        assert_eq!(error.expect_err("nobody listens").kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn connect_timeout_ends() {
    on_fiber(|| {
        let (socket, address) = bound();
        listen(&socket, 0).expect("it is bound");
        // Nobody accepts: once the short backlog is full, the kernel lets further ones wait.
        let mut connected = Vec::new();
        let error = loop {
            match TcpStream::connect_timeout(&address, SHORT) {
                Ok(stream) => connected.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);

        let listener = TcpListener::from(socket);
        let connects = timestop::spawn(move || {
            TcpStream::connect_timeout(&address, Duration::from_secs(100)).map(drop)
        });
        for _ in connected {
            listener.accept().expect("they wait");
        }
        connects.join().expect("no panic").expect("there is room now");
    });
}
