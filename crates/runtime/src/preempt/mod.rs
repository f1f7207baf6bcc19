//! Preemption: taking the OS thread from a fiber that computes.
//!
//! The monitor (or, in tests, chance) writes a [`Request`] on the carrier and signals its OS thread.
//! The handler looks whether the interrupted instruction is one at which this fiber may be suspended
//! ([`RULES`]). If so it sends the fiber through the [`trampoline`], which suspends it as if it had
//! called the scheduler itself; if not the answer is "not now", counted by reason, and the monitor
//! asks again a millisecond later. After two slices of that it hands the worker off instead.
//!
//! Taxonomy of places, after Go's `preempt.go`: there every instruction is either a safe point or in
//! a function marked unsafe. Here *any* instruction of the program's is one, since a fiber has its
//! own thread-locals and nothing in user code depends on the OS thread; what is not is listed.
//!
//! The signal is one that programs hardly use and whose default is to be ignored (SIGURG, as Go has
//! it). A program that has a handler for it keeps it: signals that are not ours go on to it
//! ([`set_foreign`]). Ours are known by their value, and come to one OS thread only, so that none of
//! the program's is lost in ours.
//!
//! Rejected: a timer signal for each worker (each tick costs the program an interruption, hog or not,
//! and wake-ups come 2 to 6 times later than the kernel's); suspending in the handler (see
//! [`trampoline`]).

mod libraries;
mod trampoline;

use std::arch::naked_asm;
use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use timestop_fiber::slab::Slot;
use timestop_fiber::{aside, block, current};

use crate::action::{self, Action};
use crate::fiber::FiberRef;
use crate::report::{self, Registers};
use crate::sched::Carrier;
use crate::stats::Refusal;
use crate::{sites, sys};

/// Why a fiber is preempted: where it queues afterwards follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its slice is over: the next hog's turn.
    Slice = 1,
    /// Somebody interactive is due: it goes on with the rest of its slice soon.
    Turn = 2,
    /// By chance, for tests: as if it had yielded.
    Chance = 3,
}

/// What the monitor wants of the fiber that a carrier runs: its address, and why in the lowest bits.
#[derive(Debug)]
pub(crate) struct Request(AtomicUsize);

const WHY: usize = 3;
/// Also tell the programmer where the fiber was.
const TELL: usize = 4;

impl Request {
    pub(crate) const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Release: the handler sees what the monitor wrote before.
    fn make(&self, fiber: FiberRef, why: Why, tell: bool) {
        let tell = if tell { TELL } else { 0 };
        self.0.store(fiber.address() | why as usize | tell, Ordering::Release);
    }

    /// The request, used up.
    fn take(&self) -> Option<(usize, Why, bool)> {
        let word = self.0.swap(0, Ordering::Acquire);
        let why = match word & WHY {
            0 => return None,
            1 => Why::Slice,
            2 => Why::Turn,
            _ => Why::Chance,
        };
        Some((word & !(WHY | TELL), why, word & TELL != 0))
    }
}

static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// The code through which a preempted fiber's stack goes on to what was interrupted: for unwinders,
/// to which the address above is that of an instruction and not of one after a call.
#[must_use]
pub fn trampoline_code() -> Range<usize> {
    trampoline::code()
}

/// The signal that preempts; 0 where there is no preemption.
#[must_use]
pub fn signal() -> c_int {
    SIGNAL.load(Ordering::Relaxed)
}

static FOREIGN: AtomicUsize = AtomicUsize::new(0);

/// What a handler is called with.
type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// Sets what is called, as a signal handler, for a signal of this number that is not ours.
pub fn set_foreign(handler: Handler) {
    FOREIGN.store(handler as usize, Ordering::Release);
}

/// The value by which our signals are known.
fn mark() -> usize {
    (&raw const SIGNAL) as usize
}

