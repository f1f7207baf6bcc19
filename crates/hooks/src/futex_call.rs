//! `syscall`: private futexes through the runtime's table, for fibers and OS threads alike.
//!
//! std, `parking_lot` and much else build their locks on `syscall(SYS_futex, …)`. Once the runtime
//! has started, private waits queue in the table, and wakes look there first. Then the kernel is asked
//! to wake the rest: there may be waiters from before the start, and of code that makes the system call
//! itself. Other futexes (shared between processes, with priority inheritance, several at once) are
//! the kernel's; they block an OS thread, and its worker is handed off.
//!
//! Waits end with `EINTR` when a signal comes; cancelling and deadlines of fibers do not end them.
//!
//! The other system calls pass through as they are, except the few that simply are a hooked function
//! under another name. Variadic in C: on x86-64 seven integer arguments look the same to both sides.
//! Rejected: routing `SYS_read` and its like to the hooks (who writes `syscall(SYS_read)` wants just
//! that, a thread that blocks is handed off).

use std::ffi::{c_int, c_long};
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{pid_t, siginfo_t, timespec};
use timestop_runtime::futex::{self, Wait, Waited};
use timestop_runtime::{Outcome, Reason, is_started};

use crate::call::{Sysno, complain, error_of, fail, monotonic, nanoseconds};
use crate::signal::own;
use crate::waiting::from_now;
use crate::{kernel_view, system_call, thread, time};

/// What `syscall` was given after the number.
type Arguments = [usize; 6];

/// See `syscall(2)`.
///
/// # Safety
///
/// That of the system call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    first: usize,
    second: usize,
    third: usize,
    fourth: usize,
    fifth: usize,
    sixth: usize,
) -> c_long {
    match number {
        libc::SYS_futex if is_started() => {
            let arguments = [first, second, third, fourth, fifth, sixth];
            // SAFETY: as the caller vouches.
            if let Some(outcome) = unsafe { futex(arguments) } {
                // std and others build locks on this: it is no cancellation point.
                return outcome.map_or_else(complain, |value| value as c_long);
            }
        }
        libc::SYS_gettid => return c_long::from(thread::gettid()),
        libc::SYS_kill => return c_long::from(own::kill(first as pid_t, second as c_int)),
        libc::SYS_pidfd_send_signal => {
            let (process, signal) = (first as c_int, second as c_int);
            let (info, flags) = (third as *mut siginfo_t, fourth as u32);
            // SAFETY: as the caller vouches.
            return c_long::from(unsafe { own::pidfd_send_signal(process, signal, info, flags) });
        }
        libc::SYS_sched_yield => return c_long::from(time::sched_yield()),
        libc::SYS_nanosleep => {
            // SAFETY: as the caller vouches.
            let slept =
                unsafe { time::nanosleep(first as *const timespec, second as *mut timespec) };
            return c_long::from(slept);
        }
        libc::SYS_clock_nanosleep => {
            let (clock, flags) = (first as c_int, second as c_int);
            let (request, remain) = (third as *const timespec, fourth as *mut timespec);
            // SAFETY: as the caller vouches.
            return match unsafe { time::clock_nanosleep(clock, flags, request, remain) } {
                0 => 0,
                error => fail(error),
            };
        }
        _ if kernel_view::is_one(number, first) => {
            if let Err(error) = kernel_view::bind() {
                return complain(error);
            }
        }
        _ => {}
    }
    let first = kernel_view::thread_argument(number, first);
    // SAFETY: as the caller vouches.
    unsafe { raw(number, [first, second, third, fourth, fifth, sixth]) }
}

/// The system call as it is.
///
/// # Safety
///
/// That of the system call.
unsafe fn raw(number: c_long, arguments: Arguments) -> c_long {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    let result: c_long;
    // In assembly because any number may come, also one that no list of names has.
    // SAFETY: as the caller vouches.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            in("r8") fifth,
            in("r9") sixth,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    if (-4095..0).contains(&result) { complain(-result as c_int) } else { result }
}

