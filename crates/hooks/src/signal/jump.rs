//! `siglongjmp` and its kin out of a handler: the fiber's mask comes back, and it may move again.
//!
//! libc keeps the mask that is to come back where the kernel has written it, which on a fiber is the
//! carrier's. So [`__sigsetjmp`] keeps the fiber's beside it, in words of the buffer that libc
//! reserves for more signals than there are. A jump that leaves handlers which ran on top of
//! interrupted code ([`Frame`]) takes back their pins, and opens the carrier's mask, which the kernel
//! closed for the handler and will not open as it is never returned to.
//!
//! Handlers that run in a wait leave nothing: the waiter is in no list by then. Where they run while it is
//! (in a barrier's wait, and on top of an OS thread that sleeps in the kernel), it is taken out first
//! ([`futex::leave`]).
//!
//! Buffers are opaque but for this: registers (the stack's is the seventh, kept as libc's `PTR_MANGLE`
//! makes it), a word that says whether a mask was saved, the mask.

use std::arch::{asm, naked_asm};
use std::ffi::{c_int, c_void};
use std::sync::atomic::Ordering;

use timestop_fiber::current;
use timestop_runtime::{FiberRef, fork, futex};

use super::deliver::{self, Frame, word};
use super::{actions, replace_mask};
use crate::{call, real};

type Buffer = *mut c_void;

real! {
    fn real_sigsetjmp: unsafe extern "C" fn(Buffer, c_int) -> c_int = c"__sigsetjmp";
    fn real_siglongjmp: unsafe extern "C-unwind" fn(Buffer, c_int) -> ! = c"siglongjmp";
    fn real_longjmp_chk: unsafe extern "C-unwind" fn(Buffer, c_int) -> ! = c"__longjmp_chk";
}

/// Words of a buffer, by their number.
mod place {
    pub(super) const STACK_POINTER: usize = 6;
    /// An `int`.
    pub(super) const MASK_WAS_SAVED: usize = 8;
    pub(super) const KERNELS_MASK: usize = 9;
    pub(super) const FIBERS_MASK: usize = 10;
    // The word between may hold the pointer of a shadow stack.
    pub(super) const MARK: usize = 12;
}

/// Says that the word FIBERS_MASK was written.
const MARK: u64 = 0x7465_6d69_745f_6566;

/// # Safety
///
/// The buffer is a whole `sigjmp_buf`.
unsafe fn field(buffer: Buffer, index: usize) -> *mut u64 {
    // SAFETY: as the caller vouches.
    unsafe { buffer.cast::<u64>().add(index) }
}

/// # Safety
///
/// As [`field`].
unsafe fn read(buffer: Buffer, index: usize) -> u64 {
    // SAFETY: as the caller vouches.
    let field = unsafe { field(buffer, index) };
    // SAFETY: as the caller vouches.
    unsafe { field.read() }
}

/// # Safety
///
/// As [`field`].
unsafe fn write(buffer: Buffer, index: usize, value: u64) {
    // SAFETY: as the caller vouches.
    let field = unsafe { field(buffer, index) };
    // SAFETY: as the caller vouches.
    unsafe { field.write(value) }
}

/// Keeps the fiber's mask; where to go on.
extern "C" fn before_sigsetjmp(buffer: Buffer, saves: c_int) -> usize {
    if saves != 0 {
        let fiber = call::fiber_of_any_kind();
        let mask = fiber.map(|fiber| deliver::mask(fiber).load(Ordering::Relaxed));
        // SAFETY: the caller of `__sigsetjmp` passes a whole buffer, if it has the mask saved.
        unsafe { write(buffer, place::FIBERS_MASK, mask.unwrap_or(0)) };
        // SAFETY: as above.
        unsafe { write(buffer, place::MARK, if mask.is_some() { MARK } else { 0 }) };
    }
    real_sigsetjmp() as usize
}

