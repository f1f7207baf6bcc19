//! Walks a stack by the unwind tables that every program carries (DWARF CFI), no frame pointers
//! needed, from registers that are given and within a stack that is given.
//!
//! [`prepare`] makes the table of modules, on an ordinary thread. [`walk`] may be called anywhere,
//! signal handlers included: it allocates nothing, reads only its own tables and the given stack, and
//! gives up (the one address that it was given) where another walk or a `prepare` is going on. Before
//! the first `prepare` it does the same.
//!
//! It passes through our own switch and ends at a fiber's entry, since both say so in their CFI. A
//! *trampoline*, where a fiber was preempted, has been entered between two instructions and not by a
//! call: the address beneath it is exact ([`set_trampoline`]). From a stack that is set aside (a generator's) it
//! goes on to the one of whoever has resumed it ([`aside::base_code`]), which is never unmapped either.
//!
//! Rejected: libgcc's unwinder (it takes the dynamic linker's lock, and follows any pointer that a
//! stack which is being written shows it); frame pointers (libc and std have none); copying a
//! suspended stack first (it is read in place: it is never unmapped, and who reads asks afterwards
//! whether the fiber has moved).

use std::cell::UnsafeCell;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{
    ExplicitModuleSectionInfo, FrameAddress, Module, MustNotAllocateDuringUnwind, Unwinder,
};
use timestop_fiber::aside;
use timestop_runtime::report::Registers;
use timestop_runtime::stack_around;

use crate::modules::{self, Generation, Tables};

/// What a walk needs. Used by one at a time.
struct State {
    unwinder: UnwinderX86_64<Vec<u8>, MustNotAllocateDuringUnwind>,
    cache: CacheX86_64<MustNotAllocateDuringUnwind>,
    generation: Generation,
}

/// A lock that is only ever tried: a signal handler may have interrupted its holder.
struct Tried {
    taken: AtomicBool,
    state: UnsafeCell<Option<State>>,
}

// SAFETY: the state is touched by whoever has set `taken`.
unsafe impl Sync for Tried {}

static STATE: Tried = Tried { taken: AtomicBool::new(false), state: UnsafeCell::new(None) };

impl Tried {
    fn with<R>(&self, body: impl FnOnce(&mut Option<State>) -> R) -> Option<R> {
        if self.taken.swap(true, Ordering::Acquire) {
            return None;
        }
        // SAFETY: we have the lock.
        let result = body(unsafe { &mut *self.state.get() });
        self.taken.store(false, Ordering::Release);
        Some(result)
    }
}

/// Where the code is whose caller's address is exact: start and end.
static TRAMPOLINE: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

/// Says where the code lies that is entered between two instructions and not by a call.
pub fn set_trampoline(code: Range<usize>) {
    TRAMPOLINE[0].store(code.start, Ordering::Relaxed);
    TRAMPOLINE[1].store(code.end, Ordering::Release);
}

fn is_trampoline(address: usize) -> bool {
    let end = TRAMPOLINE[1].load(Ordering::Acquire);
    (TRAMPOLINE[0].load(Ordering::Relaxed)..end).contains(&address)
}

/// Makes the table of modules, or makes it anew if any was loaded or unloaded since. On an ordinary
/// thread: allocates, and takes the dynamic linker's lock.
///
/// Cost: a copy of the unwind tables, about a millisecond; a look at the linker's list if nothing has
/// changed.
pub fn prepare() {
    let generation = modules::generation();
    let is_fresh = |state: &mut Option<State>| {
        state.as_ref().is_some_and(|state| state.generation == generation)
    };
    if STATE.with(is_fresh) == Some(true) {
        return;
    }
    let mut fresh =
        Some(State { unwinder: UnwinderX86_64::new(), cache: CacheX86_64::new_in(), generation });
    for module in modules::list(true) {
        if let (Some(state), Some(tables)) = (&mut fresh, module.tables) {
            state.unwinder.add_module(to_framehop(module.bias, module.range, tables));
        }
    }
    // A walk takes microseconds. What is replaced is dropped outside of the lock.
    while STATE.with(|state| std::mem::swap(state, &mut fresh)).is_none() {
        std::thread::yield_now();
    }
}

fn to_framehop(bias: usize, range: Range<usize>, tables: Tables) -> Module<Vec<u8>> {
    let stated = |start: usize, bytes: &[u8]| {
        let start = start.wrapping_sub(bias) as u64;
        Some(start..start + bytes.len() as u64)
    };
    let (header, header_bytes) = tables.header;
    let (frames, frames_bytes) = tables.frames;
    let sections = ExplicitModuleSectionInfo {
        eh_frame_hdr_svma: stated(header, &header_bytes),
        eh_frame_hdr: Some(header_bytes),
        eh_frame_svma: stated(frames, &frames_bytes),
        eh_frame: Some(frames_bytes),
        ..ExplicitModuleSectionInfo::default()
    };
    Module::new(String::new(), range.start as u64..range.end as u64, bias as u64, sections)
}

/// Walks the stack that `registers` belong to and writes the addresses of its frames, innermost
/// first: the given one, then those of calls (not of the instructions after them). Returns how many.
///
/// Async-signal-safe. Reads nothing but words within `stack`, which must stay mapped; another thread
/// may write there meanwhile, and then the addresses are worth nothing but no harm is done.
pub fn walk(registers: &Registers, stack: Range<usize>, frames: &mut [usize]) -> usize {
    let Some((first, rest)) = frames.split_first_mut() else { return 0 };
    *first = registers.ip;
    let walked = STATE.with(|state| match state {
        Some(state) => walk_with(state, registers, stack, rest),
        None => 0,
    });
    1 + walked.unwrap_or(0)
}

