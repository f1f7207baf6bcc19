//! Data: `read`, `write`, `recv`, `send` and their kin.
//!
//! Descriptors stay in the mode that the user gave them. Sockets are tried with `MSG_DONTWAIT`, pipes
//! and the like with `RWF_NOWAIT`; what knows neither is asked by `poll` first. A blocking write
//! writes everything, as the kernel's does: what was written before an error is what it returns.
//! Regular files go straight to the kernel: they wait for the disk, and the monitor covers that.

use std::ffi::{c_int, c_void};

use libc::{iovec, msghdr, size_t, sockaddr, socklen_t, ssize_t};
use timestop_runtime::reactor::descriptor::{Attempt, Direction, Readiness, Rules};
use timestop_runtime::{FiberRef, sys};

use crate::call::{self, Sysno, answer};
use crate::system_call;
use crate::thread::cancel;

type Outcome = Result<usize, c_int>;

const RWF_NOWAIT: c_int = 8;

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

/// Flags with which the kernel never waits: errors and urgent data are there, or they are not.
const NEVER_WAITS: c_int = libc::MSG_DONTWAIT | libc::MSG_ERRQUEUE | libc::MSG_OOB;

/// Receives: `call` is given the flags. `wanted` is how much would fill the buffers.
fn receive(
    descriptor: c_int,
    flags: c_int,
    wanted: usize,
    call: impl Fn(c_int) -> Outcome,
) -> Outcome {
    let Some(fiber) = call::fiber().filter(|_| flags & NEVER_WAITS == 0) else {
        return call(flags);
    };
    check(fiber)?;
    let Some(attempt) = Attempt::begin(descriptor, Direction::Read) else { return call(flags) };
    let mut waiting = Waiting::new(fiber, attempt);
    let plain = flags & !(libc::MSG_NOSIGNAL | libc::MSG_CMSG_CLOEXEC) == 0;
    loop {
        // An empty TCP connection is not asked again before something has come.
        let tried = if plain && waiting.attempt.is_hopeless() {
            Err(libc::EAGAIN)
        } else {
            call(flags | libc::MSG_DONTWAIT)
        };
        match tried {
            Ok(count) => {
                if plain && count < wanted && count > 0 {
                    waiting.attempt.was_short();
                }
                waiting.attempt.succeeded();
                return Ok(count);
            }
            Err(libc::EAGAIN) => {
                if !waiting.wait()? {
                    return call(flags);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether it is a socket without borders between messages: others give one message at a time,
/// whatever the flags.
fn is_stream(descriptor: c_int) -> bool {
    let (mut kind, mut size) = (0_i32, 4_u32);
    // SAFETY: writes one integer.
    let asked = unsafe {
        system_call!(
            Sysno::getsockopt,
            descriptor,
            libc::SOL_SOCKET,
            libc::SO_TYPE,
            &raw mut kind,
            &raw mut size
        )
    };
    asked.is_ok() && kind == libc::SOCK_STREAM
}

/// Receives until the buffer is full (`MSG_WAITALL`), an error, or the end.
fn receive_all(
    descriptor: c_int,
    flags: c_int,
    wanted: usize,
    call: impl Fn(usize, c_int) -> Outcome,
) -> Outcome {
    let mut done = 0;
    loop {
        let flags = flags & !libc::MSG_WAITALL;
        match receive(descriptor, flags, 0, |flags| call(done, flags)) {
            Ok(0) => return Ok(done),
            Ok(count) => {
                done += count;
                if done >= wanted || !is_stream(descriptor) {
                    return Ok(done);
                }
            }
            Err(error) => return if done > 0 { Ok(done) } else { Err(error) },
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

/// See `recv(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recv(
    descriptor: c_int,
    buffer: *mut c_void,
    count: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: as libc's.
    unsafe {
        recvfrom(descriptor, buffer, count, flags, std::ptr::null_mut(), std::ptr::null_mut())
    }
}

/// See `recvfrom(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recvfrom(
    descriptor: c_int,
    buffer: *mut c_void,
    count: size_t,
    flags: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> ssize_t {
    let call = |done: usize, flags: c_int| {
        let buffer = buffer.wrapping_byte_add(done);
        // SAFETY: as the caller vouches; `done` is within the buffer.
        unsafe {
            system_call!(Sysno::recvfrom, descriptor, buffer, count - done, flags, address, length)
        }
    };
    if flags & (libc::MSG_WAITALL | libc::MSG_PEEK | NEVER_WAITS) == libc::MSG_WAITALL {
        return answer(receive_all(descriptor, flags, count, call));
    }
    answer(receive(descriptor, flags, count, |flags| call(0, flags)))
}

/// See `recvmsg(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recvmsg(descriptor: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    // SAFETY: as the caller vouches.
    let call = |flags| unsafe { system_call!(Sysno::recvmsg, descriptor, message, flags) };
    answer(receive(descriptor, flags, 0, call))
}

/// See `send(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn send(
    descriptor: c_int,
    buffer: *const c_void,
    count: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: as libc's.
    unsafe { sendto(descriptor, buffer, count, flags, std::ptr::null(), 0) }
}

/// See `sendto(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendto(
    descriptor: c_int,
    buffer: *const c_void,
    count: size_t,
    flags: c_int,
    address: *const sockaddr,
    length: socklen_t,
) -> ssize_t {
    let call = |done: usize, wait: bool| {
        let flags = if wait { flags } else { flags | libc::MSG_DONTWAIT };
        let buffer = buffer.wrapping_byte_add(done);
        // SAFETY: as the caller vouches; `done` is within the buffer.
        unsafe {
            system_call!(Sysno::sendto, descriptor, buffer, count - done, flags, address, length)
        }
    };
    match call::fiber().filter(|_| flags & libc::MSG_DONTWAIT == 0) {
        Some(fiber) => answer(send_all(fiber, descriptor, count, call)),
        None => answer(call(0, true)),
    }
}

/// See `sendmsg(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendmsg(
    descriptor: c_int,
    message: *const msghdr,
    flags: c_int,
) -> ssize_t {
    let Some(fiber) = call::fiber().filter(|_| flags & libc::MSG_DONTWAIT == 0) else {
        // SAFETY: as the caller vouches.
        return answer(unsafe { system_call!(Sysno::sendmsg, descriptor, message, flags) });
    };
    // SAFETY: the caller passes a valid header.
    let header = unsafe { &*message };
    let parts = Parts::new(header.msg_iov, header.msg_iovlen);
    let call = |done: usize, wait: bool| {
        let flags = if wait { flags } else { flags | libc::MSG_DONTWAIT };
        let (mut rest, mut part) = (*header, iovec { iov_base: std::ptr::null_mut(), iov_len: 0 });
        if done > 0 {
            // The control data has gone with the first bytes.
            (rest.msg_control, rest.msg_controllen) = (std::ptr::null_mut(), 0);
            (rest.msg_iov, rest.msg_iovlen) = parts.after(done, &mut part);
        }
        // SAFETY: as the caller vouches; `part` outlives the call.
        unsafe { system_call!(Sysno::sendmsg, descriptor, &raw const rest, flags) }
    };
    answer(send_all(fiber, descriptor, parts.total(), call))
}

/// The buffers of a vectored call.
#[derive(Clone, Copy)]
struct Parts {
    first: *const iovec,
    count: usize,
}

impl Parts {
    fn new(first: *const iovec, count: usize) -> Self {
        Self { first, count }
    }

    fn length(&self, index: usize) -> usize {
        // SAFETY: the caller of the hook passes that many buffers …
        let part = unsafe { self.first.add(index) };
        // SAFETY: … all of them valid.
        unsafe { (*part).iov_len }
    }

    fn total(&self) -> usize {
        (0..self.count).map(|index| self.length(index)).sum()
    }

    /// What is left after `done` bytes: the rest of a buffer that was begun, alone in `part`, or the
    /// buffers that follow.
    fn after(&self, mut done: usize, part: &mut iovec) -> (*mut iovec, usize) {
        let mut index = 0;
        while index < self.count && done >= self.length(index) {
            done -= self.length(index);
            index += 1;
        }
        // SAFETY: `index` is at most one past the last buffer.
        let at = unsafe { self.first.add(index) };
        if done == 0 || index == self.count {
            return (at.cast_mut(), self.count - index);
        }
        // SAFETY: a buffer of the caller's, begun but not done.
        let begun = unsafe { *at };
        *part = iovec {
            iov_base: begun.iov_base.wrapping_byte_add(done),
            iov_len: begun.iov_len - done,
        };
        (part, 1)
    }
}

/// Whether a descriptor is ready, by `poll` without waiting.
pub(crate) fn is_ready(descriptor: c_int, events: i16) -> bool {
    let mut record = libc::pollfd { fd: descriptor, events, revents: 0 };
    // SAFETY: one record.
    let ready = unsafe { system_call!(Sysno::poll, &raw mut record, 1, 0) };
    ready != Ok(0)
}

/// Whether an error says that the file does not know `RWF_NOWAIT`.
fn knows_no_nowait(error: c_int) -> bool {
    matches!(error, libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS | libc::ESPIPE)
}

/// Reads into buffers: the shape of `read` and `readv`.
fn read_parts(descriptor: c_int, parts: Parts) -> Outcome {
    let (first, count) = (parts.first, parts.count);
    // SAFETY: the caller of the hook vouches for the buffers.
    let blocking = || unsafe { system_call!(Sysno::readv, descriptor, first, count) };
    let Some(fiber) = call::fiber() else { return blocking() };
    check(fiber)?;
    let Some(attempt) = Attempt::begin(descriptor, Direction::Read) else { return blocking() };
    // Nothing is read without waiting, from sockets and pipes too.
    if attempt.is_regular() || parts.total() == 0 {
        return blocking();
    }
    let mut waiting = Waiting::new(fiber, attempt);
    let mut ask_first = false;
    loop {
        let tried = if waiting.attempt.is_hopeless() {
            Err(libc::EAGAIN)
        } else if ask_first {
            if !is_ready(descriptor, libc::POLLIN) { Err(libc::EAGAIN) } else { blocking() }
        } else {
            // SAFETY: as above; -1 is "at the file's own position".
            unsafe {
                system_call!(
                    Sysno::preadv2,
                    descriptor,
                    first,
                    count,
                    -1_isize,
                    -1_isize,
                    RWF_NOWAIT
                )
            }
        };
        match tried {
            Ok(read) => {
                if read > 0 && read < parts.total() {
                    waiting.attempt.was_short();
                }
                waiting.attempt.succeeded();
                return Ok(read);
            }
            Err(libc::EAGAIN) => {
                if !waiting.wait()? {
                    return blocking();
                }
            }
            Err(error) if !ask_first && knows_no_nowait(error) => ask_first = true,
            Err(error) => return Err(error),
        }
    }
}

/// Writes buffers: the shape of `write` and `writev`.
fn write_parts(descriptor: c_int, parts: Parts) -> Outcome {
    let (first, count) = (parts.first, parts.count);
    // SAFETY: the caller of the hook vouches for the buffers.
    let blocking = || unsafe { system_call!(Sysno::writev, descriptor, first, count) };
    let Some(fiber) = call::fiber() else { return blocking() };
    let Some(attempt) = Attempt::begin(descriptor, Direction::Write) else { return blocking() };
    if attempt.is_regular() {
        return blocking();
    }
    let mut ask_first = false;
    loop {
        let call = |done: usize, wait: bool| {
            let mut part = iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
            let (first, count) =
                if done == 0 { (first.cast_mut(), count) } else { parts.after(done, &mut part) };
            if wait || ask_first {
                if !wait && !is_ready(descriptor, libc::POLLOUT) {
                    return Err(libc::EAGAIN);
                }
                // SAFETY: as above.
                return unsafe { system_call!(Sysno::writev, descriptor, first, count) };
            }
            // SAFETY: as above; -1 is "at the file's own position".
            unsafe {
                system_call!(
                    Sysno::pwritev2,
                    descriptor,
                    first,
                    count,
                    -1_isize,
                    -1_isize,
                    RWF_NOWAIT
                )
            }
        };
        match send_all(fiber, descriptor, parts.total(), call) {
            Err(error) if !ask_first && knows_no_nowait(error) => ask_first = true,
            other => return other,
        }
    }
}

/// See `read(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn read(descriptor: c_int, buffer: *mut c_void, count: size_t) -> ssize_t {
    let part = iovec { iov_base: buffer, iov_len: count };
    answer(read_parts(descriptor, Parts::new(&raw const part, 1)))
}

/// See `readv(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn readv(descriptor: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    match usize::try_from(count) {
        Ok(count) => answer(read_parts(descriptor, Parts::new(parts, count))),
        Err(_) => call::fail(libc::EINVAL),
    }
}

