//! Where stacks live: large mappings, cut into slots of one size.
//!
//! ```text
//!   slot (64 KiB … )                                                            top
//!   ├ guard ┼ stack …………………… ◀ grows ┼ DTV ┼ room for dlopen ┼ TLS ┼ header ┼ Slot ┤
//!                                                          thread pointer ▲
//! ```
//!
//! Address space is reserved, memory is not: a slot costs nothing before its first use, and then
//! what was touched. All stacks of a slab are one mapping (`MAP_NORESERVE`, no huge pages), with
//! guards that do not split it where the kernel knows `MADV_GUARD_INSTALL` (6.13); elsewhere
//! `mprotect`, which costs two mappings a stack against `vm.max_map_count`.
//!
//! A stack in the pool keeps its upper [`KEPT`] bytes; what a deep call has touched below goes back to the
//! kernel, but for those that are used again at once ([`trim`]).
//!
//! Sizes are a power of two and a page, and the tops of neighbours lie some cache lines apart ([`colours`]). Where
//! all tops have the same low address bits they compete for a few places in the TLB and the caches: to touch
//! the tops of a thousand slots of 16 MiB cost 107 ns each, and 27 so.
//!
//! Slots are never unmapped, and the [`Slot`] at the top of one is never given back: whoever holds
//! a stale pointer to it finds a valid record of another fiber, not a fault. Wake-ups rely on it.
//!
//! Rejected: to look whether a stack was deep before it is trimmed (`mincore` costs what the advice does where
//! there is nothing to give back; a mark on the stack is missed by a large frame, and costs the page that it
//! lies in). A mapping a stack (no more than 32,000 stacks under the default `max_map_count`); a
//! list of live fibers (the slabs are one already).

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};

use crate::lock::{Guard, Lock};
use crate::{block, sys};

/// Bytes at the top of a slot that belong to the record of its fiber, [`Slot`] first.
pub const RECORD_BYTES: usize = 512;
/// Bytes of each slot that lie beside those of its neighbours, zero at first: for what many fibers in a row are
/// looked at for, each of which would be a page of its own otherwise. A cache line.
pub const SIDE_BYTES: usize = 64;
/// The smallest slot: a signal frame is 3.5 KiB, 12 with AMX, and a backtrace wants more.
pub const MIN_SLOT: usize = 64 * 1024;
const MIN_SHIFT: u32 = MIN_SLOT.trailing_zeros();
/// Sizes are powers of two, up to 64 GiB, and a page.
const CLASSES: usize = 21;
const MAX_SLABS: usize = 16 * 1024;
/// Slot numbers fit 24 bits: the thread ids are made of them.
const MAX_SLOTS: usize = 1 << 24;
const GUARD: usize = sys::PAGE;
/// What makes the distance of slots an odd number of pages.
const EXTRA: usize = sys::PAGE;
/// A guard then shares its page table with the top of the slot below it.
const SLAB_OFFSET: usize = 1 << 20;
const PAGE_TABLE: usize = 1 << 21;
const LINE: usize = 64;
/// More would not spread further what a fiber touches.
const MOST_COLOURS: usize = 16;

/// Bytes of a stack that stay with it in the pool: a page fault costs half a microsecond each time that it
/// is used again, and few programs go deeper in all of their fibers.
pub const KEPT: usize = 32 * 1024;
/// Free slots of a class, used last, that stay as they are.
const HOT: usize = 16;

/// `MADV_GUARD_INSTALL`, Linux 6.13.
const MADV_GUARD_INSTALL: i32 = 102;
/// `MADV_POPULATE_WRITE`, Linux 5.14.
const MADV_POPULATE_WRITE: i32 = 23;

/// The first words of the record at the top of a slot. Looked at by others at any time, so whatever changes
/// after the first use is atomic; only the slot's owner changes it, but for `next`.
#[derive(Debug)]
#[repr(C)]
pub struct Slot {
    /// The next one in a list of free slots.
    next: AtomicUsize,
    side: NonNull<[u8; SIDE_BYTES]>,
    /// Unique for ever.
    number: u32,
    /// How often the slot has been used, modulo 63.
    pub(crate) uses: AtomicU32,
    class: u8,
    /// Whether the guard is in place.
    guarded: AtomicBool,
    /// Whether a block has been built here before, so that only its contents need a reset.
    pub(crate) built: AtomicBool,
    /// Whether the block there is some fiber's now.
    pub(crate) in_use: AtomicBool,
    /// Whether it is a further stack of some computation, and no fiber's.
    pub(crate) aside: AtomicBool,
}

