//! C11's `<threads.h>`: the pthread functions by other names.
//!
//! In glibc `mtx_t`, `cnd_t` and `once_flag` have the layout of their pthread counterparts, and its
//! functions call those internally, where no hook sees it. So each is defined here in terms of ours.

use std::ffi::c_int;

use libc::{pthread_cond_t, pthread_mutex_t, pthread_once_t, timespec};

use crate::once::Routine;
use crate::{condition, mutex, once, time};

mod thrd {
    use std::ffi::c_int;

    pub(super) const SUCCESS: c_int = 0;
    pub(super) const BUSY: c_int = 1;
    pub(super) const ERROR: c_int = 2;
    pub(super) const NO_MEMORY: c_int = 3;
    pub(super) const TIMED_OUT: c_int = 4;
}

/// What C11 calls an error number.
pub(crate) fn answer(number: c_int) -> c_int {
    match number {
        0 => thrd::SUCCESS,
        libc::EBUSY => thrd::BUSY,
        libc::ENOMEM => thrd::NO_MEMORY,
        libc::ETIMEDOUT => thrd::TIMED_OUT,
        _ => thrd::ERROR,
    }
}

/// See `thrd_sleep(3)`: 0, −1 where a signal came, −2 for another error.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn thrd_sleep(
    duration: *const timespec,
    remaining: *mut timespec,
) -> c_int {
    // SAFETY: as the caller vouches.
    match unsafe { time::clock_nanosleep(libc::CLOCK_REALTIME, 0, duration, remaining) } {
        0 => 0,
        libc::EINTR => -1,
        _ => -2,
    }
}

/// See `thrd_yield(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn thrd_yield() {
    time::sched_yield();
}

/// See `mtx_lock(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mtx_lock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: as the caller vouches.
    answer(unsafe { mutex::pthread_mutex_lock(mutex) })
}

/// See `mtx_timedlock(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mtx_timedlock(
    mutex: *mut pthread_mutex_t,
    until: *const timespec,
) -> c_int {
    // SAFETY: as the caller vouches.
    answer(unsafe { mutex::pthread_mutex_timedlock(mutex, until) })
}

/// See `mtx_unlock(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mtx_unlock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: as the caller vouches.
    answer(unsafe { mutex::pthread_mutex_unlock(mutex) })
}

/// See `cnd_wait(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn cnd_wait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
) -> c_int {
    // SAFETY: as the caller vouches.
    answer(unsafe { condition::pthread_cond_wait(condition, mutex) })
}

/// See `cnd_timedwait(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn cnd_timedwait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    until: *const timespec,
) -> c_int {
    // SAFETY: as the caller vouches.
    answer(unsafe { condition::pthread_cond_timedwait(condition, mutex, until) })
}

/// See `cnd_signal(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cnd_signal(condition: *mut pthread_cond_t) -> c_int {
    // SAFETY: as the caller vouches.
    answer(unsafe { condition::pthread_cond_signal(condition) })
}

/// See `cnd_broadcast(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cnd_broadcast(condition: *mut pthread_cond_t) -> c_int {
    // SAFETY: as the caller vouches.
    answer(unsafe { condition::pthread_cond_broadcast(condition) })
}

/// See `call_once(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn call_once(flag: *mut pthread_once_t, routine: Routine) {
    // SAFETY: as the caller vouches.
    unsafe { once::pthread_once(flag, routine) };
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[
    thrd_sleep as *const (),
    thrd_yield as *const (),
    mtx_lock as *const (),
    mtx_timedlock as *const (),
    mtx_unlock as *const (),
    cnd_wait as *const (),
    cnd_timedwait as *const (),
    cnd_signal as *const (),
    cnd_broadcast as *const (),
    call_once as *const (),
];
