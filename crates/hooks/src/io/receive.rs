//! From a socket: `recv`, `recvfrom`, `recvmsg`.
//!
//! Tried with `MSG_DONTWAIT`. What is asked of an empty TCP connection is not tried before something
//! has come; see `Attempt::was_short` for when that holds.

use std::ffi::{c_int, c_void};

use libc::{msghdr, size_t, sockaddr, socklen_t, ssize_t};
use timestop_runtime::reactor::descriptor::{Attempt, Direction};

use super::{Outcome, Waiting, check};
use crate::call::{self, Sysno, answer};
use crate::opened::arrived;
use crate::system_call;

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
    let received = receive(descriptor, flags, 0, call);
    if received.is_ok() {
        // SAFETY: the kernel has read and written the caller's header.
        arrived(unsafe { &*message });
    }
    answer(received)
}
