//! A further stack for whatever computation runs, fiber or OS thread, and the way there and back: what
//! generators are made of.
//!
//! The stack is a slot without a block: who runs on it keeps its thread pointer, and with it its
//! thread-locals, `errno`, identity and panic count. So these switches leave FS alone, and are as safe to
//! preempt as any other code: at each instruction the stack pointer lies in the fiber's own slot or in one
//! that is marked as [set aside](containing), and what lies below it is nobody's.
//!
//! ```text
//!   top of the stack (block::stack_top)              a suspended side, resumer or resumed
//!   ┌────────────────────────────────────┐           ┌───────────────────────────────┐
//!   │ Base: two stack pointers, name     │           │ frames                        │
//!   │ what the caller keeps there        │           │ rbx                           │
//!   │ 0                                  │           │ rbp                           │
//!   │ entry, its argument                │           │ where to go on                │ ◀─ saved sp
//!   │ address of Base                    │ ◀─ S      └───────────────────────────────┘
//!   │ address of `start`                 │ ◀─ saved sp of a fresh one
//!   └────────────────────────────────────┘
//! ```
//!
//! All other registers are clobbered for the compiler, which saves what it needs: a loop over a small
//! generator saves nothing. MXCSR and the x87 control word are shared, like `errno`. A resumption is a `call`
//! and a suspension the `ret` to it, so that the processor's stack of return addresses stays in step: neither
//! is mispredicted as long as both are inlined where they are used.
//!
//! [`start`] says in its CFI that its caller is whoever resumed last: debuggers, backtraces and unwinders pass
//! from the stack that is set aside to the one beneath. The table of a dump's own walk cannot say that, so
//! it asks for [`base_code`] and [`resumer_of_base`].
//!
//! Rejected: [`switch`](crate::switch::switch) (30 instructions, among them `wrfsbase` and the control words,
//! and a return that is mispredicted each time); corosensei (its stacks would do, but who delegates must be
//! able to leave from one stack and be resumed on another, which its types rule out).

use std::arch::{asm, naked_asm};
use std::cell::Cell;
use std::io;
use std::mem::offset_of;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use crate::block;
use crate::slab::{self, Slot, SlotPtr};

/// What lies at the top of a stack that is set aside.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Base {
    /// Where the side that resumed last goes on.
    resumer: Cell<usize>,
    /// Where the computation on this stack goes on.
    suspended: Cell<usize>,
    name: Cell<&'static str>,
    slot: SlotPtr,
    /// The saved words of nobody: whoever looks for a caller where there is none finds the address 0.
    nobody: [usize; 3],
}

const _: () = assert!(size_of::<Base>() == 64);
const RESUMER: usize = offset_of!(Base, resumer);
const SUSPENDED: usize = offset_of!(Base, suspended);
// The CFI of `start` counts on it.
const _: () = assert!(RESUMER == 0);

/// Bytes of a suspended side's saved words: where to go on, rbp, rbx.
const SAVED: usize = 24;

/// First function on a stack that is set aside. What it returns to is the resumer, with [`FINISHED`].
pub type Entry = unsafe extern "C" fn(usize);

/// What [`Base::resume`] answers where the entry has returned. Others say what they like by other numbers.
pub const FINISHED: usize = usize::MAX;

/// Takes a slot of the class, from the slabs.
///
/// # Errors
///
/// There is no room for one more; the text says what to do.
pub fn take(class: slab::Class) -> io::Result<SlotPtr> {
    class.reserve(1)?;
    let slot = class.take().inspect_err(|_| class.release(1))?;
    // SAFETY: records are valid for ever.
    unsafe { slot.as_ref() }.aside.store(true, Ordering::Release);
    Ok(slot)
}

/// Gives a slot back to the slabs.
///
/// # Safety
///
/// It was got by [`take`], and nobody runs on its stack, will run there, or refers to it.
pub unsafe fn give(slot: SlotPtr) {
    // SAFETY: records are valid for ever.
    let record = unsafe { slot.as_ref() };
    record.aside.store(false, Ordering::Release);
    let class = record.class();
    class.give_back(slot);
    class.release(1);
}

