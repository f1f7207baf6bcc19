//! Three ways to take time, one for each thing a runtime of fibers has to cope with: a call it
//! knows, a computation, and a call it cannot know.

use std::{
    hint, ptr, thread,
    time::{Duration, Instant},
};

use syscalls::{Errno, Sysno, syscall};

/// Suspends the fiber.
pub(super) fn sleep(duration: Duration) {
    thread::sleep(duration);
}

/// Computes, and never looks up but to see whether it is time to stop.
pub(super) fn spin(duration: Duration) {
    let start = Instant::now();
    let mut number = 0x9e37_79b9_7f4a_7c15_u64;
    while start.elapsed() < duration {
        // Some microseconds of xorshift between two looks at the clock.
        for _ in 0..4096 {
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
        }
        number = hint::black_box(number);
    }
}

/// Blocks the OS thread: the system call is made right here, past libc and all that stands in for it.
pub(super) fn block(duration: Duration) {
    let start = Instant::now();
    while let Some(left) = duration.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        let time = TimeSpec {
            seconds: left.as_secs().cast_signed(),
            nanoseconds: i64::from(left.subsec_nanos()),
        };
        // SAFETY: nanosleep reads one timespec, laid out as below, and writes nothing through null.
        let outcome =
            unsafe { syscall!(Sysno::nanosleep, &raw const time, ptr::null_mut::<TimeSpec>()) };
        if !matches!(outcome, Ok(_) | Err(Errno::EINTR)) {
            return;
        }
    }
}

/// The kernel's `struct timespec`.
#[repr(C)]
struct TimeSpec {
    seconds: i64,
    nanoseconds: i64,
}
