//! What the program wants done for each signal, and what the kernel is told instead.
//!
//! Where the program has a handler the kernel has the shim; where it has none the kernel has what the
//! program said, except for signals that a fiber has blocked or waited for: the kernel would do the
//! default action, because carriers block nothing. There the shim stands in and decides
//! ([`keep`]). So it does for a signal that has ever had a handler, and for a signal whose default we replace ([`replace_default`]). Actions are written under a lock with every signal blocked, and read by the shim
//! without: a version tells a torn read.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

use timestop_fiber::lock::{Guard, Lock};
use timestop_runtime::{preempt, sys};

use super::deliver::{self, shim};
use crate::call::Sysno;
use crate::{real, system_call};

real! {
    pub(super) fn real_sigaction: unsafe extern "C" fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int = c"sigaction";
}

/// The kernel's signal set.
pub(super) type Set = u64;

/// The bit of a signal; 0 for what is none.
pub(super) fn bit(signal: c_int) -> Set {
    if (1..=64).contains(&signal) { 1 << (signal - 1) } else { 0 }
}

/// Signals that code raises by itself, that cannot be handled, or that are libc's own: they are
/// between program and kernel.
const DIRECT: [c_int; 11] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
    libc::SIGKILL,
    libc::SIGSTOP,
    32,
    33,
];

/// Whether a signal goes past us.
pub(super) fn is_direct(signal: c_int) -> bool {
    bit(signal) == 0 || DIRECT.contains(&signal)
}

/// Signals whose default is to do nothing.
fn is_ignored_by_default(signal: c_int) -> bool {
    matches!(signal, libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH | libc::SIGCONT)
}

/// What the program has asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) handler: usize,
    pub(super) flags: c_int,
    pub(super) mask: Set,
}

#[derive(Debug)]
struct Entry {
    /// Odd while it is written.
    version: AtomicU32,
    handler: AtomicUsize,
    flags: AtomicU32,
    mask: AtomicU64,
}

static ENTRIES: [Entry; 65] = [const {
    Entry {
        version: AtomicU32::new(0),
        handler: AtomicUsize::new(libc::SIG_DFL),
        flags: AtomicU32::new(0),
        mask: AtomicU64::new(0),
    }
}; 65];
static WRITING: Lock<()> = Lock::new(());
/// Signals that keep the shim even where the program has no handler.
static KEPT: AtomicU64 = AtomicU64::new(0);

/// What is done in place of a default action.
static REPLACED: [AtomicUsize; 65] = [const { AtomicUsize::new(0) }; 65];

impl Entry {
    fn store(&self, action: Action) {
        self.version.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.handler.store(action.handler, Ordering::Relaxed);
        self.flags.store(action.flags as u32, Ordering::Relaxed);
        self.mask.store(action.mask, Ordering::Relaxed);
        self.version.fetch_add(1, Ordering::Release);
    }

    fn load(&self) -> Action {
        loop {
            let version = self.version.load(Ordering::Acquire);
            let action = Action {
                handler: self.handler.load(Ordering::Relaxed),
                flags: self.flags.load(Ordering::Relaxed) as c_int,
                mask: self.mask.load(Ordering::Relaxed),
            };
            fence(Ordering::Acquire);
            if version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version {
                return action;
            }
            std::hint::spin_loop();
        }
    }
}

/// What is to be done for a signal that the shim was called for.
pub(super) fn load(signal: c_int) -> Action {
    ENTRIES[signal as usize % ENTRIES.len()].load()
}

/// The first word of a libc signal set, which is all that the kernel knows.
pub(super) fn word_of(set: &libc::sigset_t) -> Set {
    // SAFETY: the set is larger than a word.
    unsafe { std::ptr::from_ref(set).cast::<Set>().read() }
}

/// A libc signal set.
pub(super) fn set_of(word: Set) -> libc::sigset_t {
    // SAFETY: all-zero is the empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is larger than a word.
    unsafe { (&raw mut set).cast::<Set>().write(word) };
    set
}

pub(super) fn to_action(record: &libc::sigaction) -> Action {
    let mask = word_of(&record.sa_mask);
    Action { handler: record.sa_sigaction, flags: record.sa_flags, mask }
}

pub(super) fn to_record(action: Action) -> libc::sigaction {
    libc::sigaction {
        sa_sigaction: action.handler,
        sa_mask: set_of(action.mask),
        sa_flags: action.flags,
        sa_restorer: None,
    }
}

