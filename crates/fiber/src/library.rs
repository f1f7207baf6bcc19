//! Libraries that are loaded while fibers live: their static TLS (the initial-exec model) in every
//! block, with its initial value.
//!
//! glibc gives a new library room below the static TLS that is in use, and writes the initial values
//! into every thread *on its own list*, before any code of the library runs. Fibers are not on it,
//! but the template is: the **witness**. Nothing runs on the witness, so its free room is filled with
//! a pattern, and where the pattern is gone, glibc has written. [`loaded`] copies exactly that into
//! the image and into every block in use, and fills the pattern in again. So no knowledge of glibc's
//! private records is needed, and room that is used again after a `dlclose` is seen as well.
//!
//! Who calls [`loaded`] when is the hooks' matter. A library's code must not run on a fiber before.
//!
//! Invariant: a block in use, and one that is being built, has what the image has. [`build`] says
//! that the block is in use *before* it copies the image, and copies again if the image has changed;
//! [`loaded`] changes the image before it looks for blocks in use.
//!
//! Rejected: to compute a library's place from its headers (those that got static TLS without asking,
//! by another's reference or TLS descriptors, do not say so); to put fibers on glibc's list of threads
//! (its lock has no name). Not covered: room that a library has left which was loaded *before* the
//! template was made, if it is used again.
//!
//! [`build`]: crate::block::build

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::block::{self, known_layout};
use crate::lock::{Guard, Lock};
use crate::slab::{self, Slot};
use crate::{switch, sys, thread};

/// What glibc has not written. Bytes that are rare as the first or last of a thread-local.
const PATTERN: u64 = 0xa9d6_93c5_e7b3_8df1;
/// Pieces that one pass handles.
const PIECES: usize = 16;

/// Thread pointer of the witness; 0 where there is none.
static WITNESS: AtomicUsize = AtomicUsize::new(0);
/// The process that the witness is a thread of: `fork` leaves it behind.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// A fiber's block that glibc made, and knows no longer: that of a program's main thread, in the child
/// of a `fork`. 0 where there is none.
static FOREIGN: AtomicUsize = AtomicUsize::new(0);
/// Odd while the image changes.
static VERSION: AtomicU32 = AtomicU32::new(0);
static CHANGING: Lock<()> = Lock::new(());

/// Bytes that glibc has written, from the thread pointer down.
#[derive(Debug, Clone, Copy, Default)]
struct Piece {
    below: usize,
    bytes: usize,
}

fn word(address: usize) -> u64 {
    // SAFETY: callers pass aligned addresses within the witness's static TLS.
    unsafe { (address as *const u64).read_volatile() }
}

/// Fills `[from, to)`, or its part within whole bytes of the pattern, with the pattern.
///
/// # Safety
///
/// The bytes are the witness's free room.
unsafe fn fill(from: usize, to: usize) {
    for address in from..to {
        let byte = PATTERN.to_le_bytes()[address % 8];
        // SAFETY: the caller vouches for the bytes.
        unsafe { (address as *mut u8).write_volatile(byte) };
    }
}

/// Makes the thread at `fs` the witness.
///
/// # Safety
///
/// It is a thread on glibc's list, parked for ever, with `reserved` bytes of static TLS; of those the
/// ones further down than `used` belong to no library that has run there.
pub(crate) unsafe fn watch(fs: usize, reserved: usize, used: usize) {
    // SAFETY: as the caller vouches.
    unsafe { fill(fs - reserved, fs - used) };
    PROCESS.store(sys::process_id(), Ordering::Relaxed);
    WITNESS.store(fs, Ordering::Release);
}

/// The free room that the witness had when fibers began.
fn room(layout: &block::Layout, witness: usize) -> std::ops::Range<usize> {
    let low = (witness - layout.template.reserved).next_multiple_of(8);
    low..(witness - layout.template.used).next_multiple_of(8)
}

/// Finds pieces that glibc has written. Returns how many, at most as many as fit.
fn written(layout: &block::Layout, witness: usize, pieces: &mut [Piece]) -> usize {
    let end = witness - layout.template.used;
    // The last word may be in use in its upper part: that is not ours.
    let changed = |address: usize| {
        let mine = end.saturating_sub(address).min(8);
        let mask = if mine == 8 { u64::MAX } else { (1 << (mine * 8)) - 1 };
        (word(address) ^ PATTERN) & mask != 0
    };
    let is_pattern = |address: usize| {
        // SAFETY: a byte of the witness's static TLS.
        let byte = unsafe { (address as *const u8).read_volatile() };
        byte == PATTERN.to_le_bytes()[address % 8]
    };
    let (mut count, mut at) = (0, room(layout, witness).start);
    while at < end && count < pieces.len() {
        if !changed(at) {
            at += 8;
            continue;
        }
        let mut from = at;
        while at < end && changed(at) {
            at += 8;
        }
        let mut to = at.min(end);
        // The first and the last word may be another library's in part.
        while is_pattern(from) {
            from += 1;
        }
        while to > from && is_pattern(to - 1) {
            to -= 1;
        }
        pieces[count] = Piece { below: witness - from, bytes: to - from };
        count += 1;
    }
    count
}

/// Copies a piece to the block, or image, whose thread pointer is `fs`.
///
/// # Safety
///
/// `fs` ends a block with all the room that is reserved.
unsafe fn copy(witness: usize, fs: usize, piece: Piece) {
    let (from, to) = (witness - piece.below, fs - piece.below);
    // SAFETY: the piece lies within the room, in both.
    unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, piece.bytes) };
}

