//! Data: `read`, `write`, `recv`, `send` and their kin.
//!
//! Descriptors stay in the mode that the user gave them. Sockets are tried with `MSG_DONTWAIT`, pipes
//! and the like with `RWF_NOWAIT`; what knows neither is asked by `poll` first. A blocking write
//! writes everything, as the kernel's does: what was written before an error is what it returns.
//! Regular files go straight to the kernel: they wait for the disk, and the monitor covers that.

use std::ffi::c_int;

use timestop_runtime::reactor::descriptor::{Attempt, Direction, Readiness, Rules};
use timestop_runtime::{FiberRef, sys};

use crate::call::Sysno;
use crate::system_call;
use crate::thread::cancel;

pub mod batch;
pub mod file;
pub mod fortify;
mod parts;
pub mod receive;
pub mod send;
pub mod transfer;

pub(crate) use fortify::fortify;

type Outcome = Result<usize, c_int>;

/// Why a fiber's I/O must fail before it is tried: cancelled, or past its deadline.
#[inline]
pub(crate) fn check(fiber: FiberRef) -> Result<(), c_int> {
    if cancel::is_due(fiber) {
        return Err(libc::EINTR); // on its way out it is obeyed
    }
    if fiber.is_cancelled() {
        return Err(libc::ECANCELED);
    }
    let deadline = fiber.deadline();
    if deadline != u64::MAX && sys::now() >= deadline {
        return Err(libc::ETIMEDOUT);
    }
    Ok(())
}

/// One call's waiting: the time limit counts from its beginning.
struct Waiting {
    fiber: FiberRef,
    attempt: Attempt,
    until: Option<Option<u64>>,
}

impl Waiting {
    fn new(fiber: FiberRef, attempt: Attempt) -> Self {
        Self { fiber, attempt, until: None }
    }

    /// After `EAGAIN`: waits, then `Ok(true)` to try again, `Ok(false)` to make the blocking call.
    #[cold]
    fn wait(&mut self) -> Result<bool, c_int> {
        let Rules::AtMost(limit) = self.attempt.rules() else { return Err(libc::EAGAIN) };
        let until =
            *self.until.get_or_insert_with(|| limit.map(|limit| sys::now().saturating_add(limit)));
        match self.attempt.wait(self.fiber, until) {
            Readiness::Ready => Ok(true),
            Readiness::Unwatchable => Ok(false),
            Readiness::Closed => Err(libc::EBADF),
            Readiness::Interrupted => Err(libc::EINTR),
            Readiness::Cancelled => Err(libc::ECANCELED),
            // The fiber's own deadline, or the socket's time limit.
            Readiness::TimedOut => Err(check(self.fiber).err().unwrap_or(libc::EAGAIN)),
        }
    }
}

/// Sends `total` bytes: `call` is given how many are done, and whether to wait.
fn send_all(
    fiber: FiberRef,
    descriptor: c_int,
    total: usize,
    call: impl Fn(usize, bool) -> Outcome,
) -> Outcome {
    // What a fiber says last goes out where there is room: `println!` panics if it cannot.
    if !matches!(descriptor, libc::STDOUT_FILENO | libc::STDERR_FILENO) {
        check(fiber)?;
    }
    let Some(attempt) = Attempt::begin(descriptor, Direction::Write) else { return call(0, true) };
    let mut waiting = Waiting::new(fiber, attempt);
    let mut done = 0;
    let partial = |done, error| if done > 0 { Ok(done) } else { Err(error) };
    loop {
        match call(done, false) {
            Ok(count) => {
                done += count;
                if done >= total || (count == 0 && total > 0) {
                    waiting.attempt.succeeded();
                    return Ok(done);
                }
                // A short write means a full buffer, unless the user did not want to wait at all.
                if waiting.attempt.is_nonblocking() {
                    return Ok(done);
                }
            }
            Err(libc::EAGAIN) => match waiting.wait() {
                Ok(true) => {}
                Ok(false) => {
                    return call(done, true)
                        .map(|count| done + count)
                        .or_else(|error| partial(done, error));
                }
                Err(error) => return partial(done, error),
            },
            Err(error) => return partial(done, error),
        }
    }
}

/// Whether a descriptor is ready, by `poll` without waiting.
pub(crate) fn is_ready(descriptor: c_int, events: i16) -> bool {
    let mut record = libc::pollfd { fd: descriptor, events, revents: 0 };
    // SAFETY: one record.
    let ready = unsafe { system_call!(Sysno::poll, &raw mut record, 1, 0) };
    ready != Ok(0)
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[
    receive::recv as *const (),
    receive::recvfrom as *const (),
    receive::recvmsg as *const (),
    send::send as *const (),
    send::sendto as *const (),
    send::sendmsg as *const (),
    file::read as *const (),
    file::readv as *const (),
    file::write as *const (),
    file::writev as *const (),
    file::__read as *const (),
    file::__write as *const (),
    fortify::__read_chk as *const (),
    fortify::__recv_chk as *const (),
    fortify::__recvfrom_chk as *const (),
    batch::sendmmsg as *const (),
    batch::recvmmsg as *const (),
    transfer::sendfile as *const (),
    transfer::sendfile64 as *const (),
    transfer::splice as *const (),
    transfer::tee as *const (),
    transfer::vmsplice as *const (),
];
