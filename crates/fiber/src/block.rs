//! A fiber's TLS block: everything that hangs off the thread pointer.
//!
//! Above the thread pointer lies `struct pthread`; below it the static TLS of all modules, then the
//! fiber's own DTV (the table of TLS modules, `struct dtv` in glibc). A block is the template's
//! image with the words that point into the template moved along, and a thread id of its own: two
//! fibers with one id could both lock a recursive mutex.
//!
//! The DTV has room for [`SPARE_MODULES`] that are loaded later, and stays where it is: glibc would
//! `realloc` a table that is full, and only the running fiber may touch its own. The room costs no
//! memory: it lies at the far end of the table, on pages that nothing touches.
//!
//! Invariant: between [`build`] and [`finish`] the block belongs to one fiber, whichever OS thread
//! runs it, with one exception: the two words of `malloc`'s caches are the OS thread's, carried from
//! block to block at each switch ([`carry_malloc`]). A cache a fiber would leak at each reset:
//! nothing that glibc exports frees it.
//!
//! Rejected: `_dl_allocate_tls` (it works; it allocates the DTV, 3.8 µs in all); a larger DTV for a
//! live fiber, from outside (glibc writes entries without a lock: what a running fiber adds
//! meanwhile would be lost, and a thread-local would be there twice).

use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use crate::libc_private::LibcPrivate;
use crate::slab::{self, Class, RECORD_BYTES, Slot, SlotPtr};
use crate::template::Template;
use crate::{Unsupported, current, library, sys};

/// The first thread id: above the kernel's `pid_max` (2²²), so that none is a real thread's.
const FIRST_THREAD_ID: u32 = 1 << 22;
/// Bits of a slot's number in a thread id. With 63 values above them ids stay below 2³⁰, where
/// glibc's PI and robust mutexes keep flags.
const NUMBER_BITS: u32 = 24;

/// Room in a DTV for modules loaded later: 16 KiB of address space a fiber.
const SPARE_MODULES: usize = 1024;
/// `dtv_t`: a value, and what to free. An entry that has no block yet.
const UNALLOCATED: usize = usize::MAX;

/// What all blocks have in common. Made once, read only.
#[derive(Debug)]
pub struct Layout {
    private: LibcPrivate,
    pub(crate) template: Template,
    /// From the top of a slot down to the thread pointer.
    fs_from_top: usize,
    /// From the top of a slot down to the DTV's entry 0.
    dtv_from_top: usize,
    pub(crate) dtv_capacity: usize,
    /// The image: static TLS in use and header, and its words that point into the template. Below
    /// it is room for all that is reserved.
    pub(crate) image: usize,
    relocations: &'static [u32],
    /// The DTV's image.
    dtv: &'static [[usize; 2]],
    /// Bytes of static TLS in use; grows with `dlopen`.
    pub(crate) used: AtomicUsize,
}

static LAYOUT: AtomicPtr<Layout> = AtomicPtr::new(std::ptr::null_mut());

/// The layout; [`init`] has made it.
#[inline(always)]
fn layout() -> &'static Layout {
    // SAFETY: the pointer is set once, by `init`, to a value that is never freed; every path to
    // here goes through a slot or a fiber, which cannot exist before.
    unsafe { &*LAYOUT.load(Ordering::Acquire) }
}

/// The layout, if [`init`] has made it.
pub(crate) fn known_layout() -> Option<&'static Layout> {
    // SAFETY: null, or as above.
    unsafe { LAYOUT.load(Ordering::Acquire).as_ref() }
}

/// What was looked up in libc.
pub(crate) fn libc_private() -> &'static LibcPrivate {
    &layout().private
}

fn read(address: usize) -> usize {
    // SAFETY: callers pass aligned addresses within the template's block, the image, or a whole block.
    unsafe { (address as *const usize).read() }
}

