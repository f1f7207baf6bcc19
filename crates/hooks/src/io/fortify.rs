//! The twins under `_FORTIFY_SOURCE`.

use std::ffi::{c_int, c_void};

use libc::{size_t, sockaddr, socklen_t, ssize_t};

use super::file::read;
use super::receive::{recv, recvfrom};

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
