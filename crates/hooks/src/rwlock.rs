//! `pthread_rwlock_*`: the real trylocks and our waiting, the real unlock and our wake.
//!
//! Readers and writers wait in two queues of the table. How many writers are about is counted in a
//! word of the lock that glibc does not use (`__pad3`, zero from the start). Two rules:
//!
//! - *Who is woken.* A writer's unlock wakes all readers, or one writer if there are none; a reader's
//!   unlock wakes one writer, or the readers if no writer is about. So neither kind starves.
//! - *Who may pass.* A reader joins readers that hold the lock even if a writer waits (it may hold
//!   the lock already: POSIX lets readers recurse, and glibc's default prefers them). But one that
//!   finds the lock free with a writer about queues: else a reader that comes back at once would
//!   win against a writer that has been woken and must first be switched to. With the kind
//!   `PREFER_WRITER_NONRECURSIVE` it queues whenever a writer is about.
//!
//! Nothing sleeps for ever: whoever is woken tries; it then holds the lock, or someone else does, and
//! each unlock wakes again. A reader that queued because of a writer is woken by the writer's unlock,
//! or by the writer when it gives up. After an unlock the lock's memory may be gone, so what decides
//! is read before it.
//!
//! Locks shared between processes are libc's, *in the carrier's name* ([`bound`]): a writer is known by
//! its thread id, and fibers of two processes may have the same. A writer keeps its OS thread to itself
//! until it unlocks, as the owner of a bound mutex does.

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{clockid_t, pthread_rwlock_t, timespec};
use timestop_runtime::futex::{self, Wait};
use timestop_runtime::{Reason, is_started};

use crate::waiting::{self, LOOK_AGAIN, TRY_AGAIN, Until};
use crate::{bound, real};

type RwLock = *mut pthread_rwlock_t;

real! {
    fn real_read: unsafe extern "C" fn(RwLock) -> c_int = c"pthread_rwlock_rdlock";
    fn real_timed_read: unsafe extern "C" fn(RwLock, *const timespec) -> c_int = c"pthread_rwlock_timedrdlock";
    fn real_clock_read: unsafe extern "C" fn(RwLock, clockid_t, *const timespec) -> c_int = c"pthread_rwlock_clockrdlock";
    fn real_try_read: unsafe extern "C" fn(RwLock) -> c_int = c"pthread_rwlock_tryrdlock";
    fn real_write: unsafe extern "C" fn(RwLock) -> c_int = c"pthread_rwlock_wrlock";
    fn real_timed_write: unsafe extern "C" fn(RwLock, *const timespec) -> c_int = c"pthread_rwlock_timedwrlock";
    fn real_clock_write: unsafe extern "C" fn(RwLock, clockid_t, *const timespec) -> c_int = c"pthread_rwlock_clockwrlock";
    fn real_try_write: unsafe extern "C" fn(RwLock) -> c_int = c"pthread_rwlock_trywrlock";
    fn real_unlock: unsafe extern "C" fn(RwLock) -> c_int = c"pthread_rwlock_unlock";
}

/// Fields of glibc's `struct __pthread_rwlock_arch_t`.
mod field {
    pub(super) const READERS: usize = 0;
    /// `__pad3`: ours.
    pub(super) const WRITERS_ABOUT: usize = 16;
    pub(super) const WRITER: usize = 24;
    pub(super) const SHARED: usize = 28;
    pub(super) const KIND: usize = 48;
}

/// `__readers` counts from this bit on.
const READER_SHIFT: u32 = 3;
/// `PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP`.
const PREFER_WRITER: u32 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Read,
    Write,
}

/// A lock that the caller of a hook vouches for.
#[derive(Debug, Clone, Copy)]
struct Object(RwLock);

impl Object {
    fn field(self, offset: usize) -> u32 {
        // SAFETY: the hook's caller passes an initialised lock, and the offset is of glibc's.
        unsafe { waiting::field(self.0, offset) }
    }

    fn is_ours(self) -> bool {
        is_started() && self.field(field::SHARED) == 0
    }