/// See `sigsetjmp(3)`, a macro for this.
///
/// # Safety
///
/// As libc's.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sigsetjmp(buffer: *mut c_void, saves: c_int) -> c_int {
    // libc's own returns to our caller, and saves the registers that it left.
    naked_asm!(
        ".cfi_startproc",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        "push rsi",
        ".cfi_adjust_cfa_offset 8",
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 8",
        "call {before}",
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        "pop rsi",
        ".cfi_adjust_cfa_offset -8",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        "jmp rax",
        ".cfi_endproc",
        before = sym before_sigsetjmp,
    )
}

/// The stack pointer that a jump goes to.
///
/// # Safety
///
/// As [`field`].
unsafe fn target(buffer: Buffer) -> usize {
    // SAFETY: as the caller vouches.
    let mut pointer = unsafe { read(buffer, place::STACK_POINTER) };
    // SAFETY: reads a word of the caller's own thread header, the same in all threads.
    unsafe {
        asm!(
            "ror {0}, 17",
            "xor {0}, qword ptr fs:[0x30]",
            inout(reg) pointer,
            options(nostack, readonly),
        );
    }
    pointer as usize
}

/// Makes the fiber what it is to be after the jump.
///
/// # Safety
///
/// The buffer was filled by `setjmp` or one of its kin.
unsafe fn prepare(buffer: Buffer) {
    if !current::is_lent() {
        // SAFETY: as the caller vouches.
        futex::leave(unsafe { target(buffer) });
    }
    let Some(fiber) = call::fiber_of_any_kind() else { return };
    deliver::awaited(fiber).store(0, Ordering::Relaxed);
    // SAFETY: as the caller vouches.
    let left = leave_frames(fiber, unsafe { target(buffer) });
    // SAFETY: as the caller vouches. The other half of the word is not ours to look at.
    let saved = unsafe { read(buffer, place::MASK_WAS_SAVED) } as u32 != 0;
    // SAFETY: a buffer with a mask is whole.
    let known = saved && unsafe { read(buffer, place::MARK) } == MARK;
    let young = fork::is_young();
    let kernels = |fiber| if young { deliver::mask(fiber).load(Ordering::Relaxed) } else { 0 };
    if known {
        // SAFETY: as above.
        let mask = unsafe { read(buffer, place::FIBERS_MASK) };
        if deliver::mask(fiber).load(Ordering::Relaxed) != mask {
            replace_mask(fiber, mask);
        }
        // SAFETY: as above. It may have been another OS thread's.
        unsafe { write(buffer, place::KERNELS_MASK, kernels(fiber)) };
    }
    if left || young {
        actions::set_kernel_mask(kernels(fiber));
    }
}

/// Forgets the frames of handlers that a jump to `target` leaves. Whether there were any.
fn leave_frames(fiber: FiberRef, target: usize) -> bool {
    let innermost = fiber.user_word(word::FRAME);
    let mut low = (&raw const innermost) as usize;
    let mut left = false;
    // SAFETY: null, or a frame of a handler that is still on the stack.
    while let Some(frame) = unsafe { (innermost.get() as *const Frame).as_ref() } {
        // Within the handler itself: from here up to where it was called.
        if (low..=std::ptr::from_ref(frame) as usize).contains(&target) {
            break;
        }
        low = frame.interrupted;
        innermost.set(frame.previous);
        fiber.unpin();
        left = true;
    }
    left
}

/// Defines the names of a jump.
macro_rules! jumps {
    ($($name:ident = $real:ident;)*) => {
        $(
            #[doc = concat!("See `", stringify!($name), "`, in `setjmp(3)`.")]
            ///
            /// # Safety
            ///
            /// As libc's.
            #[unsafe(no_mangle)]
            pub unsafe extern "C-unwind" fn $name(buffer: *mut c_void, value: c_int) -> ! {
                // SAFETY: as the caller vouches.
                unsafe { prepare(buffer) };
                // SAFETY: as the caller vouches; nothing here needs to be dropped.
                unsafe { $real()(buffer, value) }
            }
        )*

        /// The addresses of this family, so that the linker keeps them.
        pub(crate) const LINKED: &[*const ()] = &[__sigsetjmp as *const (), $($name as *const ()),*];
    };
}

jumps! {
    siglongjmp = real_siglongjmp;
    longjmp = real_siglongjmp;
    _longjmp = real_siglongjmp;
    __longjmp_chk = real_longjmp_chk;
}
