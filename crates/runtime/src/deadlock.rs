//! Every fiber waits for another, and so does `main`: one report of who waits for what, as Go gives.
//!
//! The monitor looks when all workers sleep and it is about to sleep itself. It reports only where
//! nothing from outside could still wake anyone: no timer, no descriptor that a fiber waits for, no
//! fiber in a blocking call, no OS thread of the program's that is not itself waiting for a fiber, no
//! signal handler, no child process. A wrong report would be worse than none, so whatever cannot be
//! told counts as a reason for hope.
//!
//! The text goes straight to descriptor 2, formatted into a buffer on the stack: a fiber may hold the
//! locks of `malloc` and of std's standard error.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use syscalls::{Sysno, raw_syscall};

use crate::fiber::Reason;
use crate::sched::Runtime;
use crate::{Snapshot, snapshots, stats, sys};

/// What to do about a deadlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deadlock {
    /// Write the report, once, and wait on.
    #[default]
    Report,
    /// Write the report and abort the process.
    Abort,
    /// Do not look.
    Off,
}

/// OS threads, none of the runtime's, that wait for a fiber without a time limit.
static OUTSIDE: AtomicUsize = AtomicUsize::new(0);

/// Runs `wait`, in which the calling OS thread does nothing but wait for a fiber.
pub fn outside_wait<R>(wait: impl FnOnce() -> R) -> R {
    OUTSIDE.fetch_add(1, Ordering::SeqCst);
    let result = wait();
    OUTSIDE.fetch_sub(1, Ordering::SeqCst);
    result
}

/// The reasons that only another fiber can end.
fn is_for_a_fiber(snapshot: &Snapshot) -> bool {
    let inside = matches!(
        snapshot.reason,
        Reason::Futex
            | Reason::Mutex
            | Reason::Condition
            | Reason::Semaphore
            | Reason::RwLock
            | Reason::Barrier
            | Reason::Join
            | Reason::Receive
            | Reason::Send
            | Reason::Select
    );
    snapshot.parked && inside
}

/// Looks whether anything could still wake anyone. All workers sleep.
pub(crate) fn look(runtime: &Runtime) {
    static REPORTED: AtomicUsize = AtomicUsize::new(0);
    if runtime.settings.deadlock == Deadlock::Off || !is_certain(runtime) {
        return;
    }
    // One report for one standstill: the same fibers after the same number of switches.
    let fingerprint = stats().switches as usize;
    if REPORTED.swap(fingerprint, Ordering::Relaxed) == fingerprint {
        return;
    }
    report();
    if runtime.settings.deadlock == Deadlock::Abort {
        std::process::abort();
    }
}

fn is_certain(runtime: &Runtime) -> bool {
    let timed = runtime.workers.iter().any(|worker| worker.wheel.next_deadline() != u64::MAX);
    let queued = runtime.injector.len() != 0 || !runtime.backlog.is_empty() || runtime.workers.iter().any(|w| w.has_work());
    let mut fibers = 0;
    let mut hopeless = true;
    for snapshot in snapshots() {
        fibers += 1;
        hopeless &= is_for_a_fiber(&snapshot);
    }
    !timed
        && !queued
        && fibers > 0
        && hopeless
        && fibers == stats().fibers
        && all_threads_wait(runtime)
        && !has_handlers()
        && !has_children()
}

/// Every OS thread is the runtime's and idle, or waits for a fiber.
fn all_threads_wait(runtime: &Runtime) -> bool {
    let idle = runtime.workers.len() + runtime.spares.waiting();
    let ours = runtime.carriers.living() + crate::start::housekeepers();
    idle == runtime.carriers.living()
        && number_in_status("Threads:", 10)
            == Some((ours + OUTSIDE.load(Ordering::SeqCst)) as u64)
}

/// Whether the program catches a signal. The runtime and std catch faults, glibc its own two.
fn has_handlers() -> bool {
    const OURS: u64 = 1 << (libc::SIGSEGV - 1) | 1 << (libc::SIGBUS - 1) | 0b11 << 31;
    let ours = OURS | OWN_SIGNALS.load(Ordering::Relaxed);
    number_in_status("SigCgt:", 16).is_none_or(|caught| caught & !ours != 0)
}

