//! `epoll_wait`, `epoll_pwait`, `epoll_pwait2`: an epoll is itself a descriptor that becomes readable.

use std::ffi::c_int;

use libc::{epoll_event, sigset_t, timespec};
use timestop_runtime::FiberRef;

use super::{Limit, Outcome, milliseconds, wait_for_epoll};
use crate::call::{self, Sysno, answer, fail, nanoseconds};
use crate::io::check;
use crate::system_call;

fn epoll_on_fiber(
    fiber: FiberRef,
    epoll: c_int,
    events: *mut epoll_event,
    count: c_int,
    limit: Limit,
) -> Outcome {
    // SAFETY: the caller of the hook passes room for `count` events.
    let look = || unsafe { system_call!(Sysno::epoll_wait, epoll, events, count, 0) };
    let ready = look()?;
    if ready > 0 || matches!(limit, Limit::Zero) {
        return Ok(ready);
    }
    check(fiber)?;
    wait_for_epoll(fiber, epoll, limit, look)
}

/// See `epoll_wait(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_wait(
    epoll: c_int,
    events: *mut epoll_event,
    count: c_int,
    timeout: c_int,
) -> c_int {
    match call::fiber() {
        Some(fiber) => {
            answer(epoll_on_fiber(fiber, epoll, events, count, Limit::after(milliseconds(timeout))))
        }
        // SAFETY: as the caller vouches.
        None => answer(unsafe { system_call!(Sysno::epoll_wait, epoll, events, count, timeout) }),
    }
}

/// See `epoll_pwait(2)`. With a signal mask, which must hold for the very wait, the OS thread waits.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_pwait(
    epoll: c_int,
    events: *mut epoll_event,
    count: c_int,
    timeout: c_int,
    mask: *const sigset_t,
) -> c_int {
    if mask.is_null() {
        // SAFETY: as the caller vouches.
        return unsafe { epoll_wait(epoll, events, count, timeout) };
    }
    // SAFETY: as the caller vouches.
    answer(unsafe { system_call!(Sysno::epoll_pwait, epoll, events, count, timeout, mask, 8) })
}

/// See `epoll_pwait2(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_pwait2(
    epoll: c_int,
    events: *mut epoll_event,
    count: c_int,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    let Some(fiber) = call::fiber().filter(|_| mask.is_null()) else {
        // SAFETY: as the caller vouches.
        return answer(unsafe {
            system_call!(Sysno::epoll_pwait2, epoll, events, count, timeout, mask, 8)
        });
    };
    // SAFETY: null, or the caller's time.
    let limit = match unsafe { timeout.as_ref() } {
        None => Limit::None,
        Some(time) => match nanoseconds(time) {
            Some(time) => Limit::after(Some(time)),
            None => return fail(libc::EINVAL),
        },
    };
    answer(epoll_on_fiber(fiber, epoll, events, count, limit))
}
