//! Signals: actions, masks, waiting for them, sending them to fibers.
//!
//! A fiber has what a thread has: a mask, pending signals, handlers that run in it. The kernel knows
//! nothing of that: carriers block no signal, and for every handler the kernel has one of ours, the
//! *shim*, which finds the fiber that a signal is for ([`deliver`]). What the program asked for is
//! kept in [`actions`], what has come but cannot be handled yet in [`pending`]. The main fiber is
//! preferred for signals to the process, then the one that runs, then any.
//!
//! A queued signal ends its fiber's wait with `EINTR`, or with `SA_RESTART` lets it go on where
//! `signal(7)` says so (`timestop_runtime::signal`).
//!
//! Synchronous signals (SEGV, BUS, FPE, ILL, TRAP, ABRT, SYS) are between the kernel and the program:
//! the instruction that caused them runs on the OS thread that receives them, and so does the handler,
//! to which the fiber is pinned meanwhile. A program that blocks one of them for a fiber blocks nothing.
//!
//! Not covered:
//! - `SA_ONSTACK` in fibers: handlers of asynchronous signals run on the fiber's own stack when they
//!   run in a wait, and on the OS thread's alternate stack else.
//! - A signal sent to one OS thread by its number while that thread holds a lock of the runtime goes
//!   to a fiber instead.
//! - `sa_mask` of SEGV and its kin is the kernel's: it holds back no queued signal.
//! - A signal that a handler outside the shim (installed by a raw system call) is for.
//! - An ignored signal that was blocked is lost until `sigwait` asks for it; a program that is
//!   executed after that finds it at its default.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{sighandler_t, sigset_t};
use timestop_fiber::current;
use timestop_fiber::lock::Guard;
use timestop_runtime::{FiberRef, fork, preempt, signal as runtime, sys};

use crate::call::{self, Sysno, answer, fail};
use crate::system_call;
use actions::{Action, Set, bit};

mod actions;
mod deliver;
pub mod jump;
pub mod more;
pub mod own;
mod pending;
pub mod send;
pub mod stack;
pub mod wait;

/// The process that our tables belong to: a child of `vfork` has them in its memory too.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// Whether this is a child of `vfork`, which must leave our tables alone.
pub(crate) fn is_borrowed() -> bool {
    let (own, known) = (sys::process_id(), PROCESS.load(Ordering::Relaxed));
    if known == 0 {
        PROCESS.store(own, Ordering::Relaxed);
    }
    known != 0 && known != own
}

/// Connects signals and scheduler. Before the first fiber.
pub(crate) fn install() {
    PROCESS.store(sys::process_id(), Ordering::Relaxed);
    runtime::set_hooks(deliver::run_in_wait, deliver::run_as_resumed, deliver::dispatch);
    preempt::set_foreign(deliver::shim);
}

/// Keeps everybody from changing actions: around a fork, with every signal blocked.
pub(crate) fn quiet() -> Guard<'static, ()> {
    actions::quiet()
}

/// In the child of a fork: the tables are its own, and nothing is pending.
pub(crate) fn after_fork_in_child() {
    PROCESS.store(sys::process_id(), Ordering::Relaxed);
    pending::clear();
}

/// The mask that a thread gets from its creator, who calls.
pub(crate) fn inherit(thread: FiberRef) {
    let mask = match FiberRef::current() {
        Some(fiber) => deliver::mask(fiber).load(Ordering::Relaxed),
        None => kernel_mask(),
    };
    deliver::mask(thread).store(mask, Ordering::Relaxed);
}

/// The code of this OS thread has become a fiber: its mask is the fiber's from here on.
pub fn became_fiber(fiber: FiberRef) {
    let mask = actions::set_kernel_mask(0);
    actions::keep(mask, false);
    deliver::mask(fiber).store(mask, Ordering::Relaxed);
    crate::credentials::became_fiber(fiber);
    crate::bound::became_fiber(fiber);
}

/// Has `function`, which must be async-signal-safe, called wherever a signal's default action would be
/// taken, from now on. Handlers of the program's own come first, as does its wish to ignore the signal.
pub fn replace_default(signal: c_int, function: fn()) {
    actions::replace_default(signal, function);
}

/// The calling fiber ends: handlers that it is in are never returned to.
pub(crate) fn leave_frames(fiber: FiberRef) {
    deliver::leave_frames(fiber);
}