/// A futex operation through the table; `None` if it is the kernel's.
///
/// # Safety
///
/// That of the system call. Unlike the kernel, this does not bear addresses that are not mapped.
unsafe fn futex(arguments: Arguments) -> Option<Result<usize, c_int>> {
    let [address, operation, value, fourth, other, last] = arguments;
    let (operation, value, last) = (operation as c_int, value as u32, last as u32);
    let command = operation & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
    let real_time = operation & libc::FUTEX_CLOCK_REALTIME != 0;
    // The kernel refuses some, and is better at saying so.
    let refused = !is_word(address) || (real_time && command != libc::FUTEX_WAIT_BITSET);
    if operation & libc::FUTEX_PRIVATE_FLAG == 0 || refused {
        return None;
    }
    let clock = if real_time { libc::CLOCK_REALTIME } else { libc::CLOCK_MONOTONIC };
    let time = fourth as *const timespec;
    let more = fourth as u32;
    Some(match command {
        // SAFETY: as the caller vouches.
        libc::FUTEX_WAIT => unsafe { wait(address, value, futex::ANY, time, None) },
        // SAFETY: as the caller vouches.
        libc::FUTEX_WAIT_BITSET => unsafe { wait(address, value, last, time, Some(clock)) },
        libc::FUTEX_WAKE => wake(address, value, futex::ANY),
        libc::FUTEX_WAKE_BITSET => wake(address, value, last),
        libc::FUTEX_REQUEUE if is_word(other) => {
            // SAFETY: as the caller vouches.
            unsafe { requeue(address, other, value, more, None) }
        }
        libc::FUTEX_CMP_REQUEUE if is_word(other) => {
            // SAFETY: as the caller vouches.
            unsafe { requeue(address, other, value, more, Some(last)) }
        }
        libc::FUTEX_WAKE_OP if is_word(other) => {
            let operation = WakeOperation::decode(last)?;
            // SAFETY: as the caller vouches.
            let before = operation.apply(unsafe { word(other) });
            wake(address, value, futex::ANY).map(|woken| {
                let also = operation.compares(before);
                woken + if also { wake(other, more, futex::ANY).unwrap_or(0) } else { 0 }
            })
        }
        _ => return None,
    })
}

/// Whether there may be a futex at the address.
fn is_word(address: usize) -> bool {
    address.is_multiple_of(4) && address >= 4096
}

/// # Safety
///
/// The address is that of a futex.
unsafe fn word(address: usize) -> &'static AtomicU32 {
    // SAFETY: as the caller vouches, for as long as the operation takes.
    unsafe { AtomicU32::from_ptr(address as *mut u32) }
}

/// Waits while the word has the value; with a clock the time is a point on it, else a duration.
///
/// # Safety
///
/// The address is that of a futex; the time is null or valid.
unsafe fn wait(
    address: usize,
    value: u32,
    bits: u32,
    time: *const timespec,
    clock: Option<libc::clockid_t>,
) -> Result<usize, c_int> {
    // SAFETY: as the caller vouches.
    let deadline = match unsafe { time.as_ref() } {
        None => None,
        Some(time) => {
            let time = nanoseconds(time).ok_or(libc::EINVAL)?;
            Some(clock.map_or_else(|| from_now(time), |clock| monotonic(clock, time)))
        }
    };
    if bits == 0 {
        return Err(libc::EINVAL);
    }
    // SAFETY: as the caller vouches.
    let word = unsafe { word(address) };
    let mut what = Wait { bits, deadline, breakable: true, ..Wait::on(address, Reason::Futex) };
    loop {
        match futex::wait(what, || word.load(Ordering::SeqCst) == value, || {}) {
            // As the kernel restarts the call: it looks at the word again.
            Waited { goes_on: true, ticket, .. } => what.ticket = ticket,
            Waited { outcome: None, .. } => return Err(libc::EAGAIN),
            Waited { outcome: Some(Outcome::Woken), .. } => return Ok(0),
            Waited { outcome: Some(outcome), .. } => return Err(error_of(outcome)),
        }
    }
}

