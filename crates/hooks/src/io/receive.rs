//! From a socket: `recv`, `recvfrom`, `recvmsg`.
//!
//! Tried with `MSG_DONTWAIT`. `MSG_WAITALL` and `SO_RCVLOWAT` are waits for more than a byte: tries go on
//! until there is as much. What is asked of an empty TCP connection is not tried before something
//! has come; see `Attempt::was_short` for when that holds.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{iovec, msghdr, size_t, sockaddr, socklen_t, ssize_t};
use timestop_runtime::reactor::descriptor::{Attempt, Direction};

use super::parts::Parts;
use super::{Outcome, Waiting, check, is_ready};
use crate::call::{self, Sysno, answer};
use crate::opened::{arrived, brings_descriptors};
use crate::system_call;

/// Flags with which the kernel never waits: errors and urgent data are there, or they are not.
const NEVER_WAITS: c_int = libc::MSG_DONTWAIT | libc::MSG_ERRQUEUE | libc::MSG_OOB;

/// A call that is not to wait. Who finds nothing so often waits by `poll` next, which is to know.
fn receive_at_once(descriptor: c_int, flags: c_int, call: impl Fn() -> Outcome) -> Outcome {
    // A peek may begin behind what there is (`SO_PEEK_OFF`).
    const OTHER: c_int = libc::MSG_ERRQUEUE | libc::MSG_OOB | libc::MSG_PEEK;
    let asks_for_data = flags & OTHER == 0;
    let attempt = call::fiber()
        .filter(|_| asks_for_data)
        .and_then(|_| Attempt::begin(descriptor, Direction::Read));
    let received = call();
    if let (Err(libc::EAGAIN), Some(attempt)) = (received, attempt) {
        attempt.was_empty();
    }
    received
}

/// What one call is asked for.
struct Request {
    descriptor: c_int,
    flags: c_int,
    /// How much would fill the buffers.
    wanted: usize,
    /// Whether a try that fills less than `wanted` has emptied the socket. Not after a peek, nor where a
    /// try may be given less room.
    short_says: bool,
}

/// Receives: `call` is given how much is done, and the flags. In parts if the user wants to wait for
/// more than a first byte.
fn receive(request: &Request, call: impl Fn(usize, c_int) -> Outcome) -> Outcome {
    let &Request { descriptor, flags, wanted, .. } = request;
    let Some(fiber) = call::fiber().filter(|_| flags & NEVER_WAITS == 0) else {
        return receive_at_once(descriptor, flags, || call(0, flags));
    };
    check(fiber)?;
    let Some(attempt) = Attempt::begin(descriptor, Direction::Read) else { return call(0, flags) };
    let mut waiting = Waiting::new(fiber, attempt);
    const PLAIN: c_int = libc::MSG_NOSIGNAL | libc::MSG_CMSG_CLOEXEC | libc::MSG_WAITALL;
    let plain = flags & !PLAIN == 0;
    let mut done = 0;
    let partial = |done, error| if done > 0 { Ok(done) } else { Err(error) };
    loop {
        // An empty TCP connection is not asked again before something has come.
        let tried = if plain && waiting.attempt.is_hopeless() {
            Err(libc::EAGAIN)
        } else {
            call(done, flags & !libc::MSG_WAITALL | libc::MSG_DONTWAIT)
        };
        match tried {
            Ok(count) if count > 0 && done + count < wanted => {
                if plain && request.short_says && done == 0 {
                    waiting.attempt.was_short();
                }
                let peeks = flags & libc::MSG_PEEK != 0;
                let so_far = done + count;
                if !waits_for_more(descriptor, flags, so_far, || wanted) {
                    waiting.attempt.succeeded();
                    return Ok(so_far);
                }
                if !peeks {
                    done = so_far;
                } else if is_ready(descriptor, libc::POLLRDHUP) || !waiting.wait().unwrap_or(false)
                {
                    waiting.attempt.succeeded();
                    return Ok(so_far);
                }
            }
            Ok(count) => {
                waiting.attempt.succeeded();
                return Ok(done + count);
            }
            Err(libc::EAGAIN) => match waiting.wait() {
                Ok(true) => {}
                Ok(false) => return call(done, flags).map(|count| done + count),
                Err(error) => {
                    if error == libc::EAGAIN && plain {
                        waiting.attempt.was_empty();
                    }
                    return partial(done, error);
                }
            },
            Err(error) => return partial(done, error),
        }
    }
}

/// Somebody has set `SO_RCVLOWAT` to more than a byte: from then on it is asked for where a read was
/// short. (Not what other processes have set, nor raw system calls.)
static LOW_MARKS: AtomicBool = AtomicBool::new(false);

