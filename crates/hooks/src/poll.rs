//! Waiting for several descriptors: `poll`, `select`, `epoll_wait` and their kin.
//!
//! All are one shape: watch each descriptor, look without waiting, wait for any change, look again.
//! More descriptors than fit the fiber's stack are gathered in an epoll of their own, which is then
//! the one descriptor that is waited for. A program's own epoll is watched the same way: an epoll is
//! itself a descriptor that becomes readable.

use std::ffi::{c_int, c_short};

use libc::{epoll_event, nfds_t, pollfd, sigset_t, timespec};
use timestop_runtime::own::Own;
use timestop_runtime::reactor::descriptor::{
    Attempt, Direction, Interest, Readiness, forget, wait_any,
};
use timestop_runtime::{FiberRef, Reason, sys};

use crate::call::{self, Sysno, answer, fail, nanoseconds};
use crate::io::{check, fortify};
use crate::{signal, system_call};

pub mod epoll;
pub mod select;

type Outcome = Result<usize, c_int>;

/// Descriptors that are watched one by one; each may want both directions.
const FEW: usize = 16;

const READ_EVENTS: c_short = libc::POLLIN | libc::POLLPRI | libc::POLLRDHUP | libc::POLLRDNORM;
const WRITE_EVENTS: c_short = libc::POLLOUT | libc::POLLWRNORM;

/// How long a call may wait.
#[derive(Clone, Copy)]
enum Limit {
    None,
    Until(u64),
    /// Look once.
    Zero,
}

impl Limit {
    fn after(duration: Option<u64>) -> Self {
        match duration {
            None => Self::None,
            Some(0) => Self::Zero,
            Some(duration) => Self::Until(sys::now().saturating_add(duration)),
        }
    }

    fn deadline(self) -> Option<u64> {
        match self {
            Self::Until(deadline) => Some(deadline),
            _ => None,
        }
    }
}

fn milliseconds(timeout: c_int) -> Option<u64> {
    u64::try_from(timeout).ok().map(|timeout| timeout * 1_000_000)
}

/// Lets others run before an event loop looks for more to do. It is willing to wait; and one that finds
/// something each time would never let anybody run whose work it then waits for, in vain in most of its rounds.
fn let_others_go_first(limit: Limit) {
    if !matches!(limit, Limit::Zero) {
        timestop_runtime::take_turns();
    }
}

/// One look at a set of descriptors.
fn look(records: &mut [pollfd]) -> Outcome {
    // SAFETY: the kernel writes `revents` of these records.
    unsafe { system_call!(Sysno::poll, records.as_mut_ptr(), records.len(), 0) }
}

/// Whether it is the wait of somebody who has just found nothing to read in the one descriptor.
fn waits_after_empty(fiber: FiberRef, records: &[pollfd]) -> bool {
    let [one] = records else { return false };
    one.fd >= 0
        && one.events & WRITE_EVENTS == 0
        && Interest::begin(fiber, one.fd, Direction::Read).is_empty()
}

/// What `poll` does on a fiber.
fn poll_on_fiber(fiber: FiberRef, records: &mut [pollfd], limit: Limit) -> Outcome {
    if records.len() > 1 {
        let_others_go_first(limit);
    }
    wait_for_records(fiber, records, limit)
}

/// Waits until one of the records has something to tell.
fn wait_for_records(fiber: FiberRef, records: &mut [pollfd], limit: Limit) -> Outcome {
    let mut may_skip = !matches!(limit, Limit::Zero) && waits_after_empty(fiber, records);
    if !may_skip {
        let ready = look(records)?;
        if ready > 0 || matches!(limit, Limit::Zero) {
            return Ok(ready);
        }
    }
    check(fiber)?;
    if records.iter().filter(|record| record.fd >= 0).count() > FEW {
        return poll_many(fiber, records, limit);
    }
    let handled = fiber.handled();
    loop {
        let mut interests = [const { None }; 2 * FEW];
        let mut count = 0;
        for record in records.iter().filter(|record| record.fd >= 0) {
            for (events, direction) in
                [(READ_EVENTS, Direction::Read), (WRITE_EVENTS, Direction::Write)]
            {
                // Hang-up and error are reported in any case: to the reading side.
                let wanted = record.events & events != 0
                    || (direction == Direction::Read && record.events & WRITE_EVENTS == 0);
                if wanted {
                    interests[count] = Some(Interest::begin(fiber, record.fd, direction));
                    count += 1;
                }
            }
        }
        // Something may have come since it was asked first.
        let is_empty = may_skip && interests[0].as_ref().is_some_and(Interest::is_empty);
        may_skip = false;
        let ready = if is_empty { 0 } else { look(records)? };
        if ready > 0 {
            return Ok(ready);
        }
        // A change that was none, and a signal with it.
        if fiber.handled() != handled {
            return Err(libc::EINTR);
        }
        match wait_any(fiber, &interests[..count], limit.deadline()) {
            Readiness::Ready | Readiness::Closed => {}
            Readiness::TimedOut => {
                let ready = look(records)?;
                return if ready > 0 { Ok(ready) } else { check(fiber).map(|()| 0) };
            }
            Readiness::Interrupted => return Err(libc::EINTR),
            Readiness::Cancelled => return Err(libc::ECANCELED),
            Readiness::Unwatchable => return block(fiber, records, limit),
        }
    }
}

