//! Ending before the first function returns: `pthread_exit`.
//!
//! libc's own `pthread_exit` does the work, on the fiber's block: it unwinds the stack by
//! `_Unwind_ForcedUnwind`, so that destructors of C++ and cleanup handlers run in their order, and
//! jumps at last to a buffer that it keeps for each thread. It is enough that an adopted thread has
//! such a buffer of its own ([`Base`]), which leads to where fibers end. The main fiber has libc's,
//! which is turned the same way.
//!
//! A fiber that the crate has spawned has no such buffer, since a closure of Rust ends no other way
//! than by return and panic: `pthread_exit` there ends it at once, and drops nothing. On an adopted
//! `std::thread` it is an abort by std, as it is on a thread of the kernel's.
//!
//! Rejected: an unwinding of our own, with a stop function (handlers in C are found by a list in
//! libc's `struct pthread` only); a `setjmp` at each thread's start (it returns twice, which Rust does
//! not know).

use std::arch::{asm, naked_asm};
use std::cell::Cell;
use std::ffi::c_void;

use timestop_runtime::{self as runtime, FiberRef, fork, futex, signal};

use super::{cancel, word};
use crate::{call, real, signal as hooks_signal};

real! {
    fn real_exit: unsafe extern "C-unwind" fn(*mut c_void) -> ! = c"pthread_exit";
    fn real_register: unsafe extern "C" fn(*const Base) = c"__pthread_register_cancel";
    fn real_unregister: unsafe extern "C" fn(*const Base) = c"__pthread_unregister_cancel";
}

/// libc's `__pthread_unwind_buf_t`: where to go on when a stack has been unwound.
#[derive(Debug)]
#[repr(C, align(16))]
pub(super) struct Base {
    /// A `__jmp_buf`: of its registers only the stack pointer and the instruction matter here.
    registers: [Cell<usize>; 8],
    mask_was_saved: Cell<usize>,
    /// The one that was registered before.
    previous: Cell<*const Base>,
    /// Cleanup buffers of the old kind that were pushed before.
    cleanup: Cell<usize>,
    rest: [usize; 2],
}

const STACK_POINTER: usize = 6;
const INSTRUCTION: usize = 7;

impl Base {
    const fn empty() -> Self {
        Self {
            registers: [const { Cell::new(0) }; 8],
            mask_was_saved: Cell::new(0),
            previous: Cell::new(std::ptr::null()),
            cleanup: Cell::new(0),
            rest: [0; 2],
        }
    }

    /// Leads to the fiber's end.
    fn lead_to_end(&self) {
        self.registers[INSTRUCTION].set(mangle(landing as *const () as usize));
    }
}

/// Pointers in a `__jmp_buf` are kept as libc's `PTR_MANGLE` makes them.
fn mangle(pointer: usize) -> usize {
    let mangled;
    // SAFETY: reads a word of the caller's own thread header, the same in all threads.
    unsafe {
        asm!(
            "xor {0}, qword ptr fs:[0x30]",
            "rol {0}, 17",
            inout(reg) pointer => mangled,
            options(nostack, readonly),
        );
    }
    mangled
}

/// Runs the first function of an adopted thread, which may end by `pthread_exit`.
pub(super) fn with_base<R>(body: impl FnOnce() -> R) -> R {
    let base = Base::empty();
    base.registers[STACK_POINTER].set(mangle((&raw const base) as usize));
    base.lead_to_end();
    // SAFETY: the buffer lives until it is taken off, or the fiber ends; none was there before.
    unsafe { real_register()(&raw const base) };
    base.previous.set(std::ptr::null());
    base.cleanup.set(0);
    let fiber = FiberRef::current().expect("an adopted thread runs on its fiber");
    fiber.user_word(word::BASE).set((&raw const base) as usize);
    let result = body();
    fiber.user_word(word::BASE).set(0);
    result
}

/// The buffer at which the unwinding of the main fiber ends: libc's, registered first of all.
fn mains_base() -> *const Base {
    let probe = Base::empty();
    // SAFETY: taken off at once.
    unsafe { real_register()(&raw const probe) };
    let mut last = probe.previous.get();
    // SAFETY: the one that was registered last.
    unsafe { real_unregister()(&raw const probe) };
    // SAFETY: null, or a buffer that is registered, and so lives.
    while let Some(base) = unsafe { last.as_ref() } {
        if base.previous.get().is_null() {
            break;
        }
        last = base.previous.get();
    }
    last
}

/// Where libc jumps when it has unwound a fiber's stack.
#[unsafe(naked)]
unsafe extern "C" fn landing() -> ! {
    naked_asm!("and rsp, -16", "call {landed}", "ud2", landed = sym landed)
}

extern "C" fn landed() -> ! {
    // SAFETY: everything on the stack has been unwound.
    unsafe { runtime::exit() }
}

/// Ends the calling fiber with `result`; its cleanup handlers run first.
///
/// # Safety
///
/// What is on the stack may be unwound, or given up.
pub(super) unsafe fn end(fiber: FiberRef, result: *mut c_void) -> ! {
    let main = signal::main_fiber() == Some(fiber);
    if main {
        fork::end_with_last_fiber();
    }
    // A handler may call this in the middle of a wait.
    futex::leave(usize::MAX);
    fiber.user_word(word::RESULT).set(result as usize);
    cancel::begin_exit(fiber);
    hooks_signal::leave_frames(fiber);
    let base = if main { mains_base() } else { fiber.user_word(word::BASE).get() as *const Base };
    // SAFETY: null, or a buffer in a frame that is still on the stack.
    let Some(base) = (unsafe { base.as_ref() }) else {
        // SAFETY: as the caller vouches: what is on the stack is given up.
        unsafe { runtime::exit() }
    };
    base.lead_to_end();
    // SAFETY: on the fiber's own block, whose buffers lead to `landing`.
    unsafe { real_exit()(result) }
}

/// See `pthread_exit(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pthread_exit(result: *mut c_void) -> ! {
    match call::fiber_of_any_kind() {
        // SAFETY: as the caller vouches.
        Some(fiber) => unsafe { end(fiber, result) },
        // SAFETY: as the caller vouches.
        None => unsafe { real_exit()(result) },
    }
}
