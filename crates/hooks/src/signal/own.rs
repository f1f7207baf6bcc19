//! Signals that the program sends to its own process: `kill`, `killpg`, `sigqueue`,
//! `pidfd_send_signal`.
//!
//! POSIX promises the handler before the call returns where only the caller takes the signal, and the
//! kernel keeps that for main even if others could. But the kernel's main is the process's first OS
//! thread, and where our main fiber runs is another matter. So such a signal makes no round through
//! the kernel: it is put with those that are pending, and the caller's handlers run.
//!
//! What goes to a whole group of processes the kernel must send; the call then waits until it has
//! come here too.

use std::ffi::c_int;

use libc::{pid_t, siginfo_t};
use timestop_runtime::{FiberRef, sys};

use super::{actions, deliver};
use crate::call::{self, Sysno, answer, fail};
use crate::system_call;

/// How long to wait for a signal that the kernel has sent, in nanoseconds: not for ever, since its
/// action may have changed meanwhile.
const PATIENCE: u64 = 100_000_000;

/// Whether a signal from a fiber to its own process is ours to deal with: where the shim stands in, it
/// has a handler, or a default that a fiber blocks.
fn is_ours(signal: c_int) -> bool {
    call::fiber().is_some() && !actions::is_direct(signal) && actions::is_shimmed(signal)
}

/// Sends a signal to the own process.
fn send(signal: c_int, info: &siginfo_t) -> c_int {
    if deliver::send(None, signal, info) { 0 } else { fail(libc::EAGAIN) }
}

fn is_own(process: pid_t) -> bool {
    process as u32 == sys::process_id()
}

/// Whether `kill` with this number means the own process among others.
fn means_own_group(process: pid_t) -> bool {
    // SAFETY: touches no memory.
    let own = || unsafe { system_call!(Sysno::getpgid, 0) };
    process == 0 || process < -1 && own() == Ok(process.unsigned_abs() as usize)
}

/// Makes a call that has the kernel send `signal` to this process too, and waits until it is here.
fn arriving(signal: c_int, call: impl FnOnce() -> Result<usize, c_int>) -> c_int {
    let before = deliver::arrived(signal);
    let outcome = call();
    if outcome.is_ok() {
        let deadline = sys::now() + PATIENCE;
        while deliver::arrived(signal) == before && sys::now() < deadline {
            sys::yield_thread();
        }
        if let Some(fiber) = FiberRef::current() {
            deliver::take(fiber);
        }
    }
    answer(outcome)
}

/// See `kill(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn kill(process: pid_t, signal: c_int) -> c_int {
    // SAFETY: touches no memory.
    let call = || unsafe { system_call!(Sysno::kill, process, signal) };
    if is_own(process) && is_ours(signal) {
        send(signal, &deliver::info(signal, libc::SI_USER, 0))
    } else if means_own_group(process) && is_ours(signal) {
        arriving(signal, call)
    } else {
        answer(call())
    }
}

/// See `killpg(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn killpg(group: pid_t, signal: c_int) -> c_int {
    if group < 0 { fail(libc::EINVAL) } else { kill(-group, signal) }
}

/// See `sigqueue(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn sigqueue(process: pid_t, signal: c_int, value: usize) -> c_int {
    let info = deliver::info(signal, libc::SI_QUEUE, value);
    if is_own(process) && is_ours(signal) {
        return send(signal, &info);
    }
    // SAFETY: the kernel reads one record.
    answer(unsafe { system_call!(Sysno::rt_sigqueueinfo, process, signal, &raw const info) })
}

/// See `pidfd_send_signal(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pidfd_send_signal(
    process: c_int,
    signal: c_int,
    info: *mut siginfo_t,
    flags: u32,
) -> c_int {
    if info.is_null() && flags == 0 && is_ours(signal) && is_own_process(process) {
        return send(signal, &deliver::info(signal, libc::SI_USER, 0));
    }
    // SAFETY: as the caller vouches.
    answer(unsafe { system_call!(Sysno::pidfd_send_signal, process, signal, info, flags) })
}

/// Whether a descriptor stands for this process: the kernel takes a pidfd, of which `fdinfo` tells the
/// number, and a directory of `/proc`.
fn is_own_process(descriptor: c_int) -> bool {
    number_of(descriptor) == Some(sys::process_id()) || is_own_directory(descriptor)
}

/// The number of the process that a pidfd stands for.
fn number_of(descriptor: c_int) -> Option<u32> {
    let path = fdinfo(u32::try_from(descriptor).ok()?);
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: a C string.
    let file =
        unsafe { system_call!(Sysno::openat, libc::AT_FDCWD, path.as_ptr(), flags, 0) }.ok()?;
    let mut text = [0_u8; 512];
    // SAFETY: the kernel writes at most that many bytes.
    let read = unsafe { system_call!(Sysno::read, file, text.as_mut_ptr(), text.len()) };
    // SAFETY: opened above, and nobody else knows it.
    let _ = unsafe { system_call!(Sysno::close, file) };
    let text = text.get(..read.ok()?)?;
    let number = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Pid:\t"))?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// The path of what `/proc` tells of a descriptor, as a C string.
fn fdinfo(mut descriptor: u32) -> [u8; 32] {
    const START: &[u8] = b"/proc/self/fdinfo/";
    let mut path = [0; 32];
    path[..START.len()].copy_from_slice(START);
    let count = descriptor.checked_ilog10().unwrap_or(0) as usize + 1;
    for place in path[START.len()..START.len() + count].iter_mut().rev() {
        *place = b'0' + (descriptor % 10) as u8;
        descriptor /= 10;
    }
    path
}

/// Whether a descriptor is the directory that `/proc` has for this process.
fn is_own_directory(descriptor: c_int) -> bool {
    // SAFETY: all-zero is a valid record.
    let mut given: libc::stat = unsafe { std::mem::zeroed() };
    let mut own = given;
    // SAFETY: writes one record.
    let known = unsafe { system_call!(Sysno::fstat, descriptor, &raw mut given) }.is_ok();
    // SAFETY: a C string; writes one record.
    let there = unsafe { system_call!(Sysno::stat, c"/proc/self".as_ptr(), &raw mut own) }.is_ok();
    known && there && (given.st_dev, given.st_ino) == (own.st_dev, own.st_ino)
}