/// A slot that its holder owns.
pub type SlotPtr = NonNull<Slot>;

impl Slot {
    /// The address above the record: the slot's end, less its colour.
    #[must_use]
    pub fn top(slot: SlotPtr) -> usize {
        slot.as_ptr() as usize + RECORD_BYTES
    }

    /// The lowest address of the slot, where its guard lies.
    fn base(slot: SlotPtr) -> usize {
        // SAFETY: records are valid for ever.
        let class = unsafe { slot.as_ref() }.class();
        Self::top(slot).next_multiple_of(sys::PAGE) - class.size()
    }

    /// The slot's [`SIDE_BYTES`], aligned to as many. They are whosever the slot is.
    #[must_use]
    pub fn side(&self) -> NonNull<[u8; SIDE_BYTES]> {
        self.side
    }

    /// Which class the slot is of.
    #[must_use]
    pub fn class(&self) -> Class {
        Class(self.class)
    }

    /// A number no other slot has.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The lowest address that the stack may use.
    #[must_use]
    pub fn stack_limit(slot: SlotPtr) -> usize {
        Self::base(slot) + GUARD
    }
}

/// A size of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class(u8);

impl Class {
    /// The smallest class whose stacks hold `bytes`; `None` where that is beyond 64 GiB.
    #[must_use]
    pub fn for_stack(bytes: usize) -> Option<Self> {
        let whole = bytes.saturating_sub(EXTRA).max(MIN_SLOT).checked_next_power_of_two()?;
        let class = whole.trailing_zeros() - MIN_SHIFT;
        ((class as usize) < CLASSES).then_some(Self(class as u8))
    }

    fn state(self) -> &'static Lock<ClassState> {
        &STATES[usize::from(self.0)]
    }

    const fn size(self) -> usize {
        (MIN_SLOT << self.0) + EXTRA
    }
}

#[derive(Debug)]
struct ClassState {
    /// First of the list of free slots, 0 where empty, and how many there are.
    free: usize,
    count: usize,
    /// The slab that never used slots come from.
    slab: usize,
    /// Slots that exist, and slots that someone holds or may still take.
    total: usize,
    reserved: usize,
}

static STATES: [Lock<ClassState>; CLASSES] =
    [const { Lock::new(ClassState { free: 0, count: 0, slab: 0, total: 0, reserved: 0 }) };
        CLASSES];

/// One mapping. Written once, under [`GROW`], before [`SLAB_COUNT`] covers it.
#[derive(Debug)]
struct Slab {
    base: AtomicUsize,
    slots: AtomicUsize,
    class: AtomicU8,
    /// In how many colours its slots come, one after the other.
    colours: AtomicU8,
    /// The number of its first slot.
    first: AtomicU32,
    /// Slots in it that have been handed out at least once.
    used: AtomicUsize,
}

static SLABS: [Slab; MAX_SLABS] = [const {
    Slab {
        base: AtomicUsize::new(0),
        slots: AtomicUsize::new(0),
        class: AtomicU8::new(0),
        colours: AtomicU8::new(1),
        first: AtomicU32::new(0),
        used: AtomicUsize::new(0),
    }
}; MAX_SLABS];
static SLAB_COUNT: AtomicUsize = AtomicUsize::new(0);
/// Numbers given to slots so far.
static GROW: Lock<usize> = Lock::new(0);

/// Where a debugger finds all slots: addresses of the slabs and of their number, what one takes, and the
/// offsets of its fields.
#[derive(Debug)]
#[repr(C)]
pub struct Map {
    slabs: &'static [Slab; MAX_SLABS],
    count: &'static AtomicUsize,
    slab: usize,
    base: usize,
    slots: usize,
    class: usize,
    colours: usize,
    used: usize,
    smallest: usize,
    extra: usize,
    line: usize,
    record: usize,
}