/// Wakes by the table first, by the kernel if that was not enough. Like the kernel, at least one.
fn wake(address: usize, count: u32, bits: u32) -> Result<usize, c_int> {
    if bits == 0 {
        return Err(libc::EINVAL);
    }
    let count = (count as c_int).max(1) as usize;
    let woken = futex::wake(address, count, bits);
    if woken == count {
        return Ok(woken);
    }
    let operation = libc::FUTEX_WAKE_BITSET | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: only the address is used.
    let more = unsafe { system_call!(Sysno::futex, address, operation, count - woken, 0, 0, bits) };
    Ok(woken + more.unwrap_or(0))
}

/// Wakes some and moves others, if the word still has the value.
///
/// # Safety
///
/// The addresses are those of futexes.
unsafe fn requeue(
    from: usize,
    to: usize,
    count: u32,
    more: u32,
    value: Option<u32>,
) -> Result<usize, c_int> {
    if (count as c_int) < 0 || (more as c_int) < 0 {
        return Err(libc::EINVAL);
    }
    let (count, more) = (count as usize, more as usize);
    // SAFETY: as the caller vouches.
    let word = unsafe { word(from) };
    let still = || value.is_none_or(|value| word.load(Ordering::SeqCst) == value);
    let Some((woken, moved)) = futex::requeue(from, to, count, more, still) else {
        return Err(libc::EAGAIN);
    };
    let done = woken + moved;
    if done == count + more {
        return Ok(done);
    }
    let command = if value.is_some() { libc::FUTEX_CMP_REQUEUE } else { libc::FUTEX_REQUEUE };
    let operation = command | libc::FUTEX_PRIVATE_FLAG;
    let (count, more, value) = (count - woken, more - moved, value.unwrap_or(0));
    // SAFETY: the kernel reads a word that was just read.
    let rest = unsafe { system_call!(Sysno::futex, from, operation, count, more, to, value) };
    // The word may have changed since: what was done before that counts.
    rest.map(|rest| done + rest).or_else(|error| if done > 0 { Ok(done) } else { Err(error) })
}

/// What `FUTEX_WAKE_OP` does to the second word, and when it wakes there.
#[derive(Debug, Clone, Copy)]
struct WakeOperation {
    operation: u32,
    operand: u32,
    comparison: u32,
    compared: i32,
}

impl WakeOperation {
    /// `None` for what the kernel does not know either.
    fn decode(encoded: u32) -> Option<Self> {
        let sign_extended = |bits: u32| ((bits << 20) as i32) >> 20;
        let operand = sign_extended(encoded >> 12 & 0xfff) as u32;
        let shifted = encoded >> 31 != 0;
        let decoded = Self {
            operation: encoded >> 28 & 7,
            operand: if shifted { 1 << (operand & 31) } else { operand },
            comparison: encoded >> 24 & 0xf,
            compared: sign_extended(encoded & 0xfff),
        };
        (decoded.operation <= 4 && decoded.comparison <= 5).then_some(decoded)
    }

    /// Changes the word and answers what it was.
    fn apply(self, word: &AtomicU32) -> i32 {
        let operand = self.operand;
        let before = match self.operation {
            0 => word.swap(operand, Ordering::SeqCst),
            1 => word.fetch_add(operand, Ordering::SeqCst),
            2 => word.fetch_or(operand, Ordering::SeqCst),
            3 => word.fetch_and(!operand, Ordering::SeqCst),
            _ => word.fetch_xor(operand, Ordering::SeqCst),
        };
        before as i32
    }

    fn compares(self, before: i32) -> bool {
        match self.comparison {
            0 => before == self.compared,
            1 => before != self.compared,
            2 => before < self.compared,
            3 => before >= self.compared,
            4 => before <= self.compared,
            _ => before > self.compared,
        }
    }
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[syscall as *const ()];
