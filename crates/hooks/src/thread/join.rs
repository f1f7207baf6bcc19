//! Waiting for a thread's end, or letting it end alone: `pthread_join` and its kin, `pthread_detach`.
//!
//! Who joins waits on the word that holds the thread's state, which is the last that the thread
//! itself writes.

use std::ffi::{c_int, c_void};
use std::sync::atomic::Ordering;

use libc::{clockid_t, pthread_t, timespec};
use timestop_runtime::futex::{self, Wait};
use timestop_runtime::{self as runtime, FiberRef, Outcome, Reason};

use super::{adopted, cancel, stage, state, word};
use crate::{real, waiting};

real! {
    fn real_join: unsafe extern "C" fn(pthread_t, *mut *mut c_void) -> c_int = c"pthread_join";
    fn real_tryjoin: unsafe extern "C" fn(pthread_t, *mut *mut c_void) -> c_int = c"pthread_tryjoin_np";
    fn real_timedjoin: unsafe extern "C" fn(pthread_t, *mut *mut c_void, *const timespec) -> c_int = c"pthread_timedjoin_np";
    fn real_clockjoin: unsafe extern "C" fn(pthread_t, *mut *mut c_void, clockid_t, *const timespec) -> c_int = c"pthread_clockjoin_np";
    fn real_detach: unsafe extern "C" fn(pthread_t) -> c_int = c"pthread_detach";
}

/// Waits for the end of an adopted thread, and takes its result.
fn join(fiber: FiberRef, result: *mut *mut c_void, deadline: Option<u64>, wait: bool) -> c_int {
    if FiberRef::current() == Some(fiber) {
        return libc::EDEADLK;
    }
    let state = state(fiber);
    if wait {
        cancel::point();
    }
    loop {
        match state.load(Ordering::Acquire) {
            stage::NONE | stage::DETACHED | stage::TAKEN => return libc::EINVAL,
            stage::ENDED => break,
            _ if !wait => return libc::EBUSY,
            now => {
                let key = state.as_ptr() as usize;
                let wait = Wait {
                    deadline,
                    breakable: true,
                    argument: fiber.id(),
                    ..Wait::on(key, Reason::Join)
                };
                let waited = futex::wait(wait, || state.load(Ordering::Acquire) == now, || {});
                match waited.outcome {
                    Some(Outcome::TimedOut) => return libc::ETIMEDOUT,
                    Some(Outcome::Interrupted) => cancel::point(),
                    _ => {}
                }
            }
        }
    }
    if state
        .compare_exchange(stage::ENDED, stage::TAKEN, Ordering::AcqRel, Ordering::Relaxed)
        .is_err()
    {
        return libc::EINVAL; // another was faster
    }
    if !result.is_null() {
        // SAFETY: the caller passes room for the result.
        unsafe { result.write(fiber.user_word(word::RESULT).get() as *mut c_void) };
    }
    runtime::release(fiber);
    0
}

/// See `pthread_join(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_join(thread: pthread_t, result: *mut *mut c_void) -> c_int {
    match adopted(thread) {
        Some(fiber) => join(fiber, result, None, true),
        // SAFETY: as the caller vouches.
        None => unsafe { real_join()(thread, result) },
    }
}

/// See `pthread_tryjoin_np(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_tryjoin_np(thread: pthread_t, result: *mut *mut c_void) -> c_int {
    match adopted(thread) {
        Some(fiber) => join(fiber, result, None, false),
        // SAFETY: as the caller vouches.
        None => unsafe { real_tryjoin()(thread, result) },
    }
}

/// See `pthread_timedjoin_np(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_timedjoin_np(
    thread: pthread_t,
    result: *mut *mut c_void,
    at: *const timespec,
) -> c_int {
    match adopted(thread) {
        // SAFETY: as the caller vouches.
        Some(fiber) => unsafe { join_until(fiber, result, libc::CLOCK_REALTIME, at) },
        // SAFETY: as the caller vouches.
        None => unsafe { real_timedjoin()(thread, result, at) },
    }
}

/// See `pthread_clockjoin_np(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_clockjoin_np(
    thread: pthread_t,
    result: *mut *mut c_void,
    clock: clockid_t,
    at: *const timespec,
) -> c_int {
    match adopted(thread) {
        // SAFETY: as the caller vouches.
        Some(fiber) => unsafe { join_until(fiber, result, clock, at) },
        // SAFETY: as the caller vouches.
        None => unsafe { real_clockjoin()(thread, result, clock, at) },
    }
}

unsafe fn join_until(
    fiber: FiberRef,
    result: *mut *mut c_void,
    clock: clockid_t,
    at: *const timespec,
) -> c_int {
    let until = (!at.is_null()).then_some((clock, at));
    // SAFETY: null, or a time that the caller passes.
    let deadline = match unsafe { waiting::deadline(until) } {
        Ok(deadline) => deadline,
        Err(number) => return number,
    };
    join(fiber, result, deadline, true)
}

/// See `pthread_detach(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_detach(thread: pthread_t) -> c_int {
    let Some(fiber) = adopted(thread) else {
        // SAFETY: as the caller vouches.
        return unsafe { real_detach()(thread) };
    };
    let state = state(fiber);
    let detached = state.compare_exchange(
        stage::JOINABLE,
        stage::DETACHED,
        Ordering::AcqRel,
        Ordering::Acquire,
    );
    match detached {
        Ok(_) => 0,
        Err(stage::ENDED) => join(fiber, std::ptr::null_mut(), None, false),
        Err(_) => libc::EINVAL,
    }
}
