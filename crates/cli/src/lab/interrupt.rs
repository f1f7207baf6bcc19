//! Ctrl-C, as a descriptor that becomes readable: so that waiting for a run and waiting for the user is one `poll`,
//! and a signal that comes just before the wait is not missed. A flag set by a handler would be.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

#[derive(Debug)]
pub(crate) struct Interrupt {
    signalled: UnixStream,
}

impl Interrupt {
    /// From here on SIGINT and SIGTERM no longer end the process.
    pub(crate) fn install() -> io::Result<Self> {
        let (signalled, signal) = UnixStream::pair()?;
        pipe::register(SIGINT, signal.try_clone()?)?;
        pipe::register(SIGTERM, signal)?;
        Ok(Interrupt { signalled })
    }

    /// Has one come? It stays so: nothing ever reads it away.
    pub(crate) fn has_come(&self) -> bool {
        let mut fds = [PollFd::new(&self.signalled, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signalled.as_fd()
    }
}
