//! Waiting for several descriptors: `poll`, `select`, `epoll_wait` and their kin.
//!
//! All are one shape: watch each descriptor, look without waiting, wait for any change, look again.
//! More descriptors than fit the fiber's stack are gathered in an epoll of their own, which is then
//! the one descriptor that is waited for. A program's own epoll is watched the same way: an epoll is
//! itself a descriptor that becomes readable.

use std::ffi::{c_int, c_short};

use libc::{epoll_event, fd_set, nfds_t, pollfd, sigset_t, timespec, timeval};
use timestop_runtime::reactor::descriptor::{Attempt, Direction, Interest, Readiness, wait_any};
use timestop_runtime::{FiberRef, sys};

use crate::call::{self, Sysno, answer, fail, nanoseconds};
use crate::io::{check, fortify};
use crate::system_call;

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

/// One look at a set of descriptors.
fn look(records: &mut [pollfd]) -> Outcome {
    // SAFETY: the kernel writes `revents` of these records.
    unsafe { system_call!(Sysno::poll, records.as_mut_ptr(), records.len(), 0) }
}

/// What `poll` does on a fiber.
fn poll_on_fiber(fiber: FiberRef, records: &mut [pollfd], limit: Limit) -> Outcome {
    let ready = look(records)?;
    if ready > 0 || matches!(limit, Limit::Zero) {
        return Ok(ready);
    }
    check(fiber)?;
    if records.iter().filter(|record| record.fd >= 0).count() > FEW {
        return poll_many(fiber, records, limit);
    }
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
        let ready = look(records)?;
        if ready > 0 {
            return Ok(ready);
        }
        match wait_any(fiber, &interests[..count], limit.deadline()) {
            Readiness::Ready | Readiness::Closed => {}
            Readiness::TimedOut => {
                let ready = look(records)?;
                return if ready > 0 { Ok(ready) } else { check(fiber).map(|()| 0) };
            }
            Readiness::Interrupted => return Err(libc::EINTR),
            Readiness::Cancelled => return Err(libc::ECANCELED),
            Readiness::Unwatchable => return block(records, limit),
        }
    }
}

