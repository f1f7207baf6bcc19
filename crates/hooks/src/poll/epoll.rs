//! `epoll_wait`, `epoll_pwait`, `epoll_pwait2`: an epoll is itself a descriptor that becomes readable.

use std::ffi::c_int;

use libc::{epoll_event, sigset_t, timespec};
use timestop_runtime::FiberRef;

use super::{Limit, Outcome, let_others_go_first, milliseconds, under_mask, wait_for_epoll};
use crate::call::{self, Sysno, answer, fail, nanoseconds};
use crate::signal::wait_in_kernel;
use crate::system_call;

/// # Safety
///
/// There is room for `count` events; the mask is null, or a set.
unsafe fn epoll_on_fiber(
    fiber: FiberRef,
    epoll: c_int,
    events: *mut epoll_event,
    count: c_int,
    limit: Limit,
    mask: *const sigset_t,
) -> Outcome {
    let_others_go_first(limit);
    // SAFETY: as the caller vouches.
    let look = || unsafe { system_call!(Sysno::epoll_wait, epoll, events, count, 0) };
    let wait = || wait_for_epoll(fiber, epoll, limit, look);
    // SAFETY: as the caller vouches.
    unsafe { under_mask(fiber, mask, look, wait) }
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
    // SAFETY: as the caller vouches.
    unsafe { epoll_pwait(epoll, events, count, timeout, std::ptr::null()) }
}

/// See `epoll_pwait(2)`.
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
    let Some(fiber) = call::fiber() else {
        // SAFETY: as the caller vouches.
        let wait = |mask| unsafe {
            system_call!(Sysno::epoll_pwait, epoll, events, count, timeout, mask, 8)
        };
        // SAFETY: as the caller vouches.
        return answer(unsafe { wait_in_kernel(mask, wait) });
    };
    let limit = Limit::after(milliseconds(timeout));
    // SAFETY: as the caller vouches.
    answer(unsafe { epoll_on_fiber(fiber, epoll, events, count, limit, mask) })
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
    let Some(fiber) = call::fiber() else {
        // SAFETY: as the caller vouches.
        let wait = |mask| unsafe {
            system_call!(Sysno::epoll_pwait2, epoll, events, count, timeout, mask, 8)
        };
        // SAFETY: as the caller vouches.
        return answer(unsafe { wait_in_kernel(mask, wait) });
    };
    // SAFETY: null, or the caller's time.
    let limit = match unsafe { timeout.as_ref() } {
        None => Limit::None,
        Some(time) => match nanoseconds(time) {
            Some(time) => Limit::after(Some(time)),
            None => return fail(libc::EINVAL),
        },
    };
    // SAFETY: as the caller vouches.
    answer(unsafe { epoll_on_fiber(fiber, epoll, events, count, limit, mask) })
}