/// Tells the kernel, and returns what it had; an error number where it refuses.
///
/// The signal that preempts is held back while any handler runs: its frame is the OS thread's, which
/// the fiber could then not leave.
fn exchange(signal: c_int, action: Option<Action>) -> Result<Action, c_int> {
    let preempts = bit(preempt::signal());
    let record = action.map(|action| to_record(Action { mask: action.mask | preempts, ..action }));
    let new = record.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let mut old = to_record(Action { handler: 0, flags: 0, mask: 0 });
    // SAFETY: both records are whole.
    let status = unsafe { real_sigaction()(signal, new, &raw mut old) };
    let old = to_action(&old);
    let old = Action { mask: old.mask & !preempts, ..old };
    if status == 0 { Ok(old) } else { Err(crate::call::errno()) }
}

/// Sets the calling OS thread's mask in the kernel and returns the one before.
pub(super) fn set_kernel_mask(mask: Set) -> Set {
    let mut before: Set = 0;
    // SAFETY: the kernel reads and writes one word each.
    let _ = unsafe {
        system_call!(Sysno::rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, &raw mut before, 8)
    };
    before
}

/// Runs `body` alone, and with no signal in between.
fn writing<R>(body: impl FnOnce() -> R) -> R {
    let mask = set_kernel_mask(Set::MAX);
    let result = {
        let _one = WRITING.lock();
        body()
    };
    set_kernel_mask(mask);
    result
}

/// Nobody is writing actions, nor begins to.
pub(super) fn quiet() -> Guard<'static, ()> {
    WRITING.lock()
}

/// What the kernel must do so that the program gets what it asked for.
fn shimmed(action: Action) -> Action {
    let flags = action.flags | libc::SA_SIGINFO;
    Action {
        handler: shim as *const () as usize,
        // The shim resets the handler itself: it may run much later.
        flags: flags & !libc::SA_RESETHAND,
        mask: action.mask,
    }
}

/// Changes the action for a signal, if one is given; the one before, or an error number.
pub(super) fn change(signal: c_int, new: Option<Action>) -> Result<Action, c_int> {
    if is_direct(signal) {
        return writing(|| change_direct(signal, new));
    }
    writing(|| {
        let entry = &ENTRIES[signal as usize];
        let mine = entry.load();
        if signal == preempt::signal() {
            // The kernel has the runtime's handler, which passes on what is not its own.
            if let Some(new) = new {
                entry.store(new);
                timestop_runtime::set_own_signal(signal, !is_handled(signal));
            }
            return Ok(mine);
        }
        let ours = shim as *const () as usize;
        let old = match new {
            None => exchange(signal, None)?,
            Some(new) => {
                let kept =
                    new.handler == libc::SIG_DFL && KEPT.load(Ordering::Relaxed) & bit(signal) != 0;
                entry.store(new); // before the kernel can call the shim for it
                let handled = is_handled(signal);
                if handled {
                    // From now on the kernel never has the default again: a signal of ours that has
                    // a fiber look at what is pending may still be under way when the handler goes.
                    KEPT.fetch_or(bit(signal), Ordering::Relaxed);
                }
                let kernel = match (handled, kept) {
                    (true, _) => shimmed(new),
                    (false, true) => shimmed(Action { flags: new.flags | libc::SA_RESTART, ..new }),
                    (false, false) => new,
                };
                let before = exchange(signal, Some(kernel)).inspect_err(|_| entry.store(mine))?;
                if REPLACED[signal as usize].load(Ordering::Relaxed) != 0 {
                    timestop_runtime::set_own_signal(signal, !handled);
                }
                before
            }
        };
        Ok(if old.handler == ours { mine } else { old })
    })
}

/// The same for a signal that is between program and kernel. Its handler runs at once, on the OS thread
/// that has caused it; but the fiber must not leave that in the middle of it ([`deliver::direct`]).
fn change_direct(signal: c_int, new: Option<Action>) -> Result<Action, c_int> {
    let ours = deliver::direct as *const () as usize;
    let before = load(signal);
    let is_handler = |action: &Action| !matches!(action.handler, libc::SIG_DFL | libc::SIG_IGN);
    // 0 is no signal, and 32 and 33 are libc's.
    let wrapped = new.filter(|new| is_handler(new) && (1..32).contains(&signal)).map(|new| {
        ENTRIES[signal as usize].store(new); // before the kernel can call for it
        Action { handler: ours, flags: new.flags | libc::SA_SIGINFO, ..new }
    });
    match exchange(signal, wrapped.or(new)) {
        Ok(old) => Ok(if old.handler == ours { before } else { old }),
        Err(error) => {
            if wrapped.is_some() {
                ENTRIES[signal as usize].store(before);
            }
            Err(error)
        }
    }
}

