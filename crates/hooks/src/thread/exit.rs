//! Ending before the first function returns: `pthread_exit`, `pthread_cancel`.
//!
//! `pthread_exit` ends the fiber at once: cleanup handlers and C++ destructors on its stack do not
//! run yet.

use std::ffi::{c_int, c_void};

use libc::pthread_t;
use timestop_runtime::{self as runtime, FiberRef, fork, signal};

use super::{adopted, word};
use crate::real;

real! {
    fn real_exit: unsafe extern "C" fn(*mut c_void) -> ! = c"pthread_exit";
    fn real_cancel: unsafe extern "C" fn(pthread_t) -> c_int = c"pthread_cancel";
}

/// See `pthread_exit(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_exit(result: *mut c_void) -> ! {
    match FiberRef::current() {
        Some(fiber) => {
            if signal::main_fiber() == Some(fiber) {
                fork::end_with_last_fiber();
            }
            fiber.user_word(word::RESULT).set(result as usize);
            // SAFETY: as the caller vouches: what is on the stack is given up.
            unsafe { runtime::exit() }
        }
        // SAFETY: as the caller vouches.
        None => unsafe { real_exit()(result) },
    }
}

/// See `pthread_cancel(3)`. Fibers cannot be cancelled this way yet: `ENOSYS`, where libc's own would
/// unwind into another thread's stack.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_cancel(thread: pthread_t) -> c_int {
    match adopted(thread) {
        Some(_) => libc::ENOSYS,
        // SAFETY: as the caller vouches.
        None => unsafe { real_cancel()(thread) },
    }
}