    fn writers_about(self) -> &'static AtomicU32 {
        let word = self.0.cast::<u8>().wrapping_add(field::WRITERS_ABOUT).cast::<u32>();
        // SAFETY: as above; used during the caller's call only.
        unsafe { AtomicU32::from_ptr(word) }
    }

    fn attempt(self, side: Side) -> c_int {
        match side {
            // SAFETY: as above.
            Side::Read => unsafe { real_try_read()(self.0) },
            // SAFETY: as above.
            Side::Write => unsafe { real_try_write()(self.0) },
        }
    }

    fn is_own(self) -> bool {
        self.field(field::WRITER) == waiting::own_thread_id()
    }

    /// Whether a reader that has just come must let a writer pass.
    fn must_wait_for_writer(self) -> bool {
        self.writers_about().load(Ordering::SeqCst) != 0
            && (self.field(field::KIND) == PREFER_WRITER
                || self.field(field::READERS) >> READER_SHIFT == 0)
    }

    fn key(self, side: Side) -> usize {
        self.0 as usize + if side == Side::Read { TRY_AGAIN } else { LOOK_AGAIN }
    }

    fn wake(self, side: Side, count: usize) -> usize {
        futex::wake(self.key(side), count, futex::ANY)
    }

    fn lock(self, side: Side, until: Until) -> c_int {
        if self.is_ours() {
            return self.lock_ours(side, until);
        }
        let call = || {
            // SAFETY: as the hook's caller vouches.
            unsafe { self.lock_in_libc(side, until) }
        };
        match side {
            _ if !is_started() => call(),
            Side::Read => bound::in_carriers_name(call),
            Side::Write => bound::acquire(call),
        }
    }

    /// # Safety
    ///
    /// That of libc's functions.
    unsafe fn lock_in_libc(self, side: Side, until: Until) -> c_int {
        let lock = self.0;
        match (side, until) {
            // SAFETY: as the caller vouches.
            (Side::Read, None) => unsafe { real_read()(lock) },
            // SAFETY: as the caller vouches.
            (Side::Write, None) => unsafe { real_write()(lock) },
            // SAFETY: as the caller vouches.
            (Side::Read, Some((libc::CLOCK_REALTIME, at))) => unsafe {
                real_timed_read()(lock, at)
            },
            // SAFETY: as the caller vouches.
            (Side::Write, Some((libc::CLOCK_REALTIME, at))) => unsafe {
                real_timed_write()(lock, at)
            },
            // SAFETY: as the caller vouches.
            (Side::Read, Some((clock, at))) => unsafe { real_clock_read()(lock, clock, at) },
            // SAFETY: as the caller vouches.
            (Side::Write, Some((clock, at))) => unsafe { real_clock_write()(lock, clock, at) },
        }
    }

    fn lock_ours(self, side: Side, until: Until) -> c_int {
        // SAFETY: the hook's caller passes a valid time. libc checks it first, too.
        let deadline = match unsafe { waiting::deadline(until) } {
            Ok(deadline) => deadline,
            Err(number) => return number,
        };
        if side == Side::Write || !self.must_wait_for_writer() {
            match self.attempt(side) {
                libc::EBUSY => {}
                answer => return answer,
            }
        }
        if self.is_own() {
            return libc::EDEADLK;
        }
        let wait = Wait { deadline, ..Wait::on(self.key(side), Reason::RwLock) };
        match side {
            Side::Read => {
                let fresh = Cell::new(true);
                waiting::acquire(wait, || {
                    if fresh.replace(false) && self.must_wait_for_writer() {
                        libc::EBUSY
                    } else {
                        self.attempt(Side::Read)
                    }
                })
            }
            Side::Write => {
                self.writers_about().fetch_add(1, Ordering::SeqCst);
                let answer = waiting::acquire(wait, || self.attempt(Side::Write));
                self.writers_about().fetch_sub(1, Ordering::SeqCst);
                if answer != 0 {
                    self.wake(Side::Read, usize::MAX);
                }
                answer
            }
        }
    }

    fn unlock(self) -> c_int {
        if is_started() && !self.is_ours() {
            return self.unlock_shared();
        }
        let readers_first =
            is_started() && self.is_own() && self.field(field::KIND) != PREFER_WRITER;
        let writers = self.writers_about().load(Ordering::SeqCst);
        // SAFETY: as above.
        let answer = unsafe { real_unlock()(self.0) };
        // The lock may be gone from here on. Both queues are in one bucket of the table, and the
        // real unlock changes the word by compare-and-exchange.
        if !futex::has_waiters_after_exchange(self.key(Side::Read)) {
            return answer;
        }
        if readers_first {
            if self.wake(Side::Read, usize::MAX) == 0 {
                self.wake(Side::Write, 1);
            }
        } else if self.wake(Side::Write, 1) == 0 && writers == 0 {
            self.wake(Side::Read, usize::MAX);
        }
        answer
    }

    fn unlock_shared(self) -> c_int {
        // SAFETY: as above.
        let call = || unsafe { real_unlock()(self.0) };
        if self.is_own() {
            return call(); // locked before there were fibers
        }
        if bound::in_carriers_name(|| self.is_own()) { bound::release(call) } else { call() }
    }
}

/// See `pthread_rwlock_rdlock(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_rwlock_rdlock(lock: RwLock) -> c_int {
    Object(lock).lock(Side::Read, None)
}

/// See `pthread_rwlock_timedrdlock(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_rwlock_timedrdlock(lock: RwLock, until: *const timespec) -> c_int {
    Object(lock).lock(Side::Read, Some((libc::CLOCK_REALTIME, until)))
}

/// See `pthread_rwlock_clockrdlock(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_rwlock_clockrdlock(
    lock: RwLock,
    clock: clockid_t,
    until: *const timespec,
) -> c_int {
    Object(lock).lock(Side::Read, Some((clock, until)))
}

/// See `pthread_rwlock_wrlock(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_rwlock_wrlock(lock: RwLock) -> c_int {
    Object(lock).lock(Side::Write, None)
}

/// See `pthread_rwlock_timedwrlock(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_rwlock_timedwrlock(lock: RwLock, until: *const timespec) -> c_int {
    Object(lock).lock(Side::Write, Some((libc::CLOCK_REALTIME, until)))
}

/// See `pthread_rwlock_clockwrlock(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_rwlock_clockwrlock(
    lock: RwLock,
    clock: clockid_t,
    until: *const timespec,
) -> c_int {
    Object(lock).lock(Side::Write, Some((clock, until)))
}

/// See `pthread_rwlock_trywrlock(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_rwlock_trywrlock(lock: RwLock) -> c_int {
    let call = || Object(lock).attempt(Side::Write);
    if is_started() && !Object(lock).is_ours() { bound::acquire(call) } else { call() }
}

/// See `pthread_rwlock_unlock(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_rwlock_unlock(lock: RwLock) -> c_int {
    Object(lock).unlock()
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[
    pthread_rwlock_rdlock as *const (),
    pthread_rwlock_timedrdlock as *const (),
    pthread_rwlock_clockrdlock as *const (),
    pthread_rwlock_wrlock as *const (),
    pthread_rwlock_timedwrlock as *const (),
    pthread_rwlock_clockwrlock as *const (),
    pthread_rwlock_trywrlock as *const (),
    pthread_rwlock_unlock as *const (),
];
