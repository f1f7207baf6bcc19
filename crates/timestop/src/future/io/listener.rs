//! Connections that come.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};

use timestop_runtime::reactor::descriptor::Direction;

use super::{Async, Operation, Socket, Stream};

/// What [`Async::accept`] gives: the connection and the peer's address.
pub type Accept<L> = (Async<<L as Listener>::Stream>, <L as Listener>::Address);

/// Listeners of std's.
pub trait Listener: Socket {
    /// Their connections.
    type Stream: Stream;
    /// Their peers' addresses.
    type Address;

    /// As [`TcpListener::accept`].
    ///
    /// # Errors
    ///
    /// As there.
    fn accept_one(&self) -> io::Result<(Self::Stream, Self::Address)>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;
    type Address = SocketAddr;

    fn accept_one(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept()
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;
    type Address = UnixAddr;

    fn accept_one(&self) -> io::Result<(UnixStream, UnixAddr)> {
        self.accept()
    }
}

impl<L: Listener> Async<L> {
    /// Waits for a connection.
    ///
    /// # Errors
    ///
    /// Those of `accept(2)`.
    ///
    /// # Example
    ///
    /// ```
    /// use std::net::{TcpListener, TcpStream};
    /// use timestop::future::{Async, block_on};
    ///
    /// timestop::run(|| {
    ///     let listener = Async::new(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    ///     let address = listener.get_ref().local_addr().unwrap();
    ///     let greeted = block_on(async {
    ///         let client = Async::<TcpStream>::connect(address).await?;
    ///         let (server, _) = listener.accept().await?;
    ///         server.write_all(b"hello").await?;
    ///         let mut text = [0; 5];
    ///         client.read(&mut text).await?;
    ///         std::io::Result::Ok(text)
    ///     });
    ///     assert_eq!(&greeted.unwrap().unwrap(), b"hello");
    /// });
    /// ```
    pub fn accept(&self) -> Operation<impl FnMut() -> io::Result<Accept<L>> + use<'_, L>> {
        let accept = || {
            let (stream, address) = self.socket.accept_one()?;
            Ok((Async::new(stream)?, address))
        };
        Operation::new(&self.socket, Direction::Read, accept)
    }
}
