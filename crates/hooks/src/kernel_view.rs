//! Calls that change what the kernel knows *of the calling OS thread*: namespaces, capabilities, the
//! file system's user, filters of system calls, affinity, scheduling class.
//!
//! Such a change must hold for the fiber that made it, for as long as it lives, and for no other. So
//! the fiber is bound first ([`bind`]): it stays on its OS thread for ever, that thread runs no other
//! fiber any more, and ends with it. From then on the fiber is what a thread is, with a thread's
//! costs. The same calls made through `syscall` are found by their number ([`is_one`]).
//!
//! Where no OS thread is left to take over the others' work (`TIMESTOP_CARRIERS`), the call fails with
//! `EAGAIN`. Not covered: `setpriority` and `nice`, which on Linux are the OS thread's too.

use std::ffi::{c_int, c_long, c_ulong, c_void};

use libc::{cpu_set_t, gid_t, pid_t, sched_param, uid_t};

use crate::call::{self, Sysno, answer, fail};
use crate::ptrace::is_by_tracer;
use crate::system_call;
use crate::thread::about::gettid;

/// A word of a fiber's record: 1 if it is bound.
const BOUND: usize = 7;

/// Whether the fiber has an OS thread of its own.
pub(crate) fn is_bound(fiber: timestop_runtime::FiberRef) -> bool {
    fiber.user_word(BOUND).get() != 0
}

/// Gives the calling fiber its OS thread for itself, until its end. Nothing on an OS thread.
pub(crate) fn bind() -> Result<(), c_int> {
    let Some(fiber) = call::fiber_of_any_kind().filter(|fiber| !is_bound(*fiber)) else {
        return Ok(());
    };
    fiber.pin();
    if timestop_runtime::retire(fiber).is_err() {
        fiber.unpin();
        return Err(libc::EAGAIN);
    }
    fiber.user_word(BOUND).set(1);
    Ok(())
}

/// The number by which the kernel knows the thread that is meant, if that is the calling one.
fn own(thread: pid_t) -> bool {
    thread == 0 || thread == gettid()
}

/// The first argument of a system call, with the calling fiber's own number, which the kernel does not
/// know, replaced by 0.
pub(crate) fn thread_argument(number: c_long, first: usize) -> usize {
    let by_thread = matches!(
        number,
        libc::SYS_sched_setaffinity
            | libc::SYS_sched_getaffinity
            | libc::SYS_sched_setattr
            | libc::SYS_sched_getattr
            | libc::SYS_sched_setparam
            | libc::SYS_sched_getparam
            | libc::SYS_sched_setscheduler
            | libc::SYS_sched_getscheduler
    );
    if by_thread && own(first as pid_t) { 0 } else { first }
}

/// Whether a system call changes the kernel's view of the calling thread.
pub(crate) fn is_one(number: c_long, first: usize) -> bool {
    match number {
        libc::SYS_prctl => is_of_the_thread(first as c_int),
        libc::SYS_ptrace => is_by_tracer(first),
        libc::SYS_sched_setaffinity
        | libc::SYS_sched_setattr
        | libc::SYS_sched_setparam
        | libc::SYS_sched_setscheduler => own(first as pid_t),
        _ => matches!(
            number,
            libc::SYS_setns
                | libc::SYS_unshare
                | libc::SYS_setfsuid
                | libc::SYS_setfsgid
                | libc::SYS_capset
                | libc::SYS_seccomp
                | libc::SYS_landlock_restrict_self
                | libc::SYS_set_mempolicy
                // Of one thread, where libc's functions change all.
                | libc::SYS_setuid
                | libc::SYS_setgid
                | libc::SYS_setreuid
                | libc::SYS_setregid
                | libc::SYS_setresuid
                | libc::SYS_setresgid
                | libc::SYS_setgroups
        ),
    }
}