/// The map of this process.
pub const MAP: Map = Map {
    slabs: &SLABS,
    count: &SLAB_COUNT,
    slab: size_of::<Slab>(),
    base: std::mem::offset_of!(Slab, base),
    slots: std::mem::offset_of!(Slab, slots),
    class: std::mem::offset_of!(Slab, class),
    colours: std::mem::offset_of!(Slab, colours),
    used: std::mem::offset_of!(Slab, used),
    smallest: MIN_SLOT,
    extra: EXTRA,
    line: LINE,
    record: RECORD_BYTES,
};

/// The slabs that exist.
fn slabs() -> &'static [Slab] {
    &SLABS[..SLAB_COUNT.load(Ordering::Acquire)]
}

fn exhausted(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::OutOfMemory, what.into())
}

impl ClassState {
    /// Maps one more slab.
    fn grow(&mut self, class: Class) -> io::Result<()> {
        let size = class.size();
        // 64 MiB first, doubling up to 4 GiB: few mappings, and small programs stay small.
        let mut slots = self.total.max((64 << 20) / size).clamp(4, ((4_usize << 30) / size).max(4));
        let mut numbers = GROW.lock();
        let index = SLAB_COUNT.load(Ordering::Relaxed);
        if *numbers + slots > MAX_SLOTS || index == MAX_SLABS {
            return Err(exhausted("16 million fibers exist already; let some end first"));
        }
        let raw = loop {
            match sys::map(slots * (size + SIDE_BYTES) + 2 * PAGE_TABLE) {
                Ok(raw) => break raw,
                // Under `ulimit -v` there may be room for fewer.
                Err(_) if slots > 1 => slots /= 2,
                Err(error) => {
                    return Err(exhausted(format!(
                        "no address space for a stack of {size} bytes ({error}): \
                         ask for smaller stacks, or raise `ulimit -v` or vm.max_map_count"
                    )));
                }
            }
        };
        let bytes = slots * (size + SIDE_BYTES);
        // SAFETY: the mapping is ours and empty. A refusal (a kernel without huge pages) is fine.
        let _ = unsafe { sys::advise(raw, bytes + 2 * PAGE_TABLE, libc::MADV_NOHUGEPAGE) };
        let slab = &SLABS[index];
        slab.base.store(raw.next_multiple_of(PAGE_TABLE) + SLAB_OFFSET, Ordering::Relaxed);
        slab.slots.store(slots, Ordering::Relaxed);
        slab.class.store(class.0, Ordering::Relaxed);
        slab.colours.store(COLOURS.load(Ordering::Relaxed), Ordering::Relaxed);
        slab.first.store(*numbers as u32, Ordering::Relaxed);
        *numbers += slots;
        SLAB_COUNT.store(index + 1, Ordering::Release);
        self.total += slots;
        Ok(())
    }

    /// Takes up to `places.len()` slots: those used last first, then some that never were. Touches no
    /// memory of the latter: that costs a page fault each, and is for outside the lock.
    fn take(&mut self, class: Class, places: &mut [Place]) -> usize {
        let mut count = 0;
        while count < places.len() {
            let Some(slot) = NonNull::new(self.free as *mut Slot) else { break };
            // SAFETY: records are valid for ever.
            self.free = unsafe { slot.as_ref() }.next.load(Ordering::Relaxed);
            self.count -= 1;
            places[count] = Place::Used(slot);
            count += 1;
        }
        let has_fresh = |slab: &Slab| {
            slab.class() == class
                && slab.used.load(Ordering::Relaxed) < slab.slots.load(Ordering::Relaxed)
        };
        while count < places.len() {
            let Some(ahead) = slabs()[self.slab..].iter().position(has_fresh) else { break };
            self.slab += ahead;
            let slab = &slabs()[self.slab];
            let nth = slab.used.load(Ordering::Relaxed);
            places[count] = Place::Fresh(slab, nth);
            slab.used.store(nth + 1, Ordering::Release);
            count += 1;
        }
        count
    }
}

