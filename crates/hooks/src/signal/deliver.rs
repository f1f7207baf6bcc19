//! From the kernel to a fiber: the shim that the kernel calls, whom a signal is for, and how a
//! handler runs.
//!
//! A handler runs *at once*, on top of the interrupted code, if that code is the target fiber's own
//! and not in the runtime; the fiber is pinned to its OS thread meanwhile, which the frame belongs
//! to. Otherwise it runs in the fiber's next wait (which a queued signal ends or restarts), or the
//! fiber is *kicked*: the OS thread that runs it is sent the same signal with [`KICK`] in it.
//!
//! A signal to the process stays the process's until a fiber takes it: a nudge is only a hint, so a
//! fiber that blocks the signal in between loses nothing.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use libc::siginfo_t;
use timestop_runtime::signal::{self as runtime, Ran};
use timestop_runtime::{FiberRef, sys, unpark};

use super::actions::{self, Action, Set, bit};
use super::pending;
use crate::call::{self, Sysno};
use crate::system_call;
use crate::thread::cancel;

/// Words of a fiber's record that the signal hooks keep. Threads have those below 8,
/// locks those below 16.
pub(super) mod word {
    /// The signals that the fiber blocks.
    pub(crate) const MASK: usize = 16;
    /// The signals that it waits for in `sigwait`.
    pub(crate) const AWAITED: usize = 17;
    /// Its alternate stack: 0 none, 1 set, 2 disabled; address; size.
    pub(crate) const STACK_STATE: usize = 18;
    pub(crate) const STACK_ADDRESS: usize = 19;
    pub(crate) const STACK_SIZE: usize = 20;
    /// The innermost [`super::Frame`], or 0.
    pub(crate) const FRAME: usize = 21;
    /// 1 from the change of the mask to the end of a wait under it: handlers run in the wait then, and
    /// end it. One on top of the code before the wait would go by unseen.
    pub(crate) const MASKED_WAIT: usize = 22;
}

fn shared_word(fiber: FiberRef, index: usize) -> &'static AtomicU64 {
    let word = fiber.user_word(index).as_ptr();
    // SAFETY: the word is 8-aligned, lives for ever, and is used as this atomic only.
    unsafe { AtomicU64::from_ptr(word.cast()) }
}

/// The signals that a fiber blocks.
pub(super) fn mask(fiber: FiberRef) -> &'static AtomicU64 {
    shared_word(fiber, word::MASK)
}

/// The signals that a fiber waits for.
pub(super) fn awaited(fiber: FiberRef) -> &'static AtomicU64 {
    shared_word(fiber, word::AWAITED)
}

/// Whether a signal that is pending would change what the fiber does.
fn wants(fiber: FiberRef, signal: Set) -> bool {
    let blocked = mask(fiber).load(Ordering::Relaxed) & !awaited(fiber).load(Ordering::Relaxed);
    blocked & signal == 0
}

/// Marks a signal that we have sent to have a fiber's pending ones handled.
static KICK: u8 = 0;

fn kick_value() -> usize {
    (&raw const KICK) as usize
}

/// What comes with a signal that this process sends to itself.
pub(super) fn info(signal: c_int, code: c_int, value: usize) -> siginfo_t {
    // SAFETY: touches no memory.
    let user = unsafe { system_call!(Sysno::getuid) }.unwrap_or(0) as u32;
    sys::signal_info(signal, code, user, value)
}

fn is_kick(info: &siginfo_t) -> bool {
    sys::carries(info, kick_value())
}

/// What the kernel calls.
pub(super) extern "C" fn shim(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let errno = call::errno();
    // SAFETY: the kernel passes a record.
    receive(signal, unsafe { &mut *info }, context);
    call::set_errno(errno);
}