fn kernel_mask() -> Set {
    let mut mask: Set = 0;
    // SAFETY: the kernel writes one word.
    let _ = unsafe { system_call!(Sysno::rt_sigprocmask, 0, 0, &raw mut mask, 8) };
    mask
}

/// Runs `body`, which makes a new process, with the fiber's mask in the kernel: the process
/// inherits it. Signals that come meanwhile wait.
pub(crate) fn with_kernel_mask<R>(body: impl FnOnce() -> R) -> R {
    let fiber = call::fiber_of_any_kind();
    let mask = fiber.map_or(0, |fiber| deliver::mask(fiber).load(Ordering::Relaxed));
    if mask == 0 {
        return body();
    }
    // The mask is the OS thread's: the fiber must not leave it meanwhile.
    current::undisturbed(|| {
        let before = actions::set_kernel_mask(mask);
        let result = body();
        actions::set_kernel_mask(before);
        result
    })
}

/// As [`with_kernel_mask`], in two steps: what to give to [`unwear_mask`].
pub(crate) fn wear_mask(fiber: FiberRef) {
    let mask = deliver::mask(fiber).load(Ordering::Relaxed);
    if mask != 0 {
        actions::set_kernel_mask(mask);
    }
}

/// The parent goes on.
pub(crate) fn unwear_mask(fiber: FiberRef) {
    if deliver::mask(fiber).load(Ordering::Relaxed) != 0 && !fork::is_young() {
        actions::set_kernel_mask(0);
    }
}

/// Blocks every signal in the kernel; what to give back to [`open_kernel`].
pub(crate) fn close_kernel() -> u64 {
    actions::set_kernel_mask(Set::MAX)
}

/// Undoes [`close_kernel`].
pub(crate) fn open_kernel(mask: u64) {
    actions::set_kernel_mask(mask);
}

/// Lets the kernel's mask be the fiber's: in the young child of a fork.
pub(crate) fn mirror_mask() {
    if let Some(fiber) = FiberRef::current() {
        actions::set_kernel_mask(deliver::mask(fiber).load(Ordering::Relaxed));
    }
}

/// Runs `body` while a young child's kernel mask is open, so that signals can end a wait.
fn open_while<R>(body: impl FnOnce() -> R) -> R {
    if !fork::is_young() {
        return body();
    }
    let mask = actions::set_kernel_mask(0);
    let result = body();
    if fork::is_young() {
        actions::set_kernel_mask(mask);
    }
    result
}

/// Sets a fiber's mask for the length of a call, as `ppoll` does, and returns the one before. Signals
/// that this unblocks are handled before it returns: true if any was. On the fiber itself.
pub fn replace_mask(fiber: FiberRef, mask: u64) -> (u64, bool) {
    actions::keep(mask, false);
    let before = deliver::mask(fiber).swap(mask, Ordering::Relaxed);
    (before, run_unblocked(fiber))
}

/// Runs `wait` under another mask, as `ppoll` does. A signal that this lets through ends the wait: one
/// that is pending already before it begins (then `None`), one that comes between the two as well. On
/// the fiber itself.
pub(crate) fn wait_under_mask<R>(
    fiber: FiberRef,
    mask: &sigset_t,
    wait: impl FnOnce() -> R,
) -> Option<R> {
    open_while(|| {
        let masked = fiber.user_word(deliver::word::MASKED_WAIT);
        let outer = masked.replace(1);
        let (before, ran) = replace_mask(fiber, actions::word_of(mask));
        let result = if ran { None } else { Some(wait()) };
        masked.set(outer);
        replace_mask(fiber, before);
        result
    })
}

/// Makes a call that waits in the kernel under another mask, as `ppoll` does, for a thread or a pinned fiber.
/// `call` is given the mask that the kernel is to have: a fiber's own is not the OS thread's.
///
/// # Safety
///
/// Null, or a set.
pub(crate) unsafe fn wait_in_kernel(
    mask: *const sigset_t,
    mut call: impl FnMut(*const Set) -> Result<usize, c_int>,
) -> Result<usize, c_int> {
    // SAFETY: as the caller vouches.
    match (call::fiber_of_any_kind(), unsafe { mask.as_ref() }) {
        (Some(fiber), Some(mask)) => wait_pinned(fiber, actions::word_of(mask), call),
        _ => call(mask.cast()),
    }
}