/// The kernel's own wait, which holds up the OS thread.
fn block(records: &mut [pollfd], limit: Limit) -> Outcome {
    let time = limit.deadline().map(|deadline| {
        let left = deadline.saturating_sub(sys::now());
        timespec { tv_sec: (left / 1_000_000_000) as i64, tv_nsec: (left % 1_000_000_000) as i64 }
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the kernel writes `revents` of these records.
    unsafe { system_call!(Sysno::ppoll, records.as_mut_ptr(), records.len(), time, 0, 8) }
}

/// Gathers many descriptors in an epoll and waits for that one.
fn poll_many(fiber: FiberRef, records: &mut [pollfd], limit: Limit) -> Outcome {
    // SAFETY: makes a descriptor.
    let epoll = unsafe { system_call!(Sysno::epoll_create1, libc::EPOLL_CLOEXEC) }? as c_int;
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
        wait_for_epoll(fiber, epoll, limit, || look(records))
    } else {
        block(records, limit)
    };
    crate::descriptors::close(epoll);
    result
}

/// Waits until `look` finds something, watching one epoll.
fn wait_for_epoll(
    fiber: FiberRef,
    epoll: c_int,
    limit: Limit,
    mut look: impl FnMut() -> Outcome,
) -> Outcome {
    let Some(mut attempt) = Attempt::begin(epoll, Direction::Read) else {
        return Err(libc::EMFILE);
    };
    loop {
        let ready = look()?;
        if ready > 0 || matches!(limit, Limit::Zero) {
            // There may be more than was asked for, and one edge for all of it.
            attempt.succeeded();
            return Ok(ready);
        }
        match attempt.wait(fiber, limit.deadline()) {
            Readiness::Ready => {}
            Readiness::TimedOut => {
                let ready = look()?;
                return if ready > 0 { Ok(ready) } else { check(fiber).map(|()| 0) };
            }
            Readiness::Closed | Readiness::Unwatchable => return Err(libc::EBADF),
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

/// See `ppoll(2)`. With a signal mask, which must hold for the very wait, the OS thread waits.
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
    let Some(fiber) = call::fiber().filter(|_| mask.is_null()) else {
        // The kernel writes what is left of the time; libc hides that.
        // SAFETY: null, or the caller's time.
        let mut time = unsafe { timeout.as_ref() }.copied();
        let time = time.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
        // SAFETY: as the caller vouches.
        return answer(unsafe { system_call!(Sysno::ppoll, records, count, time, mask, 8) });
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
    let records = unsafe { slice(records, count as usize) };
    answer(poll_on_fiber(fiber, records, limit))
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

/// The three sets of a `select`, and copies to look with.
struct Sets {
    count: usize,
    user: [*mut fd_set; 3],
}

/// `select` events as `poll` has them.
const SELECT_EVENTS: [c_short; 3] = [libc::POLLIN, libc::POLLOUT, libc::POLLPRI];

impl Sets {
    fn bit(&self, set: usize, descriptor: usize) -> bool {
        let words = self.user[set].cast::<u64>();
        if words.is_null() {
            return false;
        }
        // SAFETY: the caller's set has `count` bits, and `descriptor` is below that.
        let word = unsafe { words.add(descriptor / 64) };
        // SAFETY: as above.
        let word = unsafe { word.read() };
        word >> (descriptor % 64) & 1 != 0
    }

    /// What is wanted of a descriptor.
    fn events(&self, descriptor: usize) -> c_short {
        (0..3)
            .filter(|&set| self.bit(set, descriptor))
            .fold(0, |events, set| events | SELECT_EVENTS[set])
    }

    /// One look, on copies: the user's sets change only when the call succeeds with them.
    fn look(&self, commit: bool) -> Outcome {
        const WORDS: usize = libc::FD_SETSIZE / 64;
        let words = self.count.div_ceil(64).min(WORDS);
        let mut copies = [[0_u64; WORDS]; 3];
        let mut pointers = [std::ptr::null_mut::<u64>(); 3];
        for set in 0..3 {
            if !self.user[set].is_null() {
                let from = self.user[set].cast::<u64>();
                let to = copies[set].as_mut_ptr();
                // SAFETY: both have that many words.
                unsafe { std::ptr::copy_nonoverlapping(from, to, words) };
                pointers[set] = to;
            }
        }
        let zero = timeval { tv_sec: 0, tv_usec: 0 };
        let [read, write, except] = pointers;
        // SAFETY: the kernel writes the copies.
        let ready = unsafe {
            system_call!(Sysno::select, self.count, read, write, except, &raw const zero)
        }?;
        if ready > 0 || commit {
            for (copy, user) in copies.iter().zip(self.user) {
                if !user.is_null() {
                    // SAFETY: as above.
                    unsafe { std::ptr::copy_nonoverlapping(copy.as_ptr(), user.cast(), words) };
                }
            }
        }
        Ok(ready)
    }
}

fn select_on_fiber(fiber: FiberRef, sets: &Sets, limit: Limit) -> Outcome {
    let ready = sets.look(matches!(limit, Limit::Zero))?;
    if ready > 0 || matches!(limit, Limit::Zero) {
        return Ok(ready);
    }
    check(fiber)?;
    // As `poll`: the sets, as records.
    let mut records = [pollfd { fd: -1, events: 0, revents: 0 }; FEW];
    let mut many = None;
    let mut count = 0;
    for descriptor in 0..sets.count {
        let events = sets.events(descriptor);
        if events == 0 {
            continue;
        }
        if count == FEW {
            many = Some(());
            break;
        }
        records[count] = pollfd { fd: descriptor as c_int, events, revents: 0 };
        count += 1;
    }
    let mut look = || sets.look(false);
    let result = if many.is_some() {
        select_many(fiber, sets, limit, &mut look)
    } else {
        match poll_on_fiber(fiber, &mut records[..count], limit) {
            // `poll` reports a hang-up to all, `select` to readers only: then wait for a change.
            Ok(ready) if ready > 0 => match look()? {
                0 => select_many(fiber, sets, limit, &mut look),
                ready => Ok(ready),
            },
            other => other,
        }
    };
    match result {
        Ok(0) => sets.look(true),
        other => other,
    }
}

fn select_many(
    fiber: FiberRef,
    sets: &Sets,
    limit: Limit,
    look: &mut impl FnMut() -> Outcome,
) -> Outcome {
    // SAFETY: makes a descriptor.
    let epoll = unsafe { system_call!(Sysno::epoll_create1, libc::EPOLL_CLOEXEC) }? as c_int;
    for descriptor in 0..sets.count {
        let events = sets.events(descriptor);
        if events != 0 {
            let mut event = epoll_event { events: events as u16 as u32, u64: 0 };
            // A regular file is always ready, and `look` has found nothing: nothing is lost by not
            // watching what epoll refuses.
            // SAFETY: the kernel reads one event.
            let _ = unsafe {
                system_call!(
                    Sysno::epoll_ctl,
                    epoll,
                    libc::EPOLL_CTL_ADD,
                    descriptor,
                    &raw mut event
                )
            };
        }
    }
    let result = wait_for_epoll(fiber, epoll, limit, look);
    crate::descriptors::close(epoll);
    result
}

/// See `select(2)`. What is left of the time is written back, as Linux does.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn select(
    count: c_int,
    read: *mut fd_set,
    write: *mut fd_set,
    except: *mut fd_set,
    timeout: *mut timeval,
) -> c_int {
    let fits = (0..=libc::FD_SETSIZE as c_int).contains(&count);
    let Some(fiber) = call::fiber().filter(|_| fits) else {
        // SAFETY: as the caller vouches.
        return answer(unsafe { system_call!(Sysno::select, count, read, write, except, timeout) });
    };
    // SAFETY: null, or the caller's time.
    let limit = match unsafe { timeout.as_ref() } {
        None => Limit::None,
        Some(time) if time.tv_sec < 0 || time.tv_usec < 0 => return fail(libc::EINVAL),
        Some(time) => Limit::after(Some(
            (time.tv_sec as u64)
                .saturating_mul(1_000_000_000)
                .saturating_add((time.tv_usec as u64).saturating_mul(1000)),
        )),
    };
    let sets = Sets { count: count as usize, user: [read, write, except] };
    let result = select_on_fiber(fiber, &sets, limit);
    if let Some(deadline) = limit.deadline() {
        let left = deadline.saturating_sub(sys::now());
        let left = timeval {
            tv_sec: (left / 1_000_000_000) as i64,
            tv_usec: (left % 1_000_000_000 / 1000) as i64,
        };
        // SAFETY: a deadline comes from a time that the caller passed.
        unsafe { timeout.write(left) };
    }
    answer(result)
}

/// See `pselect(2)`. With a signal mask, which must hold for the very wait, the OS thread waits.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pselect(
    count: c_int,
    read: *mut fd_set,
    write: *mut fd_set,
    except: *mut fd_set,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: null, or the caller's time.
    let time = unsafe { timeout.as_ref() }.copied();
    let fits = (0..=libc::FD_SETSIZE as c_int).contains(&count);
    let Some(fiber) = call::fiber().filter(|_| mask.is_null() && fits) else {
        let mut time = time;
        let time = time.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
        let packed = [mask as usize, 8];
        // SAFETY: as the caller vouches; the kernel reads the mask by address and size.
        return answer(unsafe {
            system_call!(Sysno::pselect6, count, read, write, except, time, packed.as_ptr())
        });
    };
    let limit = match time {
        None => Limit::None,
        Some(time) => match nanoseconds(&time) {
            Some(time) => Limit::after(Some(time)),
            None => return fail(libc::EINVAL),
        },
    };
    let sets = Sets { count: count as usize, user: [read, write, except] };
    answer(select_on_fiber(fiber, &sets, limit))
}

fn epoll_on_fiber(
    fiber: FiberRef,
    epoll: c_int,
    events: *mut epoll_event,
    count: c_int,
    limit: Limit,
) -> Outcome {
    // SAFETY: the caller of the hook passes room for `count` events.
    let look = || unsafe { system_call!(Sysno::epoll_wait, epoll, events, count, 0) };
    let ready = look()?;
    if ready > 0 || matches!(limit, Limit::Zero) {
        return Ok(ready);
    }
    check(fiber)?;
    wait_for_epoll(fiber, epoll, limit, look)
}

/// See `epoll_wait(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_wait(
    epoll: c_int,
    events: *mut epoll_event,
    count: c_int,
    timeout: c_int,
) -> c_int {
    match call::fiber() {
        Some(fiber) => {
            answer(epoll_on_fiber(fiber, epoll, events, count, Limit::after(milliseconds(timeout))))
        }
        // SAFETY: as the caller vouches.
        None => answer(unsafe { system_call!(Sysno::epoll_wait, epoll, events, count, timeout) }),
    }
}

/// See `epoll_pwait(2)`. With a signal mask, which must hold for the very wait, the OS thread waits.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_pwait(
    epoll: c_int,
    events: *mut epoll_event,
    count: c_int,
    timeout: c_int,
    mask: *const sigset_t,
) -> c_int {
    if mask.is_null() {
        // SAFETY: as the caller vouches.
        return unsafe { epoll_wait(epoll, events, count, timeout) };
    }
    // SAFETY: as the caller vouches.
    answer(unsafe { system_call!(Sysno::epoll_pwait, epoll, events, count, timeout, mask, 8) })
}

/// See `epoll_pwait2(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_pwait2(
    epoll: c_int,
    events: *mut epoll_event,
    count: c_int,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    let Some(fiber) = call::fiber().filter(|_| mask.is_null()) else {
        // SAFETY: as the caller vouches.
        return answer(unsafe {
            system_call!(Sysno::epoll_pwait2, epoll, events, count, timeout, mask, 8)
        });
    };
    // SAFETY: null, or the caller's time.
    let limit = match unsafe { timeout.as_ref() } {
        None => Limit::None,
        Some(time) => match nanoseconds(time) {
            Some(time) => Limit::after(Some(time)),
            None => return fail(libc::EINVAL),
        },
    };
    answer(epoll_on_fiber(fiber, epoll, events, count, limit))
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[
    poll as *const (),
    ppoll as *const (),
    __poll as *const (),
    __poll_chk as *const (),
    __ppoll_chk as *const (),
    select as *const (),
    pselect as *const (),
    epoll_wait as *const (),
    epoll_pwait as *const (),
    epoll_pwait2 as *const (),
];
