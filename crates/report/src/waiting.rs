//! What a fiber waits for, in words.

use std::collections::HashMap;

use timestop_fiber::block;
use timestop_runtime::{FiberRef, Reason, Snapshot, signal, sys};

use crate::descriptor;
use crate::raw;

/// `read of descriptor 7`; `None` where the runtime does not say.
#[must_use]
pub fn describe(snapshot: &Snapshot) -> Option<String> {
    let argument = snapshot.argument;
    Some(match snapshot.reason {
        Reason::Sleep => "a point in time".to_owned(),
        Reason::Read => format!("read of descriptor {argument}"),
        Reason::Write => format!("write to descriptor {argument}"),
        Reason::Poll if argument == 0 => "an epoll's descriptors".to_owned(),
        Reason::Poll => format!("one of {argument} descriptors"),
        Reason::Futex => format!("lock or condition (futex {argument:#x})"),
        Reason::Mutex => format!("mutex {argument:#x}"),
        Reason::Condition => format!("condition variable {argument:#x}"),
        Reason::Semaphore => format!("semaphore {argument:#x}"),
        Reason::RwLock => format!("read-write lock {argument:#x}"),
        Reason::Barrier => format!("barrier {argument:#x}"),
        Reason::Join => format!("end of fiber {argument}"),
        Reason::Child => "end of a child process".to_owned(),
        Reason::Signal => "a signal".to_owned(),
        Reason::Lookup => "lookup of a name".to_owned(),
        Reason::Receive => format!("receive from channel {argument:#x}"),
        Reason::Send => format!("send to channel {argument:#x}"),
        Reason::Select => format!("select over {argument} channels"),
        Reason::Future => "a future (block_on)".to_owned(),
        Reason::Wakers => "wakers to call, of other executors".to_owned(),
        _ => return None,
    })
}

/// The same in a word or two, where many fibers are told at once.
pub(crate) fn kind(reason: Reason) -> &'static str {
    match reason {
        Reason::Sleep => "sleep",
        Reason::Read => "read",
        Reason::Write => "write",
        Reason::Poll => "poll",
        Reason::Futex => "lock or condition (futex)",
        Reason::Mutex => "mutex",
        Reason::Condition => "condition variable",
        Reason::Semaphore => "semaphore",
        Reason::RwLock => "read-write lock",
        Reason::Barrier => "barrier",
        Reason::Join => "join",
        Reason::Child => "child process",
        Reason::Signal => "signal",
        Reason::Lookup => "name lookup",
        Reason::Receive => "channel receive",
        Reason::Send => "channel send",
        Reason::Select => "select",
        Reason::Future => "future",
        Reason::Wakers => "wakers",
        _ => "wait",
    }
}

/// Who has which thread id: fibers have their own.
#[derive(Debug, Default)]
pub(crate) struct Holders(HashMap<u32, (u64, String)>);

impl Holders {
    /// Of the fibers that live now.
    pub(crate) fn new() -> Self {
        let of = |fiber: FiberRef| {
            let name = timestop_hooks::thread::name_of(fiber).unwrap_or_default();
            let is_own = fiber.pthread() == block::thread_pointer(fiber.slot());
            let thread_id = if is_own {
                block::thread_id(fiber.slot())
            } else {
                // An OS thread's code has become this fiber, and keeps its block.
                raw::peek(fiber.pthread() + block::thread_id_offset()).unwrap_or(0)
            };
            (thread_id, (fiber.id(), name))
        };
        Self(signal::live_fibers().map(of).collect())
    }

    /// `held by fiber 3 'name'`, for a mutex of libc's that says so.
    pub(crate) fn of_mutex(&self, address: u64) -> Option<String> {
        /// `__owner` in glibc's `struct __pthread_mutex_s`.
        const OWNER: usize = 8;
        match raw::peek(address as usize + OWNER)? {
            0 => None,
            id => Some(match self.0.get(&id) {
                Some((number, name)) if name.is_empty() => format!("held by fiber {number}"),
                Some((number, name)) => format!("held by fiber {number} '{name}'"),
                None => format!("held by OS thread {id}"),
            }),
        }
    }
}

/// What a single fiber waits for, with peer, holder, or time left.
pub(crate) fn in_full(snapshot: &Snapshot, holders: &Holders) -> String {
    let argument = snapshot.argument;
    let detail = match snapshot.reason {
        Reason::Sleep => {
            let left = argument.saturating_sub(sys::now());
            return format!("sleep, {} left", crate::text::duration(left));
        }
        Reason::Read | Reason::Write => i32::try_from(argument).ok().and_then(descriptor::describe),
        Reason::Mutex => holders.of_mutex(argument),
        _ => None,
    };
    let what = describe(snapshot).unwrap_or_else(|| kind(snapshot.reason).to_owned());
    match detail {
        Some(detail) => format!("{what} ({detail})"),
        None => what,
    }
}
