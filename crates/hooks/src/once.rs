//! `pthread_once`: who comes while another initialises waits in the runtime's table, so the routine
//! may block and be suspended.
//!
//! The word is libc's as far as others can see it: 0 at first, 2 once done. While a routine runs it
//! is negative, which libc's never is, and names the process: in the child of a `fork` the thread that
//! ran the routine is gone, and the routine must run again. The table works before the runtime has
//! started, so this is never libc's, with one exception: a word that libc itself has marked (a caller
//! that no hook sees).
//!
//! The routine may throw: libstdc++'s `std::call_once` relies on the exception passing through, and
//! on the next caller trying again.

use std::ffi::c_int;
use std::sync::atomic::{AtomicI32, Ordering};

use libc::pthread_once_t;
use timestop_runtime::futex::{self, Wait};
use timestop_runtime::{Reason, sys};

use crate::real;
use crate::waiting::LOOK_AGAIN;

/// What is run once.
pub type Routine = extern "C-unwind" fn();

real! {
    fn real_once: unsafe extern "C-unwind" fn(*mut pthread_once_t, Routine) -> c_int = c"pthread_once";
}

const UNTOUCHED: c_int = 0;
const DONE: c_int = 2;

/// The mark of a routine that runs in this process. Process ids are below 2²², and bit 1 is free.
fn running() -> c_int {
    c_int::MIN | ((sys::process_id() as c_int) << 2) | 1
}

/// Sets the word at last, however the routine ends, and wakes who waits for that.
struct Finish<'control> {
    word: &'control AtomicI32,
    value: c_int,
}

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        // Release: whoever sees DONE sees what the routine did.
        self.word.swap(self.value, Ordering::SeqCst);
        futex::wake(self.word.as_ptr() as usize + LOOK_AGAIN, usize::MAX, futex::ANY);
    }
}

/// See `pthread_once(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_once(
    control: *mut pthread_once_t,
    routine: Routine,
) -> c_int {
    // SAFETY: the caller passes a control word, which all use atomically.
    let word = unsafe { AtomicI32::from_ptr(control) };
    let mut now = word.load(Ordering::Acquire);
    if now & DONE != 0 {
        return 0;
    }
    let running = running();
    loop {
        if now & DONE != 0 {
            return 0;
        }
        if now == running {
            let key = control as usize + LOOK_AGAIN;
            let still = || word.load(Ordering::Acquire) == running;
            futex::wait(Wait::on(key, Reason::Other), still, || {});
            now = word.load(Ordering::Acquire);
        } else if now > UNTOUCHED {
            // SAFETY: as the caller vouches.
            return unsafe { real_once()(control, routine) };
        } else {
            match word.compare_exchange(now, running, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => break,
                Err(other) => now = other,
            }
        }
    }
    let mut finish = Finish { word, value: UNTOUCHED };
    routine();
    finish.value = DONE;
    0
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[pthread_once as *const ()];
