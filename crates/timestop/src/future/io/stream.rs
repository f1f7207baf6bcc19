//! Streams: reads and writes by `poll_…`, for the traits of `AsyncRead` and `AsyncWrite`.
//!
//! Each call says by `MSG_DONTWAIT` that it is not to wait, so the stream's mode is nobody's concern.

use std::io;
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll};

use timestop_runtime::reactor::descriptor::Direction;

use super::{Async, Operation, Socket, poll_call};

/// Streams of bytes.
pub trait Stream: Socket {
    /// As [`TcpStream::shutdown`].
    ///
    /// # Errors
    ///
    /// As there.
    fn shut_down(&self, how: Shutdown) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn shut_down(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }
}

impl Stream for UnixStream {
    fn shut_down(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }
}

fn count(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn receive(number: i32, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    let (start, length) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: the kernel writes at most that many bytes.
    count(unsafe { libc::recv(number, start, length, libc::MSG_DONTWAIT) })
}

const SEND: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

fn send(number: i32, buffer: &[u8]) -> io::Result<usize> {
    // SAFETY: the kernel reads that many bytes.
    count(unsafe { libc::send(number, buffer.as_ptr().cast(), buffer.len(), SEND) })
}

fn send_parts(number: i32, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: all zero is a message without anything.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // `IoSlice` is laid out as `iovec` is; the kernel only reads.
    message.msg_iov = parts.as_ptr().cast_mut().cast();
    message.msg_iovlen = parts.len().min(libc::UIO_MAXIOV as usize);
    // SAFETY: the parts are borrowed until it returns.
    count(unsafe { libc::sendmsg(number, &raw const message, SEND) })
}

impl<S: Stream> Async<S> {
    /// Reads into memory that need not have been written: how many bytes. Registers the waker for reading, in
    /// place of an earlier one.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`, but `EINTR`.
    #[inline]
    pub fn poll_read_uninit(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        let number = self.socket.as_raw_fd();
        let wanted = buffer.len();
        let short = |&count: &usize| count > 0 && count < wanted;
        poll_call(self.read.as_mut(), (number, Direction::Read), context, short, || {
            receive(number, buffer)
        })
    }

    /// Reads: how many bytes; 0 at the end. Registers the waker for reading, in place of an earlier one.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`, but `EINTR`.
    pub fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let whole = std::ptr::from_mut(buffer) as *mut [MaybeUninit<u8>];
        // SAFETY: bytes that have been written are bytes that need not; the kernel writes none that are not.
        self.poll_read_uninit(context, unsafe { &mut *whole })
    }

    /// Writes a part at least: how many bytes. Registers the waker for writing, in place of an earlier one.
    ///
    /// # Errors
    ///
    /// Those of `send(2)`, but `EINTR`. There is no SIGPIPE.
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let number = self.socket.as_raw_fd();
        let whole = |_: &usize| false;
        poll_call(self.write.as_mut(), (number, Direction::Write), context, whole, || {
            send(number, buffer)
        })
    }

    /// Writes a part at least of several buffers.
    ///
    /// # Errors
    ///
    /// As [`poll_write`](Self::poll_write).
    pub fn poll_write_vectored(
        &mut self,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let number = self.socket.as_raw_fd();
        let whole = |_: &usize| false;
        poll_call(self.write.as_mut(), (number, Direction::Write), context, whole, || {
            send_parts(number, parts)
        })
    }

    /// Tells the peer that nothing more comes.
    ///
    /// # Errors
    ///
    /// Those of `shutdown(2)`; that the peer has gone is none.
    pub fn close_write(&self) -> io::Result<()> {
        match self.socket.shut_down(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            other => other,
        }
    }

    /// Reads, from several tasks if need be: who comes first gets what is there.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`.
    pub fn read<'io>(
        &'io self,
        buffer: &'io mut [u8],
    ) -> Operation<impl FnMut() -> io::Result<usize> + use<'io, S>> {
        let number = self.socket.as_raw_fd();
        let whole = std::ptr::from_mut(buffer) as *mut [MaybeUninit<u8>];
        // SAFETY: as in `poll_read`.
        let buffer: &'io mut [MaybeUninit<u8>] = unsafe { &mut *whole };
        Operation::new(&self.socket, Direction::Read, move || receive(number, buffer))
    }

    /// Writes a part at least.
    ///
    /// # Errors
    ///
    /// Those of `send(2)`.
    pub fn write<'io>(
        &'io self,
        buffer: &'io [u8],
    ) -> Operation<impl FnMut() -> io::Result<usize> + use<'io, S>> {
        let number = self.socket.as_raw_fd();
        Operation::new(&self.socket, Direction::Write, move || send(number, buffer))
    }

    /// Writes all of it.
    ///
    /// # Errors
    ///
    /// Those of `send(2)`. What was sent before is not known then.
    pub async fn write_all(&self, mut buffer: &[u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let count = self.write(buffer).await?;
            buffer = &buffer[count..];
        }
        Ok(())
    }
}
