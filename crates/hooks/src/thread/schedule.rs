//! What a thread is scheduled as: class and priority, affinity, CPU clock.
//!
//! What a fiber changes *of itself* binds it to an OS thread of its own ([`crate::kernel_view`]), of
//! which it then holds; but for the default class, which it has. What one changes of another is
//! remembered and answered, and has no effect unless that one is bound: the kernel schedules OS threads,
//! and the other's runs others too. Real-time classes for such a one are `EPERM`, as for threads without
//! the privilege, which programs know to bear.
//!
//! No clock counts a fiber's CPU time. `pthread_getcpuclockid` answers the process's, which is never
//! less and never runs backwards; `ENOENT`, which POSIX allows, ends most programs that ask.

use std::ffi::c_int;

use libc::{clockid_t, cpu_set_t, pid_t, pthread_t, sched_param};
use timestop_runtime::{FiberRef, signal};

use super::adopted;
use crate::call::Sysno;
use crate::kernel_view::{bind, is_bound};
use crate::{real, system_call};

real! {
    fn real_setschedparam: unsafe extern "C" fn(pthread_t, c_int, *const sched_param) -> c_int = c"pthread_setschedparam";
    fn real_getschedparam: unsafe extern "C" fn(pthread_t, *mut c_int, *mut sched_param) -> c_int = c"pthread_getschedparam";
    fn real_setschedprio: unsafe extern "C" fn(pthread_t, c_int) -> c_int = c"pthread_setschedprio";
    fn real_setaffinity: unsafe extern "C" fn(pthread_t, usize, *const cpu_set_t) -> c_int = c"pthread_setaffinity_np";
    fn real_getaffinity: unsafe extern "C" fn(pthread_t, usize, *mut cpu_set_t) -> c_int = c"pthread_getaffinity_np";
    fn real_getcpuclockid: unsafe extern "C" fn(pthread_t, *mut clockid_t) -> c_int = c"pthread_getcpuclockid";
}

/// Words of a fiber's record: the class that was asked for, and the first CPUs of its set.
const CLASS: usize = 8;
const CPUS: [usize; 2] = [12, 13];

/// The fiber of an adopted thread, or the main fiber.
fn fiber_of(thread: pthread_t) -> Option<FiberRef> {
    let main = || signal::main_fiber().filter(|main| main.pthread() == thread as usize);
    adopted(thread).or_else(main)
}

/// The number of the OS thread that is the fiber's own, as the kernel takes it: 0 for the caller's.
fn thread_of(fiber: FiberRef) -> Option<pid_t> {
    if !is_bound(fiber) {
        return None;
    }
    if FiberRef::current() == Some(fiber) {
        return Some(0);
    }
    signal::running_thread(fiber).map(|thread| thread as pid_t)
}

/// Binds the fiber if it is the caller's; its OS thread, if it has one.
fn bound_thread_of(fiber: FiberRef) -> Result<Option<pid_t>, c_int> {
    if FiberRef::current() == Some(fiber) {
        bind()?;
    }
    Ok(thread_of(fiber))
}

fn error_of(outcome: Result<usize, c_int>) -> c_int {
    outcome.err().unwrap_or(0)
}

fn set_class(fiber: FiberRef, policy: c_int, priority: c_int) -> c_int {
    let real_time = matches!(policy, libc::SCHED_FIFO | libc::SCHED_RR);
    let known =
        real_time || matches!(policy, libc::SCHED_OTHER | libc::SCHED_BATCH | libc::SCHED_IDLE);
    let priorities = if real_time { 1..=99 } else { 0..=0 };
    if !known || !priorities.contains(&priority) {
        return libc::EINVAL;
    }
    let default = policy == libc::SCHED_OTHER;
    let thread = match if default { Ok(thread_of(fiber)) } else { bound_thread_of(fiber) } {
        Ok(thread) => thread,
        Err(error) => return error,
    };
    let Some(thread) = thread else {
        if real_time {
            return libc::EPERM;
        }
        fiber.user_word(CLASS).set(policy as usize);
        return 0;
    };
    let param = sched_param { sched_priority: priority };
    // SAFETY: the kernel reads one record.
    error_of(unsafe { system_call!(Sysno::sched_setscheduler, thread, policy, &raw const param) })
}

/// The class and priority of a fiber.
fn class(fiber: FiberRef) -> (c_int, sched_param) {
    let mut param = sched_param { sched_priority: 0 };
    let Some(thread) = thread_of(fiber) else {
        return (fiber.user_word(CLASS).get() as c_int, param);
    };
    // SAFETY: touches no memory.
    let policy = unsafe { system_call!(Sysno::sched_getscheduler, thread) };
    // SAFETY: the kernel writes one record.
    let _ = unsafe { system_call!(Sysno::sched_getparam, thread, &raw mut param) };
    (policy.unwrap_or(0) as c_int, param)
}

