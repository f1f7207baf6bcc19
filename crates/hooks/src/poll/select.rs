//! `select`, `pselect`: the sets as records of `poll`.

use std::ffi::{c_int, c_short};

use libc::{epoll_event, fd_set, pollfd, sigset_t, timespec, timeval};
use timestop_runtime::reactor::descriptor::forget;
use timestop_runtime::{FiberRef, sys};

use super::{
    FEW, Limit, Outcome, let_others_go_first, make_epoll, under_mask, wait_for_own,
    wait_for_records,
};
use crate::call::{self, Sysno, answer, fail, nanoseconds};
use crate::io::check;
use crate::signal::wait_in_kernel;
use crate::system_call;

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
    if (0..sets.count).filter(|descriptor| sets.events(*descriptor) != 0).nth(1).is_some() {
        let_others_go_first(limit);
    }
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
        match wait_for_records(fiber, &mut records[..count], limit) {
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
    let own = make_epoll()?;
    let epoll = own.number();
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
    let result = wait_for_own(fiber, own, limit, look);
    forget(own.number());
    own.close();
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

/// See `pselect(2)`.
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
    let Some(fiber) = call::fiber().filter(|_| fits) else {
        let mut time = time;
        let time = time.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
        let wait = |mask| {
            let packed = [mask as usize, 8];
            // SAFETY: as the caller vouches; the kernel reads the mask by address and size.
            unsafe {
                system_call!(Sysno::pselect6, count, read, write, except, time, packed.as_ptr())
            }
        };
        // SAFETY: as the caller vouches.
        return answer(unsafe { wait_in_kernel(mask, wait) });
    };
    let limit = match time {
        None => Limit::None,
        Some(time) => match nanoseconds(&time) {
            Some(time) => Limit::after(Some(time)),
            None => return fail(libc::EINVAL),
        },
    };
    let sets = Sets { count: count as usize, user: [read, write, except] };
    let look = || sets.look(false);
    // SAFETY: as the caller vouches.
    answer(unsafe { under_mask(fiber, mask, look, || select_on_fiber(fiber, &sets, limit)) })
}
