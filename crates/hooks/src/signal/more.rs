//! Smaller relatives: `siginterrupt`, System V's `sigset` and its kin, and BSD's `sigvec` and its kin,
//! which inside libc would act on the OS thread.

use std::ffi::c_int;
use std::sync::atomic::Ordering;

use libc::sighandler_t;

use super::actions::{self, bit};
use super::{deliver, set_handler, sigaction, sigprocmask, wait};
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
    let Some(fiber) = call::fiber_of_any_kind() else {
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

/// Changes the caller's mask as a number, in which BSD has a bit for each signal below 32.
fn change_number(how: c_int, mask: c_int) -> c_int {
    let (new, mut old) = (actions::set_of(u64::from(mask as u32)), actions::set_of(0));
    // SAFETY: whole sets.
    unsafe { sigprocmask(how, &raw const new, &raw mut old) };
    actions::word_of(&old) as c_int
}

/// See `sigblock(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn sigblock(mask: c_int) -> c_int {
    change_number(libc::SIG_BLOCK, mask)
}

/// See `sigsetmask(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn sigsetmask(mask: c_int) -> c_int {
    change_number(libc::SIG_SETMASK, mask)
}

/// See `siggetmask(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn siggetmask() -> c_int {
    change_number(libc::SIG_BLOCK, 0)
}

/// See `sigpause(3)`: BSD's, with a mask.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn sigpause(mask: c_int) -> c_int {
    let set = actions::set_of(u64::from(mask as u32));
    // SAFETY: a whole set.
    unsafe { wait::sigsuspend(&raw const set) }
}

/// See `sigpause(3p)`: POSIX's, with a signal that is let through. What headers call by that name.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn __xpg_sigpause(signal: c_int) -> c_int {
    if bit(signal) == 0 {
        return fail(libc::EINVAL);
    }
    let mut set = actions::set_of(0);
    // SAFETY: a whole set.
    unsafe { sigprocmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut set) };
    let open = actions::set_of(actions::word_of(&set) & !bit(signal));
    // SAFETY: a whole set.
    unsafe { wait::sigsuspend(&raw const open) }
}

/// The two by the name that older headers give them.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn __sigpause(signal_or_mask: c_int, is_signal: c_int) -> c_int {
    if is_signal != 0 { __xpg_sigpause(signal_or_mask) } else { sigpause(signal_or_mask) }
}

/// `struct sigvec`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Vector {
    handler: sighandler_t,
    mask: c_int,
    flags: c_int,
}

/// Flags of a [`Vector`], and what `sigaction` calls them. Calls go on unless the first is set.
const SV_INTERRUPT: c_int = 2;
const SV: [(c_int, c_int); 2] = [(1, libc::SA_ONSTACK), (4, libc::SA_RESETHAND)];

/// See `sigvec(3)`. No longer in headers; old programs have it.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigvec(signal: c_int, new: *const Vector, old: *mut Vector) -> c_int {
    let before = match actions::change(signal, None) {
        Ok(before) => before,
        Err(number) => return fail(number),
    };
    // SAFETY: null, or a record that the caller passes.
    if let Some(new) = unsafe { new.as_ref() } {
        let flags = SV.iter().filter(|(theirs, _)| new.flags & theirs != 0).map(|(_, ours)| ours);
        let restarts = if new.flags & SV_INTERRUPT == 0 { libc::SA_RESTART } else { 0 };
        let flags = flags.fold(restarts, |all, one| all | one);
        if set_handler(signal, new.handler, flags, u64::from(new.mask as u32)) == libc::SIG_ERR {
            return -1;
        }
    }
    if !old.is_null() {
        let flags =
            SV.iter().filter(|(_, ours)| before.flags & ours != 0).map(|(theirs, _)| theirs);
        let interrupts = if before.flags & libc::SA_RESTART == 0 { SV_INTERRUPT } else { 0 };
        let flags = flags.fold(interrupts, |all, one| all | one);
        let before = Vector { handler: before.handler, mask: before.mask as c_int, flags };
        // SAFETY: the caller passes room for a record.
        unsafe { old.write(before) };
    }
    0
}
