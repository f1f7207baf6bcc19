//! `rt_sigaction`, raw: the actions of signals that are the runtime's own.
//!
//! Past libc and past the hook: the program is not to see these handlers, nor to undo them by
//! chance.

use std::arch::naked_asm;
use std::ffi::c_int;

use syscalls::{Sysno, raw_syscall};

const SA_RESTORER: u64 = 0x0400_0000;

/// `struct kernel_sigaction`.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Action {
    /// The handler's address, `SIG_DFL` or `SIG_IGN`.
    pub handler: usize,
    /// `SA_…`, with the kernel's own.
    pub flags: u64,
    restorer: usize,
    mask: u64,
}

impl Action {
    /// The same, with another handler and with every signal blocked while it runs.
    #[must_use]
    pub fn handled_by(self, handler: usize) -> Self {
        Self { handler, mask: u64::MAX, ..self }
    }

    /// A handler that runs on the OS thread's alternate stack, with the signals of `mask` blocked.
    pub(crate) fn on_alternate_stack(handler: usize, flags: c_int, mask: u64) -> Self {
        let flags = flags | libc::SA_SIGINFO | libc::SA_ONSTACK;
        Self {
            handler,
            flags: flags as u64 | SA_RESTORER,
            restorer: restore as *const () as usize,
            mask,
        }
    }
}

/// Sets the action of a signal, if one is given, and returns the one before.
pub fn exchange(signal: c_int, action: Option<Action>) -> Action {
    let mut old = Action::default();
    let new = action.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the kernel reads and writes one record each; handlers that we set live for ever.
    let _ = unsafe { raw_syscall!(Sysno::rt_sigaction, signal, new, &raw mut old, 8) };
    old
}

/// Returns from a signal handler; the bytes are those by which unwinders know such a frame.
#[unsafe(naked)]
unsafe extern "C" fn restore() {
    naked_asm!("mov rax, 15", "syscall")
}

/// `mov rax, imm32` and `syscall`: fifteen is rt_sigreturn.
const _: () = assert!(libc::SYS_rt_sigreturn == 15);
