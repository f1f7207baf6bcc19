//! Smaller relatives: `siginterrupt`, and System V's `sigset` and its kin, which
//! inside libc would act on the OS thread.

use std::ffi::c_int;
use std::sync::atomic::Ordering;

use libc::sighandler_t;

use super::actions::{self, bit};
use super::{deliver, sigaction, sigprocmask};
use crate::call::{self, fail};
use crate::real;

/// `SIG_HOLD` of signal.h.
const SIG_HOLD: sighandler_t = 2;

real! {
    fn real_sigset: unsafe extern "C" fn(c_int, sighandler_t) -> sighandler_t = c"sigset";
}

/// See `siginterrupt(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn siginterrupt(signal: c_int, interrupts: c_int) -> c_int {
    match actions::change(signal, None) {
        Err(number) => fail(number),
        Ok(mut action) => {
            if interrupts != 0 {
                action.flags &= !libc::SA_RESTART;
            } else {
                action.flags |= libc::SA_RESTART;
            }
            let record = actions::to_record(action);
            // SAFETY: a whole record.
            unsafe { sigaction(signal, &raw const record, std::ptr::null_mut()) }
        }
    }
}

fn one(how: c_int, signal: c_int) -> c_int {
    if bit(signal) == 0 {
        return fail(libc::EINVAL);
    }
    let set = actions::set_of(bit(signal));
    // SAFETY: a whole set.
    unsafe { sigprocmask(how, &raw const set, std::ptr::null_mut()) }
}

/// See `sighold(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn sighold(signal: c_int) -> c_int {
    one(libc::SIG_BLOCK, signal)
}

/// See `sigrelse(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn sigrelse(signal: c_int) -> c_int {
    one(libc::SIG_UNBLOCK, signal)
}

/// See `sigignore(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn sigignore(signal: c_int) -> c_int {
    super::set_handler_plain(signal, libc::SIG_IGN)
}

/// See `sigset(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigset(signal: c_int, handler: sighandler_t) -> sighandler_t {
    let Some(fiber) = call::fiber() else {
        // SAFETY: as the caller vouches.
        return unsafe { real_sigset()(signal, handler) };
    };
    let held = deliver::mask(fiber).load(Ordering::Relaxed) & bit(signal) != 0;
    let before = match actions::change(signal, None) {
        Ok(action) => action.handler,
        Err(number) => {
            call::set_errno(number);
            return libc::SIG_ERR;
        }
    };
    if handler == SIG_HOLD {
        sighold(signal);
    } else if super::set_handler_plain(signal, handler) != 0 {
        return libc::SIG_ERR;
    } else {
        sigrelse(signal);
    }
    if held { SIG_HOLD } else { before }
}
