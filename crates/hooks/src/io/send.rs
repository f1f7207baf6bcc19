//! To a socket: `send`, `sendto`, `sendmsg`. Tried with `MSG_DONTWAIT`.

use std::ffi::{c_int, c_void};

use libc::{iovec, msghdr, size_t, sockaddr, socklen_t, ssize_t};
use timestop_runtime::FiberRef;

use super::parts::Parts;
use super::{Outcome, send_all};
use crate::call::{self, Sysno, answer};
use crate::system_call;

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
    answer(send_message(fiber, descriptor, unsafe { &*message }, flags, 0))
}

/// Sends a message of which `begun` bytes have gone already; the bytes that went now.
pub(super) fn send_message(
    fiber: FiberRef,
    descriptor: c_int,
    header: &msghdr,
    flags: c_int,
    begun: usize,
) -> Outcome {
    let parts = Parts::new(header.msg_iov, header.msg_iovlen);
    let call = |done: usize, wait: bool| {
        let flags = if wait { flags } else { flags | libc::MSG_DONTWAIT };
        let (mut rest, mut part) = (*header, iovec { iov_base: std::ptr::null_mut(), iov_len: 0 });
        if begun + done > 0 {
            // The control data has gone with the first bytes.
            (rest.msg_control, rest.msg_controllen) = (std::ptr::null_mut(), 0);
            (rest.msg_iov, rest.msg_iovlen) = parts.after(begun + done, &mut part);
        }
        // SAFETY: as the hook's caller vouches; `part` outlives the call.
        unsafe { system_call!(Sysno::sendmsg, descriptor, &raw const rest, flags) }
    };
    send_all(fiber, descriptor, parts.total() - begun, call)
}
