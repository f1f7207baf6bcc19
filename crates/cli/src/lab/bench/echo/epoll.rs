//! The least an echo server does: one thread, one epoll, one buffer, no state but the descriptor. A yardstick, not a
//! way to write programs: it takes every message to come in one piece, and every socket to have room for the answer.
//!
//! Level-triggered: edge-triggered was tried, and is not faster within the noise at 64, 1,000 and 8,000 connections.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::io::{Errno, Result, read, write};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use super::{BUFFER, announce};

const EVENTS: usize = 1024;
const BACKLOG: i32 = 4096;

/// Connections by descriptor number, which is also what epoll tells.
#[derive(Debug, Default)]
struct Connections(Vec<Option<OwnedFd>>);

impl Connections {
    fn insert(&mut self, socket: OwnedFd) {
        let number = socket.as_raw_fd() as usize;
        if number >= self.0.len() {
            self.0.resize_with(number + 1, || None);
        }
        self.0[number] = Some(socket);
    }
}

/// Serves until killed.
pub(super) fn serve() -> Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    net::bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    net::listen(&listener, BACKLOG)?;
    let address = SocketAddrV4::try_from(net::getsockname(&listener)?)?;
    announce(address.port()).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;

    let events = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    watch(&events, &listener)?;
    let mut connections = Connections::default();
    let mut ready: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
    let mut buffer = [0; BUFFER];
    loop {
        ready.clear();
        match epoll::wait(&events, spare_capacity(&mut ready), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        for event in &ready {
            let data = event.data;
            let number = data.u64() as usize;
            if number == listener.as_raw_fd() as usize {
                accept(&listener, &events, &mut connections)?;
                continue;
            }
            let socket = connections.0[number].as_ref().expect("watched while open");
            if !echo(socket, &mut buffer) {
                connections.0[number] = None;
            }
        }
    }
}

fn watch(events: &OwnedFd, socket: &OwnedFd) -> Result<()> {
    let data = epoll::EventData::new_u64(socket.as_raw_fd() as u64);
    epoll::add(events, socket, data, epoll::EventFlags::IN)
}

fn accept(listener: &OwnedFd, events: &OwnedFd, connections: &mut Connections) -> Result<()> {
    loop {
        match net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(socket) => {
                sockopt::set_tcp_nodelay(&socket, true)?;
                watch(events, &socket)?;
                connections.insert(socket);
            }
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// False when the connection has ended.
fn echo(socket: &OwnedFd, buffer: &mut [u8]) -> bool {
    match read(socket, &mut *buffer) {
        Ok(0) | Err(_) => false,
        Ok(bytes) => write(socket, &buffer[..bytes]) == Ok(bytes),
    }
}
