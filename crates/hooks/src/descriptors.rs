//! Numbers that come and go: `close`, `dup2`, `fcntl`, `fclose` …
//!
//! A number that is closed, or becomes another file, is forgotten *before* the kernel frees it:
//! afterwards another thread may have it already. The runtime's own descriptors are not there for
//! the program: it cannot close them, and who wants one of their numbers gets it
//! (`timestop_runtime::own`).

use std::ffi::{c_char, c_int, c_uint};

use libc::FILE;
use timestop_runtime::own;
use timestop_runtime::reactor::descriptor::{forget, mode_changed, shared};

use crate::call::{self, Sysno, answer, fail};
use crate::{real, system_call};

real! {
    fn real_fclose: unsafe extern "C" fn(*mut FILE) -> c_int = c"fclose";
    fn real_freopen: unsafe extern "C" fn(*const c_char, *const c_char, *mut FILE) -> *mut FILE = c"freopen";
    fn real_freopen64: unsafe extern "C" fn(*const c_char, *const c_char, *mut FILE) -> *mut FILE = c"freopen64";
}

/// A child of `vfork` runs in our memory but has its own descriptors: what it closes is not ours.
pub(crate) fn ours() -> bool {
    !timestop_fiber::current::is_lent()
}

fn forget_ours(descriptor: c_int) {
    if ours() {
        forget(descriptor);
    }
}

/// See `close(2)`. Whoever waits for the descriptor fails with `EBADF`.
#[unsafe(no_mangle)]
pub extern "C" fn close(descriptor: c_int) -> c_int {
    if ours() {
        if own::is_own(descriptor) {
            return fail(libc::EBADF);
        }
        forget(descriptor);
    }
    // SAFETY: what the caller asks for.
    answer(unsafe { system_call!(Sysno::close, descriptor) })
}

/// glibc's second name of [`close`].
#[unsafe(no_mangle)]
pub extern "C" fn __close(descriptor: c_int) -> c_int {
    close(descriptor)
}

/// See `close_range(2)`. The runtime's own descriptors stay.
#[unsafe(no_mangle)]
pub extern "C" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    const UNSHARE_OR_CLOEXEC: c_int = 2 | 4;
    // SAFETY: what the caller asks for.
    let call = |first, last| unsafe { system_call!(Sysno::close_range, first, last, flags) };
    if flags & UNSHARE_OR_CLOEXEC != 0 || first > last || !ours() {
        return answer(call(first, last));
    }
    for descriptor in first..=last.min(1 << 20) {
        if !own::is_own(descriptor as c_int) {
            forget(descriptor as c_int);
        }
    }
    let mut from = first;
    while let Some(own) = own::next(from).filter(|own| *own <= last) {
        if own > from
            && let Err(error) = call(from, own - 1)
        {
            return fail(error);
        }
        from = own + 1;
        if own == last {
            return 0;
        }
    }
    answer(call(from, last))
}

/// See `closefrom(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn closefrom(first: c_int) {
    let errno = call::errno();
    close_range(first.max(0) as c_uint, c_uint::MAX, 0);
    call::set_errno(errno);
}

/// See `fclose(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fclose(stream: *mut FILE) -> c_int {
    forget_stream(stream);
    // SAFETY: as the caller vouches.
    unsafe { real_fclose()(stream) }
}

fn forget_stream(stream: *mut FILE) {
    let errno = call::errno();
    // SAFETY: the hooks' callers pass an open stream.
    let descriptor = unsafe { libc::fileno(stream) };
    call::set_errno(errno); // a stream in memory has none
    if descriptor >= 0 {
        forget_ours(descriptor);
    }
}

/// See `freopen(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn freopen(
    path: *const c_char,
    mode: *const c_char,
    stream: *mut FILE,
) -> *mut FILE {
    forget_stream(stream);
    // SAFETY: as the caller vouches.
    unsafe { real_freopen()(path, mode, stream) }
}