/// Installs the handler for `signal`. Without one, fibers that compute are handed off. Once, before
/// the first fiber.
pub(crate) fn install(signal: c_int) {
    if !libraries::look_up() || !trampoline::prepare() {
        return;
    }
    SIGNAL.store(signal, Ordering::Relaxed);
    crate::set_own_signal(signal, true);
    // Everything is blocked meanwhile, so that what the handler decides is still so when it returns.
    let handler = entry as *const () as usize;
    action::exchange(signal, Some(Action::on_alternate_stack(handler, libc::SA_RESTART, u64::MAX)));
}

/// Asks `carrier` to suspend `fiber`, if it is still what runs there.
pub(crate) fn request(carrier: &Carrier, fiber: FiberRef, why: Why, tell: bool) {
    carrier.request.make(fiber, why, tell);
    sys::signal_thread(carrier.thread_id(), signal(), mark());
}

/// The instruction at which a fiber was interrupted.
struct Point {
    fiber: FiberRef,
    pc: usize,
    sp: usize,
    /// Which the stack pointer should lie in.
    stack: Range<usize>,
}

/// A kind of place where a fiber is not preempted.
struct Rule {
    refusal: Refusal,
    /// For the reader: the table is the place where the reasons are kept.
    #[allow(dead_code)]
    why: &'static str,
    holds: fn(&Point) -> bool,
}

/// Where a fiber is *not* preempted. The first rule that holds is the reason; "not now" means again
/// soon, and after two slices the worker is handed off.
const RULES: &[Rule] = &[
    Rule {
        refusal: Refusal::Runtime,
        why: "in a section of the runtime: it works on its carrier's worker, holds one of the \
              runtime's locks, or runs on the carrier's thread pointer or signal mask. A child of \
              vfork that borrows the fiber's memory counts too",
        holds: |point| {
            current::is_shut()
                || current::depth() != 0
                || point.fiber.is_borrowed()
                || point.fiber.carrier().lease.in_runtime()
        },
    },
    Rule {
        refusal: Refusal::Pinned,
        why: "it must stay on its OS thread, which it could not go on with later: a handler of the \
              program's runs on top of a signal frame, a robust mutex is held, `pin` was called",
        holds: |point| point.fiber.is_pinned(),
    },
    Rule {
        refusal: Refusal::Disabled,
        why: "`without_preemption`",
        holds: |point| point.fiber.is_unpreemptible(),
    },
    Rule {
        refusal: Refusal::ForeignStack,
        why: "on a stack that is neither the fiber's nor one set aside for it: a signal handler's, or \
              one that the program switches to itself. How much room there is nobody knows, and a \
              handler's frame is the OS thread's",
        holds: |point| !point.stack.contains(&point.sp),
    },
    Rule {
        refusal: Refusal::Stack,
        why: "too little stack for registers and the scheduler",
        holds: |point| point.sp - point.stack.start < trampoline::room() + FRAMES,
    },
    Rule {
        refusal: Refusal::Library,
        why: "in the code of libc, the loader, the unwinder or the vDSO, see `libraries.rs`",
        holds: |point| libraries::contain(point.pc),
    },
];

/// Bytes of stack that the scheduler's frames take when a fiber is suspended.
const FRAMES: usize = 8 * 1024;

/// The fiber that runs on a stack which is not a slot's (`main`), and where that lies.
static GUEST: AtomicUsize = AtomicUsize::new(0);
static GUEST_STACK: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Says where the stack of a fiber lies that brought its own. There is one at most.
pub(crate) fn set_guest(fiber: FiberRef, stack: Range<usize>) {
    GUEST_STACK[0].store(stack.start, Ordering::Relaxed);
    GUEST_STACK[1].store(stack.end, Ordering::Relaxed);
    GUEST.store(fiber.address(), Ordering::Release);
}

/// The stack of a fiber, guard not included.
pub(crate) fn stack_of(fiber: FiberRef) -> Range<usize> {
    if GUEST.load(Ordering::Acquire) == fiber.address() {
        let [start, end] = &GUEST_STACK;
        return start.load(Ordering::Relaxed)..end.load(Ordering::Relaxed);
    }
    Slot::stack_limit(fiber.slot())..block::stack_top(fiber.slot())
}