/// As [`walk`], but waits where another walk or a [`prepare`] is going on. On an ordinary thread.
pub(crate) fn walk_patiently(
    registers: &Registers,
    stack: Range<usize>,
    frames: &mut [usize],
) -> usize {
    let Some((first, rest)) = frames.split_first_mut() else { return 0 };
    *first = registers.ip;
    loop {
        let walked = STATE.with(|state| match state {
            Some(state) => walk_with(state, registers, stack.clone(), rest),
            None => 0,
        });
        match walked {
            Some(depth) => return 1 + depth,
            None => std::thread::yield_now(),
        }
    }
}

fn walk_with(
    state: &mut State,
    registers: &Registers,
    stack: Range<usize>,
    frames: &mut [usize],
) -> usize {
    let (ip, sp, bp) = (registers.ip as u64, registers.sp as u64, registers.bp as u64);
    let mut registers = UnwindRegsX86_64::new(ip, sp, bp);
    let mut stack = stack;
    let base = aside::base_code();
    let mut at = FrameAddress::from_instruction_pointer(ip);
    for (index, frame) in frames.iter_mut().enumerate() {
        let next = if base.contains(&(at.address_for_lookup() as usize)) {
            beyond_the_base(&mut registers, &mut stack)
        } else {
            let mut read = |address: u64| read_word(address, &stack).ok_or(());
            let (unwinder, cache) = (&state.unwinder, &mut state.cache);
            unwinder.unwind_frame(at, &mut registers, cache, &mut read).ok().flatten()
        };
        let Some(next) = next else { return index };
        at = if is_trampoline(at.address_for_lookup() as usize) {
            FrameAddress::from_instruction_pointer(next)
        } else {
            let Some(next) = FrameAddress::from_return_address(next) else { return index };
            next
        };
        *frame = at.address_for_lookup() as usize;
    }
    frames.len()
}

/// From the base of a stack that is set aside to whoever has resumed it: returns where that goes on.
fn beyond_the_base(registers: &mut UnwindRegsX86_64, stack: &mut Range<usize>) -> Option<u64> {
    let mut beneath = None;
    let [ip, sp, bp] = aside::resumer_of_base(registers.sp() as usize, |address, is_beneath| {
        if !is_beneath {
            return read_word(address as u64, stack).map(|word| word as usize);
        }
        let stack = match &beneath {
            Some(stack) => stack,
            None => beneath.insert(stack_around(address)?),
        };
        read_word(address as u64, stack).map(|word| word as usize)
    })?;
    *stack = beneath?;
    registers.set_ip(ip as u64);
    registers.set_sp(sp as u64);
    registers.set_bp(bp as u64);
    Some(ip as u64)
}

/// A word of a stack.
fn read_word(address: u64, stack: &Range<usize>) -> Option<u64> {
    let address = usize::try_from(address).ok()?;
    let is_within =
        address.is_multiple_of(8) && address >= stack.start && address.checked_add(8)? <= stack.end;
    if !is_within {
        return None;
    }
    // SAFETY: aligned, and within a stack that the caller says stays mapped. Its owner may write it
    // at the same time, with plain stores of whole words.
    let word = unsafe { AtomicUsize::from_ptr(address as *mut usize) };
    Some(word.load(Ordering::Relaxed) as u64)
}

#[cfg(test)]
mod tests {
    use std::arch::asm;

    use super::*;

    #[inline(never)]
    fn calls(depth: u32, at_the_end: &mut dyn FnMut(Registers)) {
        if depth > 0 {
            calls(depth - 1, at_the_end);
        } else {
            let (ip, sp, bp): (usize, usize, usize);
            // SAFETY: reads three registers.
            unsafe {
                asm!("lea {}, [rip]", "mov {}, rsp", "mov {}, rbp",
                    out(reg) ip, out(reg) sp, out(reg) bp, options(nomem, nostack));
            }
            at_the_end(Registers { ip, sp, bp });
        }
        std::hint::black_box(depth);
    }

    #[test]
    fn a_walk_stays_within_the_stack_it_is_given() {
        prepare();
        let mut frames = [0; 64];
        calls(10, &mut |registers| {
            let sp = registers.sp;
            let depth = walk_patiently(&registers, sp..sp + 64 * 1024, &mut frames);
            let own = frames[1..depth].iter().filter(|&&at| at == frames[1]).count();
            assert!(own >= 8, "ten times the same call: {:x?}", &frames[..depth]);
            // Less of the stack: fewer frames, and no fault where the stack is no memory at all.
            let less = walk_patiently(&registers, sp..sp + 64, &mut frames);
            assert!((1..depth).contains(&less));
            let nowhere = Registers { sp: 4096, bp: 8, ..registers };
            assert_eq!(walk_patiently(&nowhere, 0..0, &mut frames), 1);
            assert_eq!(walk(&registers, sp..sp + 64 * 1024, &mut []), 0);
        });
    }

    #[test]
    fn a_walk_gives_up_where_another_goes_on() {
        prepare();
        STATE.with(|_| {
            let mut frames = [0; 4];
            let registers = Registers { ip: 7, sp: 0, bp: 0 };
            assert_eq!((walk(&registers, 0..0, &mut frames), frames[0]), (1, 7));
        });
    }
}
