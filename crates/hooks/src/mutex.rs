//! `pthread_mutex_lock`, `timedlock`, `clocklock`, `unlock`: the real trylock and our waiting, the
//! real unlock and our wake.
//!
//! A fiber's block holds a thread id of its own, so recursive and error-checking mutexes know their
//! owner without our help. Before the runtime has started, everything is libc's.
//!
//! | mutex | how |
//! |---|---|
//! | private; any kind, also with priority inheritance | trylock and table |
//! | shared between processes, normal or adaptive | the real call: blocks an OS thread |
//! | shared, and with an owner that others look at; robust; with a priority ceiling | [`bound`]: in the carrier's name |
//!
//! *Priority inheritance* of a private mutex is dropped: it would boost the OS thread that carries
//! the owner just now, and the kernel knows no fiber's thread id. Mutual exclusion and the kind are
//! kept, and no carrier blocks. Rejected: pinning fibers for these too (a carrier for each, for
//! nothing that a fiber can observe). *Robust* mutexes cannot be told private from shared (glibc marks
//! them all as shared), so they are bound.

use std::ffi::c_int;

use libc::{clockid_t, pthread_mutex_t, timespec};
use timestop_runtime::futex::{self, Wait};
use timestop_runtime::{Reason, is_started};

use crate::waiting::{self, TRY_AGAIN, Until};
use crate::{bound, real};

type Mutex = *mut pthread_mutex_t;

real! {
    fn real_lock: unsafe extern "C" fn(Mutex) -> c_int = c"pthread_mutex_lock";
    fn real_trylock: unsafe extern "C" fn(Mutex) -> c_int = c"pthread_mutex_trylock";
    fn real_timedlock: unsafe extern "C" fn(Mutex, *const timespec) -> c_int = c"pthread_mutex_timedlock";
    fn real_clocklock: unsafe extern "C" fn(Mutex, clockid_t, *const timespec) -> c_int = c"pthread_mutex_clocklock";
    fn real_unlock: unsafe extern "C" fn(Mutex) -> c_int = c"pthread_mutex_unlock";
    fn real_consistent: unsafe extern "C" fn(Mutex) -> c_int = c"pthread_mutex_consistent";
}

/// `__owner` and `__kind` in glibc's `struct __pthread_mutex_s`.
const OWNER: usize = 8;
const KIND: usize = 16;

/// Bits of `__kind`.
mod kind {
    pub(super) const TYPE: u32 = 3;
    pub(super) const ADAPTIVE: u32 = 3;
    pub(super) const RECURSIVE: u32 = 1;
    pub(super) const ERROR_CHECK: u32 = 2;
    pub(super) const ROBUST: u32 = 16;
    pub(super) const INHERIT: u32 = 32;
    pub(super) const PROTECT: u32 = 64;
    pub(super) const SHARED: u32 = 128;
}

/// Who deals with a mutex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Trylock and table.
    Ours,
    /// The real calls.
    Libcs,
    /// The real calls, in the carrier's name.
    Bound,
}

fn class(kind: u32) -> Class {
    if kind & (kind::ROBUST | kind::PROTECT | kind::SHARED) == 0 {
        return Class::Ours;
    }
    let plain = matches!(kind & kind::TYPE, 0 | kind::ADAPTIVE)
        && kind & (kind::ROBUST | kind::PROTECT | kind::INHERIT) == 0;
    if plain { Class::Libcs } else { Class::Bound }
}

/// # Safety
///
/// `mutex` is initialised.
#[inline]
unsafe fn kind_of(mutex: Mutex) -> u32 {
    // SAFETY: `__kind` never changes but for hints about elision.
    unsafe { waiting::field(mutex, KIND) }
}

fn key(mutex: Mutex) -> usize {
    mutex as usize + TRY_AGAIN
}

/// Locks, once the runtime has started.
///
/// # Safety
///
/// `mutex` is initialised, the time of `until` valid memory.
pub(crate) unsafe fn lock(mutex: Mutex, until: Until) -> c_int {
    // SAFETY: as the caller vouches.
    let kind = unsafe { kind_of(mutex) };
    match class(kind) {
        Class::Ours => {}
        // SAFETY: as the caller vouches.
        Class::Libcs => return unsafe { real(mutex, until) },
        // SAFETY: as the caller vouches.
        Class::Bound => return bound::acquire(|| unsafe { real(mutex, until) }),
    }
    // SAFETY: as the caller vouches.
    match unsafe { real_trylock()(mutex) } {
        // SAFETY: as the caller vouches.
        libc::EBUSY => unsafe { lock_contended(mutex, kind, until) },
        answer => answer,
    }
}

/// # Safety
///
/// That of [`lock`].
#[cold]
unsafe fn lock_contended(mutex: Mutex, kind: u32, until: Until) -> c_int {
    if kind & kind::TYPE == kind::ERROR_CHECK {
        // SAFETY: as the caller vouches. Only an owner can find its own id there.
        let owner = unsafe { waiting::field(mutex, OWNER) };
        if owner == waiting::own_thread_id() {
            return libc::EDEADLK;
        }
    }
    // SAFETY: as the caller vouches.
    let deadline = match unsafe { waiting::deadline(until) } {
        Ok(deadline) => deadline,
        Err(number) => return number,
    };
    let wait = Wait { deadline, ..Wait::on(key(mutex), Reason::Mutex) };
    // SAFETY: as the caller vouches.
    waiting::acquire(wait, || unsafe { real_trylock()(mutex) })
}