/// The kernel's own wait, which holds up the OS thread. A signal that is not the program's does not end it.
fn block(fiber: FiberRef, records: &mut [pollfd], limit: Limit) -> Outcome {
    signal::block(fiber, || {
        let time = limit.deadline().map(|deadline| {
            let left = deadline.saturating_sub(sys::now());
            timespec {
                tv_sec: (left / 1_000_000_000) as i64,
                tv_nsec: (left % 1_000_000_000) as i64,
            }
        });
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the kernel writes `revents` of these records.
        unsafe { system_call!(Sysno::ppoll, records.as_mut_ptr(), records.len(), time, 0, 8) }
    })
}

/// Gathers many descriptors in an epoll and waits for that one.
fn poll_many(fiber: FiberRef, records: &mut [pollfd], limit: Limit) -> Outcome {
    let own = make_epoll()?;
    let epoll = own.number();
    let mut gathered = true;
    for record in records.iter().filter(|record| record.fd >= 0) {
        let mut event = epoll_event { events: record.events as u16 as u32, u64: 0 };
        // SAFETY: the kernel reads one event.
        let mut added = unsafe {
            system_call!(Sysno::epoll_ctl, epoll, libc::EPOLL_CTL_ADD, record.fd, &raw mut event)
        };
        if added == Err(libc::EEXIST) {
            // The descriptor stands in the list twice: one look at all that is wanted.
            event.events = records
                .iter()
                .filter(|other| other.fd == record.fd)
                .fold(0, |events, other| events | other.events as u16 as u32);
            // SAFETY: as above.
            added = unsafe {
                system_call!(
                    Sysno::epoll_ctl,
                    epoll,
                    libc::EPOLL_CTL_MOD,
                    record.fd,
                    &raw mut event
                )
            };
        }
        gathered &= added.is_ok();
    }
    let result = if gathered {
        wait_for_own(fiber, own, limit, || look(records))
    } else {
        block(fiber, records, limit)
    };
    forget(own.number());
    own.close();
    result
}

/// An epoll for one wait, which the program does not see.
fn make_epoll() -> Result<Own, c_int> {
    // SAFETY: makes a descriptor.
    let epoll = unsafe { system_call!(Sysno::epoll_create1, libc::EPOLL_CLOEXEC) }?;
    Ok(Own::adopt(epoll as c_int))
}

/// As [`wait_for_epoll`]: one of ours changes its number if the program wants that.
fn wait_for_own(
    fiber: FiberRef,
    epoll: Own,
    limit: Limit,
    mut look: impl FnMut() -> Outcome,
) -> Outcome {
    loop {
        let number = epoll.number();
        match wait_for_epoll(fiber, number, limit, &mut look) {
            Err(libc::EBADF) if epoll.number() != number => {}
            other => return other,
        }
    }
}

/// Waits until `look` finds something, watching one epoll.
fn wait_for_epoll(
    fiber: FiberRef,
    epoll: c_int,
    limit: Limit,
    mut look: impl FnMut() -> Outcome,
) -> Outcome {
    let Some(mut attempt) = Attempt::begin_epoll(epoll) else {
        return match look()? {
            0 if !matches!(limit, Limit::Zero) => Err(libc::EMFILE),
            ready => Ok(ready),
        };
    };
    let handled = fiber.handled();
    loop {
        let ready = look()?;
        if ready == 0 && fiber.handled() != handled {
            return Err(libc::EINTR); // a change that was none, and a signal with it
        }
        if ready > 0 || matches!(limit, Limit::Zero) {
            // There may be more than was asked for, and one edge for all of it.
            attempt.succeeded();
            return Ok(ready);
        }
        check(fiber)?;
        match attempt.wait_as(fiber, Reason::Poll, limit.deadline()) {
            Readiness::Ready => {}
            Readiness::TimedOut => {
                let ready = look()?;
                return if ready > 0 { Ok(ready) } else { check(fiber).map(|()| 0) };
            }
            Readiness::Closed => return Err(libc::EBADF),
            // Too deep in other epolls, or one more than the kernel grants.
            Readiness::Unwatchable => {
                let mut record = [pollfd { fd: epoll, events: libc::POLLIN, revents: 0 }];
                if block(fiber, &mut record, limit)? == 0 {
                    let ready = look()?;
                    return if ready > 0 { Ok(ready) } else { check(fiber).map(|()| 0) };
                }
            }
            Readiness::Interrupted => return Err(libc::EINTR),
            Readiness::Cancelled => return Err(libc::ECANCELED),
        }
    }
}