/// See `write(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(descriptor: c_int, buffer: *const c_void, count: size_t) -> ssize_t {
    let part = iovec { iov_base: buffer.cast_mut(), iov_len: count };
    answer(write_parts(descriptor, Parts::new(&raw const part, 1)))
}

/// See `writev(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(descriptor: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    match usize::try_from(count) {
        Ok(count) => answer(write_parts(descriptor, Parts::new(parts, count))),
        Err(_) => call::fail(libc::EINVAL),
    }
}

/// glibc's second name of [`read`].
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __read(descriptor: c_int, buffer: *mut c_void, count: size_t) -> ssize_t {
    // SAFETY: as the caller vouches.
    unsafe { read(descriptor, buffer, count) }
}

/// glibc's second name of [`write()`].
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __write(
    descriptor: c_int,
    buffer: *const c_void,
    count: size_t,
) -> ssize_t {
    // SAFETY: as the caller vouches.
    unsafe { write(descriptor, buffer, count) }
}

/// [`read`] under `_FORTIFY_SOURCE`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __read_chk(
    descriptor: c_int,
    buffer: *mut c_void,
    count: size_t,
    room: size_t,
) -> ssize_t {
    fortify(count, room);
    // SAFETY: as the caller vouches.
    unsafe { read(descriptor, buffer, count) }
}