/// Lays out the base of a stack, with nothing to run there yet.
///
/// # Safety
///
/// The slot was got by [`take`] and nobody refers to its stack.
pub unsafe fn lay(slot: SlotPtr, name: &'static str) -> NonNull<Base> {
    let address = block::stack_top(slot) - size_of::<Base>();
    let base = NonNull::new(address as *mut Base).expect("stacks do not lie at address 0");
    let record = Base {
        resumer: Cell::new(address + offset_of!(Base, nobody)),
        suspended: Cell::new(0),
        name: Cell::new(name),
        slot,
        nobody: [0; 3],
    };
    // SAFETY: the top of the stack is a multiple of 64, and the bytes below it are the caller's.
    unsafe { base.write(record) };
    base
}

impl Base {
    /// The slot that the stack is of.
    #[must_use]
    pub fn slot(&self) -> SlotPtr {
        self.slot
    }

    /// What reports call the computation on this stack.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name.get()
    }

    /// Has the first [`resume`](Self::resume) call `entry(argument)`, on the stack below `top`.
    ///
    /// # Safety
    ///
    /// The bytes of the stack below `top` are nobody's, `top` is a multiple of 16 and at most this address,
    /// and `entry` unwinds into nobody.
    pub unsafe fn prepare(&self, top: usize, entry: Entry, argument: usize) {
        let frame: [usize; 6] = [
            start as *const () as usize,
            std::ptr::from_ref(self) as usize,
            argument,
            entry as *const () as usize,
            0,
            0,
        ];
        // The word above the first is a multiple of 16.
        let sp = top - 48 - size_of::<usize>();
        // SAFETY: the caller gives us the bytes below `top`.
        unsafe { (sp as *mut [usize; 6]).write(frame) };
        self.suspended.set(sp);
    }

    /// Goes on with the computation on this stack, as its caller, and returns what [`suspend`](Self::suspend)
    /// is called with next for this base, or [`FINISHED`]. There `message` is the answer.
    ///
    /// # Safety
    ///
    /// The computation was prepared here, or is suspended in this base, and has not finished; whatever thread
    /// or fiber it began on runs this.
    #[inline(always)]
    pub unsafe fn resume(&self, message: usize) -> usize {
        let answer;
        // SAFETY: the other side goes on in the middle of an `asm!` like this one, or in `start`, all of whose
        // registers it takes for lost, as we do here; the two that cannot be said to be lost are saved by
        // hand. It comes back with the stack pointer where the call has left it.
        unsafe {
            asm!(
                "push rbx",
                "push rbp",
                "call {enter}",
                "pop rbp",
                "pop rbx",
                enter = sym enter,
                inout("rdi") std::ptr::from_ref(self) => _,
                inout("rax") message => answer,
                lateout("r12") _, lateout("r13") _, lateout("r14") _, lateout("r15") _,
                clobber_abi("sysv64"),
            );
        }
        answer
    }

    /// Suspends the caller in this base, and has the [`resume`](Self::resume) that was called last for it return
    /// `answer`. Returns the message of the next one.
    ///
    /// The caller may run on another stack than this base's: it, and all that it was called by up to here, is
    /// then what the base resumes.
    ///
    /// # Safety
    ///
    /// The resumer waits in `resume` for this base, beneath the caller: it called what called … the caller.
    #[inline(always)]
    pub unsafe fn suspend(&self, answer: usize) -> usize {
        let message;
        // SAFETY: as in `resume`: the other side waits behind its call.
        unsafe {
            asm!(
                "push rbx",
                "push rbp",
                "lea rcx, [rip + 2f]",
                "push rcx",
                "mov [rdi + {suspended}], rsp",
                "mov rsp, [rdi + {resumer}]",
                "ret",
                "2:",
                "pop rbp",
                "pop rbx",
                suspended = const SUSPENDED,
                resumer = const RESUMER,
                inout("rdi") std::ptr::from_ref(self) => _,
                inout("rax") answer => message,
                lateout("r12") _, lateout("r13") _, lateout("r14") _, lateout("r15") _,
                clobber_abi("sysv64"),
            );
        }
        message
    }

    /// Where the computation on this stack goes on: for [`transfer`].
    #[must_use]
    pub fn suspended(&self) -> &Cell<usize> {
        &self.suspended
    }
}

/// Suspends the caller into `from`, and goes on where `to` says: neither is the other's caller. Returns when
/// somebody goes on with `from`.
///
/// # Safety
///
/// `to` was written by this function or by [`Base::prepare`], on this thread or fiber, and nobody has gone on
/// with it since.
#[inline(never)]
pub unsafe fn transfer(from: &Cell<usize>, to: &Cell<usize>) {
    // SAFETY: as in `Base::resume`. Both cells are read and written before the stack is left.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "lea rcx, [rip + 2f]",
            "push rcx",
            "mov rdx, [rsi]",
            "mov [rdi], rsp",
            "mov rsp, rdx",
            "pop rcx",
            "jmp rcx",
            "2:",
            "pop rbp",
            "pop rbx",
            inout("rdi") from.as_ptr() => _,
            inout("rsi") to.as_ptr() => _,
            lateout("r12") _, lateout("r13") _, lateout("r14") _, lateout("r15") _,
            clobber_abi("sysv64"),
        );
    }
}