/// Whether an operation of `prctl` changes the calling thread alone.
fn is_of_the_thread(option: c_int) -> bool {
    matches!(
        option,
        libc::PR_SET_SECCOMP
            | libc::PR_SET_NO_NEW_PRIVS
            | libc::PR_SET_SECUREBITS
            | libc::PR_SET_KEEPCAPS
            | libc::PR_CAPBSET_DROP
            | libc::PR_CAP_AMBIENT
            | libc::PR_SET_TIMERSLACK
    )
}

/// Binds the fiber, then makes the call.
fn bound(call: impl FnOnce() -> Result<usize, c_int>) -> c_int {
    match bind() {
        Ok(()) => answer(call()),
        Err(error) => fail(error),
    }
}

/// See `setns(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn setns(descriptor: c_int, kind: c_int) -> c_int {
    // SAFETY: touches no memory.
    bound(|| unsafe { system_call!(Sysno::setns, descriptor, kind) })
}

/// See `unshare(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn unshare(flags: c_int) -> c_int {
    // SAFETY: touches no memory.
    bound(|| unsafe { system_call!(Sysno::unshare, flags) })
}

/// See `setfsuid(2)`. It cannot fail; where the fiber cannot be bound, nothing is changed.
#[unsafe(no_mangle)]
pub extern "C" fn setfsuid(user: uid_t) -> c_int {
    let user = if user == uid_t::MAX || bind().is_ok() { user } else { uid_t::MAX };
    // SAFETY: touches no memory. A user that is none changes nothing.
    answer(unsafe { system_call!(Sysno::setfsuid, user) })
}

/// See `setfsgid(2)`. It cannot fail; where the fiber cannot be bound, nothing is changed.
#[unsafe(no_mangle)]
pub extern "C" fn setfsgid(group: gid_t) -> c_int {
    let group = if group == gid_t::MAX || bind().is_ok() { group } else { gid_t::MAX };
    // SAFETY: touches no memory. A group that is none changes nothing.
    answer(unsafe { system_call!(Sysno::setfsgid, group) })
}

/// See `capset(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn capset(header: *mut c_void, data: *const c_void) -> c_int {
    // SAFETY: as the caller vouches.
    bound(|| unsafe { system_call!(Sysno::capset, header, data) })
}

/// See `prctl(2)`. Variadic in C, with numbers and addresses.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prctl(
    option: c_int,
    second: c_ulong,
    third: c_ulong,
    fourth: c_ulong,
    fifth: c_ulong,
) -> c_int {
    // SAFETY: as the caller vouches.
    let call = || unsafe { system_call!(Sysno::prctl, option, second, third, fourth, fifth) };
    if is_of_the_thread(option) { bound(call) } else { answer(call()) }
}

/// Binds the fiber if it means itself, and makes a call by thread number.
fn of_thread(thread: pid_t, call: impl FnOnce(pid_t) -> Result<usize, c_int>) -> c_int {
    if own(thread) { bound(|| call(0)) } else { answer(call(thread)) }
}

/// See `sched_setaffinity(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sched_setaffinity(
    thread: pid_t,
    bytes: usize,
    set: *const cpu_set_t,
) -> c_int {
    of_thread(thread, |thread| {
        // SAFETY: as the caller vouches.
        unsafe { system_call!(Sysno::sched_setaffinity, thread, bytes, set) }
    })
}

/// See `sched_setscheduler(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sched_setscheduler(
    thread: pid_t,
    policy: c_int,
    param: *const sched_param,
) -> c_int {
    of_thread(thread, |thread| {
        // SAFETY: as the caller vouches.
        unsafe { system_call!(Sysno::sched_setscheduler, thread, policy, param) }
    })
}

/// See `sched_setparam(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sched_setparam(thread: pid_t, param: *const sched_param) -> c_int {
    of_thread(thread, |thread| {
        // SAFETY: as the caller vouches.
        unsafe { system_call!(Sysno::sched_setparam, thread, param) }
    })
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[
    setns as *const (),
    unshare as *const (),
    setfsuid as *const (),
    setfsgid as *const (),
    capset as *const (),
    prctl as *const (),
    sched_setaffinity as *const (),
    sched_setscheduler as *const (),
    sched_setparam as *const (),
];