/// The user has set a low mark for receiving.
pub(crate) fn low_mark_set() {
    LOW_MARKS.store(true, Ordering::Relaxed);
}

/// Whether a call that waits is to wait on, with so much received.
#[inline]
pub(super) fn waits_for_more(
    descriptor: c_int,
    flags: c_int,
    done: usize,
    wanted: impl FnOnce() -> usize,
) -> bool {
    (flags & libc::MSG_WAITALL != 0 || LOW_MARKS.load(Ordering::Relaxed))
        && is_below_mark(descriptor, flags, done, wanted())
}

#[cold]
fn is_below_mark(descriptor: c_int, flags: c_int, done: usize, wanted: usize) -> bool {
    // Others than streams give one message at a time, whatever the flags.
    if integer_option(descriptor, libc::SO_TYPE) != Some(libc::SOCK_STREAM) {
        return false;
    }
    // A peek at a local socket takes what is there.
    if flags & libc::MSG_PEEK != 0
        && integer_option(descriptor, libc::SO_PROTOCOL) != Some(libc::IPPROTO_TCP)
    {
        return false;
    }
    if flags & libc::MSG_WAITALL != 0 {
        return done < wanted;
    }
    let mark = integer_option(descriptor, libc::SO_RCVLOWAT).unwrap_or(1);
    done < wanted.min(usize::try_from(mark).unwrap_or(1))
}

fn integer_option(descriptor: c_int, name: c_int) -> Option<c_int> {
    let (mut value, mut size) = (0_i32, 4_u32);
    // SAFETY: writes one integer.
    let asked = unsafe {
        system_call!(
            Sysno::getsockopt,
            descriptor,
            libc::SOL_SOCKET,
            name,
            &raw mut value,
            &raw mut size
        )
    };
    asked.ok().map(|_| value)
}

/// See `recv(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recv(
    descriptor: c_int,
    buffer: *mut c_void,
    count: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: as libc's.
    unsafe {
        recvfrom(descriptor, buffer, count, flags, std::ptr::null_mut(), std::ptr::null_mut())
    }
}

/// See `recvfrom(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recvfrom(
    descriptor: c_int,
    buffer: *mut c_void,
    count: size_t,
    flags: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> ssize_t {
    let call = |done: usize, flags: c_int| {
        let buffer = buffer.wrapping_byte_add(done);
        // SAFETY: as the caller vouches; `done` is within the buffer.
        unsafe {
            system_call!(Sysno::recvfrom, descriptor, buffer, count - done, flags, address, length)
        }
    };
    let request = Request { descriptor, flags, wanted: count, short_says: true };
    answer(receive(&request, call))
}

/// See `recvmsg(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recvmsg(descriptor: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    // SAFETY: as the caller vouches.
    answer(unsafe { receive_message(descriptor, message, flags) })
}

/// # Safety
///
/// That of `recvmsg`.
pub(super) unsafe fn receive_message(
    descriptor: c_int,
    message: *mut msghdr,
    flags: c_int,
) -> Outcome {
    // SAFETY: as the caller vouches.
    let Some(header) = (unsafe { message.as_ref() }).copied() else { return Err(libc::EFAULT) };
    let parts = Parts::new(header.msg_iov, header.msg_iovlen);
    let call = |done: usize, flags: c_int| {
        if done == 0 {
            // SAFETY: as the caller vouches.
            return unsafe { system_call!(Sysno::recvmsg, descriptor, message, flags) };
        }
        // SAFETY: the kernel has written it.
        if brings_descriptors(unsafe { &*message }) {
            return Ok(0); // nothing is added to those
        }
        let mut part = iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let mut rest = header;
        (rest.msg_iov, rest.msg_iovlen) = parts.after(done, &mut part);
        // SAFETY: as the caller vouches; `part` outlives the call.
        let received = unsafe { system_call!(Sysno::recvmsg, descriptor, &raw mut rest, flags) };
        if received.is_ok() {
            (rest.msg_iov, rest.msg_iovlen) = (header.msg_iov, header.msg_iovlen);
            // SAFETY: the caller's header.
            unsafe { message.write(rest) };
        }
        received
    };
    // How much there is room for matters only to who waits for more than a byte.
    let fills = flags & libc::MSG_WAITALL != 0 || LOW_MARKS.load(Ordering::Relaxed);
    let wanted = if fills { parts.total() } else { 0 };
    let received = receive(&Request { descriptor, flags, wanted, short_says: false }, call);
    if received.is_ok() {
        // SAFETY: the kernel has written the caller's header.
        arrived(unsafe { &*message });
    }
    received
}
