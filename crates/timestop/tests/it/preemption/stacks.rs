//! Fibers that compute where a preemption has no room: at the end of their stacks, and on memory that is not their stack.

use std::arch::naked_asm;
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{alone, is_chaos, others_go_on};

/// Spins with its stack pointer at `stack` until `stop`, in which one byte is set, says so.
///
/// # Safety
///
/// The 8 bytes below `stack` are the caller's to write, and `stack` is 16-byte aligned.
#[unsafe(naked)]
unsafe extern "sysv64" fn spin_at(stack: *mut u8, stop: *const AtomicBool) {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "mov rsp, rdi",
        "push rdi",
        "2:",
        "pause",
        "cmp byte ptr [rsi], 0",
        "je 2b",
        "pop rax",
        // Nobody has written where only we may.
        "cmp rax, rdi",
        "je 3f",
        "ud2",
        "3:",
        "mov rsp, rbp",
        "pop rbp",
        "ret",
    )
}

/// The calling fiber's stack, without its guard.
fn own_stack() -> Range<usize> {
    // SAFETY: zeroes are a valid record, which the call below fills.
    let mut attributes: libc::pthread_attr_t = unsafe { mem::zeroed() };
    // SAFETY: it only tells who calls.
    let own = unsafe { libc::pthread_self() };
    // SAFETY: our own id, and a record that lives through the call.
    assert_eq!(unsafe { libc::pthread_getattr_np(own, &raw mut attributes) }, 0);
    let (mut low, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: an initialised record, and places for the two answers.
    let result =
        unsafe { libc::pthread_attr_getstack(&raw const attributes, &raw mut low, &raw mut size) };
    assert_eq!(result, 0);
    // SAFETY: initialised above, and not used any more.
    assert_eq!(unsafe { libc::pthread_attr_destroy(&raw mut attributes) }, 0);
    low.addr()..low.addr() + size
}

/// Starts hogs that spin at the places that `place` picks, given the hog's index, beside others.
fn beside_spinners(count: usize, place: impl Fn(usize) -> *mut u8 + Clone + Send + 'static) {
    let stop = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..count)
        .map(|index| {
            let (stop, place) = (stop.clone(), place.clone());
            timestop::spawn(move || {
                let stack = place(index);
                // SAFETY: `place` picks aligned memory of this fiber's alone, with room below.
                unsafe { spin_at(stack, Arc::as_ptr(&stop)) };
            })
        })
        .collect();
    for _ in 0..if is_chaos() { 10 } else { 3 } {
        others_go_on();
    }
    stop.store(true, Ordering::Relaxed);
    hogs.into_iter().for_each(|hog| hog.join().expect("no panic"));
}

#[test]
fn hogs_with_little_stack_left() {
    // From no room for anything, over too little for a signal's frame or the registers, to enough.
    const LEFT: [usize; 8] = [16, 128, 512, 1_024, 2_048, 4_096, 8_192, 16_384];
    for workers in [1, 2] {
        alone(workers, || {
            beside_spinners(LEFT.len(), |index| {
                let stack = own_stack();
                let here = &raw const index as usize;
                assert!(stack.contains(&here), "a stack without its own frames");
                let place = stack.start.next_multiple_of(16) + LEFT[index];
                assert!(place + 4_096 < here);
                std::ptr::with_exposed_provenance_mut(place)
            });
            assert!(timestop::stats().refusals.stack > 0);
        });
    }
}

#[test]
fn hogs_on_stacks_of_their_own() {
    // As coroutines of other libraries have: in the heap, where nothing tells how much room there is.
    alone(1, || {
        beside_spinners(4, |index| {
            // Never freed: a preemption that is late must find it.
            let memory: &mut [u128] = Box::leak(vec![0_u128; 4_096].into());
            let place = [4_096, 2_048, 64, 8][index];
            memory[..place].as_mut_ptr_range().end.cast()
        });
        assert!(timestop::stats().refusals.foreign_stack > 0);
    });
}
