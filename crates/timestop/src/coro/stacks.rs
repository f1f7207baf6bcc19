//! Where the stacks of generators and greenlets come from: slots of the slabs, a few of them kept by each
//! thread and fiber, since generators come and go by the million.
//!
//! Invariant: a slot goes back only when what ran on it has finished. What is leaked keeps its stack for ever:
//! nobody else ever writes there.

use std::cell::RefCell;
use std::io;
use std::ptr::NonNull;

use timestop_fiber::aside::{self, Base};
use timestop_fiber::block;
use timestop_fiber::slab::{Class, SlotPtr};

/// Bytes of address space of a stack unless asked otherwise: as of a fiber's.
pub(super) const USUAL: usize = 256 * 1024;
/// Slots that a thread or fiber keeps. Few: there may be very many fibers.
const KEPT: usize = 4;

#[derive(Debug)]
struct Kept(RefCell<Vec<SlotPtr>>);

impl Drop for Kept {
    fn drop(&mut self) {
        for slot in self.0.get_mut().drain(..) {
            // SAFETY: `give` has put it here, whose caller vouches.
            unsafe { aside::give(slot) };
        }
    }
}

thread_local! {
    static KEEP: Kept = const { Kept(RefCell::new(Vec::new())) };
}

fn class_for(bytes: usize) -> io::Result<Class> {
    block::class_for(bytes).ok_or_else(|| {
        let text = format!("no stack of {bytes} bytes: ask for less than 64 GiB");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })
}

fn usual_class() -> Option<Class> {
    block::class_for(USUAL)
}

/// A stack of at least so many bytes, with its base laid out.
///
/// # Errors
///
/// Fibers cannot run here, or there is no room for one more; the text says what to do.
pub(super) fn take(bytes: usize, name: &'static str) -> io::Result<NonNull<Base>> {
    timestop_runtime::prepare_stacks()?;
    let class = class_for(bytes)?;
    let kept = || KEEP.try_with(|keep| keep.0.borrow_mut().pop()).ok().flatten();
    let kept = if Some(class) == usual_class() { kept() } else { None };
    let slot = match kept {
        Some(slot) => slot,
        None => aside::take(class)?,
    };
    // SAFETY: the slot is ours: just taken, or given back by who used it last.
    Ok(unsafe { aside::lay(slot, name) })
}

/// Takes a stack back.
///
/// # Safety
///
/// What ran there has finished or was never begun, and nobody refers to the stack.
pub(super) unsafe fn give(base: NonNull<Base>) {
    // SAFETY: the base lies on the stack, which is the caller's still.
    let slot = unsafe { base.as_ref() }.slot();
    // SAFETY: records are valid for ever.
    let class = unsafe { slot.as_ref() }.class();
    let keep = |keep: &Kept| {
        let mut slots = keep.0.borrow_mut();
        let has_room = slots.len() < KEPT;
        if has_room {
            slots.push(slot);
        }
        has_room
    };
    // A thread whose thread-locals are gone keeps nothing.
    if Some(class) != usual_class() || !KEEP.try_with(keep).unwrap_or(false) {
        // SAFETY: as the caller vouches.
        unsafe { aside::give(slot) };
    }
}
