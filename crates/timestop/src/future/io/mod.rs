//! std's sockets in async code, woken by the runtime's own reactor.
//!
//! An attempt remembers the edges of its descriptor, tries without waiting, and where there is nothing puts a
//! place with its waker in the descriptor's list, unless an edge has come since: what a hook does for a fiber
//! that blocks (`crates/runtime/src/reactor/descriptor.rs`), with a waker in the fiber's place. So a short
//! read saves the next try here too, and blocking code on the same descriptor loses nothing.
//!
//! A stream has one place for each direction, which the last poll has: that is the contract of `AsyncRead`.
//! What borrows a socket ([`Operation`]) brings a place of its own.

mod connect;
mod datagram;
mod listener;
mod stream;
mod traits;

use std::future::Future;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::{fmt, io};

pub use datagram::Datagrams;
pub use listener::{Accept, Listener};
pub use stream::Stream;
use timestop_runtime::reactor::descriptor::watch::Watch;
use timestop_runtime::reactor::descriptor::{Attempt, Direction, Readiness};

use super::foreign;

/// A socket of std's for async code, on any executor.
///
/// Its operations know nothing of fibers: cancelling ends the [`block_on`](super::block_on) around them.
/// Dropping a future of one gives its place up; nothing that was received is lost.
///
/// Cost: an operation that need not wait is one system call; one that waits, an entry in a list, and nothing
/// is allocated for it. A read after one that has emptied a TCP connection waits without a system call.
pub struct Async<S> {
    // Before the socket: they leave its lists before it is closed.
    read: Pin<Box<Watch>>,
    write: Pin<Box<Watch>>,
    socket: S,
}

/// std's sockets: [`TcpStream`](std::net::TcpStream), [`UnixStream`](std::os::unix::net::UnixStream), the
/// [listeners](Listener) and [those of datagrams](Datagrams).
pub trait Socket: AsRawFd + sealed::Sealed {}

mod sealed {
    pub trait Sealed {
        /// Whether calls on it wait unless `O_NONBLOCK` is set: streams have a flag for each call.
        const NEEDS_MODE: bool;
    }
}

macro_rules! sockets {
    ($($socket:ty: $needs_mode:literal,)*) => { $(
        impl sealed::Sealed for $socket {
            const NEEDS_MODE: bool = $needs_mode;
        }

        impl Socket for $socket {}
    )* };
}

sockets! {
    std::net::TcpStream: false,
    std::os::unix::net::UnixStream: false,
    std::net::TcpListener: true,
    std::os::unix::net::UnixListener: true,
    std::net::UdpSocket: true,
    std::os::unix::net::UnixDatagram: true,
}

impl<S: Socket> Async<S> {
    /// Takes a socket over. Listeners and sockets of datagrams are made non-blocking; streams stay as they are.
    ///
    /// # Errors
    ///
    /// Fibers cannot run on this machine: see [`Config::start`](crate::Config::start). Or that of `ioctl`.
    pub fn new(socket: S) -> io::Result<Self> {
        crate::config::ensure_started()?;
        if S::NEEDS_MODE {
            set_mode(&socket, true)?;
        }
        Ok(Self { read: Box::pin(Watch::new()), write: Box::pin(Watch::new()), socket })
    }

    /// Gives the socket back, blocking.
    ///
    /// # Errors
    ///
    /// That of `ioctl`.
    pub fn into_inner(self) -> io::Result<S> {
        if S::NEEDS_MODE {
            set_mode(&self.socket, false)?;
        }
        Ok(self.socket)
    }
}

impl<S> Async<S> {
    /// The socket, for its addresses and options. What would wait on a stream blocks the caller, if that is a
    /// fiber it alone.
    pub fn get_ref(&self) -> &S {
        &self.socket
    }
}

impl<S: AsFd> AsFd for Async<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<S: fmt::Debug> fmt::Debug for Async<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Async").field(&self.socket).finish()
    }
}

/// By the hooked call, which tells the runtime.
fn set_mode(socket: &impl AsRawFd, nonblocking: bool) -> io::Result<()> {
    let mut value = libc::c_int::from(nonblocking);
    // SAFETY: reads one integer.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONBIO, &raw mut value) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Tries `call` until it need not wait, or has `context` woken. `short`: whether a read has left nothing behind.
#[inline]
fn poll_call<T>(
    mut watch: Pin<&mut Watch>,
    (number, direction): (RawFd, Direction),
    context: &Context<'_>,
    short: impl Fn(&T) -> bool,
    mut call: impl FnMut() -> io::Result<T>,
) -> Poll<io::Result<T>> {
    let Some(mut attempt) = Attempt::begin(number, direction) else {
        return Poll::Ready(Err(unwatchable(number)));
    };
    loop {
        if !attempt.finds_nothing() {
            match call() {
                Ok(value) => {
                    if direction == Direction::Read && short(&value) {
                        attempt.was_short();
                    }
                    return Poll::Ready(Ok(value));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(error));
                }
                Err(_) => {}
            }
        }
        foreign::prepare(context);
        match watch.as_mut().enlist(&mut attempt, context.waker()) {
            None => return Poll::Pending,
            Some(Readiness::Closed) => {
                return Poll::Ready(Err(io::Error::from_raw_os_error(libc::EBADF)));
            }
            Some(Readiness::Unwatchable) => return Poll::Ready(Err(unwatchable(number))),
            Some(_) => {}
        }
    }
}

fn unwatchable(number: RawFd) -> io::Error {
    let text = format!("descriptor {number} cannot be waited for: its number is above 2^20, or epoll refuses it");
    io::Error::new(io::ErrorKind::Unsupported, text)
}

/// An operation on a borrowed socket, which any number of tasks may have under way. All that wait in one
/// direction are woken when something comes, and those that find nothing wait on.
#[must_use = "a future does nothing unless it is polled"]
pub struct Operation<C> {
    watch: Watch,
    number: RawFd,
    direction: Direction,
    call: C,
}

impl<C> Operation<C> {
    /// `call` borrows the socket with that number.
    fn new(socket: &impl AsRawFd, direction: Direction, call: C) -> Self {
        Self { watch: Watch::new(), number: socket.as_raw_fd(), direction, call }
    }
}

impl<C, T> Future for Operation<C>
where
    C: FnMut() -> io::Result<T>,
{
    type Output = io::Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: the watch is not moved; the rest may be.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: it is part of what is pinned.
        let watch = unsafe { Pin::new_unchecked(&mut this.watch) };
        poll_call(watch, (this.number, this.direction), context, |_| false, &mut this.call)
    }
}

impl<C> fmt::Debug for Operation<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation").field("descriptor", &self.number).finish_non_exhaustive()
    }
}