/// See `poll(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn poll(records: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int {
    match call::fiber() {
        Some(fiber) if timeout != 0 => {
            // SAFETY: the caller passes `count` records.
            let records = unsafe { slice(records, count as usize) };
            answer(poll_on_fiber(fiber, records, Limit::after(milliseconds(timeout))))
        }
        // SAFETY: as the caller vouches.
        _ => answer(unsafe { system_call!(Sysno::poll, records, count, timeout) }),
    }
}

/// # Safety
///
/// `first` addresses `count` records that nobody else uses.
unsafe fn slice<'a, T>(first: *mut T, count: usize) -> &'a mut [T] {
    if count == 0 {
        return &mut [];
    }
    // SAFETY: as the caller vouches.
    unsafe { std::slice::from_raw_parts_mut(first, count) }
}

/// Waits under a signal mask, if the caller passes one.
///
/// As the kernel does it: what is ready already is the answer, whatever signals are pending; else a
/// pending signal that the mask lets through is, also where the call would not wait at all.
///
/// # Safety
///
/// Null, or a set.
unsafe fn under_mask(
    fiber: FiberRef,
    mask: *const sigset_t,
    look: impl FnOnce() -> Outcome,
    wait: impl FnOnce() -> Outcome,
) -> Outcome {
    // SAFETY: as the caller vouches.
    let Some(mask) = (unsafe { mask.as_ref() }) else { return wait() };
    match look()? {
        0 => signal::wait_under_mask(fiber, mask, wait).unwrap_or(Err(libc::EINTR)),
        ready => Ok(ready),
    }
}

/// See `ppoll(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppoll(
    records: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    let Some(fiber) = call::fiber() else {
        // The kernel writes what is left of the time; libc hides that.
        // SAFETY: null, or the caller's time.
        let mut time = unsafe { timeout.as_ref() }.copied();
        let time = time.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
        // SAFETY: as the caller vouches.
        let wait = |mask| unsafe { system_call!(Sysno::ppoll, records, count, time, mask, 8) };
        // SAFETY: as the caller vouches.
        return answer(unsafe { signal::wait_in_kernel(mask, wait) });
    };
    // SAFETY: null, or the caller's time.
    let limit = match unsafe { timeout.as_ref() } {
        None => Limit::None,
        Some(time) => match nanoseconds(time) {
            Some(time) => Limit::after(Some(time)),
            None => return fail(libc::EINVAL),
        },
    };
    // SAFETY: the caller passes `count` records.
    let first = || look(unsafe { slice(records, count as usize) });
    // SAFETY: as above; the first look is over.
    let wait = || poll_on_fiber(fiber, unsafe { slice(records, count as usize) }, limit);
    // SAFETY: as the caller vouches.
    answer(unsafe { under_mask(fiber, mask, first, wait) })
}

/// [`poll`] under `_FORTIFY_SOURCE`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __poll_chk(
    records: *mut pollfd,
    count: nfds_t,
    timeout: c_int,
    room: usize,
) -> c_int {
    fortify((count as usize).saturating_mul(size_of::<pollfd>()), room);
    // SAFETY: as the caller vouches.
    unsafe { poll(records, count, timeout) }
}

/// [`ppoll`] under `_FORTIFY_SOURCE`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __ppoll_chk(
    records: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    mask: *const sigset_t,
    room: usize,
) -> c_int {
    fortify((count as usize).saturating_mul(size_of::<pollfd>()), room);
    // SAFETY: as the caller vouches.
    unsafe { ppoll(records, count, timeout, mask) }
}

/// glibc's second name of [`poll`].
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __poll(records: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int {
    // SAFETY: as the caller vouches.
    unsafe { poll(records, count, timeout) }
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[
    poll as *const (),
    ppoll as *const (),
    __poll as *const (),
    __poll_chk as *const (),
    __ppoll_chk as *const (),
    select::select as *const (),
    select::pselect as *const (),
    epoll::epoll_wait as *const (),
    epoll::epoll_pwait as *const (),
    epoll::epoll_pwait2 as *const (),
];