/// [`recv`] under `_FORTIFY_SOURCE`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __recv_chk(
    descriptor: c_int,
    buffer: *mut c_void,
    count: size_t,
    room: size_t,
    flags: c_int,
) -> ssize_t {
    fortify(count, room);
    // SAFETY: as the caller vouches.
    unsafe { recv(descriptor, buffer, count, flags) }
}

/// [`recvfrom`] under `_FORTIFY_SOURCE`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __recvfrom_chk(
    descriptor: c_int,
    buffer: *mut c_void,
    count: size_t,
    room: size_t,
    flags: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> ssize_t {
    fortify(count, room);
    // SAFETY: as the caller vouches.
    unsafe { recvfrom(descriptor, buffer, count, flags, address, length) }
}

unsafe extern "C" {
    fn __chk_fail() -> !;
}

/// What the compiler's check asks for: more than the buffer holds ends the program, as libc's does.
pub(crate) fn fortify(count: usize, room: usize) {
    if count > room {
        // SAFETY: ends the process.
        unsafe { __chk_fail() }
    }
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[
    recv as *const (),
    recvfrom as *const (),
    recvmsg as *const (),
    send as *const (),
    sendto as *const (),
    sendmsg as *const (),
    read as *const (),
    readv as *const (),
    write as *const (),
    writev as *const (),
    __read as *const (),
    __write as *const (),
    __read_chk as *const (),
    __recv_chk as *const (),
    __recvfrom_chk as *const (),
];
