//! OS threads of the runtime's own, past any hook of `pthread_create`.

use std::ffi::{CStr, c_void};
use std::io;

use crate::{block, current, sys, template};

/// Stack of an OS thread that only runs the runtime's loops, the program's thread-locals not included.
const STACK: usize = 256 * 1024;

/// The same where others' code runs too.
const LARGE_STACK: usize = 1024 * 1024;

/// First function of an OS thread.
pub type Routine = extern "C" fn(*mut c_void) -> *mut c_void;

/// Starts a detached OS thread with every signal blocked until it has begun.
///
/// # Errors
///
/// Those of `pthread_create`.
///
/// # Safety
///
/// `argument` is what `function` expects.
pub unsafe fn start(function: Routine, argument: *mut c_void) -> io::Result<()> {
    // SAFETY: as the caller vouches.
    unsafe { start_on(STACK, function, argument) }
}

/// The same with stack enough for code of libc's, and of libraries that it loads.
///
/// # Errors
///
/// As [`start`].
///
/// # Safety
///
/// As [`start`]; the argument is null.
pub unsafe fn start_large(function: Routine) -> io::Result<()> {
    // SAFETY: as the caller vouches.
    unsafe { start_on(LARGE_STACK, function, std::ptr::null_mut()) }
}

/// # Safety
///
/// As [`start`].
unsafe fn start_on(stack: usize, function: Routine, argument: *mut c_void) -> io::Result<()> {
    let bytes = (stack + block::on_thread_stack()).next_multiple_of(sys::PAGE);
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: initialises the record.
    unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) };
    // SAFETY: initialised.
    unsafe { libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), bytes) };
    // SAFETY: initialised.
    unsafe {
        libc::pthread_attr_setdetachstate(attributes.as_mut_ptr(), libc::PTHREAD_CREATE_DETACHED)
    };
    let mut thread = 0;
    let mask = template::block_signals();
    let create = block::libc_private().pthread_create;
    // SAFETY: the attributes are whole; the caller vouches for function and argument.
    let status = unsafe { create(&raw mut thread, attributes.as_ptr(), function, argument) };
    template::restore_signals(mask);
    // SAFETY: initialised.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    if status == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(status)) }
}

/// Names the calling OS thread, and lets it take every signal that the program takes. Handlers of the
/// program are not to run on it, outside of fibers: see [`current::depth`].
pub fn begin(name: &'static CStr, take_signals: bool) {
    // SAFETY: the kernel reads 16 bytes at most of a C string.
    let _ = unsafe {
        syscalls::raw_syscall!(syscalls::Sysno::prctl, libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0)
    };
    current::deepen();
    if take_signals {
        template::restore_signals(0);
    }
}
