//! Mutexes whose owner must be a thread that the kernel, or another process, knows.
//!
//! Such a mutex holds a thread id that others look up: the kernel for priority inheritance, and for
//! robustness when a process dies; another process that runs fibers may even have one with the same
//! id. A fiber's id is of no use there. So these calls run *in the carrier's name*: with the thread
//! pointer of the OS thread that carries the fiber just now, and so with its id and its robust list.
//! From the lock to the unlock the fiber is *pinned*: it keeps the OS thread to itself, as no other
//! fiber may run in the name of an owner. While pinned, every hook is the call that libc would make,
//! and what blocks is handed off (the worker goes to another carrier).
//!
//! A fiber that ends while it holds robust mutexes leaves them as the kernel leaves those of a thread:
//! marked. The carrier lives on, so this is done here, on the carrier's list, which holds no others.
//! One with priority inheritance is only unlocked: marking it is the kernel's alone.
//!
//! The OS thread that became a fiber as it ran left its block to the fiber. Its carrier's block is one
//! of ours, so kernel and libc are told that the thread is to be found there ([`became_fiber`]).

use std::ffi::c_int;
use std::sync::atomic::{AtomicU32, Ordering};

use timestop_fiber::{block, switch};
use timestop_runtime::fork::on_carriers_block;
use timestop_runtime::{FiberRef, carrier_thread_pointer, sys};

use crate::call::Sysno;
use crate::{system_call, waiting};

/// Runs `call` in the name of the OS thread that carries the running fiber.
pub(crate) fn in_carriers_name<R>(call: impl FnOnce() -> R) -> R {
    if FiberRef::current().is_some_and(FiberRef::is_borrowed) {
        return call();
    }
    on_carriers_block(call)
}

/// Locks by `call`; the fiber is pinned if that succeeds.
pub(crate) fn acquire(call: impl FnOnce() -> c_int) -> c_int {
    let Some(fiber) = FiberRef::current().filter(|fiber| !fiber.is_borrowed()) else {
        return call();
    };
    fiber.pin();
    let answer = in_carriers_name(call);
    if !matches!(answer, 0 | libc::EOWNERDEAD) {
        fiber.unpin();
    }
    answer
}

/// Unlocks by `call`; undoes one [`acquire`].
pub(crate) fn release(call: impl FnOnce() -> c_int) -> c_int {
    let answer = in_carriers_name(call);
    let fiber = FiberRef::current().filter(|fiber| !fiber.is_borrowed());
    if let Some(fiber) = fiber.filter(|_| answer == 0) {
        fiber.unpin();
    }
    answer
}

/// From the thread id to the head of the list of robust mutexes in `struct pthread`: the id, a field
/// that is no longer used, and the pointer with which the list is linked backwards.
const HEAD_AFTER_ID: usize = 16;
/// From the start of a mutex to its link in the list.
const LINK: usize = 32;
/// Bits of a robust mutex's word.
const OWNER_DIED: u32 = 0x4000_0000;
const WAITERS: u32 = 0x8000_0000;
const OWNER: u32 = 0x3fff_ffff;
/// More than any fiber holds: what comes after is a loop.
const LONGEST: usize = 2048;

/// The code of the calling OS thread has become a fiber, on the block that the kernel knows. What is
/// done in the carrier's name is done on the carrier's from here on, and what the code holds already
/// goes with it: it is unlocked there, and found there should the process die.
pub(crate) fn became_fiber(fiber: FiberRef) {
    let (own, carrier) = (fiber.pthread(), carrier_thread_pointer(fiber));
    if own == carrier {
        return;
    }
    // SAFETY: the carrier's loop has not run yet.
    unsafe { block::set_thread_id(carrier, sys::thread_id()) };
    let [from, to] = [own, carrier].map(|fs| fs + block::thread_id_offset() + HEAD_AFTER_ID);
    for _ in 0..move_list(from, to) {
        fiber.pin();
    }
    const HEAD_SIZE: usize = 24;
    // SAFETY: the head lies in a block that is never unmapped. Where the kernel refuses, mutexes go
    // unmarked if the process dies.
    let _ = unsafe { system_call!(Sysno::set_robust_list, to, HEAD_SIZE) };
}

/// Moves a list of robust mutexes to an empty head; how many there were. Mutexes are linked by the
/// addresses of their forward links, with a mark in the lowest bit, and the word before a link leads
/// backwards.
fn move_list(from: usize, to: usize) -> usize {
    // SAFETY: a head in a block, or the link of a mutex that the caller holds: it must exist.
    let read = |address: usize| unsafe { (address as *const usize).read() };
    // SAFETY: as above.
    let write = |address: usize, word: usize| unsafe { (address as *mut usize).write(word) };
    let (mut last, mut count) = (from, 0);
    while read(last) & !1 != from && count < LONGEST {
        last = read(last) & !1;
        count += 1;
    }
    if count > 0 {
        write(to, read(from));
        write((read(from) & !1) - 8, to);
        write(to - 8, read(from - 8));
        write(last, to);
    }
    write(from, from);
    write(from - 8, from);
    count
}

/// Runs on each fiber at its end.
pub(crate) fn fiber_ends() {
    let Some(fiber) = FiberRef::current().filter(|fiber| !fiber.may_suspend()) else {
        return;
    };
    in_carriers_name(abandon);
    while !fiber.may_suspend() && !fiber.is_borrowed() {
        fiber.unpin();
    }
}

/// Marks and takes off the list every robust mutex that the caller's OS thread holds.
fn abandon() {
    let own = waiting::own_thread_id();
    let head = switch::thread_pointer() + block::thread_id_offset() + HEAD_AFTER_ID;
    // SAFETY: within the `struct pthread` of the calling OS thread, or a link of a mutex that it
    // holds, which must therefore exist.
    let read = |address: usize| unsafe { (address as *const usize).read() };
    let mut link = read(head);
    for _ in 0..LONGEST {
        // The lowest bit says "with priority inheritance".
        let (address, inherits) = (link & !1, link & 1 != 0);
        if address == head || address == 0 {
            break;
        }
        link = read(address);
        let mutex = address - LINK;
        // SAFETY: a mutex that is held exists; its first word is the lock.
        let word = unsafe { AtomicU32::from_ptr(mutex as *mut u32) };
        if word.load(Ordering::Relaxed) & OWNER == own {
            give_up(word, inherits);
        }
    }
    // An empty list points at itself, in both directions.
    for word in [head, head - 8] {
        // SAFETY: as above.
        unsafe { (word as *mut usize).write(head) };
    }
}

/// What the kernel does to a mutex whose owner dies. Robust mutexes are always marked as shared.
fn give_up(word: &AtomicU32, inherits: bool) {
    let address = word.as_ptr();
    if inherits {
        let unlocked = word.compare_exchange(
            word.load(Ordering::Relaxed) & OWNER,
            OWNER_DIED,
            Ordering::SeqCst,
            Ordering::Relaxed,
        );
        if unlocked.is_err() {
            // SAFETY: the caller owns the mutex.
            let _ = unsafe { system_call!(Sysno::futex, address, libc::FUTEX_UNLOCK_PI, 0, 0) };
        }
        return;
    }
    let before = word.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |now| {
        Some((now & WAITERS) | OWNER_DIED)
    });
    if before.is_ok_and(|before| before & WAITERS != 0) {
        // SAFETY: only the address is used.
        let _ = unsafe { system_call!(Sysno::futex, address, libc::FUTEX_WAKE, 1) };
    }
}
