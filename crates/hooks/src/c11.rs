//! C11's `<threads.h>`: the pthread functions by other names.
//!
//! In glibc `mtx_t`, `cnd_t` and `once_flag` have the layout of their pthread counterparts, and its
//! functions call those internally, where no hook sees it. So each is defined here in terms of ours.
//! `thrd_current` and `thrd_equal` are libc's: a `thrd_t` is the thread pointer.

use std::ffi::{c_int, c_void};

use libc::{pthread_cond_t, pthread_mutex_t, pthread_once_t, pthread_t, timespec};

use crate::once::Routine;
use crate::thread::{create, exit, join};
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

/// First function of a C11 thread.
type ThreadRoutine = extern "C-unwind" fn(*mut c_void) -> c_int;

/// See `thrd_create(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thrd_create(
    thread: *mut pthread_t,
    routine: ThreadRoutine,
    argument: *mut c_void,
) -> c_int {
    // The result comes in the lower half of the register in which a pointer would come; the upper
    // half is never looked at.
    // SAFETY: as said, on x86-64 the two types are called alike.
    let routine = unsafe { std::mem::transmute::<ThreadRoutine, create::Routine>(routine) };
    // SAFETY: as the caller vouches.
    answer(unsafe { create::pthread_create(thread, std::ptr::null(), routine, argument) })
}

/// See `thrd_join(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn thrd_join(thread: pthread_t, result: *mut c_int) -> c_int {
    let mut ended = std::ptr::null_mut();
    // SAFETY: as the caller vouches.
    let joined = unsafe { join::pthread_join(thread, &raw mut ended) };
    if joined == 0 && !result.is_null() {
        // SAFETY: the caller passes room for it.
        unsafe { result.write(ended as usize as c_int) };
    }
    answer(joined)
}

/// See `thrd_detach(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thrd_detach(thread: pthread_t) -> c_int {
    // SAFETY: as the caller vouches.
    answer(unsafe { join::pthread_detach(thread) })
}

/// See `thrd_exit(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn thrd_exit(result: c_int) -> ! {
    // SAFETY: as the caller vouches.
    unsafe { exit::pthread_exit(result as usize as *mut c_void) }
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
    thrd_create as *const (),
    thrd_join as *const (),
    thrd_detach as *const (),
    thrd_exit as *const (),
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
