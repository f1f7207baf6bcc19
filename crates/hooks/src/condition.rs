//! `pthread_cond_*`: entirely in the runtime's table once the runtime has started.
//!
//! A waiter queues itself first and lets the mutex go then, so no signal that follows the unlock can
//! miss it. libc's own state in the object is used for two things only: the attributes (clock,
//! process-shared), and waiters from before the start, whom a signal that finds too few in the table
//! still reaches. The mutex is let go through our unlock: libc's own, inside its `pthread_cond_wait`,
//! would go unseen by those who wait for the mutex in the table.
//!
//! A fiber that timed out and waits again on the same condition keeps its place in the queue.
//! CPython's GIL waits for 5 ms at a time; sent to the end at each time-out, a thread starves.
//!
//! A condition shared between processes is libc's, unless its mutex is private: then all waiters are
//! of this process, and the table serves them. Rejected: moving the waiters of a broadcast to the
//! mutex's queue (the mutex must be in our hands at that moment to know that an unlock will follow).

use std::ffi::c_int;

use libc::{clockid_t, pthread_cond_t, pthread_mutex_t, timespec};
use timestop_fiber::condition::{self, MONOTONIC, SHARED};
use timestop_runtime::futex::{self, Wait};
use timestop_runtime::{FiberRef, Outcome, Reason, is_started};

use crate::thread::cancel;
use crate::waiting::{self, LOOK_AGAIN, Until};
use crate::{call, mutex, real};

type Condition = *mut pthread_cond_t;
type Mutex = *mut pthread_mutex_t;

real! {
    fn real_wait: unsafe extern "C" fn(Condition, Mutex) -> c_int = c"pthread_cond_wait";
    fn real_timedwait: unsafe extern "C" fn(Condition, Mutex, *const timespec) -> c_int = c"pthread_cond_timedwait";
    fn real_clockwait: unsafe extern "C" fn(Condition, Mutex, clockid_t, *const timespec) -> c_int = c"pthread_cond_clockwait";
    fn real_signal: unsafe extern "C" fn(Condition) -> c_int = c"pthread_cond_signal";
    fn real_broadcast: unsafe extern "C" fn(Condition) -> c_int = c"pthread_cond_broadcast";
}

/// Words of a fiber's record: the condition on which it timed out last, and its place there.
const TIMED_OUT_ON: usize = 10;
const TICKET: usize = 11;

fn key(condition: Condition) -> usize {
    condition as usize + LOOK_AGAIN
}

/// # Safety
///
/// `condition` is initialised, and the runtime has started.
unsafe fn attributes(condition: Condition) -> u32 {
    // SAFETY: as the caller vouches; the two bits never change.
    unsafe { waiting::field(condition, condition::attributes()) }
}

/// Whether the table serves this wait.
///
/// # Safety
///
/// Both are initialised.
unsafe fn is_ours(condition: Condition, mutex: Mutex) -> bool {
    // SAFETY: as the caller vouches, and it has started.
    let shared = || unsafe { attributes(condition) } & SHARED != 0;
    // SAFETY: as the caller vouches.
    is_started() && !(shared() && unsafe { mutex::is_shared(mutex) })
}

/// Waits in the table.
///
/// # Safety
///
/// That of `pthread_cond_clockwait`.
unsafe fn wait(condition: Condition, mutex: Mutex, until: Until) -> c_int {
    // SAFETY: as the caller vouches.
    let deadline = match unsafe { waiting::deadline(until) } {
        Ok(deadline) => deadline,
        Err(number) => return number,
    };
    // SAFETY: as the caller vouches.
    if unsafe { mutex::is_anothers(mutex) } {
        return libc::EPERM;
    }
    cancel::point();
    let fiber = call::fiber();
    let ticket = fiber.map_or(0, |fiber| kept_ticket(fiber, condition));
    // A signal may end the wait early, as if woken for no reason: so a request to end is obeyed.
    let what =
        Wait { deadline, ticket, breakable: true, ..Wait::on(key(condition), Reason::Condition) };
    let waited = futex::wait(
        what,
        || true,
        || {
            // SAFETY: as the caller vouches. It can fail only for a mutex that was never locked.
            let _ = unsafe { mutex::unlock(mutex) };
        },
    );
    let timed_out = waited.outcome == Some(Outcome::TimedOut);
    let woken = waited.outcome == Some(Outcome::Woken);
    if let Some(fiber) = fiber {
        keep_ticket(fiber, condition, if woken { 0 } else { waited.ticket });
    }
    // SAFETY: as the caller vouches.
    let locked = unsafe { mutex::lock(mutex, None) };
    if !woken {
        cancel::point(); // with the mutex, as cleanup handlers expect
    }
    if locked == 0 && timed_out { libc::ETIMEDOUT } else { locked }
}

