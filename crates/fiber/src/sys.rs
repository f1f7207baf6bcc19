//! The few system calls that this crate makes, raw: the libc symbols may be hooked by whoever
//! stands above us, and `errno` must not change.

use std::io;

use syscalls::{Errno, Sysno, raw_syscall};

/// Turns a raw result into an `io::Result`.
fn check(result: usize) -> io::Result<usize> {
    Errno::from_ret(result).map_err(|errno| io::Error::from_raw_os_error(errno.into_raw()))
}

pub(crate) const PAGE: usize = 4096;

/// Fresh private memory, zeroed, not charged until touched.
pub(crate) fn map(bytes: usize) -> io::Result<usize> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a fresh anonymous mapping touches nothing that exists.
    check(unsafe { raw_syscall!(Sysno::mmap, 0, bytes, protection, flags, -1_isize, 0) })
}

/// Gives back a part of a mapping.
///
/// # Safety
///
/// `[address, address + bytes)` was mapped by [`map`] and nothing refers to it.
pub(crate) unsafe fn unmap(address: usize, bytes: usize) {
    // SAFETY: the caller owns the range.
    let _ = unsafe { raw_syscall!(Sysno::munmap, address, bytes) };
}

/// `madvise(2)`.
///
/// # Safety
///
/// `[address, address + bytes)` belongs to the caller, and what `advice` does to it is meant.
pub(crate) unsafe fn advise(address: usize, bytes: usize, advice: i32) -> io::Result<()> {
    // SAFETY: the caller owns the range.
    check(unsafe { raw_syscall!(Sysno::madvise, address, bytes, advice) }).map(drop)
}

/// This process, for calls that want a pidfd (`PIDFD_SELF_THREAD`, Linux 6.15).
const SELF: isize = -10_000;

/// `process_madvise(2)` on ourselves: `madvise` of many ranges in one system call. False where the
/// kernel does not do that, or has not done all of it.
///
/// # Safety
///
/// As [`advise`], for each range.
pub(crate) unsafe fn advise_many(ranges: &[libc::iovec], advice: i32) -> bool {
    let bytes: usize = ranges.iter().map(|range| range.iov_len).sum();
    // SAFETY: the caller owns the ranges.
    let done = check(unsafe {
        raw_syscall!(Sysno::process_madvise, SELF, ranges.as_ptr(), ranges.len(), advice, 0)
    });
    done.is_ok_and(|done| done == bytes)
}

/// Makes a range inaccessible by `mprotect(2)`.
///
/// # Safety
///
/// Nothing in `[address, address + bytes)` is in use.
pub(crate) unsafe fn forbid(address: usize, bytes: usize) -> io::Result<()> {
    // SAFETY: the caller says that the range is unused.
    check(unsafe { raw_syscall!(Sysno::mprotect, address, bytes, libc::PROT_NONE) }).map(drop)
}

/// The kernel's id of the calling OS thread.
pub(crate) fn thread_id() -> u32 {
    // SAFETY: reads one number.
    let id = unsafe { raw_syscall!(Sysno::gettid) };
    u32::try_from(id).expect("a thread id is a small positive number")
}

/// The kernel's id of the process.
pub(crate) fn process_id() -> u32 {
    // SAFETY: reads one number.
    let id = unsafe { raw_syscall!(Sysno::getpid) };
    u32::try_from(id).expect("a process id is a small positive number")
}

/// Sleeps while `*word == expected`, on the kernel's own futex.
pub(crate) fn futex_wait(word: &std::sync::atomic::AtomicU32, expected: u32) {
    let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word outlives the call; spurious returns are the caller's to handle.
    let _ = unsafe { raw_syscall!(Sysno::futex, word.as_ptr(), operation, expected, 0) };
}

/// Wakes everyone who sleeps on `word` in the kernel.
pub(crate) fn futex_wake_all(word: &std::sync::atomic::AtomicU32) {
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: only the word's address is used.
    let _ = unsafe { raw_syscall!(Sysno::futex, word.as_ptr(), operation, i32::MAX) };
}

/// The shadow-stack features that are on for this thread, none where the kernel does not know them.
pub(crate) fn shadow_stack_features() -> u64 {
    const ARCH_SHSTK_STATUS: usize = 0x5005;
    let mut features = 0_u64;
    // SAFETY: the kernel writes one u64 at most.
    let result = unsafe { raw_syscall!(Sysno::arch_prctl, ARCH_SHSTK_STATUS, &raw mut features) };
    if check(result).is_ok() { features } else { 0 }
}

/// Wakes one who sleeps on `word` in the kernel.
pub(crate) fn futex_wake_one(word: &std::sync::atomic::AtomicU32) {
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: only the word's address is used.
    let _ = unsafe { raw_syscall!(Sysno::futex, word.as_ptr(), operation, 1) };
}

/// The kernel's release: `6.1.0-18-amd64`.
pub(crate) fn kernel_release() -> String {
    let mut name = std::mem::MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY: the kernel writes one record.
    let _ = unsafe { raw_syscall!(Sysno::uname, name.as_mut_ptr()) };
    // SAFETY: zeroes are a valid record too.
    let name = unsafe { name.assume_init() };
    let bytes = name.release.iter().map(|byte| *byte as u8).take_while(|byte| *byte != 0);
    String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
}
