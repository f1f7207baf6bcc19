//! `sem_wait`, `sem_timedwait`, `sem_clockwait`, `sem_post`: the real trywait and our waiting, the
//! real post and our wake.
//!
//! Waits end with `EINTR` when a signal comes. Semaphores shared between processes are libc's, and
//! block an OS thread: another process's post would never look into our table.
//!
//! `sem_post` may be called in a signal handler. The real post is one atomic instruction and perhaps
//! a system call; the look at the table that follows is one load where nobody waits. Where somebody
//! does, the wake takes locks of the runtime's. Their holders are counted
//! ([`timestop_fiber::current::depth`]), and no handler runs while the code that it interrupts holds
//! one ([`crate::signal`]).

use std::ffi::c_int;

use libc::{clockid_t, sem_t, timespec};
use timestop_runtime::futex::{self, Wait};
use timestop_runtime::{Reason, is_started};

use crate::call::{self, fail};
use crate::thread::cancel;
use crate::waiting::{self, TRY_AGAIN, Until};
use crate::{real, signal};

type Semaphore = *mut sem_t;

real! {
    fn real_wait: unsafe extern "C" fn(Semaphore) -> c_int = c"sem_wait";
    fn real_trywait: unsafe extern "C" fn(Semaphore) -> c_int = c"sem_trywait";
    fn real_timedwait: unsafe extern "C" fn(Semaphore, *const timespec) -> c_int = c"sem_timedwait";
    fn real_clockwait: unsafe extern "C" fn(Semaphore, clockid_t, *const timespec) -> c_int = c"sem_clockwait";
    fn real_post: unsafe extern "C" fn(Semaphore) -> c_int = c"sem_post";
}

/// `private` in glibc's `struct new_sem`: not 0 if processes share the semaphore.
const SHARED: usize = 8;

fn key(semaphore: Semaphore) -> usize {
    semaphore as usize + TRY_AGAIN
}

/// # Safety
///
/// `semaphore` is initialised.
unsafe fn is_ours(semaphore: Semaphore) -> bool {
    // SAFETY: as the caller vouches.
    is_started() && unsafe { waiting::field(semaphore, SHARED) } == 0
}

/// # Safety
///
/// `semaphore` is initialised, the time of `until` valid memory.
unsafe fn wait(semaphore: Semaphore, until: Until) -> c_int {
    cancel::point();
    let errno = call::errno();
    // SAFETY: as the caller vouches. libc checks the time first, too.
    let deadline = match unsafe { waiting::deadline(until) } {
        Ok(deadline) => deadline,
        Err(number) => return fail(number),
    };
    let attempt = || {
        // SAFETY: as the caller vouches. It fails with EAGAIN only.
        if unsafe { real_trywait()(semaphore) } == 0 { 0 } else { libc::EBUSY }
    };
    let mut answer = attempt();
    if answer == libc::EBUSY {
        let what =
            Wait { deadline, breakable: true, ..Wait::on(key(semaphore), Reason::Semaphore) };
        answer = waiting::acquire(what, attempt);
    }
    call::set_errno(errno);
    if answer == 0 { 0 } else { fail(answer) }
}

/// Makes a call of libc's that blocks the OS thread until a deadline, which is why the kernel does not
/// restart it. A signal of ours, of which no handler of the program's has come, does not end it.
fn go_on_after_ours(call: impl Fn() -> c_int) -> c_int {
    let Some(fiber) = call::fiber_of_any_kind() else { return call() };
    let errno = call::errno();
    let outcome = signal::block(fiber, || {
        call::set_errno(errno); // an attempt that is repeated leaves no trace
        if call() == 0 { Ok(0) } else { Err(call::errno()) }
    });
    outcome.unwrap_or(-1)
}

/// See `sem_wait(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sem_wait(semaphore: Semaphore) -> c_int {
    // SAFETY: as the caller vouches.
    if unsafe { is_ours(semaphore) } {
        // SAFETY: as the caller vouches.
        return unsafe { wait(semaphore, None) };
    }
    // SAFETY: as the caller vouches.
    unsafe { real_wait()(semaphore) }
}

/// See `sem_timedwait(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sem_timedwait(
    semaphore: Semaphore,
    until: *const timespec,
) -> c_int {
    // SAFETY: as the caller vouches.
    if unsafe { is_ours(semaphore) } {
        // SAFETY: as the caller vouches.
        return unsafe { wait(semaphore, Some((libc::CLOCK_REALTIME, until))) };
    }
    // SAFETY: as the caller vouches.
    go_on_after_ours(|| unsafe { real_timedwait()(semaphore, until) })
}

/// See `sem_clockwait(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sem_clockwait(
    semaphore: Semaphore,
    clock: clockid_t,
    until: *const timespec,
) -> c_int {
    // SAFETY: as the caller vouches.
    if unsafe { is_ours(semaphore) } {
        // SAFETY: as the caller vouches.
        return unsafe { wait(semaphore, Some((clock, until))) };
    }
    // SAFETY: as the caller vouches.
    go_on_after_ours(|| unsafe { real_clockwait()(semaphore, clock, until) })
}

/// See `sem_post(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sem_post(semaphore: Semaphore) -> c_int {
    // SAFETY: as the caller vouches.
    let answer = unsafe { real_post()(semaphore) };
    // The semaphore may be gone from here on. The real post is a compare-and-exchange.
    if futex::has_waiters_after_exchange(key(semaphore)) {
        futex::wake(key(semaphore), 1, futex::ANY);
    }
    answer
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[
    sem_wait as *const (),
    sem_timedwait as *const (),
    sem_clockwait as *const (),
    sem_post as *const (),
];
