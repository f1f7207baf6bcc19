//! `sigaltstack`, which is the OS thread's in the kernel and the fiber's here: noted and reported,
//! not used. Overflows are told without it, and handlers have room on the fiber's own stack.

use std::ffi::{c_int, c_void};

use libc::stack_t;
use timestop_fiber::slab::Slot;

use super::deliver::word;
use crate::call::{self, Sysno, answer, fail};
use crate::kernel_view::is_bound;
use crate::system_call;

/// See `sigaltstack(2)`. A fiber that has set none is told that it has one: a thread library that
/// asks would map one for each.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigaltstack(new: *const stack_t, old: *mut stack_t) -> c_int {
    // A fiber that is pinned for a while leaves the OS thread, and its stack, to others again.
    let Some(fiber) = call::fiber_of_any_kind().filter(|fiber| !is_bound(*fiber)) else {
        // SAFETY: as the caller vouches.
        return answer(unsafe { system_call!(Sysno::sigaltstack, new, old) });
    };
    let state = fiber.user_word(word::STACK_STATE);
    let address = fiber.user_word(word::STACK_ADDRESS);
    let size = fiber.user_word(word::STACK_SIZE);
    let before = match state.get() {
        0 => stack_t {
            ss_sp: Slot::stack_limit(fiber.slot()) as *mut c_void,
            ss_flags: 0,
            ss_size: libc::SIGSTKSZ,
        },
        1 => stack_t { ss_sp: address.get() as *mut c_void, ss_flags: 0, ss_size: size.get() },
        _ => stack_t { ss_sp: std::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 },
    };
    // SAFETY: null, or a record that the caller passes.
    if let Some(new) = unsafe { new.as_ref() } {
        match new.ss_flags {
            libc::SS_DISABLE => state.set(2),
            0 | libc::SS_ONSTACK if new.ss_size < libc::MINSIGSTKSZ => return fail(libc::ENOMEM),
            0 | libc::SS_ONSTACK => {
                address.set(new.ss_sp as usize);
                size.set(new.ss_size);
                state.set(1);
            }
            _ => return fail(libc::EINVAL),
        }
    }
    if !old.is_null() {
        // SAFETY: the caller passes room for a record.
        unsafe { old.write(before) };
    }
    0
}
