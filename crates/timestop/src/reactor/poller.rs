//! The loop's epoll, by way of libc: its wait is hooked, and suspends the fiber.
//!
//! Level-triggered, as asyncio's selectors are: a callback that leaves something to read is called again.
//! *Rejected*: `polling` (its system calls are raw, and would block the OS thread), `mio` (edges only), and the
//! runtime's own reactor (it wakes fibers, by edges; a second kind of waiter would save a system call where the
//! loop is idle, and nothing where it is busy).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Room for so many events a wait.
const EVENTS: usize = 256;

#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
}

/// What has come.
pub(super) struct Events {
    events: [libc::epoll_event; EVENTS],
    count: usize,
}

/// What a descriptor is ready for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub(super) fd: RawFd,
    pub(super) readable: bool,
    pub(super) writable: bool,
}

impl Events {
    pub(super) fn new() -> Self {
        Self { events: [libc::epoll_event { events: 0, u64: 0 }; EVENTS], count: 0 }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Event> {
        // As asyncio has it: an error or a hang-up is for whoever watches.
        self.events[..self.count].iter().map(|event| {
            let bits = event.events as i32;
            Event {
                fd: event.u64 as RawFd,
                readable: bits & !libc::EPOLLOUT != 0,
                writable: bits & !libc::EPOLLIN != 0,
            }
        })
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no pointers.
        let epoll = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel has just made it for us.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        Ok(Self { epoll })
    }

    /// Watches a descriptor from now on for this and nothing else.
    pub(super) fn watch(&self, fd: RawFd, reads: bool, writes: bool) -> io::Result<()> {
        let mut bits = 0;
        if reads {
            bits |= libc::EPOLLIN;
        }
        if writes {
            bits |= libc::EPOLLOUT;
        }
        if bits == 0 {
            // A number that was closed is forgotten already.
            return match self.control(libc::EPOLL_CTL_DEL, fd, 0) {
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EBADF)) => {
                    Ok(())
                }
                result => result,
            };
        }
        match self.control(libc::EPOLL_CTL_MOD, fd, bits) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                self.control(libc::EPOLL_CTL_ADD, fd, bits)
            }
            result => result,
        }
    }

    fn control(&self, operation: libc::c_int, fd: RawFd, bits: libc::c_int) -> io::Result<()> {
        let mut event = libc::epoll_event { events: bits as u32, u64: fd as u64 };
        // SAFETY: the kernel reads one event.
        check(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &raw mut event) })?;
        Ok(())
    }

    /// Waits for events, so long at most; for ever without a limit. A signal ends the wait.
    pub(super) fn wait(&self, events: &mut Events, limit: Option<Duration>) -> io::Result<()> {
        let limit = limit.map(|limit| libc::timespec {
            tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: i64::from(limit.subsec_nanos()),
        });
        events.count = 0;
        // SAFETY: the kernel writes no more events than there is room for, and reads the time that there is.
        let count = check(unsafe {
            libc::epoll_pwait2(
                self.epoll.as_raw_fd(),
                events.events.as_mut_ptr(),
                EVENTS as libc::c_int,
                limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref),
                std::ptr::null(),
            )
        });
        match count {
            Ok(count) => events.count = count as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
