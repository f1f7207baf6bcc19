//! Waiting for signals: `sigwait`, `sigtimedwait`, `sigsuspend`, `pause`.
//!
//! A fiber says which signals it awaits, so that they are brought to it although it blocks them; what
//! wakes it is the pending signal itself, which it then takes out of the table. A pinned one does the same,
//! asleep in the kernel: a signal to the process may come by another OS thread.

use std::ffi::c_int;
use std::sync::atomic::Ordering;

use libc::{siginfo_t, sigset_t, timespec};
use timestop_runtime::{FiberRef, Outcome, Reason, sys, wait_until};

use super::actions::{self, Set};
use super::{deliver, open_while, pending, unless_come, wait_in_kernel, wait_under_mask};
use crate::call::{self, Sysno, answer, fail, nanoseconds};
use crate::system_call;
use crate::thread::cancel;

/// Waits for one of `set` and takes it.
fn wait_for(fiber: FiberRef, set: Set, deadline: Option<u64>) -> Result<(c_int, siginfo_t), c_int> {
    actions::keep(set, true);
    deliver::AWAITED_EVER.fetch_or(set, Ordering::Relaxed);
    let awaited = deliver::awaited(fiber);
    awaited.store(set, Ordering::Relaxed);
    let come = || pending::of(fiber, set) != 0;
    let taken = open_while(|| {
        loop {
            if let Some(taken) = pending::take(fiber, set) {
                return Ok(taken);
            }
            if deadline == Some(0) {
                return Err(libc::EAGAIN);
            }
            let waited = if fiber.may_suspend() {
                wait_until(fiber, Reason::Signal, 0, deadline, true, come)
            } else {
                wait_pinned(fiber, deadline, come)
            };
            match waited {
                Outcome::Woken => {}
                Outcome::TimedOut => return Err(libc::EAGAIN),
                other => return Err(call::error_of(other)),
            }
        }
    });
    awaited.store(0, Ordering::Relaxed);
    taken
}

/// As [`wait_until`], for a pinned fiber.
fn wait_pinned(fiber: FiberRef, deadline: Option<u64>, come: impl Fn() -> bool) -> Outcome {
    let handled = fiber.handled();
    loop {
        let now = sys::now();
        if come() {
            return Outcome::Woken;
        } else if fiber.handled() != handled {
            return Outcome::Interrupted;
        } else if deadline.is_some_and(|deadline| deadline <= now) {
            return Outcome::TimedOut;
        }
        let time = deadline.map(|deadline| timespec {
            tv_sec: ((deadline - now) / 1_000_000_000) as i64,
            tv_nsec: ((deadline - now) % 1_000_000_000) as i64,
        });
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let sleep = |mask: *const Set| {
            // SAFETY: reads a time and a mask.
            unsafe { system_call!(Sysno::ppoll, 0, 0, time, mask, 8) }
        };
        let due =
            || come() || pending::of(fiber, !deliver::mask(fiber).load(Ordering::Relaxed)) != 0;
        let _ = unless_come(due, sleep);
        deliver::take(fiber);
    }
}

/// See `sigtimedwait(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sigtimedwait(
    set: *const sigset_t,
    info: *mut siginfo_t,
    time: *const timespec,
) -> c_int {
    let Some(fiber) = call::fiber_of_any_kind() else {
        // SAFETY: as the caller vouches.
        return answer(unsafe { system_call!(Sysno::rt_sigtimedwait, set, info, time, 8) });
    };
    cancel::point();
    // SAFETY: null, or a time that the caller passes.
    let deadline = match unsafe { time.as_ref() }.map(nanoseconds) {
        None => None,
        Some(None) => return fail(libc::EINVAL),
        Some(Some(0)) => Some(0),
        Some(Some(length)) => Some(sys::now().saturating_add(length)),
    };
    // SAFETY: the caller passes a set.
    match wait_for(fiber, actions::word_of(unsafe { &*set }), deadline) {
        Err(number) => fail(number),
        Ok((signal, come)) => {
            if !info.is_null() {
                // SAFETY: the caller passes room for it.
                unsafe { info.write(come) };
            }
            signal
        }
    }
}

/// See `sigwaitinfo(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sigwaitinfo(set: *const sigset_t, info: *mut siginfo_t) -> c_int {
    // SAFETY: as the caller vouches.
    unsafe { sigtimedwait(set, info, std::ptr::null()) }
}

/// See `sigwait(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sigwait(set: *const sigset_t, signal: *mut c_int) -> c_int {
    let errno = call::errno();
    loop {
        // SAFETY: as the caller vouches.
        let taken = unsafe { sigtimedwait(set, std::ptr::null_mut(), std::ptr::null()) };
        let number = call::errno();
        call::set_errno(errno);
        if taken > 0 {
            // SAFETY: the caller passes room for it.
            unsafe { signal.write(taken) };
            return 0;
        }
        if number != libc::EINTR {
            return number;
        }
    }
}

/// See `sigsuspend(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sigsuspend(set: *const sigset_t) -> c_int {
    let Some(fiber) = call::fiber() else {
        // SAFETY: as the caller vouches.
        let wait = |mask| unsafe { system_call!(Sysno::rt_sigsuspend, mask, 8) };
        // SAFETY: as the caller vouches.
        return answer(unsafe { wait_in_kernel(set, wait) });
    };
    cancel::point();
    // SAFETY: the caller passes a set.
    let ended = wait_under_mask(fiber, unsafe { &*set }, || wait_for_handler(fiber));
    fail(call::error_of(ended.unwrap_or(Outcome::Interrupted)))
}

fn wait_for_handler(fiber: FiberRef) -> Outcome {
    wait_until(fiber, Reason::Signal, 0, None, true, || false)
}

/// See `pause(2)`.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pause() -> c_int {
    let Some(fiber) = call::fiber() else {
        // SAFETY: touches no memory.
        return answer(unsafe { system_call!(Sysno::pause) });
    };
    cancel::point();
    fail(call::error_of(open_while(|| wait_for_handler(fiber))))
}
