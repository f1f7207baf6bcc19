//! What a debugger needs to find fibers, in a program without debug information too and in a core file:
//! one symbol, with addresses and offsets. `tools/gdb/timestop.py` reads it; the two change together, and
//! then [`VERSION`] does.

use std::mem::offset_of;

use timestop_fiber::slab::{MAP, Map};
use timestop_fiber::switch::Context;

use crate::fiber::{Fiber, Waiting};
use crate::sched::Carrier;

const VERSION: usize = 1;

/// Words all of them; the script reads them in this order.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Debugger {
    magic: [u8; 8],
    version: usize,
    map: Map,
    /// Of a fiber's record.
    sp: usize,
    fs: usize,
    carrier: usize,
    state: usize,
    alive: usize,
    ended: usize,
    id: usize,
    name: usize,
    reason: usize,
    argument: usize,
    since: usize,
    /// Of a carrier.
    running: usize,
    thread: usize,
}

/// See above.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub(crate) static timestop_debugger: Debugger = Debugger {
    magic: *b"timestop",
    version: VERSION,
    map: MAP,
    sp: offset_of!(Fiber, context) + offset_of!(Context, sp),
    fs: offset_of!(Fiber, context) + offset_of!(Context, fs),
    carrier: offset_of!(Fiber, carrier),
    state: offset_of!(Fiber, state),
    alive: offset_of!(Fiber, alive),
    ended: offset_of!(Fiber, ended),
    id: Fiber::ID,
    name: Fiber::NAME,
    reason: offset_of!(Fiber, waiting) + offset_of!(Waiting, reason),
    argument: offset_of!(Fiber, waiting) + offset_of!(Waiting, argument),
    since: offset_of!(Fiber, waiting) + offset_of!(Waiting, since),
    running: Carrier::RUNNING,
    thread: Carrier::THREAD,
};

/// Has the linker keep the symbol.
pub(crate) fn keep() {
    std::hint::black_box(&raw const timestop_debugger);
}