/// A signal for the fiber may come by any OS thread, and be pending here before the wait begins, or be
/// brought while it lasts: its handler has run in both cases when this fails with `EINTR`.
fn wait_pinned(
    fiber: FiberRef,
    mask: Set,
    mut call: impl FnMut(*const Set) -> Result<usize, c_int>,
) -> Result<usize, c_int> {
    let masked = fiber.user_word(deliver::word::MASKED_WAIT);
    let outer = masked.replace(1);
    let (before, mut ran) = replace_mask(fiber, mask);
    let result = loop {
        if ran {
            break Err(libc::EINTR);
        }
        let result = unless_come(|| pending::of(fiber, !mask) != 0, &mut call);
        if result != Err(libc::EINTR) {
            break result;
        }
        ran = run_unblocked(fiber);
    };
    masked.set(outer);
    replace_mask(fiber, before);
    result
}

/// Waits in the kernel unless what is waited for is there already. Nothing comes unseen between the look
/// and the wait: the kernel brings signals in the wait alone.
fn unless_come(
    come: impl FnOnce() -> bool,
    wait: impl FnOnce(*const Set) -> Result<usize, c_int>,
) -> Result<usize, c_int> {
    let open: Set = 0;
    let kernels = actions::set_kernel_mask(Set::MAX);
    let result = if come() { Err(libc::EINTR) } else { wait(&raw const open) };
    actions::set_kernel_mask(kernels);
    result
}

/// Makes a call that blocks the OS thread. A signal of which no handler of the program's has come on the fiber
/// does not end it.
pub(crate) fn block<T>(
    fiber: FiberRef,
    mut call: impl FnMut() -> Result<T, c_int>,
) -> Result<T, c_int> {
    let before = fiber.handled();
    loop {
        match call() {
            Err(libc::EINTR) if fiber.handled() == before => {}
            other => return other,
        }
    }
}

fn run_unblocked(fiber: FiberRef) -> bool {
    let open = !deliver::mask(fiber).load(Ordering::Relaxed);
    pending::of(fiber, open) != 0 && deliver::run_pending(fiber) != runtime::Ran::Nothing
}

/// See `sigaction(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigaction(
    signal: c_int,
    new: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> c_int {
    if is_borrowed() {
        // SAFETY: as the caller vouches.
        return unsafe { actions::real_sigaction()(signal, new, old) };
    }
    // SAFETY: null, or a record that the caller passes.
    let wanted = unsafe { new.as_ref() }.map(actions::to_action);
    match actions::change(signal, wanted) {
        Err(number) => fail(number),
        Ok(before) => {
            if !old.is_null() {
                // SAFETY: the caller passes room for a record.
                unsafe { old.write(actions::to_record(before)) };
            }
            0
        }
    }
}

/// `signal` in one of its kinds.
fn set_handler(signal: c_int, handler: sighandler_t, flags: c_int, mask: Set) -> sighandler_t {
    if handler == libc::SIG_ERR || bit(signal) == 0 {
        call::set_errno(libc::EINVAL);
        return libc::SIG_ERR;
    }
    let new = actions::to_record(Action { handler, flags, mask });
    let mut old = new;
    // SAFETY: whole records.
    if unsafe { sigaction(signal, &raw const new, &raw mut old) } == 0 {
        old.sa_sigaction
    } else {
        libc::SIG_ERR
    }
}

/// Sets a handler without flags: 0, or −1.
fn set_handler_plain(signal: c_int, handler: sighandler_t) -> c_int {
    if set_handler(signal, handler, 0, 0) == libc::SIG_ERR { -1 } else { 0 }
}

/// See `signal(2)`: the handler stays, calls go on.
#[unsafe(no_mangle)]
pub extern "C" fn signal(signal: c_int, handler: sighandler_t) -> sighandler_t {
    set_handler(signal, handler, libc::SA_RESTART, bit(signal))
}

/// The same, by its BSD name.
#[unsafe(no_mangle)]
pub extern "C" fn bsd_signal(number: c_int, handler: sighandler_t) -> sighandler_t {
    signal(number, handler)
}

/// See `sysv_signal(3)`: the handler goes when it runs, calls end.
#[unsafe(no_mangle)]
pub extern "C" fn sysv_signal(signal: c_int, handler: sighandler_t) -> sighandler_t {
    set_handler(signal, handler, libc::SA_RESETHAND | libc::SA_NODEFER, 0)
}