/// See `freopen(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn freopen64(
    path: *const c_char,
    mode: *const c_char,
    stream: *mut FILE,
) -> *mut FILE {
    forget_stream(stream);
    // SAFETY: as the caller vouches.
    unsafe { real_freopen64()(path, mode, stream) }
}

/// A duplicate shares its file's mode with the original.
fn duplicated(original: c_int, result: Result<usize, c_int>) -> c_int {
    if let Ok(duplicate) = result
        && ours()
    {
        shared(original);
        forget(duplicate as c_int);
        shared(duplicate as c_int);
    }
    answer(result)
}

/// See `dup(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn dup(descriptor: c_int) -> c_int {
    // SAFETY: what the caller asks for.
    duplicated(descriptor, unsafe { system_call!(Sysno::dup, descriptor) })
}

/// Before a number becomes another file: what is known of it goes, and so does a descriptor of ours.
/// False where that has nowhere to go.
fn make_way(descriptor: c_int, target: c_int) -> bool {
    if descriptor == target || !ours() {
        return true;
    }
    if own::is_own(target) {
        // Without a file to duplicate nothing is to change.
        // SAFETY: reads a number.
        let exists = unsafe { system_call!(Sysno::fcntl, descriptor, libc::F_GETFD, 0) }.is_ok();
        if exists && !own::vacate(target) {
            return false;
        }
    }
    forget(target);
    true
}

/// See `dup2(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn dup2(descriptor: c_int, target: c_int) -> c_int {
    if !make_way(descriptor, target) {
        return fail(libc::EBUSY);
    }
    // SAFETY: what the caller asks for.
    let result = unsafe { system_call!(Sysno::dup2, descriptor, target) };
    if descriptor == target { answer(result) } else { duplicated(descriptor, result) }
}

/// See `dup3(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn dup3(descriptor: c_int, target: c_int, flags: c_int) -> c_int {
    if !make_way(descriptor, target) {
        return fail(libc::EBUSY);
    }
    // SAFETY: what the caller asks for.
    duplicated(descriptor, unsafe { system_call!(Sysno::dup3, descriptor, target, flags) })
}

/// See `fcntl(2)`. Variadic in C, with one argument of any kind in fact.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcntl(descriptor: c_int, command: c_int, argument: usize) -> c_int {
    if command == libc::F_GETOWN {
        return owner(descriptor);
    }
    // SAFETY: as the caller vouches.
    let result = unsafe { system_call!(Sysno::fcntl, descriptor, command, argument) };
    match command {
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => return duplicated(descriptor, result),
        libc::F_SETFL => mode_changed(descriptor),
        _ => {}
    }
    answer(result)
}

/// `F_GETOWN` answers a negative number for a process group, which a raw result would take for an
/// error: libc asks `F_GETOWN_EX` for that reason.
fn owner(descriptor: c_int) -> c_int {
    const F_GETOWN_EX: c_int = 16;
    const F_OWNER_PGRP: c_int = 2;
    let mut record = [0_i32; 2];
    // SAFETY: writes one record of two integers.
    let result = unsafe { system_call!(Sysno::fcntl, descriptor, F_GETOWN_EX, &raw mut record) };
    match result {
        Ok(_) if record[0] == F_OWNER_PGRP => -record[1],
        Ok(_) => record[1],
        Err(error) => fail(error),
    }
}

/// See `fcntl(2)`: the name that programs with large files use.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcntl64(descriptor: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: as the caller vouches.
    unsafe { fcntl(descriptor, command, argument) }
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[
    close as *const (),
    __close as *const (),
    close_range as *const (),
    closefrom as *const (),
    fclose as *const (),
    freopen as *const (),
    freopen64 as *const (),
    dup as *const (),
    dup2 as *const (),
    dup3 as *const (),
    fcntl as *const (),
    fcntl64 as *const (),
];