fn receive(signal: c_int, info: &mut siginfo_t, context: *mut c_void) {
    let current = FiberRef::current();
    if current.is_some_and(FiberRef::is_borrowed) {
        if is_kick(info) {
            runtime::post(); // in the parent, which has not noticed yet that its child is gone
            return;
        }
        call_handler(signal, info, context, actions::load(signal)); // in a child of vfork
        return;
    }
    let waits = current.is_some_and(|fiber| fiber.user_word(word::MASKED_WAIT).get() != 0);
    if is_kick(info) {
        if let Some(fiber) = current.filter(|_| runtime::may_run_handlers() && !waits) {
            run_on_frame(fiber, context);
        }
        if pending::all().any(|one| target_of(one.signal, one.target).is_some()) {
            runtime::post();
        }
        return;
    }
    if replaced_at_once(signal, current) {
        return;
    }
    // What the thread has done itself, or was sent by its number, is for it.
    let personal = info.si_code == libc::SI_TKILL || signal == libc::SIGPIPE;
    let started = timestop_runtime::is_started();
    if current.is_none() && !(started && runtime::is_runtime_thread()) {
        let main = runtime::main_fiber().filter(|main| !personal && wants(*main, bit(signal)));
        match main {
            Some(_) if runtime::may_run_handlers() => {
                send(None, signal, info);
                count_arrival(signal);
            }
            Some(_) => {
                pending::push(None, signal, info);
                count_arrival(signal);
                runtime::post();
            }
            None => {
                count_arrival(signal);
                act_on_thread(signal, info, context);
            }
        }
        return;
    }
    let target = current.filter(|_| personal);
    let now = runtime::may_run_handlers() && !waits;
    // What runs no handler needs no place for one. Nor may it wait until the fiber looks: that may wait
    // in the kernel next, in the child of a fork that has nobody else to look.
    let awaits = |fiber| awaited(fiber).load(Ordering::Relaxed) & bit(signal) != 0;
    if !now
        && actions::strikes(signal)
        && target_of(signal, target).is_some_and(|fiber| !awaits(fiber))
    {
        count_arrival(signal);
        actions::do_default(signal);
        return;
    }
    pending::push(target, signal, info);
    count_arrival(signal);
    if !now {
        // Looked at as soon as it waits. The kernel prefers the process's first thread, whatever that
        // does now: who computes elsewhere is not to wait for the dispatcher. Nor is a fiber to take what
        // is another's because it was interrupted for it.
        if let Some(fiber) = target_of(signal, target) {
            fiber.set_interrupted(true);
            kick(fiber, signal);
        }
        runtime::post();
        return;
    }
    match target_of(signal, target) {
        Some(fiber) if Some(fiber) == current => run_on_frame(fiber, context),
        Some(fiber) => nudge(fiber, signal),
        None => {}
    }
}

/// How often the kernel has brought each signal, and it was noted for whoever takes it.
static ARRIVED: [AtomicU32; 65] = [const { AtomicU32::new(0) }; 65];

fn count_arrival(signal: c_int) {
    ARRIVED[signal as usize % ARRIVED.len()].fetch_add(1, Ordering::AcqRel);
}

/// How often the kernel has brought a signal so far.
pub(super) fn arrived(signal: c_int) -> u32 {
    ARRIVED[signal as usize % ARRIVED.len()].load(Ordering::Acquire)
}

/// Runs the handlers of what is pending for the calling fiber, if anything is.
pub(super) fn take(fiber: FiberRef) {
    if pending::of(fiber, !mask(fiber).load(Ordering::Relaxed)) != 0 {
        run_pending(fiber);
    }
}

/// Does what stands in place of a signal's default action. That needs no fiber, so it is done wherever
/// the signal comes, even if none can take it; unless the program blocks it or waits for it.
fn replaced_at_once(signal: c_int, current: Option<FiberRef>) -> bool {
    let Some(function) = actions::replacement(signal) else { return false };
    let is_open = |fiber: FiberRef| wants(fiber, bit(signal));
    let at_once = actions::load(signal).handler == libc::SIG_DFL
        && AWAITED_EVER.load(Ordering::Relaxed) & bit(signal) == 0
        && current.is_none_or(is_open)
        && runtime::main_fiber().is_none_or(is_open);
    if at_once {
        function();
    }
    at_once
}

/// On an OS thread of the program's, which has the signal unblocked in the kernel.
fn act_on_thread(signal: c_int, info: &mut siginfo_t, context: *mut c_void) {
    let action = actions::load(signal);
    match action.handler {
        libc::SIG_IGN => {}
        libc::SIG_DFL => actions::do_default(signal),
        _ => {
            if action.flags & libc::SA_RESETHAND != 0 {
                actions::reset(signal);
            }
            call_handler(signal, info, context, action);
        }
    }
}