/// See `pthread_setschedparam(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_setschedparam(
    thread: pthread_t,
    policy: c_int,
    param: *const sched_param,
) -> c_int {
    match fiber_of(thread) {
        // SAFETY: the caller passes a record.
        Some(fiber) => set_class(fiber, policy, unsafe { (*param).sched_priority }),
        // SAFETY: as the caller vouches.
        None => unsafe { real_setschedparam()(thread, policy, param) },
    }
}

/// See `pthread_getschedparam(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_getschedparam(
    thread: pthread_t,
    policy: *mut c_int,
    param: *mut sched_param,
) -> c_int {
    let Some(fiber) = fiber_of(thread) else {
        // SAFETY: as the caller vouches.
        return unsafe { real_getschedparam()(thread, policy, param) };
    };
    let (now, priority) = class(fiber);
    // SAFETY: the caller passes room for a number.
    unsafe { policy.write(now) };
    // SAFETY: the caller passes room for a record.
    unsafe { param.write(priority) };
    0
}

/// See `pthread_setschedprio(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_setschedprio(thread: pthread_t, priority: c_int) -> c_int {
    match fiber_of(thread) {
        Some(fiber) => set_class(fiber, class(fiber).0, priority),
        // SAFETY: as the caller vouches.
        None => unsafe { real_setschedprio()(thread, priority) },
    }
}

/// See `pthread_setaffinity_np(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_setaffinity_np(
    thread: pthread_t,
    bytes: usize,
    set: *const cpu_set_t,
) -> c_int {
    let Some(fiber) = fiber_of(thread) else {
        // SAFETY: as the caller vouches.
        return unsafe { real_setaffinity()(thread, bytes, set) };
    };
    match bound_thread_of(fiber) {
        Err(error) => error,
        Ok(Some(thread)) => {
            // SAFETY: as the caller vouches.
            error_of(unsafe { system_call!(Sysno::sched_setaffinity, thread, bytes, set) })
        }
        Ok(None) => {
            let mut words = [0_u64; CPUS.len()];
            let known = bytes.min(size_of_val(&words));
            // SAFETY: the caller's set is that long, and so is ours.
            unsafe {
                std::ptr::copy_nonoverlapping(set.cast::<u8>(), words.as_mut_ptr().cast(), known);
            }
            if words == [0; CPUS.len()] {
                return libc::EINVAL; // no CPU, or none that we know
            }
            for (index, word) in CPUS.into_iter().zip(words) {
                fiber.user_word(index).set(word as usize);
            }
            0
        }
    }
}

/// See `pthread_getaffinity_np(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_getaffinity_np(
    thread: pthread_t,
    bytes: usize,
    set: *mut cpu_set_t,
) -> c_int {
    let Some(fiber) = fiber_of(thread) else {
        // SAFETY: as the caller vouches.
        return unsafe { real_getaffinity()(thread, bytes, set) };
    };
    let kept = CPUS.map(|index| fiber.user_word(index).get() as u64);
    let own = thread_of(fiber);
    let written = if own.is_none() && kept != [0; CPUS.len()] {
        let known = bytes.min(size_of_val(&kept));
        // SAFETY: the caller's set is that long, and so is ours.
        unsafe {
            std::ptr::copy_nonoverlapping(kept.as_ptr().cast(), set.cast::<u8>(), known);
        }
        known
    } else {
        // An OS thread that runs fibers may run wherever the process may.
        let thread = own.unwrap_or(timestop_runtime::sys::process_id() as pid_t);
        // SAFETY: as the caller vouches.
        match unsafe { system_call!(Sysno::sched_getaffinity, thread, bytes, set) } {
            Ok(written) => written,
            Err(error) => return error,
        }
    };
    let rest = set.cast::<u8>().wrapping_add(written);
    // SAFETY: the rest of the caller's set, which libc clears too.
    unsafe { rest.write_bytes(0, bytes - written) };
    0
}

/// See `pthread_getcpuclockid(3)`. Of a fiber: the process's clock.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_getcpuclockid(thread: pthread_t, clock: *mut clockid_t) -> c_int {
    if fiber_of(thread).is_none() {
        // SAFETY: as the caller vouches.
        return unsafe { real_getcpuclockid()(thread, clock) };
    }
    // SAFETY: the caller passes room for a number.
    unsafe { clock.write(libc::CLOCK_PROCESS_CPUTIME_ID) };
    0
}