/// A slot that was taken.
#[derive(Clone, Copy)]
enum Place {
    None,
    Used(SlotPtr),
    /// Never used: its record must be written yet.
    Fresh(&'static Slab, usize),
}

/// How many slots are taken at once.
pub const BATCH: usize = 16;

static COLOURS: AtomicU8 = AtomicU8::new(1);

/// Has the tops of slots lie some cache lines below their ends, neighbours in different places, in slabs that
/// are mapped from now on. `top` is how many bytes below a top every fiber uses: they are to lie on no more
/// pages than before. Blocks are aligned to `align` bytes.
pub(crate) fn colours(top: usize, align: usize) {
    let spare = top.next_multiple_of(sys::PAGE) - top;
    let colours = if align > LINE { 1 } else { (spare / LINE + 1).min(MOST_COLOURS) };
    COLOURS.store(colours as u8, Ordering::Relaxed);
}

impl Slab {
    fn class(&self) -> Class {
        Class(self.class.load(Ordering::Relaxed))
    }
}

/// The side bytes of all slots of a slab lie above the last one.
fn nth_side(slab: &Slab, nth: usize) -> NonNull<[u8; SIDE_BYTES]> {
    let end = slab.slots.load(Ordering::Relaxed) * slab.class().size();
    let address = slab.base.load(Ordering::Relaxed) + end + nth * SIDE_BYTES;
    NonNull::new(address as *mut [u8; SIDE_BYTES]).expect("slabs are mapped above address 0")
}

fn nth_slot(slab: &Slab, nth: usize) -> SlotPtr {
    let end = slab.base.load(Ordering::Relaxed) + (nth + 1) * slab.class().size();
    let colour = nth % usize::from(slab.colours.load(Ordering::Relaxed)) * LINE;
    let address = end - colour - RECORD_BYTES;
    NonNull::new(address as *mut Slot).expect("slabs are mapped above address 0")
}

impl Class {
    /// Makes sure that `count` more [`take`](Self::take)s succeed.
    ///
    /// # Errors
    ///
    /// Address space, the kernel's limit of mappings, or slot numbers are exhausted; the text says
    /// what to do.
    pub fn reserve(self, count: usize) -> io::Result<()> {
        let mut state = self.state().lock();
        while state.total < state.reserved + count {
            state.grow(self)?;
        }
        state.reserved += count;
        Ok(())
    }

    /// Takes back a reservation, or says that a taken slot has been given back for good.
    pub fn release(self, count: usize) {
        self.state().lock().reserved -= count;
    }

    /// Takes one of the reserved slots, its guard in place.
    ///
    /// # Errors
    ///
    /// The guard could not be set: the text says why.
    pub fn take(self) -> io::Result<SlotPtr> {
        let mut places = [Place::None; 1];
        self.state().lock().take(self, &mut places);
        self.prepare(places[0], false)
    }

    /// Takes up to [`BATCH`] slots and gives each to `keep`.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take), for the first one.
    pub fn take_batch(self, mut keep: impl FnMut(SlotPtr)) -> io::Result<()> {
        let mut places = [Place::None; BATCH];
        let count = self.state().lock().take(self, &mut places).max(1);
        let guarded = prepare_fresh(&places[..count]);
        // The one used last goes last, for callers that keep a stack of them.
        for &place in places[..count].iter().rev() {
            keep(self.prepare(place, guarded)?);
        }
        Ok(())
    }

    /// Makes a taken slot ready for use; `guarded` says that a fresh one has its guard already.
    fn prepare(self, place: Place, guarded: bool) -> io::Result<SlotPtr> {
        let slot = match place {
            Place::None => return Err(exhausted("no free stack (a reservation was missed)")),
            Place::Used(slot) => slot,
            Place::Fresh(slab, nth) => {
                let slot = nth_slot(slab, nth);
                // SAFETY: the bytes are mapped and nobody's yet.
                unsafe {
                    slot.as_ptr().write(Slot {
                        next: AtomicUsize::new(0),
                        side: nth_side(slab, nth),
                        number: slab.first.load(Ordering::Relaxed) + nth as u32,
                        uses: AtomicU32::new(0),
                        class: self.0,
                        guarded: AtomicBool::new(guarded),
                        built: AtomicBool::new(false),
                        in_use: AtomicBool::new(false),
                        aside: AtomicBool::new(false),
                    });
                }
                slot
            }
        };
        // SAFETY: records are valid for ever.
        let record = unsafe { slot.as_ref() };
        if !record.guarded.load(Ordering::Relaxed) {
            if let Err(error) = guard(Slot::base(slot)) {
                self.give(slot);
                return Err(error);
            }
            record.guarded.store(true, Ordering::Relaxed);
        }
        Ok(slot)
    }

