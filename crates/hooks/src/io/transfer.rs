//! From descriptor to descriptor: `sendfile`, `splice`, `tee`, `vmsplice`.
//!
//! Pipes have `SPLICE_F_NONBLOCK`. Sockets have nothing like it here: they are asked by `poll` first,
//! and are given no more than there is room for. Where that room was guessed wrong, or another reader
//! was faster, the call blocks its OS thread: a hand-off.
//!
//! A `splice` into a socket may return less than the kernel's would: what there was room for.
//!
//! Rejected: to copy through a buffer and send that with `MSG_DONTWAIT` (the point of these calls is
//! that nothing is copied).

use std::ffi::{c_int, c_uint};

use libc::{iovec, off_t, size_t, ssize_t};
use timestop_runtime::FiberRef;
use timestop_runtime::reactor::descriptor::{Attempt, Direction};

use super::{Outcome, Waiting, check, is_ready};
use crate::call::{self, Sysno, answer};
use crate::system_call;

const SPLICE_F_NONBLOCK: c_uint = libc::SPLICE_F_NONBLOCK;

/// How much a socket that is writable takes without waiting; `None` for what is no socket.
fn room(descriptor: c_int) -> Option<usize> {
    /// Words of `SO_MEMINFO`.
    const WRITTEN: usize = 2;
    const LIMIT: usize = 3;
    const QUEUED: usize = 5;
    let (mut words, mut size) = ([0_u32; 9], 36_u32);
    // SAFETY: writes as many words.
    unsafe {
        system_call!(
            Sysno::getsockopt,
            descriptor,
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            words.as_mut_ptr(),
            &raw mut size
        )
    }
    .ok()?;
    let used = words[WRITTEN].max(words[QUEUED]);
    // The kernel counts its own records too.
    let free = words[LIMIT].saturating_sub(used) as usize;
    Some((free - free / 8).max(4096))
}

/// The most that one call moves, in the kernel too.
const MOST: usize = 0x7fff_f000;

fn is_pipe(descriptor: c_int) -> bool {
    // SAFETY: reads a number.
    unsafe { system_call!(Sysno::fcntl, descriptor, libc::F_GETPIPE_SZ, 0) }.is_ok()
}

/// See `sendfile(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendfile(
    to: c_int,
    from: c_int,
    offset: *mut off_t,
    count: size_t,
) -> ssize_t {
    // SAFETY: as the caller vouches.
    let call = |count: usize| unsafe { system_call!(Sysno::sendfile, to, from, offset, count) };
    match call::fiber() {
        Some(fiber) if room(to).is_some() => answer(send_file(fiber, to, count.min(MOST), call)),
        Some(fiber) if is_pipe(to) && !is_pipe(from) => {
            // What `sendfile` to a pipe is in the kernel too.
            let splice = |flags: c_uint| {
                let none = std::ptr::null_mut::<off_t>();
                // SAFETY: as the caller vouches.
                unsafe { system_call!(Sysno::splice, from, offset, to, none, count, flags) }
            };
            match move_data(fiber, None, Some(to), splice) {
                Err(libc::EINVAL) => answer(call(count)),
                other => answer(other),
            }
        }
        _ => answer(call(count)),
    }
}

/// [`sendfile`] by the name that programs with large files use.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendfile64(
    to: c_int,
    from: c_int,
    offset: *mut off_t,
    count: size_t,
) -> ssize_t {
    // SAFETY: as the caller vouches.
    unsafe { sendfile(to, from, offset, count) }
}

/// Sends a file, piece by piece as the socket has room.
fn send_file(fiber: FiberRef, to: c_int, count: usize, call: impl Fn(usize) -> Outcome) -> Outcome {
    check(fiber)?;
    let Some(attempt) = Attempt::begin(to, Direction::Write) else { return call(count) };
    if attempt.is_nonblocking() {
        return call(count);
    }
    let mut waiting = Waiting::new(fiber, attempt);
    let mut done = 0;
    let partial = |done, error| if done > 0 { Ok(done) } else { Err(error) };
    while done < count {
        // It also has the kernel report when there is room again.
        if !is_ready(to, libc::POLLOUT) {
            match waiting.wait() {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => return partial(done, error),
            }
        }
        let piece = (count - done).min(room(to).unwrap_or(count));
        match call(piece) {
            Ok(0) => break, // the end of the file
            Ok(sent) => done += sent,
            Err(error) => return partial(done, error),
        }
    }
    waiting.attempt.succeeded();
    Ok(done)
}

