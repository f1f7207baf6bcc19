//! Who the process is: `setuid` and its kin, for all OS threads at once.
//!
//! The kernel keeps credentials for each thread; libc changes all threads by a signal, [`SIGNAL`], that
//! each must answer in its own `struct pthread`. A carrier that runs a fiber would answer in the
//! fiber's, and libc would ask for ever. So once there are fibers a handler of ours comes before
//! libc's, and calls it with the thread pointer that libc's list has for the OS thread. The runtime's
//! own threads leave that one signal open. The call itself runs with the carrier's thread pointer, as
//! all that works on libc's list.
//!
//! Fibers that run while another calls may be the one user or the other, as on threads.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use libc::{gid_t, siginfo_t, uid_t};
use timestop_fiber::lock::{Guard, Lock};
use timestop_fiber::switch;
use timestop_runtime::{FiberRef, action, carrier_thread_pointer, is_started, sys};

use crate::call::{self, set_errno};
use crate::real;
use crate::thread::on_carriers_block;

/// libc's `SIGSETXID`.
const SIGNAL: c_int = 33;

real! {
    fn real_setuid: unsafe extern "C" fn(uid_t) -> c_int = c"setuid";
    fn real_setgid: unsafe extern "C" fn(gid_t) -> c_int = c"setgid";
    fn real_seteuid: unsafe extern "C" fn(uid_t) -> c_int = c"seteuid";
    fn real_setegid: unsafe extern "C" fn(gid_t) -> c_int = c"setegid";
    fn real_setreuid: unsafe extern "C" fn(uid_t, uid_t) -> c_int = c"setreuid";
    fn real_setregid: unsafe extern "C" fn(gid_t, gid_t) -> c_int = c"setregid";
    fn real_setresuid: unsafe extern "C" fn(uid_t, uid_t, uid_t) -> c_int = c"setresuid";
    fn real_setresgid: unsafe extern "C" fn(gid_t, gid_t, gid_t) -> c_int = c"setresgid";
    fn real_setgroups: unsafe extern "C" fn(usize, *const gid_t) -> c_int = c"setgroups";
}

/// libc's handler of the signal.
static LIBCS: AtomicUsize = AtomicUsize::new(0);

/// The OS thread that became a fiber as it ran: libc knows it by the block that the fiber has.
static FIRST_THREAD: AtomicU32 = AtomicU32::new(0);
static FIRST_BLOCK: AtomicUsize = AtomicUsize::new(0);

/// The calling OS thread goes on as a fiber, with the block it has.
pub(crate) fn became_fiber(fiber: FiberRef) {
    FIRST_BLOCK.store(fiber.pthread(), Ordering::Relaxed);
    FIRST_THREAD.store(sys::thread_id(), Ordering::Release);
}

/// The thread pointer by which libc's list knows the calling OS thread.
fn listed() -> usize {
    if FIRST_THREAD.load(Ordering::Acquire) == sys::thread_id() {
        return FIRST_BLOCK.load(Ordering::Relaxed);
    }
    match FiberRef::current() {
        Some(fiber) => carrier_thread_pointer(fiber),
        None => switch::thread_pointer(),
    }
}

extern "C" fn answer(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
    // SAFETY: only `stand_before` writes the word.
    let libcs: Handler = unsafe { std::mem::transmute(LIBCS.load(Ordering::Acquire)) };
    let (own, listed) = (switch::thread_pointer(), listed());
    // SAFETY: a whole block. libc's handler makes system calls and changes atomic words of its
    // `struct pthread`; no other signal comes meanwhile.
    unsafe { switch::set_thread_pointer(listed) };
    libcs(signal, info, context);
    // SAFETY: back to the block that was interrupted.
    unsafe { switch::set_thread_pointer(own) };
}

static ONE: Lock<()> = Lock::new(());

/// Keeps everybody from changing the handler: around a fork.
pub(crate) fn quiet() -> Guard<'static, ()> {
    ONE.lock()
}

/// Puts our handler before libc's.
fn stand_before() {
    let _one = ONE.lock();
    let now = action::exchange(SIGNAL, None);
    let ours = answer as *const () as usize;
    // libc installs its own with the first thread, of which the runtime has some.
    if now.handler == ours || now.handler <= libc::SIG_IGN {
        return;
    }
    LIBCS.store(now.handler, Ordering::Release);
    action::exchange(SIGNAL, Some(now.handled_by(ours)));
}

/// Makes a call that changes all OS threads.
fn on_all(call: impl FnOnce() -> c_int) -> c_int {
    if !is_started() || call::is_in_vfork_child() {
        return call();
    }
    stand_before();
    let (result, error) = on_carriers_block(|| (call(), call::errno()));
    if result != 0 {
        set_errno(error);
    }
    result
}

/// Defines the hooks.
macro_rules! for_all {
    ($($name:ident($($argument:ident: $type:ty),*) = $real:ident;)*) => {
        $(
            #[doc = concat!("See `", stringify!($name), "(2)`.")]
            ///
            /// # Safety
            ///
            /// As libc's.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($argument: $type),*) -> c_int {
                on_all(|| {
                    // SAFETY: as the caller vouches.
                    unsafe { $real()($($argument),*) }
                })
            }
        )*

        /// The addresses of this family, so that the linker keeps them.
        pub(crate) const LINKED: &[*const ()] = &[$($name as *const ()),*];
    };
}

for_all! {
    setuid(user: uid_t) = real_setuid;
    setgid(group: gid_t) = real_setgid;
    seteuid(user: uid_t) = real_seteuid;
    setegid(group: gid_t) = real_setegid;
    setreuid(real: uid_t, effective: uid_t) = real_setreuid;
    setregid(real: gid_t, effective: gid_t) = real_setregid;
    setresuid(real: uid_t, effective: uid_t, saved: uid_t) = real_setresuid;
    setresgid(real: gid_t, effective: gid_t, saved: gid_t) = real_setresgid;
    setgroups(count: usize, list: *const gid_t) = real_setgroups;
}
