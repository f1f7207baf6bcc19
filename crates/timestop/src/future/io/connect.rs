//! Connections that go.
//!
//! `connect` has no flag for "do not wait". The socket is new and ours, so it is non-blocking until it is
//! connected, and blocking as std's are afterwards.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, addr::SocketAddrArg};
use timestop_runtime::reactor::descriptor::{self, Direction};

use super::{Async, Operation, set_mode};

async fn connect(family: AddressFamily, address: &impl SocketAddrArg) -> io::Result<OwnedFd> {
    crate::config::ensure_started()?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    descriptor::fresh(socket.as_raw_fd());
    match rustix::net::connect(&socket, address) {
        Ok(()) => {}
        Err(rustix::io::Errno::INPROGRESS) => {
            let number = socket.as_raw_fd();
            Operation::new(&socket, Direction::Write, move || connected(number)).await?;
            rustix::net::sockopt::socket_error(&socket)??;
        }
        Err(error) => return Err(error.into()),
    }
    set_mode(&socket, false)?;
    Ok(socket)
}

/// Whether it is connected, or has failed.
fn connected(number: i32) -> io::Result<()> {
    let mut record = libc::pollfd { fd: number, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one record.
    match unsafe { libc::poll(&raw mut record, 1, 0) } {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        1.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Async<TcpStream> {
    /// Connects. Names are looked up by [`unblock`](crate::future::unblock) and
    /// [`ToSocketAddrs`](std::net::ToSocketAddrs).
    ///
    /// # Errors
    ///
    /// Those of `socket(2)` and `connect(2)`.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        Self::new(connect(family, &address).await?.into())
    }
}

impl Async<UnixStream> {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Those of `socket(2)` and `connect(2)`; `EAGAIN` where the listener's backlog is full, which nothing
    /// tells the end of.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path.as_ref())?;
        Self::new(connect(AddressFamily::UNIX, &address).await?.into())
    }
}