/// Learns the layout of this process's TLS blocks. Idempotent; one caller at a time.
///
/// # Errors
///
/// What this machine or libc has that the design does not expect.
pub fn init() -> Result<(), Unsupported> {
    if !LAYOUT.load(Ordering::Acquire).is_null() {
        return Ok(());
    }
    let private = LibcPrivate::resolve()?;
    let template = Template::create(&private)?;

    // The image is patched in place: everything below is the same in all blocks.
    let image_fs = template.image + template.reserved;
    if private.rseq_offset != 0 {
        // SAFETY: `struct rseq` is part of the image. cpu_id_start = 0, cpu_id = -2
        // ("registration failed"): else `sched_getcpu` answers 0 for ever.
        unsafe {
            let rseq = image_fs.wrapping_add_signed(private.rseq_offset) as *mut [i32; 2];
            rseq.write([0, -2]);
        }
    }
    let start = image_fs - template.used;
    let end = image_fs + template.header;
    let inside = |word: usize| (template.low..=template.high).contains(&word);
    let relocations: Vec<u32> = (start..end)
        .step_by(8)
        .filter(|at| inside(read(*at)))
        .map(|at| (at - start) as u32)
        .collect();

    let template_dtv = read(template.fs + 8);
    let entry =
        |index: usize| [read(template_dtv + index * 16), read(template_dtv + index * 16 + 8)];
    let mut dtv = vec![entry(0)];
    for index in 1..=template.modules {
        let [value, _] = entry(index);
        dtv.push([if inside(value) { value } else { UNALLOCATED }, 0]);
    }
    let fs_from_top = (RECORD_BYTES + template.header).next_multiple_of(template.align);
    // The entries in use end where a page does, so that the room for more shares none with them.
    let static_from_top = fs_from_top + template.reserved;
    let spare_from_top = (static_from_top + SPARE_MODULES * 16).next_multiple_of(sys::PAGE);
    let dtv_from_top = spare_from_top + dtv.len() * 16;
    let dtv_capacity = (dtv_from_top - static_from_top) / 16 - 1;
    slab::colours(fs_from_top + template.used, template.align);
    let layout = Layout {
        fs_from_top,
        dtv_from_top,
        dtv_capacity,
        image: start,
        relocations: relocations.leak(),
        dtv: dtv.leak(),
        used: AtomicUsize::new(template.used),
        private,
        template,
    };
    let (fs, reserved, used) = (layout.template.fs, layout.template.reserved, layout.template.used);
    LAYOUT.store(Box::into_raw(Box::new(layout)), Ordering::Release);
    // SAFETY: the template is parked, and its image has been taken.
    unsafe { library::watch(fs, reserved, used) };
    Ok(())
}

/// A fiber's thread pointer, which is also its `pthread_t`.
#[must_use]
pub fn thread_pointer(slot: SlotPtr) -> usize {
    Slot::top(slot) - layout().fs_from_top
}

/// The slot whose block has this thread pointer, if any.
#[must_use]
pub fn slot_of(fs: usize) -> Option<SlotPtr> {
    let slot = crate::slab::containing(fs)?;
    (thread_pointer(slot) == fs).then_some(slot)
}

/// The first address above a fiber's stack, a multiple of 64.
#[must_use]
pub fn stack_top(slot: SlotPtr) -> usize {
    // Entry -1 of the DTV is the lowest thing above the stack.
    (Slot::top(slot) - layout().dtv_from_top - 16) & !63
}

/// The thread id of the fiber in `slot`.
#[must_use]
pub fn thread_id(slot: SlotPtr) -> u32 {
    // SAFETY: records are valid for ever.
    let slot = unsafe { slot.as_ref() };
    FIRST_THREAD_ID + ((slot.uses.load(Ordering::Relaxed) << NUMBER_BITS) | slot.number())
}

/// Makes the block of a slot: that of a thread that has just been created.
///
/// Cost: a copy of about 2.7 KiB. `owner` is what [`current::get`] will answer in the fiber.
///
/// # Safety
///
/// The caller owns the slot and no fiber lives in it.
pub unsafe fn build(slot: SlotPtr, owner: *mut ()) {
    let layout = layout();
    // SAFETY: records are valid for ever.
    let record = unsafe { slot.as_ref() };
    record.uses.store((record.uses.load(Ordering::Relaxed) + 1) % 63, Ordering::Relaxed);
    let fs = Slot::top(slot) - layout.fs_from_top;
    library::while_unchanged(record, || {
        let used = layout.used.load(Ordering::Acquire);
        let bytes = used + layout.template.header;
        let image = layout.image - (used - layout.template.used);
        // SAFETY: the image is that long, and so is the slot's room for it.
        unsafe {
            std::ptr::copy_nonoverlapping(image as *const u8, (fs - used) as *mut u8, bytes);
        }
    });
    let start = fs - layout.template.used;
    let distance = fs.wrapping_sub(layout.template.fs);
    for &offset in layout.relocations {
        let word = (start + offset as usize) as *mut usize;
        let moved = read(word as usize).wrapping_add(distance);
        // SAFETY: `offset` lies within the copied bytes.
        unsafe { word.write(moved) };
    }
    let tid = thread_id(slot);
    // SAFETY: within the header.
    unsafe { ((fs + layout.template.tid_offset) as *mut u32).write(tid) };
    let dtv = Slot::top(slot) - layout.dtv_from_top;
    // SAFETY: within the header: `tcbhead_t.dtv`.
    unsafe { ((fs + 8) as *mut usize).write(dtv) };
    build_dtv(layout, dtv, distance, record.built.swap(true, Ordering::Relaxed));
    // SAFETY: the block is whole and nobody runs on it.
    unsafe { current::set(fs, owner) };
}

