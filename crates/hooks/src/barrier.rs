//! `pthread_barrier_wait`: in the runtime's table, before the start as after it.
//!
//! Of the object only what `pthread_barrier_init` stored is used, and glibc's word `in` as a count of
//! those who have come in this round. All arrivals look at it under the lock of the table's bucket, so
//! a round is complete for exactly one of them: it sets the count back to 0, which is also the state
//! that libc left, and wakes exactly as many as it has counted. Arrivals stand in the order in which
//! they were counted, so these are the ones of its round, even if the next round has begun.
//!
//! A woken waiter does not look at the barrier again: POSIX lets the first that returns destroy it.
//! So a wake-up must be meant; see [`EXACT`].
//!
//! Rejected: libc's algorithm with our waiting (its waiters leave one by one and count themselves
//! out, and `pthread_barrier_destroy` sleeps in the kernel until they have).

use std::ffi::c_int;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::pthread_barrier_t;
use timestop_runtime::Reason;
use timestop_runtime::futex::{self, Wait};

use crate::real;
use crate::waiting::{self, EXACT};

real! {
    fn real_wait: unsafe extern "C" fn(*mut pthread_barrier_t) -> c_int = c"pthread_barrier_wait";
}

/// Fields of glibc's `struct pthread_barrier`; `in` is the first.
const COUNT: usize = 8;
const SHARED: usize = 12;

/// See `pthread_barrier_wait(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_barrier_wait(barrier: *mut pthread_barrier_t) -> c_int {
    // SAFETY: as the caller vouches.
    if unsafe { waiting::field(barrier, SHARED) } != 0 {
        // SAFETY: as the caller vouches.
        return unsafe { real_wait()(barrier) };
    }
    // SAFETY: as the caller vouches.
    let count = unsafe { waiting::field(barrier, COUNT) };
    // SAFETY: as the caller vouches: the word exists until this round is complete.
    let arrived = unsafe { AtomicU32::from_ptr(barrier.cast()) };
    let incomplete = || {
        // The bucket's lock orders these.
        let now = arrived.load(Ordering::Relaxed) + 1;
        arrived.store(if now == count { 0 } else { now }, Ordering::Relaxed);
        now != count
    };
    let key = barrier as usize + EXACT;
    let wait = Wait { exact: true, ..Wait::on(key, Reason::Barrier) };
    let waited = futex::wait(wait, incomplete, || {});
    if waited.outcome.is_some() {
        return 0;
    }
    futex::wake(key, count as usize - 1, futex::ANY);
    libc::PTHREAD_BARRIER_SERIAL_THREAD
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[pthread_barrier_wait as *const ()];
