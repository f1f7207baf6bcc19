//! Stack overflow: a fault in a guard page becomes one line and an abort.
//!
//! Every OS thread of the runtime has a stack of its own for signal handlers. The handler of SIGSEGV
//! and SIGBUS looks whether the fault lies in the guard of the slot on whose stack the code ran, a fiber's
//! or one that is set aside (a generator's); if not, the fault is the handler's that was there before (std's, or a crash reporter's), or the
//! default's. All of it is safe in a signal handler: no allocation, no lock, raw system calls.
//!
//! A `sigaction` of the program replaces our handler; one that keeps the old action and calls it, as
//! crash reporters do, still has overflows told. Not covered: code compiled without stack probes
//! that steps over a guard in one large frame, as on any thread.
//!
//! Rejected: std's way, a guard range for each thread in a table (the slabs are one already).

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use syscalls::{Sysno, raw_syscall};
use timestop_fiber::{aside, slab};

use crate::action::{Action, exchange};
use crate::{FiberRef, sys};

/// Bytes of a stack for signal handlers. A frame takes 12 KiB with AMX.
const SIGNAL_STACK: usize = 64 * 1024;
/// What was installed before us, for SIGSEGV and SIGBUS.
#[derive(Debug)]
struct Before {
    handler: AtomicUsize,
    flags: AtomicU64,
}

static BEFORE: [Before; 2] = [const {
    Before {
        handler: AtomicUsize::new(0),
        flags: AtomicU64::new(0),
    }
}; 2];

fn before(signal: c_int) -> &'static Before {
    &BEFORE[usize::from(signal == libc::SIGBUS)]
}

/// Gives the calling OS thread a stack of its own for signal handlers. Without memory for it an
/// overflow is a plain SIGSEGV.
pub(crate) fn prepare_thread() {
    let Some(stack) = sys::map(SIGNAL_STACK) else {
        return;
    };
    let stack = libc::stack_t {
        ss_sp: stack as *mut c_void,
        ss_flags: 0,
        ss_size: SIGNAL_STACK,
    };
    // SAFETY: the mapping is ours for ever, and so is the thread.
    let _ = unsafe { raw_syscall!(Sysno::sigaltstack, &raw const stack, 0) };
}

/// Installs the handler. Once, when the runtime starts.
pub(crate) fn install() {
    let ours = Action::on_alternate_stack(handle as *const () as usize, 0, 0);
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        let old = exchange(signal, None);
        if old.handler == ours.handler {
            continue;
        }
        // What was there must be known before we can be called.
        before(signal).handler.store(old.handler, Ordering::Relaxed);
        before(signal).flags.store(old.flags, Ordering::Release);
        exchange(signal, Some(ours));
    }
}

extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a record of a fault, or of a signal that somebody sent.
    let record = unsafe { &*info };
    // SAFETY: faults carry an address.
    let address = unsafe { record.si_addr() } as usize;
    // SAFETY: as above.
    let fault = unsafe { (*info).si_code } > 0;
    // SAFETY: the kernel passes the interrupted registers.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let stack_pointer = registers[libc::REG_RSP as usize] as usize;
    if fault
        && let Some(slot) = slab::containing(address)
        && slab::in_guard(slot, address)
        && slab::containing(stack_pointer) == Some(slot)
    {
        if let Some(name) = aside::name_of(slot) {
            overflowed(b"generator", name.as_bytes());
        }
        // SAFETY: slots hold records, which are never unmapped.
        let fiber = unsafe { FiberRef::from_address(slot.as_ptr() as usize) };
        overflowed(b"fiber", fiber.name().bytes());
    }
    pass_on(signal, info, context);
}

fn overflowed(what: &[u8], name: &[u8]) -> ! {
    let name = match name {
        b"" => b"<unnamed>",
        name => name,
    };
    let mut text = [0_u8; 512];
    let mut end = 0;
    for part in [what, b" '", &name[..name.len().min(400)], b"' has overflowed its stack\n"] {
        text[end..end + part.len()].copy_from_slice(part);
        end += part.len();
    }
    // SAFETY: the kernel reads `end` bytes.
    let _ = unsafe { raw_syscall!(Sysno::write, 2, text.as_ptr(), end) };
    abort()
}

/// Ends the process by SIGABRT, whatever handler or mask it has.
fn abort() -> ! {
    exchange(libc::SIGABRT, Some(Action::default()));
    let abort = 1_u64 << (libc::SIGABRT - 1);
    // SAFETY: the kernel reads one signal set.
    let _ = unsafe {
        raw_syscall!(
            Sysno::rt_sigprocmask,
            libc::SIG_UNBLOCK,
            &raw const abort,
            0,
            8
        )
    };
    let (process, thread) = (sys::process_id(), sys::thread_id());
    // SAFETY: the default action ends the process.
    let _ = unsafe { raw_syscall!(Sysno::tgkill, process, thread, libc::SIGABRT) };
    loop {
        // SAFETY: ends the process; not reached unless the signal was swallowed by a tracer.
        let _ = unsafe { raw_syscall!(Sysno::exit_group, 134) };
    }
}

/// The fault is not ours: it goes where it would have gone without us.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let flags = before(signal).flags.load(Ordering::Acquire);
    let handler = before(signal).handler.load(Ordering::Relaxed);
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        // The instruction faults again when we return; a signal that was sent must be sent again.
        exchange(signal, Some(Action::default()));
        // SAFETY: the kernel passes a valid record.
        if unsafe { (*info).si_code } <= 0 && handler == libc::SIG_DFL {
            let (process, thread) = (sys::process_id(), sys::thread_id());
            // SAFETY: touches no memory.
            let _ = unsafe { raw_syscall!(Sysno::tgkill, process, thread, signal) };
        }
        return;
    }
    if flags & libc::SA_SIGINFO as u64 != 0 {
        type WithInfo = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
        // SAFETY: SA_SIGINFO says that the handler is of this type.
        let handler: WithInfo = unsafe { std::mem::transmute(handler) };
        handler(signal, info, context);
    } else {
        // SAFETY: without SA_SIGINFO it is of this type.
        let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
        handler(signal);
    }
}
