//! Several messages a call: `sendmmsg`, `recvmmsg`.
//!
//! The kernel does as many as it can without waiting; then the fiber waits and goes on, as a thread
//! would within the call. What was done before an error is the result.

use std::ffi::{c_int, c_uint};

use libc::{mmsghdr, timespec};
use timestop_runtime::reactor::descriptor::{Attempt, Direction};
use timestop_runtime::{FiberRef, sys};

use super::parts::Parts;
use super::send::send_message;
use super::{Outcome, Waiting, check};
use crate::call::{self, Sysno, answer, nanoseconds};
use crate::opened::arrived;
use crate::system_call;

/// The kernel's own limit.
const MOST: usize = 1024;

fn send_batch(
    fiber: FiberRef,
    descriptor: c_int,
    messages: *mut mmsghdr,
    count: usize,
    flags: c_int,
) -> Outcome {
    check(fiber)?;
    let mut done = 0;
    while done < count {
        let rest = messages.wrapping_add(done);
        let tried = flags | libc::MSG_DONTWAIT;
        // SAFETY: the caller of the hook passes `count` messages.
        let sent = unsafe { system_call!(Sysno::sendmmsg, descriptor, rest, count - done, tried) };
        // The one to wait for, and how much of it has gone.
        let (index, begun) = match sent {
            Err(libc::EAGAIN) => (done, 0),
            Err(error) => return if done > 0 { Ok(done) } else { Err(error) },
            Ok(sent) => {
                done += sent;
                let last = messages.wrapping_add(done - 1);
                // SAFETY: the kernel has written its length.
                let last = unsafe { &*last };
                let total = Parts::new(last.msg_hdr.msg_iov, last.msg_hdr.msg_iovlen).total();
                if last.msg_len as usize >= total {
                    continue;
                }
                done -= 1;
                (done, last.msg_len as usize)
            }
        };
        let message = messages.wrapping_add(index);
        // SAFETY: one of the caller's messages.
        let message = unsafe { &mut *message };
        match send_message(fiber, descriptor, &message.msg_hdr, flags, begun) {
            Ok(sent) => message.msg_len = (begun + sent) as c_uint,
            Err(error) if begun + done == 0 => return Err(error),
            // A message that was begun counts, with as much as has gone.
            Err(_) => return Ok(done + usize::from(begun > 0)),
        }
        done += 1;
    }
    Ok(done)
}

/// See `sendmmsg(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendmmsg(
    descriptor: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
) -> c_int {
    match call::fiber().filter(|_| flags & libc::MSG_DONTWAIT == 0 && count > 0) {
        Some(fiber) => {
            answer(send_batch(fiber, descriptor, messages, (count as usize).min(MOST), flags))
        }
        None => {
            // SAFETY: as the caller vouches.
            answer(unsafe { system_call!(Sysno::sendmmsg, descriptor, messages, count, flags) })
        }
    }
}

/// Flags with which the kernel waits for no message.
const NEVER_WAITS: c_int = libc::MSG_DONTWAIT | libc::MSG_ERRQUEUE | libc::MSG_OOB;

/// The time limit of `recvmmsg` ends nothing by itself: the kernel looks at it after each message.
fn receive_batch(
    fiber: FiberRef,
    count: usize,
    flags: c_int,
    attempt: Attempt,
    limit: Option<&mut timespec>,
    call: impl Fn(usize, c_int, Option<&mut timespec>) -> Outcome,
) -> Outcome {
    let until = limit.as_deref().and_then(nanoseconds).map(|left| sys::now().saturating_add(left));
    let left = || {
        until.map(|until| {
            let left = until.saturating_sub(sys::now());
            timespec {
                tv_sec: (left / 1_000_000_000) as i64,
                tv_nsec: (left % 1_000_000_000) as i64,
            }
        })
    };
    let mut done = 0;
    let mut waiting = Waiting::new(fiber, attempt);
    let result = loop {
        let mut time = left();
        let tried = call(done, flags | libc::MSG_DONTWAIT, time.as_mut());
        match tried {
            Ok(received) => {
                done += received;
                let late = time.is_some_and(|time| (time.tv_sec, time.tv_nsec) == (0, 0));
                if done >= count || flags & libc::MSG_WAITFORONE != 0 || late {
                    break Ok(done);
                }
                // Each message has the socket's whole time limit.
                waiting = Waiting::new(fiber, waiting.attempt);
            }
            Err(libc::EAGAIN) => match waiting.wait() {
                Ok(true) => {}
                Ok(false) => {
                    let one_more = call(done, flags | libc::MSG_WAITFORONE, None);
                    break one_more.map(|received| done + received);
                }
                Err(error) => break Err(error),
            },
            Err(error) => break Err(error),
        }
    };
    waiting.attempt.succeeded();
    if let (Some(limit), Some(left), true) = (limit, left(), done > 0) {
        *limit = left;
    }
    result.or_else(|error| if done > 0 { Ok(done) } else { Err(error) })
}

/// See `recvmmsg(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recvmmsg(
    descriptor: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
    limit: *mut timespec,
) -> c_int {
    let call = |done: usize, flags: c_int, limit: Option<&mut timespec>| {
        let (rest, left) = (messages.wrapping_add(done), count as usize - done);
        let limit = limit.map_or(std::ptr::null_mut(), std::ptr::from_mut);
        // SAFETY: as the caller vouches; `done` is at most `count`.
        unsafe { system_call!(Sysno::recvmmsg, descriptor, rest, left, flags, limit) }
    };
    // SAFETY: null, or the caller's time.
    let limit = unsafe { limit.as_mut() };
    let valid = limit.as_deref().is_none_or(|limit| nanoseconds(limit).is_some());
    let waits = flags & NEVER_WAITS == 0 && valid && count > 0;
    let attempt = call::fiber()
        .filter(|_| waits)
        .and_then(|fiber| Some((fiber, Attempt::begin(descriptor, Direction::Read)?)));
    let received = match attempt {
        Some((fiber, attempt)) => check(fiber)
            .and_then(|()| receive_batch(fiber, count as usize, flags, attempt, limit, call)),
        None => call(0, flags, limit),
    };
    for index in 0..received.unwrap_or(0) {
        let message = messages.wrapping_add(index);
        // SAFETY: the kernel has written so many.
        arrived(unsafe { &(*message).msg_hdr });
    }
    answer(received)
}
