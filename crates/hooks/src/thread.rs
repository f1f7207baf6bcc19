//! Threads that become fibers.
//!
//! A created thread is *adopted* as a fiber if the program has asked for that (everywhere, or within
//! a call); else it is libc's. A `pthread_t` is the thread pointer in both cases, so each function
//! asks whose it is. An adopted thread's slot is held until it has ended *and* been joined or
//! detached, so that its `pthread_t` stays its own as long as POSIX says.
//!
//! - [`create`]: `pthread_create`. - [`join`](mod@join): waiting for the end. - [`exit`]: ending early.
//! - [`cancel`](mod@cancel): asking a thread to end. - [`about`]: attributes, name, number.
//! - [`schedule`]: class, affinity, CPU clock.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use libc::pthread_t;
use timestop_fiber::current;
use timestop_runtime::{self as runtime, FiberRef};

pub mod about;
pub mod cancel;
pub mod create;
pub mod exit;
pub mod join;
pub mod schedule;

pub use about::{gettid, name_of};
pub(crate) use timestop_runtime::fork::on_carriers_block;

/// Words of a fiber's record that this file keeps. Word 0 is the crate `timestop`'s.
mod word {
    pub(super) const ROUTINE: usize = 1;
    pub(super) const ARGUMENT: usize = 2;
    pub(super) const RESULT: usize = 3;
    /// A [`super::stage`], as an atomic.
    pub(super) const JOIN: usize = 4;
    /// Bits of [`super::cancel`], as an atomic.
    pub(super) const CANCEL: usize = 5;
    /// Where unwinding ends: a buffer of [`super::exit`]; 0 where there is none.
    pub(super) const BASE: usize = 6;
}

/// States of an adopted thread, in word JOIN.
mod stage {
    /// Not adopted: nobody joins it by its `pthread_t`.
    pub(super) const NONE: u32 = 0;
    pub(super) const JOINABLE: u32 = 1;
    pub(super) const DETACHED: u32 = 2;
    pub(super) const ENDED: u32 = 3;
    /// Someone has joined it.
    pub(super) const TAKEN: u32 = 4;
}

static ADOPT_ALL: AtomicBool = AtomicBool::new(false);

/// Whether every thread created from here on becomes a fiber.
pub fn adopt_all(adopt: bool) {
    ADOPT_ALL.store(adopt, Ordering::SeqCst);
}

/// Threads that `body` creates, on this thread, become fibers.
pub fn adopt_within<R>(body: impl FnOnce() -> R) -> R {
    /// Puts the flag back when dropped, by a panic too.
    struct Restore(bool);

    impl Drop for Restore {
        fn drop(&mut self) {
            current::replace_flag(self.0);
        }
    }

    let _restore = Restore(current::replace_flag(true));
    body()
}

fn adopting() -> bool {
    (ADOPT_ALL.load(Ordering::Relaxed) || current::flag()) && prepare()
}

/// Starts what adopting needs. False where fibers cannot run: then threads stay libc's.
fn prepare() -> bool {
    runtime::is_started() || crate::start_lazily()
}

fn state(fiber: FiberRef) -> &'static AtomicU32 {
    let word = fiber.user_word(word::JOIN).as_ptr();
    // SAFETY: the word is 8-aligned, lives for ever, and is used as this atomic only.
    unsafe { AtomicU32::from_ptr(word.cast()) }
}

/// The fiber of an adopted thread.
fn adopted(thread: pthread_t) -> Option<FiberRef> {
    if !runtime::is_started() {
        return None;
    }
    FiberRef::from_pthread(thread as usize)
}
/// Cancels the fiber of an adopted thread that has not been joined: its blocking I/O fails.
pub fn cancel(thread: pthread_t) {
    if let Some(fiber) = adopted(thread) {
        fiber.cancel();
    }
}

/// The number of the fiber of an adopted thread; 0 for other threads.
#[must_use]
pub fn id(thread: pthread_t) -> u64 {
    adopted(thread).map_or(0, FiberRef::id)
}
/// CPU time of an adopted thread in nanoseconds; `None` once it has ended.
#[must_use]
pub fn cpu_time(thread: pthread_t) -> Option<u64> {
    adopted(thread).filter(|fiber| fiber.is_live()).map(FiberRef::cpu_time)
}

/// Looks up libc's own definitions.
pub(crate) fn look_up() {
    create::look_up();
    join::look_up();
    exit::look_up();
    cancel::look_up();
    about::look_up();
    schedule::look_up();
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[
    create::pthread_create as *const (),
    join::pthread_join as *const (),
    join::pthread_tryjoin_np as *const (),
    join::pthread_timedjoin_np as *const (),
    join::pthread_clockjoin_np as *const (),
    join::pthread_detach as *const (),
    exit::pthread_exit as *const (),
    cancel::pthread_cancel as *const (),
    cancel::pthread_testcancel as *const (),
    cancel::pthread_setcancelstate as *const (),
    cancel::pthread_setcanceltype as *const (),
    about::pthread_getattr_np as *const (),
    about::pthread_setname_np as *const (),
    about::pthread_getname_np as *const (),
    about::gettid as *const (),
    schedule::pthread_setschedparam as *const (),
    schedule::pthread_getschedparam as *const (),
    schedule::pthread_setschedprio as *const (),
    schedule::pthread_setaffinity_np as *const (),
    schedule::pthread_getaffinity_np as *const (),
    schedule::pthread_getcpuclockid as *const (),
];
