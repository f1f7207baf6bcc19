//! Sending signals to oneself, and to a thread that may be a fiber: `raise`, `pthread_kill`,
//! `pthread_sigqueue`.

use std::ffi::c_int;

use libc::pthread_t;
use timestop_fiber::{current, slab};
use timestop_runtime::{FiberRef, signal as runtime, sys};

use super::actions::{self, bit};
use super::deliver;
use crate::call::{self, Sysno, fail};
use crate::{real, system_call};

real! {
    fn real_raise: unsafe extern "C" fn(c_int) -> c_int = c"raise";
    fn real_pthread_kill: unsafe extern "C" fn(pthread_t, c_int) -> c_int = c"pthread_kill";
    fn real_pthread_sigqueue: unsafe extern "C" fn(pthread_t, c_int, usize) -> c_int = c"pthread_sigqueue";
}

/// The fiber of a live thread. `Err` where the `pthread_t` is, or was, a fiber's that lives no more.
fn fiber_of(thread: pthread_t) -> Result<Option<FiberRef>, c_int> {
    let own = FiberRef::current().into_iter().chain(runtime::main_fiber());
    if let Some(fiber) = own.into_iter().find(|fiber| fiber.pthread() == thread as usize) {
        return Ok(Some(fiber));
    }
    if slab::containing(thread as usize).is_none() {
        return Ok(None);
    }
    FiberRef::from_pthread(thread as usize).map(Some).ok_or(libc::ESRCH)
}

/// Sends a signal to a fiber: 0, or an error number.
fn send_to(fiber: FiberRef, signal: c_int, code: c_int, value: usize) -> c_int {
    if signal == 0 {
        return 0;
    }
    if bit(signal) == 0 {
        return libc::EINVAL;
    }
    if actions::is_direct(signal) {
        return current::undisturbed(|| {
            let own = Some(fiber) == FiberRef::current();
            let running = if own { None } else { runtime::running_thread(fiber) };
            let thread = running.unwrap_or_else(sys::thread_id);
            // SAFETY: touches no memory.
            let sent = unsafe { system_call!(Sysno::tgkill, sys::process_id(), thread, signal) };
            sent.err().unwrap_or(0)
        });
    }
    let info = deliver::info(signal, code, value);
    if deliver::send(Some(fiber), signal, &info) { 0 } else { libc::EAGAIN }
}

/// See `raise(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn raise(signal: c_int) -> c_int {
    match call::fiber() {
        Some(fiber) if !actions::is_direct(signal) => {
            match send_to(fiber, signal, libc::SI_TKILL, 0) {
                0 => 0,
                number => fail(number),
            }
        }
        // SAFETY: as the caller vouches.
        _ => unsafe { real_raise()(signal) },
    }
}

/// See `pthread_kill(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_kill(thread: pthread_t, signal: c_int) -> c_int {
    match fiber_of(thread) {
        Ok(Some(fiber)) => send_to(fiber, signal, libc::SI_TKILL, 0),
        // SAFETY: as the caller vouches.
        Ok(None) => unsafe { real_pthread_kill()(thread, signal) },
        Err(number) => number,
    }
}

/// See `pthread_sigqueue(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_sigqueue(thread: pthread_t, signal: c_int, value: usize) -> c_int {
    match fiber_of(thread) {
        Ok(Some(fiber)) => send_to(fiber, signal, libc::SI_QUEUE, value),
        // SAFETY: as the caller vouches.
        Ok(None) => unsafe { real_pthread_sigqueue()(thread, signal, value) },
        Err(number) => number,
    }
}