/// A handler with SA_RESETHAND is about to run.
pub(super) fn reset(signal: c_int) {
    let _ = change(signal, Some(Action { handler: libc::SIG_DFL, flags: 0, mask: 0 }));
}

/// Has the shim stand in for the default actions of `signals`, from now on: they are blocked or
/// waited for. With `ignored`, also for those that the program ignores.
pub(super) fn keep(signals: Set, ignored: bool) {
    let missing = signals & !KEPT.load(Ordering::Relaxed);
    if missing == 0 && !ignored {
        return;
    }
    for signal in (1..=64).filter(|signal| signals & bit(*signal) != 0 && !is_direct(*signal)) {
        if missing & bit(signal) == 0 && load(signal).handler != libc::SIG_IGN {
            continue;
        }
        writing(|| {
            let Ok(now) = exchange(signal, None) else {
                return;
            };
            // An ignored SIGCHLD has the kernel reap children: that must stay.
            let wanted = now.handler == libc::SIG_DFL
                || ignored && now.handler == libc::SIG_IGN && signal != libc::SIGCHLD;
            if wanted {
                ENTRIES[signal as usize].store(now);
                let flags = now.flags | libc::SA_RESTART;
                let _ = exchange(signal, Some(shimmed(Action { flags, ..now })));
            }
        });
    }
    KEPT.fetch_or(signals, Ordering::Relaxed);
}

/// Has `function` called in place of a signal's default action, from now on. It must be
/// async-signal-safe. A handler of the program's, or its wish to ignore the signal, comes first.
pub(super) fn replace_default(signal: c_int, function: fn()) {
    if is_direct(signal) {
        return;
    }
    REPLACED[signal as usize].store(function as usize, Ordering::Release);
    keep(bit(signal), false);
    let handler = load(signal).handler;
    let is_programs = handler != libc::SIG_DFL || !is_shimmed(signal);
    timestop_runtime::set_own_signal(signal, !is_programs);
}

/// What is done in place of a signal's default action; `None` in a child of `fork` that has no
/// runtime yet.
pub(super) fn replacement(signal: c_int) -> Option<fn()> {
    let function = REPLACED[signal as usize % REPLACED.len()].load(Ordering::Acquire);
    if function == 0 || timestop_runtime::fork::is_young() {
        return None;
    }
    // SAFETY: only `replace_default` writes the word.
    Some(unsafe { std::mem::transmute::<usize, fn()>(function) })
}

/// Whether a signal that is taken now ends or stops the process: it has no handler, nor a replacement
/// for its default.
pub(super) fn strikes(signal: c_int) -> bool {
    load(signal).handler == libc::SIG_DFL
        && !is_ignored_by_default(signal)
        && replacement(signal).is_none()
}

/// Does what the kernel does for a signal without a handler. Returns where that is nothing, and after
/// a stop.
pub(super) fn do_default(signal: c_int) {
    if let Some(function) = replacement(signal) {
        function();
        return;
    }
    if is_ignored_by_default(signal) {
        return;
    }
    let default = Action { handler: libc::SIG_DFL, flags: 0, mask: 0 };
    let Ok(before) = exchange(signal, Some(default)) else {
        return;
    };
    let (process, thread) = (sys::process_id(), sys::thread_id());
    let mask = set_kernel_mask(Set::MAX);
    // SAFETY: touches no memory.
    let _ = unsafe { system_call!(Sysno::tgkill, process, thread, signal) };
    set_kernel_mask(!bit(signal)); // it comes now
    set_kernel_mask(mask);
    if before.handler != libc::SIG_DFL {
        let _ = exchange(signal, Some(before));
    }
}

/// Whether the program has a handler for a signal.
fn is_handled(signal: c_int) -> bool {
    !matches!(load(signal).handler, libc::SIG_DFL | libc::SIG_IGN)
}

/// Whether the kernel has the shim for a signal: then [`load`] knows what the program wants.
pub(super) fn is_shimmed(signal: c_int) -> bool {
    signal == preempt::signal()
        || exchange(signal, None).is_ok_and(|action| action.handler == shim as *const () as usize)
}