    /// Gives a slot back: the next [`take`](Self::take) gets it.
    pub fn give(self, slot: SlotPtr) {
        let mut state = self.state().lock();
        // SAFETY: records are valid for ever.
        unsafe { slot.as_ref() }.next.store(state.free, Ordering::Relaxed);
        state.free = slot.as_ptr() as usize;
        state.count += 1;
    }

    /// Gives a slot back whose fiber has ended, trimmed if there are others that can be used at once.
    ///
    /// Cost: a system call where there are.
    pub fn give_back(self, slot: SlotPtr) {
        if self.state().lock().count >= HOT {
            trim(&[slot]);
        }
        self.give(slot);
    }
}

/// How many stacks are trimmed by one system call.
const TRIMMED: usize = 32;

/// Gives back to the kernel what was touched below the upper [`KEPT`] bytes of stacks that nobody uses.
///
/// Cost: a system call for 32 of them, and what it costs to free pages where there are any.
pub fn trim(slots: &[SlotPtr]) {
    for slots in slots.chunks(TRIMMED) {
        let mut parts = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; TRIMMED];
        let mut count = 0;
        for &slot in slots {
            let low = Slot::stack_limit(slot);
            let high = (block::stack_top(slot) - KEPT) & !(sys::PAGE - 1);
            if high > low {
                parts[count] = libc::iovec { iov_base: low as *mut _, iov_len: high - low };
                count += 1;
            }
        }
        let parts = &parts[..count];
        // SAFETY: the caller says that nobody uses the stacks.
        if count > 1 && unsafe { sys::advise_many(parts, libc::MADV_DONTNEED) } {
            continue;
        }
        for part in parts {
            // SAFETY: as above. A refusal is fine.
            let _ =
                unsafe { sys::advise(part.iov_base as usize, part.iov_len, libc::MADV_DONTNEED) };
        }
    }
}

/// Puts up the guards of the fresh slots among `places`, in one system call, and has the kernel bring
/// the pages that every fiber touches, in another: two page faults a fiber less. True if the guards
/// are in place; where the kernel cannot do it so, each is set by itself and the pages come by faults.
fn prepare_fresh(places: &[Place]) -> bool {
    let none = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
    let (mut guards, mut pages) = ([none; BATCH], [none; 2 * BATCH]);
    let page = |address| libc::iovec { iov_base: address as *mut _, iov_len: sys::PAGE };
    let mut count = 0;
    for place in places {
        let Place::Fresh(slab, nth) = place else { continue };
        let slot = nth_slot(slab, *nth);
        let end = Slot::top(slot).next_multiple_of(sys::PAGE);
        guards[count] = page(end - slab.class().size());
        pages[2 * count] = page(end - sys::PAGE);
        pages[2 * count + 1] = page((block::stack_top(slot) - 1) & !(sys::PAGE - 1));
        count += 1;
    }
    if count == 0 {
        return false;
    }
    // SAFETY: the lowest page of a slot is never used for anything else.
    let guarded = unsafe { sys::advise_many(&guards[..count], MADV_GUARD_INSTALL) };
    if guarded {
        // SAFETY: fresh slots belong to whoever has taken them. A refusal is fine.
        let _ = unsafe { sys::advise_many(&pages[..2 * count], MADV_POPULATE_WRITE) };
    }
    guarded
}

/// Puts a guard page at `base`.
fn guard(base: usize) -> io::Result<()> {
    // SAFETY: the lowest page of a slot is never used for anything else.
    if unsafe { sys::advise(base, GUARD, MADV_GUARD_INSTALL) }.is_ok() {
        return Ok(());
    }
    // SAFETY: as above.
    unsafe { sys::forbid(base, GUARD) }.map_err(|error| {
        exhausted(format!(
            "no guard for a stack ({error}): before Linux 6.13 each takes two of \
             vm.max_map_count's mappings; raise it (`sysctl -w vm.max_map_count=…`)"
        ))
    })
}

/// Every slot that was ever handed out. One that is just being taken may be all zeroes still.
pub fn all() -> impl Iterator<Item = SlotPtr> {
    slabs()
        .iter()
        .flat_map(|slab| (0..slab.used.load(Ordering::Acquire)).map(move |nth| nth_slot(slab, nth)))
}