/// Where the stack of the fiber lies that brought its own, if there is one.
pub(crate) fn guest_stack() -> Option<Range<usize>> {
    let [start, end] = &GUEST_STACK;
    let is_there = GUEST.load(Ordering::Acquire) != 0;
    is_there.then(|| start.load(Ordering::Relaxed)..end.load(Ordering::Relaxed))
}

/// The stack that a fiber with this stack pointer is on: its own, or one that is set aside. A switch between
/// the two changes nothing but the stack pointer, so at each instruction that alone tells which it is.
pub(crate) fn stack_at(fiber: FiberRef, sp: usize) -> Range<usize> {
    let own = stack_of(fiber);
    if own.contains(&sp) { own } else { aside::containing(sp).unwrap_or(own) }
}

/// What the kernel calls. It has cleared the direction flag, but not the one by which a program makes
/// every access that is not aligned a fault: our code has such.
#[unsafe(naked)]
extern "C" fn entry(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    naked_asm!(
        ".cfi_startproc",
        "pushfq",
        ".cfi_adjust_cfa_offset 8",
        "and dword ptr [rsp], {others}",
        "popfq",
        ".cfi_adjust_cfa_offset -8",
        "jmp {handle}",
        ".cfi_endproc",
        others = const !ALIGNMENT_CHECK,
        handle = sym handle,
    )
}

/// Bit 18 of the flags.
const ALIGNMENT_CHECK: i32 = 1 << 18;

/// Reads and writes nothing but the fiber's and the carrier's records, the interrupted registers, and one
/// word of the fiber's stack.
extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a record.
    if sys::carries(unsafe { &*info }, mark()) {
        // No fiber: the carrier's loop, or code that runs on the carrier's thread pointer.
        if let Some(fiber) = FiberRef::current() {
            // SAFETY: the kernel passes the interrupted registers.
            let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
            interrupted(fiber, registers);
        }
        return;
    }
    let foreign = FOREIGN.load(Ordering::Acquire);
    if foreign != 0 {
        // SAFETY: only `set_foreign` writes the word.
        let foreign: Handler = unsafe { std::mem::transmute(foreign) };
        foreign(signal, info, context);
    }
}

/// Preempts the fiber if that is asked for and possible.
fn interrupted(fiber: FiberRef, registers: &mut [libc::greg_t; 23]) {
    let carrier = fiber.carrier(); // whose OS thread this is
    let Some((wanted, why, tell)) = carrier.request.take() else { return };
    let counters = &crate::sched::runtime().counters;
    if wanted != fiber.address() {
        counters.refused(Refusal::Late);
        return;
    }
    let pc = registers[libc::REG_RIP as usize] as usize;
    let sp = registers[libc::REG_RSP as usize] as usize;
    let stack = stack_at(fiber, sp);
    // Said here and not where it is asked for: the signal may come too late, and the fiber is to be told of
    // when it next does.
    if tell && !fiber.told.swap(true, Ordering::Relaxed) {
        let bp = registers[libc::REG_RBP as usize] as usize;
        report::held(fiber, carrier.thread_id(), Registers { ip: pc, sp, bp }, stack.clone());
    }
    let point = Point { fiber, pc, sp, stack };
    if let Some(rule) = RULES.iter().find(|rule| (rule.holds)(&point)) {
        counters.refused(rule.refusal);
        return;
    }
    let bp = registers[libc::REG_RBP as usize] as usize;
    sites::preempted(&Registers { ip: pc, sp, bp }, point.stack);
    carrier.why.set(why);
    let below = sp - trampoline::RED_ZONE - size_of::<usize>();
    // SAFETY: the word lies on the fiber's stack, below all that its code uses: the rules say so.
    unsafe { (below as *mut usize).write(pc) };
    registers[libc::REG_RSP as usize] = below as libc::greg_t;
    registers[libc::REG_RIP as usize] = trampoline::trampoline as *const () as libc::greg_t;
    // From here on it is in the runtime's hands.
    current::set_shut(true);
}
