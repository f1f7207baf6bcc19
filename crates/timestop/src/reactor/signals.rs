//! Signals as events. A handler of the kernel's kind notes the number and rings the loop's bell; the loop calls
//! back. So a callback may do what any code may.
//!
//! The handlers are signal-hook's, which keeps those that were there before, and as many loops as want it. What
//! it does not do is to give the default back: a handler of ours does so, while no loop wants the signal.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::{io, mem};

use signal_hook::{SigId, flag, low_level};

use super::remote::Shared;

/// What is known of a signal that some loop has wanted.
struct Wanted {
    loops: usize,
    /// Whether the signal does what it does by default.
    default: Arc<AtomicBool>,
}

static WANTED: LazyLock<Mutex<HashMap<i32, Wanted>>> = LazyLock::new(Mutex::default);

/// A loop's wish for a signal, given back when dropped.
#[derive(Debug)]
pub(super) struct Wish {
    signal: i32,
    id: SigId,
}

impl Wish {
    pub(super) fn new(signal: i32, shared: Arc<Shared>) -> io::Result<Self> {
        let refused = |why| {
            let text = format!("EventLoop::add_signal_handler: signal {signal} {why}");
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        };
        if !(1..=64).contains(&signal) {
            return refused("is none: they are numbered from 1 to 64");
        }
        if signal_hook::consts::FORBIDDEN.contains(&signal) {
            return refused("cannot be handled: it ends or stops the process, or tells of a fault of the code");
        }
        let mut all = WANTED.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = match all.get_mut(&signal) {
            Some(wanted) => wanted,
            None => {
                let default = Arc::new(AtomicBool::new(false));
                if is_default(signal)? {
                    flag::register_conditional_default(signal, Arc::clone(&default))?;
                }
                all.entry(signal).or_insert(Wanted { loops: 0, default })
            }
        };
        // SAFETY: it does one atomic operation and one system call, and keeps `errno`.
        let id = unsafe { low_level::register(signal, move || shared.signal(signal)) }?;
        wanted.loops += 1;
        wanted.default.store(false, Ordering::SeqCst);
        Ok(Self { signal, id })
    }
}

impl Drop for Wish {
    fn drop(&mut self) {
        let mut all = WANTED.lock().unwrap_or_else(PoisonError::into_inner);
        low_level::unregister(self.id);
        if let Some(wanted) = all.get_mut(&self.signal) {
            wanted.loops -= 1;
            wanted.default.store(wanted.loops == 0, Ordering::SeqCst);
        }
    }
}

/// Whether nobody has a handler for it.
fn is_default(signal: i32) -> io::Result<bool> {
    // SAFETY: numbers and a null pointer, for which zeroes stand.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: the kernel's answer has room.
    if unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(action.sa_sigaction == libc::SIG_DFL)
}