/// The same, by the name that headers give it.
#[unsafe(no_mangle)]
pub extern "C" fn __sysv_signal(signal: c_int, handler: sighandler_t) -> sighandler_t {
    sysv_signal(signal, handler)
}

/// Changes the caller's mask.
unsafe fn change_mask(how: c_int, new: *const sigset_t, old: *mut sigset_t) -> Result<(), c_int> {
    // Of a pinned fiber too: in the kernel the mask would be its OS thread's, and stay when it leaves that.
    let Some(fiber) = call::fiber_of_any_kind() else {
        // SAFETY: as the caller vouches.
        let outcome = unsafe { system_call!(Sysno::rt_sigprocmask, how, new, old, 8) };
        return outcome.map(drop);
    };
    let own = deliver::mask(fiber);
    let before = own.load(Ordering::Relaxed);
    // SAFETY: null, or a set that the caller passes.
    if let Some(new) = unsafe { new.as_ref() } {
        let set = actions::word_of(new) & !(bit(libc::SIGKILL) | bit(libc::SIGSTOP));
        let mask = match how {
            libc::SIG_BLOCK => before | set,
            libc::SIG_UNBLOCK => before & !set,
            libc::SIG_SETMASK => set,
            _ => return Err(libc::EINVAL),
        };
        actions::keep(mask & !before, false);
        own.store(mask, Ordering::Relaxed);
        if fork::is_young() {
            actions::set_kernel_mask(mask);
        }
        run_unblocked(fiber);
    }
    if !old.is_null() {
        // SAFETY: the caller passes room for a set, of which the kernel too writes one word.
        unsafe { old.cast::<Set>().write(before) };
    }
    Ok(())
}

/// See `sigprocmask(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigprocmask(
    how: c_int,
    new: *const sigset_t,
    old: *mut sigset_t,
) -> c_int {
    // SAFETY: as the caller vouches.
    answer(unsafe { change_mask(how, new, old) }.map(|()| 0))
}

/// See `pthread_sigmask(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_sigmask(
    how: c_int,
    new: *const sigset_t,
    old: *mut sigset_t,
) -> c_int {
    // SAFETY: as the caller vouches.
    unsafe { change_mask(how, new, old) }.err().unwrap_or(0)
}

/// See `sigpending(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigpending(set: *mut sigset_t) -> c_int {
    // SAFETY: as the caller vouches.
    let status = unsafe { system_call!(Sysno::rt_sigpending, set, 8) };
    if let (Some(fiber), Ok(_)) = (call::fiber_of_any_kind(), status) {
        let blocked = deliver::mask(fiber).load(Ordering::Relaxed);
        let word = set.cast::<Set>();
        // SAFETY: the caller passes a set, which the kernel has written.
        let kernels = unsafe { word.read() };
        // SAFETY: as above.
        unsafe { word.write(kernels | pending::of(fiber, blocked)) };
    }
    answer(status)
}

/// Looks up libc's definitions.
pub(crate) fn look_up_all() {
    actions::look_up();
    send::look_up();
    more::look_up();
    jump::look_up();
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[
    sigaction as *const (),
    signal as *const (),
    bsd_signal as *const (),
    sysv_signal as *const (),
    __sysv_signal as *const (),
    sigprocmask as *const (),
    pthread_sigmask as *const (),
    sigpending as *const (),
    wait::sigtimedwait as *const (),
    wait::sigwaitinfo as *const (),
    wait::sigwait as *const (),
    wait::sigsuspend as *const (),
    wait::pause as *const (),
    send::raise as *const (),
    send::pthread_kill as *const (),
    send::pthread_sigqueue as *const (),
    stack::sigaltstack as *const (),
    own::kill as *const (),
    own::killpg as *const (),
    own::sigqueue as *const (),
    own::pidfd_send_signal as *const (),
    more::siginterrupt as *const (),
    more::sighold as *const (),
    more::sigrelse as *const (),
    more::sigignore as *const (),
    more::sigset as *const (),
    more::sigblock as *const (),
    more::sigsetmask as *const (),
    more::siggetmask as *const (),
    more::sigpause as *const (),
    more::__xpg_sigpause as *const (),
    more::__sigpause as *const (),
    more::sigvec as *const (),
];