fn build_dtv(layout: &Layout, dtv: usize, distance: usize, built: bool) {
    let write = |index: usize, entry: [usize; 2]| {
        // SAFETY: the table has `dtv_capacity + 2` entries, in the caller's slot.
        unsafe { ((dtv + index * 16) as *mut [usize; 2]).write(entry) };
    };
    if !built {
        // Beyond the image's entries the table is zero: glibc sets an entry before it uses it.
        // SAFETY: entry -1 is the table's first.
        unsafe { ((dtv - 16) as *mut [usize; 2]).write([layout.dtv_capacity, 0]) };
    }
    for (index, &[value, free]) in layout.dtv.iter().enumerate() {
        let moved = index > 0 && value != UNALLOCATED;
        write(index, [if moved { value.wrapping_add(distance) } else { value }, free]);
    }
}

/// What a fiber does first, on its own block: what glibc's `start_thread` does.
pub fn begin() {
    // SAFETY: sets three thread-locals.
    unsafe { (layout().private.ctype_init)() };
}

/// Runs the thread-local destructors of C++ and Rust. On the fiber itself.
pub fn run_destructors() {
    // SAFETY: glibc keeps the list in this fiber's block; each entry runs once.
    unsafe { (layout().private.call_tls_dtors)() };
}

/// Frees the dynamic TLS that the fiber has used. On the fiber itself, last of all.
pub fn finish(slot: SlotPtr) {
    let layout = layout();
    let dtv = Slot::top(slot) - layout.dtv_from_top;
    let last = layout.dtv.len().max(1);
    let generation = read(dtv);
    // Only a fiber that has met a newer module has entries beyond the image's.
    let end = if generation == layout.dtv[0][0] {
        last
    } else {
        (library::last_module(generation) + 1).clamp(last, layout.dtv_capacity + 1)
    };
    for index in 1..end {
        let entry = (dtv + index * 16) as *mut [usize; 2];
        // SAFETY: within the table.
        let [_, allocated] = unsafe { entry.read() };
        // Code may still run here that uses such a thread-local, and gets a new one: exit handlers, if
        // this is the last thread. So the entry goes before the block.
        if allocated != 0 || index >= last {
            // SAFETY: within the table.
            unsafe { entry.write([UNALLOCATED, 0]) };
        }
        if allocated != 0 {
            // SAFETY: glibc allocated the block with malloc for this table, which is its owner.
            unsafe { libc::free(allocated as *mut libc::c_void) };
        }
    }
    // SAFETY: records are valid for ever.
    unsafe { slot.as_ref() }.in_use.store(false, Ordering::Release);
}

/// Carries the OS thread's `malloc` caches from the block it leaves to the block it enters.
///
/// # Safety
///
/// Both are whole blocks, and the calling OS thread runs on one of them now and on the other next.
#[inline(always)]
pub unsafe fn carry_malloc(from: usize, to: usize) {
    let words = layout().template.malloc_words;
    if words[0] == 0 {
        return; // another allocator: its caches are ordinary thread-locals
    }
    for below in words {
        let cache = read(from - below);
        // SAFETY: both words lie in libc's static TLS, in every block at the same offset.
        unsafe { ((to - below) as *mut usize).write(cache) };
    }
}

/// Sets the `malloc` caches of a block to "none": what an OS thread starts with. That is not zero in every
/// release of glibc.
///
/// # Safety
///
/// `fs` is a whole block that nobody runs on.
pub unsafe fn clear_malloc(fs: usize) {
    let template = &layout().template;
    let image_fs = layout().image + template.used;
    for below in template.malloc_words.into_iter().filter(|below| *below != 0) {
        let none = read(image_fs - below);
        // SAFETY: libc's static TLS, as above.
        unsafe { ((fs - below) as *mut usize).write(none) };
    }
}

/// Bytes of static TLS and header that libc puts on every OS thread's stack.
pub(crate) fn on_thread_stack() -> usize {
    layout().template.reserved + layout().template.header
}

/// Where the thread id lies from the thread pointer up, in every thread.
#[must_use]
pub fn thread_id_offset() -> usize {
    layout().template.tid_offset
}

/// How much of a slot of the size asked for may go to what is not stack: DTV, usual thread-locals.
const INCLUDED: usize = 32 * 1024;

/// The class of slots for a stack of `bytes` of address space, what fibers need besides included; but
/// where the program has so many thread-locals that this would leave less than is promised, a larger one.
/// `None` where that is beyond 64 GiB.
#[must_use]
pub fn class_for(bytes: usize) -> Option<Class> {
    let bytes = bytes.max(slab::MIN_SLOT);
    Class::for_stack(bytes.checked_add(overhead().saturating_sub(INCLUDED))?)
}

/// Gives a block the id that the kernel has for the OS thread in whose name it stands.
///
/// # Safety
///
/// `fs` is a whole block: the calling code's own, or one that nobody runs on.
pub unsafe fn set_thread_id(fs: usize, id: u32) {
    // SAFETY: within the header.
    unsafe { ((fs + layout().template.tid_offset) as *mut u32).write(id) };
}

/// Bytes that a fiber needs besides its stack: a slot holds this much less than its size.
#[must_use]
pub fn overhead() -> usize {
    (layout().dtv_from_top + 16).next_multiple_of(64) + sys::PAGE
}
