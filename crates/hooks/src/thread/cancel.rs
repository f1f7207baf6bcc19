//! `pthread_cancel`: a request that the fiber itself obeys, at its next *cancellation point*.
//!
//! The request is a bit in a word of the fiber's, and ends the fiber's wait as a signal does. Hooks that
//! POSIX calls cancellation points look at it when they begin ([`is_due`], through `io::check`) and
//! when a wait has ended with `EINTR` ([`point`], through `call::fail`): a call that has done something
//! says so, and the next one obeys. Then the fiber ends as by `pthread_exit`, with
//! `PTHREAD_CANCELED`.
//!
//! Asynchronous cancelability is accepted and acts at the next cancellation point: nothing interrupts
//! a fiber in the middle of its own code. No cancellation points are calls that no hook knows, calls
//! within libc (stdio), and waits that block the OS thread (a pinned fiber, regular
//! files): the request is obeyed at the next one.
//!
//! Not to be mixed up with the crate's `JoinHandle::cancel`, which makes I/O fail and unwinds nothing.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::pthread_t;
use timestop_runtime::{FiberRef, signal, unpark};

use super::{adopted, exit, stage, state, word};
use crate::{call, real};

real! {
    fn real_cancel: unsafe extern "C" fn(pthread_t) -> c_int = c"pthread_cancel";
    fn real_testcancel: unsafe extern "C-unwind" fn() = c"pthread_testcancel";
    fn real_setcancelstate: unsafe extern "C-unwind" fn(c_int, *mut c_int) -> c_int = c"pthread_setcancelstate";
    fn real_setcanceltype: unsafe extern "C-unwind" fn(c_int, *mut c_int) -> c_int = c"pthread_setcanceltype";
}

/// Bits of a fiber's word.
mod bit {
    pub(super) const REQUESTED: u32 = 1;
    pub(super) const DISABLED: u32 = 2;
    pub(super) const ASYNCHRONOUS: u32 = 4;
    /// It is ending already.
    pub(super) const EXITING: u32 = 8;
}

/// `PTHREAD_CANCELED`.
const CANCELED: usize = usize::MAX;

fn bits(fiber: FiberRef) -> &'static AtomicU32 {
    let word = fiber.user_word(word::CANCEL).as_ptr();
    // SAFETY: the word is 8-aligned, lives for ever, and is used as this atomic only.
    unsafe { AtomicU32::from_ptr(word.cast()) }
}

/// Whether the fiber is to end at its next cancellation point.
#[inline]
pub(crate) fn is_due(fiber: FiberRef) -> bool {
    bits(fiber).load(Ordering::Relaxed) & (bit::REQUESTED | bit::DISABLED | bit::EXITING)
        == bit::REQUESTED
}

/// A cancellation point: does not return where the calling fiber is to end.
#[inline]
pub(crate) fn point() {
    if let Some(fiber) = call::fiber_of_any_kind().filter(|fiber| is_due(*fiber)) {
        obey(fiber);
    }
}

#[cold]
fn obey(fiber: FiberRef) -> ! {
    // SAFETY: between the program's code and here are hooks, which leave nothing behind.
    unsafe { exit::end(fiber, CANCELED as *mut _) }
}

/// Runs `body`, in which the calling fiber obeys no request.
pub(crate) fn held<R>(body: impl FnOnce() -> R) -> R {
    let Some(fiber) = call::fiber_of_any_kind() else { return body() };
    let before = bits(fiber).fetch_or(bit::DISABLED, Ordering::Relaxed);
    let result = body();
    if before & bit::DISABLED == 0 {
        bits(fiber).fetch_and(!bit::DISABLED, Ordering::Relaxed);
    }
    result
}

/// The fiber begins to end: requests no longer matter.
pub(super) fn begin_exit(fiber: FiberRef) {
    bits(fiber).fetch_or(bit::EXITING, Ordering::Relaxed);
}

/// See `pthread_cancel(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_cancel(thread: pthread_t) -> c_int {
    let main = || signal::main_fiber().filter(|main| main.pthread() == thread as usize);
    let Some(fiber) = adopted(thread).or_else(main) else {
        // SAFETY: as the caller vouches.
        return unsafe { real_cancel()(thread) };
    };
    if matches!(state(fiber).load(Ordering::Acquire), stage::ENDED | stage::TAKEN) {
        return 0;
    }
    let before = bits(fiber).fetch_or(bit::REQUESTED, Ordering::AcqRel);
    if FiberRef::current() == Some(fiber) {
        if before & bit::ASYNCHRONOUS != 0 {
            point();
        }
    } else if before & (bit::REQUESTED | bit::EXITING) == 0 {
        fiber.set_interrupted(true);
        unpark(fiber);
    }
    0
}

/// See `pthread_testcancel(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_testcancel() {
    if call::fiber_of_any_kind().is_some() {
        return point();
    }
    // SAFETY: as the caller vouches.
    unsafe { real_testcancel()() }
}

/// Sets or clears a bit of the calling fiber's word; the value that it stood for before.
///
/// # Safety
///
/// `old` is null or has room.
unsafe fn set(fiber: FiberRef, which: u32, value: c_int, old: *mut c_int) -> c_int {
    let word = bits(fiber);
    let before = match value {
        0 => word.fetch_and(!which, Ordering::AcqRel),
        1 => word.fetch_or(which, Ordering::AcqRel),
        _ => return libc::EINVAL,
    };
    if !old.is_null() {
        // SAFETY: as the caller vouches.
        unsafe { old.write(c_int::from(before & which != 0)) };
    }
    if word.load(Ordering::Relaxed) & bit::ASYNCHRONOUS != 0 {
        point();
    }
    0
}

/// See `pthread_setcancelstate(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_setcancelstate(value: c_int, old: *mut c_int) -> c_int {
    match call::fiber_of_any_kind() {
        // SAFETY: as the caller vouches.
        Some(fiber) => unsafe { set(fiber, bit::DISABLED, value, old) },
        // SAFETY: as the caller vouches.
        None => unsafe { real_setcancelstate()(value, old) },
    }
}

/// See `pthread_setcanceltype(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_setcanceltype(value: c_int, old: *mut c_int) -> c_int {
    match call::fiber_of_any_kind() {
        // SAFETY: as the caller vouches.
        Some(fiber) => unsafe { set(fiber, bit::ASYNCHRONOUS, value, old) },
        // SAFETY: as the caller vouches.
        None => unsafe { real_setcanceltype()(value, old) },
    }
}
