//! `system`: a shell, waited for as any child is.
//!
//! While any shell runs, the process ignores SIGINT and SIGQUIT, and the caller blocks SIGCHLD; the
//! shell itself has the actions and the mask of before. Several callers share the first's record of
//! what to put back, as in libc.

use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;

use libc::{pid_t, posix_spawnattr_t, sigset_t};
use timestop_fiber::lock::{Guard, Lock};

use super::{posix_spawn, wait};
use crate::signal::{sigaction, sigprocmask};
use crate::thread::cancel;
use crate::{call, real};

real! {
    fn real_system: unsafe extern "C" fn(*const c_char) -> c_int = c"system";
}

unsafe extern "C" {
    static environ: *const *mut c_char;
}

/// Shells that run, and the actions for SIGINT and SIGQUIT before the first.
struct Shells {
    count: usize,
    before: [MaybeUninit<libc::sigaction>; 2],
}

static SHELLS: Lock<Shells> =
    Lock::new(Shells { count: 0, before: [const { MaybeUninit::uninit() }; 2] });
const KEYS: [c_int; 2] = [libc::SIGINT, libc::SIGQUIT];
/// What a shell that cannot be executed ends with.
const NOT_FOUND: c_int = 127 << 8;

/// Keeps everybody from starting shells: around a fork.
pub(super) fn quiet() -> Guard<'static, impl Sized> {
    SHELLS.lock()
}

impl Shells {
    /// One more; the set of signals whose default the shell gets back.
    fn enter(&mut self) -> sigset_t {
        if self.count == 0 {
            // SAFETY: all-zero is a valid action.
            let mut ignore: libc::sigaction = unsafe { std::mem::zeroed() };
            ignore.sa_sigaction = libc::SIG_IGN;
            for (signal, before) in KEYS.into_iter().zip(&mut self.before) {
                // SAFETY: whole records.
                unsafe { sigaction(signal, &raw const ignore, before.as_mut_ptr()) };
            }
        }
        self.count += 1;
        let mut set = MaybeUninit::<sigset_t>::uninit();
        // SAFETY: makes an empty set.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        for (signal, before) in KEYS.into_iter().zip(&self.before) {
            // SAFETY: written when the first one came.
            if unsafe { before.assume_init_ref() }.sa_sigaction != libc::SIG_IGN {
                // SAFETY: a whole set.
                unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
            }
        }
        // SAFETY: made above.
        unsafe { set.assume_init() }
    }

    fn leave(&mut self) {
        self.count -= 1;
        if self.count == 0 {
            for (signal, before) in KEYS.into_iter().zip(&self.before) {
                // SAFETY: written when the first one came.
                unsafe { sigaction(signal, before.as_ptr(), std::ptr::null_mut()) };
            }
        }
    }
}

/// Starts a shell.
fn spawn(command: *const c_char, defaults: &sigset_t, mask: &sigset_t) -> Result<pid_t, c_int> {
    let flags = libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETSIGMASK;
    let mut attributes = MaybeUninit::<posix_spawnattr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: makes attributes.
    unsafe { libc::posix_spawnattr_init(attributes) };
    // SAFETY: made above.
    unsafe { libc::posix_spawnattr_setsigdefault(attributes, defaults) };
    // SAFETY: made above.
    unsafe { libc::posix_spawnattr_setsigmask(attributes, mask) };
    // SAFETY: made above.
    unsafe { libc::posix_spawnattr_setflags(attributes, flags as libc::c_short) };
    let arguments = [c"sh".as_ptr(), c"-c".as_ptr(), command, std::ptr::null()];
    let (path, mut process) = (c"/bin/sh".as_ptr(), 0);
    // SAFETY: reads the pointer to the environment, as libc's does.
    let environment = unsafe { environ };
    let arguments = arguments.as_ptr().cast();
    // SAFETY: all of it is whole; the strings are only read.
    let error = unsafe {
        posix_spawn(&raw mut process, path, std::ptr::null(), attributes, arguments, environment)
    };
    // SAFETY: made above.
    unsafe { libc::posix_spawnattr_destroy(attributes) };
    if error == 0 { Ok(process) } else { Err(error) }
}

/// See `system(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn system(command: *const c_char) -> c_int {
    if command.is_null() || call::fiber().is_none() {
        // SAFETY: as the caller vouches.
        return unsafe { real_system()(command) };
    }
    let mut children = MaybeUninit::<sigset_t>::uninit();
    // SAFETY: makes an empty set.
    unsafe { libc::sigemptyset(children.as_mut_ptr()) };
    // SAFETY: made above.
    unsafe { libc::sigaddset(children.as_mut_ptr(), libc::SIGCHLD) };
    let mut mask = MaybeUninit::<sigset_t>::zeroed();
    let defaults = SHELLS.lock().enter();
    // SAFETY: whole sets.
    unsafe { sigprocmask(libc::SIG_BLOCK, children.as_ptr(), mask.as_mut_ptr()) };
    // SAFETY: all-zero was a set already.
    let mask = unsafe { mask.assume_init() };
    let mut status = NOT_FOUND;
    if let Ok(process) = spawn(command, &defaults, &mask) {
        loop {
            // A request to end waits for the command's end: the signals' actions must come back.
            // SAFETY: room for a status.
            let wait = || unsafe { wait::waitpid(process, &raw mut status, 0) };
            let ended = cancel::held(wait);
            if ended == process {
                break;
            }
            if call::errno() != libc::EINTR {
                status = -1;
                break;
            }
        }
    }
    let errno = call::errno();
    SHELLS.lock().leave();
    // SAFETY: a whole set.
    unsafe { sigprocmask(libc::SIG_SETMASK, &raw const mask, std::ptr::null_mut()) };
    call::set_errno(errno);
    status
}