/// Who is to take a pending signal: `None` while everyone blocks it.
fn target_of(signal: c_int, target: Option<FiberRef>) -> Option<FiberRef> {
    let signal = bit(signal);
    if let Some(fiber) = target {
        return wants(fiber, signal).then_some(fiber);
    }
    let waits = |fiber: &FiberRef| awaited(*fiber).load(Ordering::Relaxed) & signal != 0;
    let open = |fiber: &FiberRef| wants(*fiber, signal);
    if AWAITED_EVER.load(Ordering::Relaxed) & signal != 0
        && let Some(fiber) = runtime::live_fibers().find(waits)
    {
        return Some(fiber);
    }
    let near = runtime::main_fiber().into_iter().chain(FiberRef::current()).find(open);
    near.or_else(|| runtime::live_fibers().find(open))
}

/// Signals that anyone has ever waited for: for others nobody needs to be asked.
pub(super) static AWAITED_EVER: AtomicU64 = AtomicU64::new(0);

/// Makes a fiber look at its pending signals. Outside of all locks.
pub(super) fn nudge(fiber: FiberRef, signal: c_int) {
    fiber.set_interrupted(true);
    unpark(fiber);
    kick(fiber, signal);
    // It may be about to run and to compute, or the kick may find another there: look once more.
    runtime::post_again();
}

/// Interrupts the OS thread that runs a fiber, if one does and it is not the caller's. Takes no lock.
fn kick(fiber: FiberRef, signal: c_int) {
    if Some(fiber) != FiberRef::current()
        && let Some(thread) = runtime::running_thread(fiber)
    {
        sys::signal_thread(thread, signal, kick_value());
    }
}

/// Queues a signal for a fiber, or for the process, and tells whoever is to take it. Outside of all
/// locks. If that is the caller, its handlers run before this returns.
pub(super) fn send(target: Option<FiberRef>, signal: c_int, info: &siginfo_t) -> bool {
    if !pending::push(target, signal, info) {
        return false;
    }
    match target_of(signal, target) {
        Some(fiber) if Some(fiber) == FiberRef::current() => {
            run_pending(fiber);
        }
        Some(fiber) => nudge(fiber, signal),
        None => {}
    }
    true
}

/// Tells everyone who has something to take. What the runtime calls after a handler had to put it off.
pub(super) fn dispatch() {
    for one in pending::all() {
        if let Some(fiber) = target_of(one.signal, one.target) {
            nudge(fiber, one.signal);
        }
    }
}

/// A stretch of stack on which handlers run on top of interrupted code: for a jump that leaves it.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) previous: usize,
    /// The stack pointer of the interrupted code.
    pub(super) interrupted: usize,
}

/// Runs `body`, which calls handlers, on top of the code that a signal has interrupted. The kernel's
/// frame belongs to the OS thread, with its mask and its alternate stack: the fiber stays there.
fn on_frame(fiber: FiberRef, context: *mut libc::ucontext_t, body: impl FnOnce()) {
    /// Undoes it when dropped: C++ can throw out of a handler.
    struct Leave<'frame>(FiberRef, &'frame Frame);

    impl Drop for Leave<'_> {
        fn drop(&mut self) {
            self.0.user_word(word::FRAME).set(self.1.previous);
            self.0.unpin();
        }
    }

    fiber.pin();
    let innermost = fiber.user_word(word::FRAME);
    // SAFETY: the kernel's record of what was interrupted.
    let registers = unsafe { &(*context).uc_mcontext.gregs };
    let interrupted = registers[libc::REG_RSP as usize] as usize;
    let frame = Frame { previous: innermost.get(), interrupted };
    innermost.set((&raw const frame) as usize);
    let _leave = Leave(fiber, &frame);
    body();
}

/// Runs a fiber's handlers on top of the code that a signal has interrupted.
fn run_on_frame(fiber: FiberRef, context: *mut c_void) {
    fiber.set_interrupted(false);
    let context = context.cast::<libc::ucontext_t>();
    on_frame(fiber, context, || {
        // SAFETY: the kernel's record of what was interrupted.
        let kernels = actions::word_of(unsafe { &(*context).uc_sigmask });
        while let Some((signal, mut info)) = next(fiber) {
            run_one(fiber, signal, &mut info, context);
        }
        // SAFETY: as above.
        let mask = unsafe { &raw mut (*context).uc_sigmask };
        // SAFETY: as above. The OS thread's own mask comes back with the frame.
        unsafe { mask.cast::<Set>().write(kernels) };
    });
}

/// What the kernel calls for a signal that the running code has caused itself, where the program has a
/// handler.
pub(super) extern "C-unwind" fn direct(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let action = actions::load(signal);
    // SAFETY: the kernel passes a record.
    let handle = || call_handler(signal, unsafe { &mut *info }, context, action);
    match FiberRef::current().filter(|fiber| !fiber.is_borrowed()) {
        Some(fiber) => on_frame(fiber, context.cast(), handle),
        None => handle(),
    }
}

