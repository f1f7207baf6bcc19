//! Who the process is: `setuid` and its kin, once there are fibers.
//!
//! The kernel keeps credentials for each thread; libc changes all threads by a signal that each must
//! answer in its own `struct pthread`. A carrier that runs a fiber would answer in the fiber's, and
//! libc would wait for ever. Until carriers answer for themselves, a change after the first fiber is
//! refused with `EAGAIN`, which POSIX has for "cannot now": better than a hang, or than a process that
//! is half somebody else. Before the first fiber (where servers drop their privileges) it is libc's.

use std::ffi::c_int;

use libc::{gid_t, uid_t};

use crate::call::fail;
use crate::real;

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

/// Defines hooks that refuse once there are fibers.
macro_rules! refuse_with_fibers {
    ($($name:ident($($argument:ident: $type:ty),*) = $real:ident;)*) => {
        $(
            #[doc = concat!("See `", stringify!($name), "(2)`. With fibers: `EAGAIN`.")]
            ///
            /// # Safety
            ///
            /// As libc's.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($argument: $type),*) -> c_int {
                if timestop_runtime::is_started() {
                    return fail(libc::EAGAIN);
                }
                // SAFETY: as the caller vouches.
                unsafe { $real()($($argument),*) }
            }
        )*

        /// The addresses of this family, so that the linker keeps them.
        pub(crate) const LINKED: &[*const ()] = &[$($name as *const ()),*];
    };
}

refuse_with_fibers! {
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
