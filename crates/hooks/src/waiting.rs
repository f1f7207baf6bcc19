//! What the lock families share: try, wait in the runtime's table, try again.
//!
//! Every lock here is the real `try…` of libc and our waiting; every unlock is the real unlock and
//! our wake. So the object's memory is always in a state that libc understands, the uncontended case
//! never meets the table, and a lock that libc itself holds or waits for is respected.
//!
//! Queues are keyed by the object's address plus a tag in the two lowest bits, because an unlock may
//! come late: its object may be gone and another may lie at the address by the time it wakes. A wake
//! for no reason must then be harmless. It is for whoever tries again; it would not be for a barrier,
//! so that family has a tag of its own. Plain futexes use the address itself (tag 0).
//!
//! Rejected: handing a lock over to the woken waiter. It makes each contended unlock wait for a
//! switch (the lock convoy); a waiter that loses to a passer-by keeps its place instead.

use std::cell::Cell;
use std::ffi::c_int;

use libc::{clockid_t, timespec};
use timestop_fiber::{block, switch};
use timestop_runtime::futex::{self, Wait};
use timestop_runtime::{Outcome, sys};

use crate::call;

/// Mutexes, semaphores, readers of a read-write lock.
pub(crate) const TRY_AGAIN: usize = 1;
/// Condition variables, one-time initialisation, writers of a read-write lock.
pub(crate) const LOOK_AGAIN: usize = 2;
/// Barriers: a wake-up must be meant.
pub(crate) const EXACT: usize = 3;

/// Waits until `attempt` answers something other than `EBUSY`, and answers that; or `ETIMEDOUT`, or
/// `EINTR` if the wait is breakable.
///
/// `attempt` is called under a lock of the runtime's too: it must neither block nor wake.
pub(crate) fn acquire(mut wait: Wait, attempt: impl Fn() -> c_int) -> c_int {
    loop {
        let answer = Cell::new(libc::EBUSY);
        let look = || {
            answer.set(attempt());
            answer.get() == libc::EBUSY
        };
        let waited = futex::wait(wait, look, || {});
        let Some(outcome) = waited.outcome else {
            return answer.get();
        };
        wait.ticket = waited.ticket;
        // Also after a time-out: what came together with it has come.
        match attempt() {
            libc::EBUSY => {}
            answer => return answer,
        }
        match outcome {
            Outcome::TimedOut => return libc::ETIMEDOUT,
            Outcome::Interrupted => return libc::EINTR,
            Outcome::Woken | Outcome::Cancelled => {}
        }
    }
}

/// Until when: a clock and a point on it, as the caller gave them.
pub(crate) type Until = Option<(clockid_t, *const timespec)>;

/// Whether waits can be timed by the clock, as libc sees it.
pub(crate) fn is_supported(clock: clockid_t) -> bool {
    matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_MONOTONIC)
}

/// The point as monotonic nanoseconds, `None` for ever; or the error that libc would report.
///
/// # Safety
///
/// The pointer addresses a time.
pub(crate) unsafe fn deadline(until: Until) -> Result<Option<u64>, c_int> {
    let Some((clock, time)) = until else {
        return Ok(None);
    };
    // SAFETY: as the caller vouches.
    let time = unsafe { &*time };
    if !is_supported(clock) || !(0..1_000_000_000).contains(&time.tv_nsec) {
        return Err(libc::EINVAL);
    }
    // A negative time has passed on either clock: 0 has too, and is no special value.
    Ok(Some(call::nanoseconds(time).map_or(0, |at| call::monotonic(clock, at))))
}

/// A relative time as monotonic nanoseconds.
pub(crate) fn from_now(nanoseconds: u64) -> u64 {
    sys::now().saturating_add(nanoseconds)
}

/// The thread id by which libc knows the caller as an owner. After the runtime has started.
pub(crate) fn own_thread_id() -> u32 {
    let address = switch::thread_pointer() + block::thread_id_offset();
    // SAFETY: within the caller's own `struct pthread`; written when the thread began.
    unsafe { (address as *const u32).read() }
}

/// Reads a field of libc's object.
///
/// # Safety
///
/// `object` addresses an initialised object with an aligned `u32` at `offset`.
#[inline]
pub(crate) unsafe fn field<T>(object: *const T, offset: usize) -> u32 {
    let field = object.cast::<u8>().wrapping_add(offset).cast_mut().cast::<u32>();
    // SAFETY: as the caller vouches; libc writes it atomically or not while it is shared.
    let field = unsafe { std::sync::atomic::AtomicU32::from_ptr(field) };
    field.load(std::sync::atomic::Ordering::Relaxed)
}