/// The fiber ends, perhaps on top of interrupted code: of the kernel's frames none is returned to, so
/// the OS thread's mask is opened here. The fiber stays pinned, as it may be on an alternate stack.
pub(crate) fn leave_frames(fiber: FiberRef) {
    if fiber.user_word(word::FRAME).replace(0) != 0 {
        let young = timestop_runtime::fork::is_young();
        let mask = if young { mask(fiber).load(Ordering::Relaxed) } else { 0 };
        actions::set_kernel_mask(mask);
    }
}

/// What an interrupted wait of the calling fiber comes to: its handlers run, and it ends where the
/// fiber has been asked to.
pub(super) fn run_in_wait(fiber: FiberRef) -> Ran {
    let ran = run_pending(fiber);
    if cancel::is_due(fiber) { Ran::Interrupt } else { ran }
}

/// Runs the handlers of a fiber that goes on after others have run. Not before a wait under another
/// mask, which is to see them.
pub(super) fn run_as_resumed(fiber: FiberRef) {
    if fiber.user_word(word::MASKED_WAIT).get() == 0 {
        run_pending(fiber);
    }
}

/// Runs the handlers that wait for the calling fiber, on its own stack; they may suspend it. What has run by
/// the end: a kick may have had one run on top of this.
pub(super) fn run_pending(fiber: FiberRef) -> Ran {
    let since = fiber.handled();
    fiber.set_interrupted(false);
    // The handlers are no part of the wait, and one may never come back.
    let waits = fiber.user_word(word::MASKED_WAIT).replace(0);
    let errno = call::errno();
    while let Some((signal, mut info)) = next(fiber) {
        // SAFETY: all-zero is a valid record.
        let mut context: libc::ucontext_t = unsafe { std::mem::zeroed() };
        // SAFETY: writes the registers: a handler that looks finds itself called from here.
        unsafe { libc::getcontext(&raw mut context) };
        run_one(fiber, signal, &mut info, &raw mut context);
    }
    fiber.user_word(word::MASKED_WAIT).set(waits);
    call::set_errno(errno);
    fiber.handled().since(since)
}

fn next(fiber: FiberRef) -> Option<(c_int, siginfo_t)> {
    let blocked = mask(fiber).load(Ordering::Relaxed) | awaited(fiber).load(Ordering::Relaxed);
    pending::take(fiber, !blocked)
}

/// Does what the program wants for one signal.
fn run_one(fiber: FiberRef, signal: c_int, info: &mut siginfo_t, context: *mut libc::ucontext_t) {
    let action = actions::load(signal);
    match action.handler {
        libc::SIG_IGN => return,
        libc::SIG_DFL => return actions::do_default(signal),
        _ => {}
    }
    if action.flags & libc::SA_RESETHAND != 0 {
        actions::reset(signal);
    }
    fiber.count_handler(action.flags & libc::SA_RESTART != 0);
    let own = if action.flags & libc::SA_NODEFER == 0 { bit(signal) } else { 0 };
    let before = mask(fiber).fetch_or(action.mask | own, Ordering::Relaxed);
    // SAFETY: the caller passes a whole record.
    let saved = unsafe { (&raw mut (*context).uc_sigmask).cast::<Set>() };
    // SAFETY: a word of the record.
    unsafe { saved.write(before) };
    call_handler(signal, info, context.cast(), action);
    // The handler may have changed the mask that it returns to.
    // SAFETY: a word of the record.
    mask(fiber).store(unsafe { saved.read() }, Ordering::Relaxed);
}

fn call_handler(signal: c_int, info: &mut siginfo_t, context: *mut c_void, action: Action) {
    if action.handler == libc::SIG_DFL || action.handler == libc::SIG_IGN {
        return;
    }
    if action.flags & libc::SA_SIGINFO != 0 {
        type WithInfo = extern "C-unwind" fn(c_int, *mut siginfo_t, *mut c_void);
        // SAFETY: SA_SIGINFO says that the handler is of this type.
        let handler: WithInfo = unsafe { std::mem::transmute(action.handler) };
        handler(signal, info, context);
    } else {
        // SAFETY: without SA_SIGINFO it is of this type.
        let handler: extern "C-unwind" fn(c_int) = unsafe { std::mem::transmute(action.handler) };
        handler(signal);
    }
}
