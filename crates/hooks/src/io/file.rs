//! Whatever a number is: `read`, `readv`, `write`, `writev`.
//!
//! Tried with `RWF_NOWAIT`; what does not know that is asked by `poll` first. Regular files go
//! straight to the kernel.

use std::ffi::{c_int, c_void};

use libc::{iovec, size_t, ssize_t};
use timestop_runtime::reactor::descriptor::{Attempt, Direction};

use super::parts::Parts;
use super::receive::waits_for_more;
use super::{Outcome, Waiting, check, is_ready, send_all};
use crate::call::{self, Sysno, answer};
use crate::system_call;

const RWF_NOWAIT: c_int = 8;

/// Whether an error says that the file does not know `RWF_NOWAIT`.
fn knows_no_nowait(error: c_int) -> bool {
    matches!(error, libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS | libc::ESPIPE)
}

/// Reads into buffers: `read` and `readv`. As much as a socket's low mark wants.
fn read_parts(descriptor: c_int, parts: Parts) -> Outcome {
    let mut done = read_some(descriptor, parts)?;
    while done > 0
        && waits_for_more(descriptor, 0, done, || parts.total())
        && call::fiber().is_some()
    {
        let mut part = iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let (first, count) = parts.after(done, &mut part);
        match read_some(descriptor, Parts::new(first, count)) {
            Ok(0) | Err(_) => break,
            Ok(read) => done += read,
        }
    }
    Ok(done)
}

/// Reads what is there, or waits for it: the shape of `read` and `readv`.
fn read_some(descriptor: c_int, parts: Parts) -> Outcome {
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
    if call::fiber().is_none() {
        // The very call: a filter of system calls may know no other.
        // SAFETY: as the caller vouches.
        return answer(unsafe { system_call!(Sysno::read, descriptor, buffer, count) });
    }
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
    if call::fiber().is_none() {
        // As in `read`.
        // SAFETY: as the caller vouches.
        return answer(unsafe { system_call!(Sysno::write, descriptor, buffer, count) });
    }
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
