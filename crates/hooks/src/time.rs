//! Sleeping: `nanosleep`, `clock_nanosleep`, `usleep`, `sleep`.
//!
//! POSIX: `clock_nanosleep` returns its error and leaves `errno`; the others set it. An interrupted
//! relative sleep tells what is left. A cancelled fiber's sleep, or one past the fiber's deadline,
//! ends early and reports success: the code after it finds the same error at its next I/O.

use std::ffi::{c_int, c_uint};

use libc::{clockid_t, timespec};
use timestop_runtime::{Outcome, sleep_until, sys};

use crate::call::{self, Sysno, answer, fail, monotonic, nanoseconds};
use crate::system_call;
use crate::thread::cancel;

/// See `clock_nanosleep(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn clock_nanosleep(
    clock: clockid_t,
    flags: c_int,
    request: *const timespec,
    remain: *mut timespec,
) -> c_int {
    let known =
        matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_MONOTONIC | libc::CLOCK_BOOTTIME);
    let Some(fiber) = call::fiber().filter(|_| known) else {
        cancel::point();
        // SAFETY: as the caller vouches.
        let slept = unsafe { system_call!(Sysno::clock_nanosleep, clock, flags, request, remain) };
        return slept.err().unwrap_or(0);
    };
    // SAFETY: the caller passes a valid time.
    let Some(time) = nanoseconds(unsafe { &*request }) else { return libc::EINVAL };
    let absolute = flags & libc::TIMER_ABSTIME != 0;
    let deadline = if absolute { monotonic(clock, time) } else { sys::now().saturating_add(time) };
    cancel::point();
    match sleep_until(fiber, deadline) {
        Outcome::Interrupted => {
            cancel::point();
            if !absolute && !remain.is_null() {
                let left = deadline.saturating_sub(sys::now());
                let left = timespec {
                    tv_sec: (left / 1_000_000_000) as i64,
                    tv_nsec: (left % 1_000_000_000) as i64,
                };
                // SAFETY: the caller passes room for a time.
                unsafe { remain.write(left) };
            }
            libc::EINTR
        }
        _ => 0,
    }
}

/// See `nanosleep(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nanosleep(
    request: *const timespec,
    remain: *mut timespec,
) -> c_int {
    // SAFETY: as the caller vouches.
    match unsafe { clock_nanosleep(libc::CLOCK_MONOTONIC, 0, request, remain) } {
        0 => 0,
        error => fail(error),
    }
}

/// See `usleep(3)`.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn usleep(microseconds: c_uint) -> c_int {
    let request = timespec {
        tv_sec: i64::from(microseconds / 1_000_000),
        tv_nsec: i64::from(microseconds % 1_000_000) * 1000,
    };
    // SAFETY: a valid time.
    unsafe { nanosleep(&raw const request, std::ptr::null_mut()) }
}

/// See `sleep(3)`: the seconds left where a signal came.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn sleep(seconds: c_uint) -> c_uint {
    let errno = call::errno();
    let request = timespec { tv_sec: i64::from(seconds), tv_nsec: 0 };
    let mut remain = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: valid times.
    let slept = unsafe { nanosleep(&raw const request, &raw mut remain) };
    if slept == 0 {
        return 0;
    }
    call::set_errno(errno);
    remain.tv_sec as c_uint + c_uint::from(remain.tv_nsec >= 500_000_000)
}

/// See `sched_yield(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn sched_yield() -> c_int {
    if call::fiber().is_some() {
        timestop_runtime::yield_now();
        return 0;
    }
    // SAFETY: touches no memory.
    answer(unsafe { system_call!(Sysno::sched_yield) })
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[
    clock_nanosleep as *const (),
    nanosleep as *const (),
    usleep as *const (),
    sleep as *const (),
    sched_yield as *const (),
];