/// The real lock, timed or not.
///
/// # Safety
///
/// That of [`lock`].
unsafe fn real(mutex: Mutex, until: Until) -> c_int {
    match until {
        // SAFETY: as the caller vouches.
        None => unsafe { real_lock()(mutex) },
        // SAFETY: as the caller vouches.
        Some((libc::CLOCK_REALTIME, time)) => unsafe { real_timedlock()(mutex, time) },
        // SAFETY: as the caller vouches.
        Some((clock, time)) => unsafe { real_clocklock()(mutex, clock, time) },
    }
}

/// Unlocks, and wakes who waits in the table.
///
/// # Safety
///
/// `mutex` is initialised.
#[inline]
pub(crate) unsafe fn unlock(mutex: Mutex) -> c_int {
    // SAFETY: as the caller vouches. After the unlock the mutex may be gone, so before it.
    if class(unsafe { kind_of(mutex) }) == Class::Bound {
        // SAFETY: as the caller vouches.
        return bound::release(|| unsafe { real_unlock()(mutex) });
    }
    // SAFETY: as the caller vouches.
    let answer = unsafe { real_unlock()(mutex) };
    // The real unlock ends with an exchange.
    if futex::has_waiters_after_exchange(key(mutex)) {
        futex::wake(key(mutex), 1, futex::ANY);
    }
    answer
}

/// Whether unlocking would be refused because the caller is not the owner.
///
/// # Safety
///
/// `mutex` is initialised.
pub(crate) unsafe fn is_anothers(mutex: Mutex) -> bool {
    // SAFETY: as the caller vouches.
    let kind = unsafe { kind_of(mutex) };
    let checked = matches!(kind & kind::TYPE, kind::RECURSIVE | kind::ERROR_CHECK)
        || kind & kind::INHERIT != 0;
    // SAFETY: as the caller vouches.
    let owner = || unsafe { waiting::field(mutex, OWNER) };
    class(kind) == Class::Ours && checked && owner() != waiting::own_thread_id()
}

/// Whether processes share the mutex.
///
/// # Safety
///
/// `mutex` is initialised.
pub(crate) unsafe fn is_shared(mutex: Mutex) -> bool {
    // SAFETY: as the caller vouches.
    unsafe { kind_of(mutex) & kind::SHARED != 0 }
}

/// See `pthread_mutex_lock(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_mutex_lock(mutex: Mutex) -> c_int {
    if is_started() {
        // SAFETY: as the caller vouches.
        return unsafe { lock(mutex, None) };
    }
    // SAFETY: as the caller vouches.
    unsafe { real_lock()(mutex) }
}

/// See `pthread_mutex_trylock(3p)`: libc's, but in the right name.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_mutex_trylock(mutex: Mutex) -> c_int {
    // SAFETY: as the caller vouches.
    let attempt = || unsafe { real_trylock()(mutex) };
    // SAFETY: as the caller vouches.
    if class(unsafe { kind_of(mutex) }) == Class::Bound {
        return bound::acquire(attempt);
    }
    attempt()
}

/// See `pthread_mutex_timedlock(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_mutex_timedlock(mutex: Mutex, until: *const timespec) -> c_int {
    if is_started() {
        // SAFETY: as the caller vouches.
        return unsafe { lock(mutex, Some((libc::CLOCK_REALTIME, until))) };
    }
    // SAFETY: as the caller vouches.
    unsafe { real_timedlock()(mutex, until) }
}

/// See `pthread_mutex_clocklock(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_mutex_clocklock(
    mutex: Mutex,
    clock: clockid_t,
    until: *const timespec,
) -> c_int {
    if !waiting::is_supported(clock) {
        return libc::EINVAL;
    }
    if is_started() {
        // SAFETY: as the caller vouches.
        return unsafe { lock(mutex, Some((clock, until))) };
    }
    // SAFETY: as the caller vouches.
    unsafe { real_clocklock()(mutex, clock, until) }
}

/// See `pthread_mutex_unlock(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_mutex_unlock(mutex: Mutex) -> c_int {
    // SAFETY: as the caller vouches.
    unsafe { unlock(mutex) }
}

/// See `pthread_mutex_consistent(3p)`: writes the owner's name, so the right one is needed.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_mutex_consistent(mutex: Mutex) -> c_int {
    // SAFETY: as the caller vouches.
    let mend = || unsafe { real_consistent()(mutex) };
    // SAFETY: as the caller vouches.
    if class(unsafe { kind_of(mutex) }) == Class::Bound {
        return bound::in_carriers_name(mend);
    }
    mend()
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[
    pthread_mutex_lock as *const (),
    pthread_mutex_trylock as *const (),
    pthread_mutex_timedlock as *const (),
    pthread_mutex_clocklock as *const (),
    pthread_mutex_unlock as *const (),
    pthread_mutex_consistent as *const (),
];
