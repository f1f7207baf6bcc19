//! Atomics: the standard library's, or loom's where the model checker runs.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};
pub(crate) use std::sync::atomic::Ordering;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};

/// A sequentially consistent fence.
///
/// The compiler makes `mfence` of the standard one, 12 ns here; any locked instruction is as full a
/// barrier on x86-64 (Intel SDM 3A §8.2.5, AMD APM 2 §7.4.2) and costs 3.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) fn full_fence() {
    // SAFETY: adds nothing to a word of the stack. Not `nomem`: the compiler moves no access across.
    unsafe { std::arch::asm!("lock or dword ptr [rsp], 0", options(nostack)) };
}

/// A sequentially consistent fence, as loom models it.
#[cfg(loom)]
pub(crate) fn full_fence() {
    loom::sync::atomic::fence(Ordering::SeqCst);
}