/// The slot that `address` lies in, guard included.
///
/// Cost: a walk over the slabs, some dozens at most. Safe in a signal handler.
#[must_use]
pub fn containing(address: usize) -> Option<SlotPtr> {
    slabs().iter().find_map(|slab| {
        let nth = address.checked_sub(slab.base.load(Ordering::Relaxed))? / slab.class().size();
        (nth < slab.used.load(Ordering::Acquire)).then(|| nth_slot(slab, nth))
    })
}

/// Whether `address` lies in the guard of `slot`.
#[must_use]
pub fn in_guard(slot: SlotPtr, address: usize) -> bool {
    let limit = Slot::stack_limit(slot);
    (limit - GUARD..limit).contains(&address)
}

/// All locks of this module, held: nobody is in the middle of anything.
#[derive(Debug)]
#[must_use = "lets the locks go when dropped"]
pub struct Quiet {
    _states: [Guard<'static, ClassState>; CLASSES],
    _numbers: Guard<'static, usize>,
}

/// Waits until nobody works on slots, and keeps everybody out: around a `fork`, whose child would
/// inherit a half-made list. Parent and child both drop it.
pub fn quiet() -> Quiet {
    Quiet {
        // The order in which a slab grows.
        _states: std::array::from_fn(|class| STATES[class].lock()),
        _numbers: GROW.lock(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::*;

    /// Two that take slots in turn would each get every second one.
    static TAKING: Mutex<()> = Mutex::new(());

    /// Slots whose fibers use 3,000 bytes at the top: 17 lines of the page are to spare. In the order of their
    /// addresses.
    fn slots() -> (MutexGuard<'static, ()>, Vec<SlotPtr>) {
        let taking = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
        colours(3_000, LINE);
        let class = Class::for_stack(MIN_SLOT).expect("the smallest");
        class.reserve(20).expect("there is room");
        let mut slots: Vec<_> = (0..20).map(|_| class.take().expect("it was reserved")).collect();
        slots.sort_unstable();
        (taking, slots)
    }

    #[test]
    fn neighbours_lie_in_different_places_and_are_found() {
        let (_taking, slots) = slots();
        let size = Class(0).size();
        let neighbours = |pair: &&[SlotPtr]| Slot::base(pair[1]) - Slot::base(pair[0]) == size;
        assert_ne!(slots.windows(2).filter(neighbours).count(), 0, "others took every second one");
        for pair in slots.windows(2).filter(neighbours) {
            let [low, high] = [pair[0], pair[1]].map(Slot::top);
            assert_ne!(low % sys::PAGE, high % sys::PAGE, "the same lines of a page");
            let pages = high.next_multiple_of(sys::PAGE) - low.next_multiple_of(sys::PAGE);
            assert_eq!(pages / sys::PAGE % 2, 1, "pages of the same places in the TLB");
        }
        for &slot in &slots {
            let (base, limit, top) = (Slot::base(slot), Slot::stack_limit(slot), Slot::top(slot));
            assert_eq!((base % sys::PAGE, limit), (0, base + GUARD));
            assert!(top.next_multiple_of(sys::PAGE) - top <= sys::PAGE - 3_000, "a page more");
            assert_eq!([base, limit, top - 1].map(containing), [Some(slot); 3]);
            assert!(in_guard(slot, base) && in_guard(slot, limit - 1));
            assert!(!in_guard(slot, limit) && !in_guard(slot, base - 1));
        }
        slots.iter().for_each(|&slot| Class(0).give(slot));
        Class(0).release(20);
    }

    #[test]
    fn side_bytes_are_each_slots_own() {
        let (_taking, slots) = slots();
        // SAFETY: records are valid for ever.
        let sides = slots.iter().map(|slot| unsafe { slot.as_ref() }.side());
        let mut sides: Vec<_> = sides.map(|side| side.as_ptr() as usize).collect();
        sides.sort_unstable();
        sides.dedup();
        assert_eq!(sides.len(), slots.len());
        assert!(sides.iter().all(|side| side % SIDE_BYTES == 0 && containing(*side).is_none()));
        slots.iter().for_each(|&slot| Class(0).give(slot));
        Class(0).release(20);
    }
}
