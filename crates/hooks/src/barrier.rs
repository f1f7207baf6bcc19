//! `pthread_barrier_wait`: in the runtime's table, before the start as after it.
//!
//! Of the object only what `pthread_barrier_init` stored is used, and two of glibc's words: `in` as a count
//! of those who have come in this round, and `current_round` as a count of those of them who have gone again,
//! out of a signal's handler by a jump. (They are still counted as having come: as they are by libc.) All
//! arrivals look at these under the lock of the table's bucket, so a round is complete for exactly one of
//! them: it sets both back to 0, which is also the state that libc left, and wakes exactly as many as are
//! there. Arrivals stand in the order in which they were counted, so these are the ones of its round, even
//! if the next round has begun.
//!
//! A woken waiter does not look at the barrier again: POSIX lets the first that returns destroy it.
//! So a wake-up must be meant; see [`EXACT`]. Nor may one look that jumps: the table knows whether its
//! round is complete.
//!
//! Rejected: libc's algorithm with our waiting (its waiters leave one by one and count themselves
//! out, and `pthread_barrier_destroy` sleeps in the kernel until they have).

use std::ffi::c_int;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::pthread_barrier_t;
use timestop_runtime::Reason;
use timestop_runtime::futex;

use crate::real;
use crate::waiting::{self, EXACT};

real! {
    fn real_wait: unsafe extern "C" fn(*mut pthread_barrier_t) -> c_int = c"pthread_barrier_wait";
}

/// Fields of glibc's `struct pthread_barrier`; `in` is the first.
const GONE: usize = 4;
const COUNT: usize = 8;
const SHARED: usize = 12;

/// See `pthread_barrier_wait(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_barrier_wait(barrier: *mut pthread_barrier_t) -> c_int {
    // SAFETY: as the caller vouches.
    if unsafe { waiting::field(barrier, SHARED) } != 0 {
        // SAFETY: as the caller vouches.
        return unsafe { real_wait()(barrier) };
    }
    // SAFETY: as the caller vouches.
    let count = unsafe { waiting::field(barrier, COUNT) };
    // SAFETY: as the caller vouches: the words exist until this round is complete.
    let [arrived, gone] = unsafe { counts(barrier as usize) };
    let arrive = || {
        // The bucket's lock orders these.
        let now = arrived.load(Ordering::Relaxed) + 1;
        if now < count {
            arrived.store(now, Ordering::Relaxed);
            return None;
        }
        arrived.store(0, Ordering::Relaxed);
        Some((count - 1 - gone.swap(0, Ordering::Relaxed)) as usize)
    };
    let last = futex::meet(barrier as usize + EXACT, Reason::Barrier, arrive, go);
    if last { libc::PTHREAD_BARRIER_SERIAL_THREAD } else { 0 }
}

/// The counts of those who have come, and of those of them who have gone.
///
/// # Safety
///
/// A barrier lies at the address, for as long as they are used.
unsafe fn counts<'a>(barrier: usize) -> [&'a AtomicU32; 2] {
    [barrier, barrier + GONE].map(|address| {
        // SAFETY: as the caller vouches.
        unsafe { AtomicU32::from_ptr(address as *mut u32) }
    })
}

/// Somebody goes whose round is not complete.
fn go(key: usize) {
    // SAFETY: until its round is complete there is a barrier.
    let [_, gone] = unsafe { counts(key - EXACT) };
    gone.fetch_add(1, Ordering::Relaxed);
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[pthread_barrier_wait as *const ()];
