//! The ways in which a process ends, for what is to be told then: `exit` and the return of `main`,
//! which run the object's destructors, and `_exit`, which runs nothing. Ends by a signal are the
//! report's matter; SIGKILL, a crash and a raw system call leave nothing to be told.

use std::ffi::c_int;

use syscalls::{Sysno, raw_syscall};
use timestop_hooks::call;
use timestop_report as report;

extern "C" fn unloaded() {
    report::at_end();
}

#[used]
#[unsafe(link_section = ".fini_array")]
static UNLOADED: extern "C" fn() = unloaded;

/// See `_exit(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn _exit(status: c_int) -> ! {
    // A child of `vfork` has its parent's memory. And handlers may call this: nothing is allocated here.
    if !call::is_in_vfork_child() {
        report::at_end_elsewhere();
    }
    loop {
        // SAFETY: ends the process.
        let _ = unsafe { raw_syscall!(Sysno::exit_group, status) };
    }
}

/// See `_Exit(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn _Exit(status: c_int) -> ! {
    _exit(status)
}
