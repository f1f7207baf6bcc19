//! Connections: `accept`, `connect`, and what changes how a socket waits.
//!
//! `accept` has no flag for "do not wait", so one fiber at a time asks by `poll` and accepts at once;
//! a sibling *process* that takes the connection in between costs a hand-off. `connect` is the one
//! exception to "never toggle `O_NONBLOCK`": strictly around the call, on a socket that is not
//! connected yet.

use std::ffi::{c_int, c_ulong, c_void};

use libc::{sockaddr, socklen_t};
use timestop_runtime::reactor::descriptor::{self, Attempt, Direction, Readiness, Rules};
use timestop_runtime::{FiberRef, sys};

use crate::call::{self, Sysno, answer};
use crate::io::receive::low_mark_set;
use crate::io::{check, is_ready};
use crate::opened::opened;
use crate::system_call;

type Outcome = Result<usize, c_int>;

fn accept_on_fiber(fiber: FiberRef, listener: c_int, call: impl Fn() -> Outcome) -> Outcome {
    check(fiber)?;
    let Some(mut attempt) = Attempt::begin(listener, Direction::Read) else { return call() };
    let Rules::AtMost(limit) = attempt.rules() else { return call() };
    let mut until = None;
    loop {
        if attempt.claim() {
            let tried = if is_ready(listener, libc::POLLIN) { call() } else { Err(libc::EAGAIN) };
            attempt.unclaim();
            match tried {
                Err(libc::EAGAIN) => {}
                done => {
                    attempt.succeeded();
                    return done;
                }
            }
        } else {
            timestop_runtime::yield_now();
            continue;
        }
        let until =
            *until.get_or_insert_with(|| limit.map(|limit| sys::now().saturating_add(limit)));
        match attempt.wait(fiber, until) {
            Readiness::Ready => {}
            Readiness::Unwatchable => return call(),
            Readiness::Closed => return Err(libc::EBADF),
            Readiness::Interrupted => return Err(libc::EINTR),
            Readiness::Cancelled => return Err(libc::ECANCELED),
            Readiness::TimedOut => return Err(check(fiber).err().unwrap_or(libc::EAGAIN)),
        }
    }
}

/// See `accept4(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn accept4(
    listener: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
    flags: c_int,
) -> c_int {
    // SAFETY: as the caller vouches.
    let call = || unsafe { system_call!(Sysno::accept4, listener, address, length, flags) };
    let accepted = match call::fiber() {
        Some(fiber) => accept_on_fiber(fiber, listener, call),
        None => call(),
    };
    opened(accepted)
}

/// See `accept(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn accept(
    listener: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> c_int {
    // SAFETY: as the caller vouches.
    unsafe { accept4(listener, address, length, 0) }
}

fn status_flags(descriptor: c_int) -> Outcome {
    // SAFETY: reads a number.
    unsafe { system_call!(Sysno::fcntl, descriptor, libc::F_GETFL, 0) }
}

fn set_status_flags(descriptor: c_int, flags: usize) {
    // SAFETY: sets a number.
    let _ = unsafe { system_call!(Sysno::fcntl, descriptor, libc::F_SETFL, flags) };
}

fn socket_error(descriptor: c_int) -> Outcome {
    let (mut error, mut size) = (0_i32, 4_u32);
    // SAFETY: writes one integer.
    unsafe {
        system_call!(
            Sysno::getsockopt,
            descriptor,
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            &raw mut error,
            &raw mut size
        )
    }?;
    if error == 0 { Ok(0) } else { Err(error) }
}

fn connect_on_fiber(fiber: FiberRef, socket: c_int, call: impl Fn() -> Outcome) -> Outcome {
    check(fiber)?;
    let flags = status_flags(socket)?;
    if flags & libc::O_NONBLOCK as usize != 0 {
        return call();
    }
    let Some(mut attempt) = Attempt::begin(socket, Direction::Write) else { return call() };
    let Rules::AtMost(limit) = attempt.rules() else { return call() };
    set_status_flags(socket, flags | libc::O_NONBLOCK as usize);
    let begun = call();
    set_status_flags(socket, flags);
    match begun {
        // Already: an earlier call was interrupted; one that waits joins its handshake.
        Err(libc::EINPROGRESS | libc::EALREADY) => {}
        // A local socket whose backlog is full: nothing reports when there is room.
        Err(libc::EAGAIN) => return call(),
        other => return other,
    }
    let until = limit.map(|limit| sys::now().saturating_add(limit));
    while !is_ready(socket, libc::POLLOUT) {
        match attempt.wait(fiber, until) {
            Readiness::Ready => {}
            Readiness::Unwatchable => return call(),
            Readiness::Closed => return Err(libc::EBADF),
            Readiness::Interrupted => return Err(libc::EINTR),
            Readiness::Cancelled => return Err(libc::ECANCELED),
            Readiness::TimedOut => return Err(check(fiber).err().unwrap_or(libc::EINPROGRESS)),
        }
    }
    socket_error(socket)
}

/// See `connect(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn connect(
    socket: c_int,
    address: *const sockaddr,
    length: socklen_t,
) -> c_int {
    // SAFETY: as the caller vouches.
    let call = || unsafe { system_call!(Sysno::connect, socket, address, length) };
    match call::fiber() {
        Some(fiber) => answer(connect_on_fiber(fiber, socket, call)),
        None => answer(call()),
    }
}

/// See `setsockopt(2)`. Time limits are remembered until they change; a protocol on top of TCP, as the
/// kernel's TLS, changes what a short read means.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn setsockopt(
    socket: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    length: socklen_t,
) -> c_int {
    // SAFETY: as the caller vouches.
    let result = unsafe { system_call!(Sysno::setsockopt, socket, level, name, value, length) };
    if level == libc::SOL_SOCKET && matches!(name, libc::SO_RCVTIMEO | libc::SO_SNDTIMEO) {
        descriptor::mode_changed(socket);
    }
    if (level, name) == (libc::SOL_SOCKET, libc::SO_RCVLOWAT) && result.is_ok() {
        low_mark_set();
    }
    if (level, name) == (libc::IPPROTO_TCP, libc::TCP_ULP) && result.is_ok() {
        descriptor::layered(socket);
    }
    answer(result)
}

/// See `ioctl(2)`. Variadic in C, with one argument of any kind in fact.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ioctl(descriptor: c_int, request: c_ulong, argument: usize) -> c_int {
    // SAFETY: as the caller vouches.
    let result = unsafe { system_call!(Sysno::ioctl, descriptor, request, argument) };
    if request == libc::FIONBIO {
        descriptor::mode_changed(descriptor);
    }
    answer(result)
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[
    accept as *const (),
    accept4 as *const (),
    connect as *const (),
    setsockopt as *const (),
    ioctl as *const (),
];