/// The way to the other stack: a function, so that the way back is a return.
#[unsafe(naked)]
unsafe extern "C" fn enter() {
    naked_asm!(
        ".cfi_startproc",
        "mov [rdi + {resumer}], rsp",
        "mov rsp, [rdi + {suspended}]",
        // Now the frame is that of the other side.
        ".cfi_offset rbp, 0",
        ".cfi_offset rbx, 8",
        "pop rcx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_register rip, rcx",
        "jmp rcx",
        ".cfi_endproc",
        resumer = const RESUMER,
        suspended = const SUSPENDED,
    )
}

/// First instructions on a stack that is set aside, and its last. Entered by a jump.
///
/// The CFA is `[[rsp]] + 24`: the base's word of the resumer's stack pointer, with what is saved there taken
/// off. Said to be a signal's frame, for gdb, which takes a caller's frame at a lower address for a broken
/// stack otherwise.
#[unsafe(naked)]
unsafe extern "C" fn start() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_signal_frame",
        // DW_CFA_def_cfa_expression: DW_OP_breg7 0, DW_OP_deref, DW_OP_deref, DW_OP_plus_uconst 24.
        ".cfi_escape 0x0f, 6, 0x77, 0x00, 0x06, 0x06, 0x23, 24",
        ".cfi_offset rip, -24",
        ".cfi_offset rbp, -16",
        ".cfi_offset rbx, -8",
        "xor ebp, ebp",
        "mov rdi, [rsp + 8]",
        "call qword ptr [rsp + 16]",
        "mov rcx, [rsp]",
        "mov rsp, [rcx + {resumer}]",
        ".cfi_def_cfa rsp, 24",
        "mov rax, {finished}",
        "ret",
        ".cfi_endproc",
        ".globl timestop_aside_end",
        ".hidden timestop_aside_end",
        "timestop_aside_end:",
        resumer = const RESUMER,
        finished = const FINISHED as isize,
    )
}

unsafe extern "C" {
    safe fn timestop_aside_end();
}

/// Where the code lies that all stacks which are set aside begin with.
#[must_use]
pub fn base_code() -> Range<usize> {
    start as *const () as usize..timestop_aside_end as *const () as usize
}

/// Who resumed the stack that begins at `sp`, with the program counter in [`base_code`]: instruction pointer,
/// stack pointer, frame pointer. Words are read by `read`, the second argument of which says whether the word
/// lies on the stack that was resumed or on the resumer's.
pub fn resumer_of_base(
    sp: usize,
    mut read: impl FnMut(usize, bool) -> Option<usize>,
) -> Option<[usize; 3]> {
    let base = read(sp, false)?;
    let resumer = read(base.checked_add(RESUMER)?, false)?;
    let ip = read(resumer, true)?;
    let bp = read(resumer.checked_add(8)?, true)?;
    (ip != 0).then_some([ip, resumer + SAVED, bp])
}

/// The stack that is set aside and that `address` lies in, without its guard.
///
/// Cost: as [`slab::containing`]. Safe in a signal handler.
#[must_use]
pub fn containing(address: usize) -> Option<Range<usize>> {
    let slot = slab::containing(address)?;
    let stack = stack_of(slot)?;
    stack.contains(&address).then_some(stack)
}

/// The stack of a slot that is set aside; `None` of one that is not.
fn stack_of(slot: SlotPtr) -> Option<Range<usize>> {
    // SAFETY: records are valid for ever; one that was never written is zero.
    let is_aside = unsafe { slot.as_ref() }.aside.load(Ordering::Acquire);
    is_aside.then(|| Slot::stack_limit(slot)..block::stack_top(slot))
}

/// What runs on the stack of a slot that is set aside; `None` of one that is not. Safe in a signal handler of
/// who runs there.
#[must_use]
pub fn name_of(slot: SlotPtr) -> Option<&'static str> {
    let base = (stack_of(slot)?.end - size_of::<Base>()) as *const Base;
    // SAFETY: somebody runs on the stack, so its base was laid.
    Some(unsafe { &*base }.name())
}