/// Signals that are caught, but not by the program.
static OWN_SIGNALS: AtomicU64 = AtomicU64::new(0);

/// Says whether a signal that the kernel has a handler for is ours: then no handler of the program's
/// can wake anyone by it.
pub fn set_own_signal(signal: i32, own: bool) {
    let bit = 1_u64 << (signal - 1);
    if own {
        OWN_SIGNALS.fetch_or(bit, Ordering::Relaxed);
    } else {
        OWN_SIGNALS.fetch_and(!bit, Ordering::Relaxed);
    }
}

fn has_children() -> bool {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: asks without a place for the answer.
    let waited =
        sys::outcome(unsafe { raw_syscall!(Sysno::waitid, libc::P_ALL, 0, 0, options, 0) });
    waited != Err(libc::ECHILD)
}

/// A number in `/proc/self/status`, read without allocating.
fn number_in_status(key: &str, radix: u32) -> Option<u64> {
    let mut text = [0_u8; 4096];
    let path = c"/proc/self/status";
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: a C string.
    let opened =
        sys::outcome(unsafe { raw_syscall!(Sysno::openat, libc::AT_FDCWD, path.as_ptr(), flags, 0) });
    let descriptor = opened.ok()?;
    // SAFETY: the kernel writes at most that many bytes.
    let read = sys::outcome(unsafe {
        raw_syscall!(Sysno::read, descriptor, text.as_mut_ptr(), text.len())
    });
    sys::close(descriptor as i32);
    let text = std::str::from_utf8(&text[..read.ok()?]).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    u64::from_str_radix(line.trim(), radix).ok()
}

/// Text on its way to standard error.
struct Out {
    buffer: [u8; 512],
    length: usize,
}

impl Out {
    fn flush(&mut self) {
        let (start, length) = (self.buffer.as_ptr(), std::mem::take(&mut self.length));
        // SAFETY: the kernel reads that many bytes.
        let _ = unsafe { raw_syscall!(Sysno::write, 2, start, length) };
    }
}

impl Write for Out {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.length == self.buffer.len() {
                self.flush();
            }
            self.buffer[self.length] = byte;
            self.length += 1;
        }
        Ok(())
    }
}

/// Fibers that the report names one by one.
const NAMED: usize = 50;

fn report() {
    let mut out = Out { buffer: [0; 512], length: 0 };
    let _ = write_report(&mut out);
    out.flush();
}

fn write_report(out: &mut Out) -> fmt::Result {
    out.write_str("timestop: all fibers are asleep - deadlock!\n")?;
    let mut rest = 0;
    for (index, snapshot) in snapshots().enumerate() {
        if index >= NAMED {
            rest += 1;
            continue;
        }
        let name = snapshot.fiber.name();
        let name = std::str::from_utf8(name.bytes()).unwrap_or("?");
        let name = if name.is_empty() { "<unnamed>" } else { name };
        write!(out, "fiber {} '{name}' waits for ", snapshot.id)?;
        let at = snapshot.argument;
        match snapshot.reason {
            Reason::Join => writeln!(out, "the end of fiber {at}")?,
            Reason::Mutex => writeln!(out, "the mutex at {at:#x}")?,
            Reason::Condition => writeln!(out, "the condition variable at {at:#x}")?,
            Reason::Semaphore => writeln!(out, "the semaphore at {at:#x}")?,
            Reason::RwLock => writeln!(out, "the read-write lock at {at:#x}")?,
            Reason::Barrier => writeln!(out, "the barrier at {at:#x}")?,
            Reason::Receive => writeln!(out, "a message from the channel at {at:#x}")?,
            Reason::Send => writeln!(out, "room in the channel at {at:#x}")?,
            Reason::Select => writeln!(out, "one of {at} channels (select)")?,
            _ => writeln!(out, "a lock, a channel or a condition (futex at {at:#x})")?,
        }
    }
    if rest > 0 {
        writeln!(out, "… and {rest} more")?;
    }
    let outside = OUTSIDE.load(Ordering::SeqCst);
    if outside > 0 {
        writeln!(out, "OS threads that wait for one of them: {outside}")?;
    }
    out.write_str("(TIMESTOP_DEADLOCK=report|abort|off chooses what happens here)\n")
}