/// Gives every fiber the static TLS of libraries loaded since the last call. Between a library's
/// loading and the first run of its code; anywhere else it does nothing. Calls nothing of libc's.
///
/// Cost: a look at some two kilobytes; if a library has come, a walk over all slots.
pub fn loaded() {
    let (Some(layout), witness) = (known_layout(), WITNESS.load(Ordering::Acquire)) else {
        return;
    };
    let mut pieces = [Piece::default(); PIECES];
    if witness == 0 || written(layout, witness, &mut pieces[..1]) == 0 {
        return;
    }
    let _one = CHANGING.lock();
    loop {
        let count = written(layout, witness, &mut pieces);
        if count == 0 {
            return;
        }
        spread(layout, witness, &pieces[..count]);
    }
}

fn spread(layout: &block::Layout, witness: usize, pieces: &[Piece]) {
    let image_fs = layout.image + layout.template.used;
    VERSION.fetch_add(1, Ordering::SeqCst);
    for &piece in pieces {
        // SAFETY: the image has room for all that is reserved.
        unsafe { copy(witness, image_fs, piece) };
        layout.used.fetch_max(piece.below.next_multiple_of(8), Ordering::Release);
    }
    VERSION.fetch_add(1, Ordering::SeqCst);
    for slot in slab::all() {
        // SAFETY: records are valid for ever.
        if !unsafe { slot.as_ref() }.in_use.load(Ordering::SeqCst) {
            continue;
        }
        for &piece in pieces {
            // SAFETY: every slot has that room, and no code that knows the library has run there.
            unsafe { copy(witness, block::thread_pointer(slot), piece) };
        }
    }
    let foreign = FOREIGN.load(Ordering::Relaxed);
    if foreign != 0 {
        for &piece in pieces {
            // SAFETY: glibc gives every thread that room.
            unsafe { copy(witness, foreign, piece) };
        }
    }
    for piece in pieces {
        let from = witness - piece.below;
        // SAFETY: the witness's room, as it was.
        unsafe { fill(from, from + piece.bytes) };
    }
}

/// Waits until nobody changes the image, and keeps everybody from it: around a fork.
pub fn quiet() -> Guard<'static, ()> {
    CHANGING.lock()
}

/// Says that the slot's block is in use and has `copy` copy the image, so that it is whole.
#[inline]
pub(crate) fn while_unchanged(slot: &Slot, copy: impl Fn()) {
    // A full barrier: whoever changes the image after the look at VERSION sees the block in use.
    slot.in_use.swap(true, Ordering::SeqCst);
    loop {
        let before = VERSION.load(Ordering::SeqCst);
        if before.is_multiple_of(2) {
            copy();
            std::sync::atomic::fence(Ordering::Acquire);
            if VERSION.load(Ordering::Relaxed) == before {
                return;
            }
        }
        std::hint::spin_loop();
    }
}

/// Before a library is loaded: makes a new witness in the child of a `fork`. On a block that glibc
/// knows. `main` is the thread pointer of the fiber that forked.
pub fn prepare(main: Option<usize>) {
    let process = sys::process_id();
    if known_layout().is_none() || PROCESS.swap(process, Ordering::AcqRel) == process {
        return;
    }
    WITNESS.store(0, Ordering::Release);
    let main = main.filter(|fs| block::slot_of(*fs).is_none());
    FOREIGN.store(main.unwrap_or(0), Ordering::Relaxed);
    static READY: AtomicU32 = AtomicU32::new(0);
    READY.store(0, Ordering::Relaxed);
    // SAFETY: `stand_witness` takes the word.
    if unsafe { thread::start(stand_witness, READY.as_ptr().cast()) }.is_ok() {
        while READY.load(Ordering::Acquire) == 0 {
            sys::futex_wait(&READY, 0);
        }
    }
}

extern "C" fn stand_witness(ready: *mut c_void) -> *mut c_void {
    // SAFETY: `prepare` passes a static.
    let ready = unsafe { &*ready.cast::<AtomicU32>() };
    if let Some(layout) = known_layout() {
        let (reserved, used) = (layout.template.reserved, layout.template.used);
        // SAFETY: a fresh thread, which parks below. No library that came later has run on it.
        unsafe { watch(switch::thread_pointer(), reserved, used) };
    }
    ready.store(1, Ordering::Release);
    sys::futex_wake_all(ready);
    static FOREVER: AtomicU32 = AtomicU32::new(0);
    loop {
        sys::futex_wait(&FOREVER, 0);
    }
}

/// The highest number of a TLS module so far, and the generation of the modules it was found at.
static LAST_MODULE: AtomicUsize = AtomicUsize::new(0);
static FOUND_AT: AtomicUsize = AtomicUsize::new(0);

/// The highest number that a module has, or had, at this generation of the modules.
pub(crate) fn last_module(generation: usize) -> usize {
    if FOUND_AT.load(Ordering::Acquire) != generation {
        count_modules();
        FOUND_AT.store(generation, Ordering::Release);
    }
    LAST_MODULE.load(Ordering::Relaxed)
}

fn count_modules() -> usize {
    extern "C" fn visit(info: *mut libc::dl_phdr_info, _: usize, last: *mut c_void) -> c_int {
        // SAFETY: `dl_iterate_phdr` passes a valid record.
        let module = unsafe { (*info).dlpi_tls_modid };
        // SAFETY: our own argument.
        let last = unsafe { &mut *last.cast::<usize>() };
        *last = module.max(*last);
        0
    }
    let mut last = 0_usize;
    // SAFETY: the callback gets what it expects.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut last).cast()) };
    LAST_MODULE.fetch_max(last, Ordering::AcqRel);
    last
}

/// How many more modules with thread-local storage fit in a fiber's table; `None` before fibers
/// exist.
#[must_use]
pub fn modules_left() -> Option<usize> {
    let layout = known_layout()?;
    Some(layout.dtv_capacity.saturating_sub(count_modules()))
}
