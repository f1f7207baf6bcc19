//! Datagrams.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;

use timestop_runtime::reactor::descriptor::Direction;

use super::{Async, Operation, Socket};

/// Sockets of std's for datagrams.
pub trait Datagrams: Socket {
    /// As [`UdpSocket::recv`].
    ///
    /// # Errors
    ///
    /// As there.
    fn receive_one(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// As [`UdpSocket::send`].
    ///
    /// # Errors
    ///
    /// As there.
    fn send_one(&self, datagram: &[u8]) -> io::Result<usize>;
}

macro_rules! datagrams {
    ($($socket:ty),*) => { $(
        impl Datagrams for $socket {
            fn receive_one(&self, buffer: &mut [u8]) -> io::Result<usize> {
                self.recv(buffer)
            }

            fn send_one(&self, datagram: &[u8]) -> io::Result<usize> {
                self.send(datagram)
            }
        }
    )* };
}

datagrams!(UdpSocket, UnixDatagram);

impl<S: Datagrams> Async<S> {
    /// Waits for a datagram: how long it is. What is beyond the buffer is lost.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`.
    pub fn recv<'io>(
        &'io self,
        buffer: &'io mut [u8],
    ) -> Operation<impl FnMut() -> io::Result<usize> + use<'io, S>> {
        Operation::new(&self.socket, Direction::Read, || self.socket.receive_one(buffer))
    }

    /// Sends a datagram to the peer.
    ///
    /// # Errors
    ///
    /// Those of `send(2)`.
    pub fn send<'io>(
        &'io self,
        datagram: &'io [u8],
    ) -> Operation<impl FnMut() -> io::Result<usize> + use<'io, S>> {
        Operation::new(&self.socket, Direction::Write, || self.socket.send_one(datagram))
    }
}

impl Async<UdpSocket> {
    /// Waits for a datagram: how long it is, and from whom. What is beyond the buffer is lost.
    ///
    /// # Errors
    ///
    /// Those of `recvfrom(2)`.
    pub fn recv_from<'io>(
        &'io self,
        buffer: &'io mut [u8],
    ) -> Operation<impl FnMut() -> io::Result<(usize, SocketAddr)> + use<'io>> {
        Operation::new(&self.socket, Direction::Read, || self.socket.recv_from(buffer))
    }

    /// Sends a datagram.
    ///
    /// # Errors
    ///
    /// Those of `sendto(2)`.
    pub fn send_to<'io>(
        &'io self,
        datagram: &'io [u8],
        to: SocketAddr,
    ) -> Operation<impl FnMut() -> io::Result<usize> + use<'io>> {
        Operation::new(&self.socket, Direction::Write, move || self.socket.send_to(datagram, to))
    }
}