/// The fiber's place on this condition, 0 if it has none.
fn kept_ticket(fiber: FiberRef, condition: Condition) -> u64 {
    if fiber.user_word(TIMED_OUT_ON).get() == condition as usize {
        fiber.user_word(TICKET).get() as u64
    } else {
        0
    }
}

fn keep_ticket(fiber: FiberRef, condition: Condition, ticket: u64) {
    fiber.user_word(TIMED_OUT_ON).set(condition as usize);
    fiber.user_word(TICKET).set(ticket as usize);
}

/// See `pthread_cond_wait(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_cond_wait(condition: Condition, mutex: Mutex) -> c_int {
    // SAFETY: as the caller vouches.
    if unsafe { is_ours(condition, mutex) } {
        // SAFETY: as the caller vouches.
        return unsafe { wait(condition, mutex, None) };
    }
    // SAFETY: as the caller vouches.
    unsafe { real_wait()(condition, mutex) }
}

/// See `pthread_cond_timedwait(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_cond_timedwait(
    condition: Condition,
    mutex: Mutex,
    until: *const timespec,
) -> c_int {
    // SAFETY: as the caller vouches.
    if unsafe { is_ours(condition, mutex) } {
        // SAFETY: as the caller vouches.
        let monotonic = unsafe { attributes(condition) } & MONOTONIC != 0;
        let clock = if monotonic { libc::CLOCK_MONOTONIC } else { libc::CLOCK_REALTIME };
        // SAFETY: as the caller vouches.
        return unsafe { wait(condition, mutex, Some((clock, until))) };
    }
    // SAFETY: as the caller vouches.
    unsafe { real_timedwait()(condition, mutex, until) }
}

/// See `pthread_cond_clockwait(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_cond_clockwait(
    condition: Condition,
    mutex: Mutex,
    clock: clockid_t,
    until: *const timespec,
) -> c_int {
    // SAFETY: as the caller vouches.
    if unsafe { is_ours(condition, mutex) } {
        // SAFETY: as the caller vouches.
        return unsafe { wait(condition, mutex, Some((clock, until))) };
    }
    // SAFETY: as the caller vouches.
    unsafe { real_clockwait()(condition, mutex, clock, until) }
}

/// See `pthread_cond_signal(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_cond_signal(condition: Condition) -> c_int {
    if is_started() && futex::wake(key(condition), 1, futex::ANY) == 1 {
        return 0;
    }
    // Who waits in libc: since before the start, or on a condition that processes share.
    // SAFETY: as the caller vouches.
    unsafe { real_signal()(condition) }
}

/// See `pthread_cond_broadcast(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_cond_broadcast(condition: Condition) -> c_int {
    // libc's first: a waiter woken from the table may destroy the condition.
    // SAFETY: as the caller vouches.
    let answer = unsafe { real_broadcast()(condition) };
    if is_started() {
        futex::wake(key(condition), usize::MAX, futex::ANY);
    }
    answer
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[
    pthread_cond_wait as *const (),
    pthread_cond_timedwait as *const (),
    pthread_cond_clockwait as *const (),
    pthread_cond_signal as *const (),
    pthread_cond_broadcast as *const (),
];
