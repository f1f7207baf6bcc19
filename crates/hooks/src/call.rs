//! What all hooks share: who calls, raw system calls, `errno`.

use std::ffi::c_int;

pub use syscalls::Sysno;
use timestop_runtime::{FiberRef, Outcome};

use crate::thread::cancel;

/// The fiber that may be suspended here: `None` on an OS thread, while the fiber is pinned to one,
/// and while a child of `vfork` runs in the fiber's memory.
#[inline(always)]
#[must_use]
pub fn fiber() -> Option<FiberRef> {
    FiberRef::current().filter(|fiber| fiber.may_suspend())
}

/// Whether this code runs in a child of `vfork`, in the memory of its parent's fiber.
#[must_use]
pub fn is_in_vfork_child() -> bool {
    crate::signal::is_borrowed()
}

/// The running fiber, pinned or not; `None` on an OS thread and in a child of `vfork`.
#[must_use]
pub fn fiber_of_any_kind() -> Option<FiberRef> {
    FiberRef::current().filter(|fiber| !fiber.is_borrowed())
}

/// Makes a raw system call: the value, or the error number. `errno` stays.
///
/// ```ignore
/// system_call!(Sysno::read, descriptor, buffer, count)
/// ```
///
/// # Safety
///
/// That of the system call.
#[macro_export]
macro_rules! system_call {
    ($number:expr $(, $argument:expr)* $(,)?) => {
        ::timestop_runtime::sys::outcome(::syscalls::raw_syscall!($number $(, $argument)*))
    };
}

/// Sets `errno`.
#[inline]
pub fn set_errno(number: c_int) {
    // SAFETY: answers an address.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: libc gives each thread, and so each fiber, its own; valid while it lives.
    unsafe { place.write(number) };
}

/// The calling thread's `errno`.
#[must_use]
pub fn errno() -> c_int {
    // SAFETY: answers an address.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    unsafe { place.read() }
}

/// A C return value that can say "see errno".
pub trait Minus1 {
    /// −1.
    const MINUS_1: Self;
    /// The value of a system call.
    fn from_value(value: usize) -> Self;
}

impl Minus1 for c_int {
    const MINUS_1: Self = -1;
    fn from_value(value: usize) -> Self {
        value as Self
    }
}

impl Minus1 for isize {
    const MINUS_1: Self = -1;
    fn from_value(value: usize) -> Self {
        value as Self
    }
}

impl Minus1 for i64 {
    const MINUS_1: Self = -1;
    fn from_value(value: usize) -> Self {
        value as Self
    }
}

/// What C expects: the value, or −1 with `errno` set.
#[inline]
pub fn answer<R: Minus1>(outcome: Result<usize, c_int>) -> R {
    match outcome {
        Ok(value) => R::from_value(value),
        Err(number) => fail(number),
    }
}

/// −1, with `errno` set. With `EINTR` a cancellation point: what ended the wait may have been a request
/// to end, and the call has done nothing.
#[inline]
pub fn fail<R: Minus1>(number: c_int) -> R {
    if number == libc::EINTR {
        cancel::point();
    }
    complain(number)
}

/// −1, with `errno` set: for calls that are no cancellation points.
#[inline]
pub fn complain<R: Minus1>(number: c_int) -> R {
    set_errno(number);
    R::MINUS_1
}

/// The error number of a wait that ended without what it waited for.
#[must_use]
pub fn error_of(outcome: Outcome) -> c_int {
    match outcome {
        Outcome::Woken => 0,
        Outcome::TimedOut => libc::ETIMEDOUT,
        Outcome::Interrupted => libc::EINTR,
        Outcome::Cancelled => libc::ECANCELED,
    }
}

/// Nanoseconds of a valid time; `None` for one that libc rejects with `EINVAL`.
#[must_use]
pub fn nanoseconds(time: &libc::timespec) -> Option<u64> {
    let valid = time.tv_sec >= 0 && (0..1_000_000_000).contains(&time.tv_nsec);
    valid.then(|| {
        (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
    })
}

/// A point on `clock` as a point on the monotonic clock, now. A clock that is set later moves its
/// deadlines; the kernel follows that, this does not until the next wait.
#[must_use]
pub fn monotonic(clock: libc::clockid_t, at: u64) -> u64 {
    if clock == libc::CLOCK_MONOTONIC {
        return at;
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec; not hooked.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    let now = nanoseconds(&time).unwrap_or(0);
    at.saturating_sub(now).saturating_add(timestop_runtime::sys::now())
}
