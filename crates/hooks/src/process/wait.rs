//! Waiting for child processes: `wait`, `waitpid`, `wait3`, `wait4`, `waitid`.
//!
//! One child's end is the readability of its pidfd, for which a fiber waits as for any descriptor.
//! For any child, a group, or stops and continuations, the kernel has nothing to wait for but the
//! call itself: it is made as it is and blocks its OS thread, whose worker moves on (a hand-off).
//!
//! Rejected: a growing sleep between looks (up to 20 ms late for each child); a helper thread in
//! `waitid(P_ALL, WNOWAIT)`, which returns again and again for a child that nobody reaps; SIGCHLD,
//! which the program may ignore or handle, and which tells nothing of whose child it is.

use std::ffi::c_int;

use libc::{id_t, idtype_t, pid_t, rusage, siginfo_t};
use timestop_runtime::FiberRef;
use timestop_runtime::own::Own;
use timestop_runtime::reactor::descriptor::{self, Attempt, Direction, Readiness};

use crate::call::{self, Sysno, answer, fail};
use crate::thread::cancel;
use crate::{signal, system_call};

/// How waiting for one child's end went on.
enum Waited {
    /// Look again.
    Again,
    /// Block instead.
    Cannot,
    /// End with this error.
    Failed(c_int),
}

/// A descriptor for a process, which the program does not see.
fn open_process(process: pid_t) -> Option<Own> {
    // SAFETY: touches no memory.
    let low = unsafe { system_call!(Sysno::pidfd_open, process, 0) }.ok()? as c_int;
    Some(Own::adopt(low))
}

/// Waits until the process behind a descriptor may have ended.
fn wait_for(fiber: FiberRef, attempt: Option<Attempt>) -> Waited {
    let Some(mut attempt) = attempt else {
        return Waited::Cannot;
    };
    match attempt.wait(fiber, None) {
        Readiness::Ready | Readiness::Closed => Waited::Again,
        Readiness::Interrupted => Waited::Failed(libc::EINTR),
        Readiness::Cancelled => Waited::Failed(libc::ECANCELED),
        Readiness::TimedOut => Waited::Failed(libc::ETIMEDOUT),
        Readiness::Unwatchable => Waited::Cannot,
    }
}

/// Makes a call that reaps one child's end, as often as it finds nothing; `None` where blocking is
/// all that helps.
fn reap_one<T>(
    fiber: FiberRef,
    process: pid_t,
    mut look: impl FnMut() -> Result<Option<T>, c_int>,
) -> Option<Result<T, c_int>> {
    let own = open_process(process)?;
    let result = loop {
        let attempt = Attempt::begin(own.number(), Direction::Read);
        match look() {
            Ok(Some(found)) => break Some(Ok(found)),
            Ok(None) => {}
            Err(error) => break Some(Err(error)),
        }
        match wait_for(fiber, attempt) {
            Waited::Again => {}
            Waited::Cannot => break None,
            Waited::Failed(error) => break Some(Err(error)),
        }
    };
    descriptor::forget(own.number());
    own.close();
    result
}

/// See `wait4(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn wait4(
    process: pid_t,
    status: *mut c_int,
    options: c_int,
    usage: *mut rusage,
) -> pid_t {
    let raw = |options: c_int| {
        // SAFETY: as the caller vouches.
        unsafe { system_call!(Sysno::wait4, process, status, options, usage) }
    };
    let Some(fiber) = call::fiber().filter(|_| options & libc::WNOHANG == 0) else {
        return answer(raw(options));
    };
    cancel::point();
    let look = || match raw(options | libc::WNOHANG) {
        Ok(0) => Ok(None),
        Ok(found) => Ok(Some(found)),
        Err(error) => Err(error),
    };
    match look() {
        Ok(None) => {}
        Ok(Some(found)) => return found as pid_t,
        Err(error) => return fail(error),
    }
    if process > 0
        && options & (libc::WUNTRACED | libc::WCONTINUED) == 0
        && let Some(result) = reap_one(fiber, process, look)
    {
        return answer(result);
    }
    answer(signal::block(fiber, || raw(options)))
}

/// See `waitpid(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn waitpid(
    process: pid_t,
    status: *mut c_int,
    options: c_int,
) -> pid_t {
    // SAFETY: as the caller vouches.
    unsafe { wait4(process, status, options, std::ptr::null_mut()) }
}

/// See `wait(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn wait(status: *mut c_int) -> pid_t {
    // SAFETY: as the caller vouches.
    unsafe { wait4(-1, status, 0, std::ptr::null_mut()) }
}

/// See `wait3(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn wait3(
    status: *mut c_int,
    options: c_int,
    usage: *mut rusage,
) -> pid_t {
    // SAFETY: as the caller vouches.
    unsafe { wait4(-1, status, options, usage) }
}

/// See `waitid(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn waitid(
    kind: idtype_t,
    id: id_t,
    info: *mut siginfo_t,
    options: c_int,
) -> c_int {
    let raw = |info: *mut siginfo_t, options: c_int| {
        // SAFETY: as the caller vouches; the last argument is not asked for.
        unsafe { system_call!(Sysno::waitid, kind, id, info, options, 0) }
    };
    let ends_only = options & (libc::WSTOPPED | libc::WCONTINUED) == 0;
    let Some(fiber) = call::fiber().filter(|_| options & libc::WNOHANG == 0) else {
        return answer(raw(info, options));
    };
    cancel::point();
    if kind != libc::P_PID || !ends_only {
        return answer(signal::block(fiber, || raw(info, options)));
    }
    // SAFETY: all-zero is a valid record, and says "nothing yet".
    let empty = || unsafe { std::mem::zeroed::<siginfo_t>() };
    let look = || {
        let mut found = empty();
        raw(&raw mut found, options | libc::WNOHANG)?;
        // SAFETY: the kernel has written a record of a child, or zeros.
        Ok((unsafe { found.si_pid() } != 0).then_some(found))
    };
    let found = match look() {
        Ok(Some(found)) => Ok(found),
        Err(error) => Err(error),
        Ok(None) => match reap_one(fiber, id as pid_t, look) {
            Some(result) => result,
            None => return answer(signal::block(fiber, || raw(info, options))),
        },
    };
    match found {
        Err(error) => fail(error),
        Ok(found) => {
            if !info.is_null() {
                // SAFETY: the caller passes room for a record.
                unsafe { info.write(found) };
            }
            0
        }
    }
}