/// Moves what can be moved, as soon as both sides are ready: `call` is given the flag for that. A side
/// that never waits is `None`.
fn move_data(
    fiber: FiberRef,
    from: Option<c_int>,
    to: Option<c_int>,
    call: impl Fn(c_uint) -> Outcome,
) -> Outcome {
    /// Tries where both sides are ready and yet nothing moves.
    const TRIES: u32 = 3;
    check(fiber)?;
    let begin = |number: Option<c_int>, direction| match number {
        None => Some(None),
        Some(number) => {
            Attempt::begin(number, direction).map(|attempt| Some(Waiting::new(fiber, attempt)))
        }
    };
    let (Some(mut reader), Some(mut writer)) =
        (begin(from, Direction::Read), begin(to, Direction::Write))
    else {
        return call(0);
    };
    let mut vain = 0;
    loop {
        match call(SPLICE_F_NONBLOCK) {
            Err(libc::EAGAIN) => {}
            other => {
                for side in [&reader, &writer].into_iter().flatten() {
                    side.attempt.succeeded();
                }
                return other;
            }
        }
        // Of two pipes, either says that there is to be no wait.
        let refuses = |side: &Option<Waiting>| {
            side.as_ref().is_some_and(|side| side.attempt.is_nonblocking())
        };
        if (refuses(&reader) || refuses(&writer))
            && from.is_some_and(is_pipe)
            && to.is_some_and(is_pipe)
        {
            return Err(libc::EAGAIN);
        }
        let empty = from.is_some_and(|from| !is_ready(from, libc::POLLIN));
        let full = to.is_some_and(|to| !is_ready(to, libc::POLLOUT));
        let side = match (&mut reader, &mut writer) {
            (Some(reader), _) if empty => reader,
            (_, Some(writer)) if full => writer,
            _ if vain < TRIES => {
                vain += 1;
                continue;
            }
            _ => return call(0),
        };
        if !side.wait()? {
            return call(0);
        }
    }
}

/// See `splice(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn splice(
    from: c_int,
    from_offset: *mut off_t,
    to: c_int,
    to_offset: *mut off_t,
    count: size_t,
    flags: c_uint,
) -> ssize_t {
    let raw = |count: usize, flags: c_uint| {
        // SAFETY: as the caller vouches.
        unsafe { system_call!(Sysno::splice, from, from_offset, to, to_offset, count, flags) }
    };
    let Some(fiber) = call::fiber().filter(|_| flags & SPLICE_F_NONBLOCK == 0) else {
        return answer(raw(count, flags));
    };
    let (from_socket, to_socket) = (room(from).is_some(), room(to).is_some());
    let call = |never_wait: c_uint| {
        let mut piece = count;
        if never_wait != 0 {
            if from_socket && !is_ready(from, libc::POLLIN) {
                return Err(libc::EAGAIN);
            }
            if to_socket {
                if !is_ready(to, libc::POLLOUT) {
                    return Err(libc::EAGAIN);
                }
                piece = piece.min(room(to).unwrap_or(piece));
            }
        }
        raw(piece, flags | never_wait)
    };
    let waits = |number: c_int, socket: bool| (socket || is_pipe(number)).then_some(number);
    answer(move_data(fiber, waits(from, from_socket), waits(to, to_socket), call))
}

/// See `tee(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tee(from: c_int, to: c_int, count: size_t, flags: c_uint) -> ssize_t {
    // SAFETY: touches no memory of the program's.
    let raw = |flags: c_uint| unsafe { system_call!(Sysno::tee, from, to, count, flags) };
    match call::fiber().filter(|_| flags & SPLICE_F_NONBLOCK == 0) {
        Some(fiber) => answer(move_data(fiber, Some(from), Some(to), |more| raw(flags | more))),
        None => answer(raw(flags)),
    }
}

/// See `vmsplice(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmsplice(
    pipe: c_int,
    parts: *const iovec,
    count: size_t,
    flags: c_uint,
) -> ssize_t {
    // SAFETY: as the caller vouches.
    let raw = |flags: c_uint| unsafe { system_call!(Sysno::vmsplice, pipe, parts, count, flags) };
    let Some(fiber) = call::fiber().filter(|_| flags & SPLICE_F_NONBLOCK == 0) else {
        return answer(raw(flags));
    };
    // SAFETY: reads a number.
    let mode = unsafe { system_call!(Sysno::fcntl, pipe, libc::F_GETFL, 0) };
    let writes = mode.is_ok_and(|mode| mode as c_int & libc::O_ACCMODE != libc::O_RDONLY);
    let (from, to) = if writes { (None, Some(pipe)) } else { (Some(pipe), None) };
    answer(move_data(fiber, from, to, |more| raw(flags | more)))
}
