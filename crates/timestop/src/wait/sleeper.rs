//! Who waits: a fiber, which is suspended, or an OS thread, which sleeps in the kernel on a word of the
//! waiter's.
//!
//! A pinned fiber is an OS thread as far as waiting goes, and so is a child of `vfork` that runs on a
//! fiber's stack.

use std::sync::atomic::{AtomicU32, Ordering};

use timestop_runtime::{self as runtime, FiberRef, Outcome, Reason, sys};

use super::sync::{For, Interrupted, Limit};

/// The fiber or OS thread that has made it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sleeper(Option<FiberRef>);

/// What is left to do once a waiter is served: all that is needed when its stack may be gone.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wake {
    Fiber(FiberRef),
    /// The word that an OS thread sleeps on.
    Thread(usize),
}

impl Sleeper {
    #[inline]
    pub(crate) fn current() -> Self {
        Self(FiberRef::current().filter(|fiber| fiber.may_suspend()))
    }

    #[inline]
    pub(crate) fn wake(self, word: &AtomicU32) -> Wake {
        match self.0 {
            Some(fiber) => Wake::Fiber(fiber),
            None => Wake::Thread(word.as_ptr() as usize),
        }
    }

    /// Sleeps until `word` is `done` at least, or as the limit has it. On the sleeper itself.
    pub(crate) fn sleep(
        self,
        word: &AtomicU32,
        done: u32,
        (what, argument): (For, usize),
        limit: Limit,
    ) -> Option<Interrupted> {
        let is_done = || word.load(Ordering::Acquire) >= done;
        let deadline = (limit.deadline != u64::MAX).then_some(limit.deadline);
        let Some(fiber) = self.0 else {
            let sleep = || sleep_in_kernel(word, is_done, deadline);
            return if deadline.is_none() { runtime::outside_wait(sleep) } else { sleep() };
        };
        let reason = match what {
            For::Message => Reason::Receive,
            For::Room => Reason::Send,
            For::OneOf => Reason::Select,
            For::Event => Reason::Condition,
            For::Time => Reason::Sleep,
        };
        loop {
            let breakable = limit.breakable;
            match runtime::wait_until(fiber, reason, argument as u64, deadline, breakable, is_done)
            {
                Outcome::Woken => return None,
                Outcome::TimedOut => return Some(Interrupted::TimedOut),
                Outcome::Cancelled => return Some(Interrupted::Cancelled),
                // A handler has run. Nobody asked a channel to end for that.
                Outcome::Interrupted => {}
            }
        }
    }
}

fn sleep_in_kernel(
    word: &AtomicU32,
    is_done: impl Fn() -> bool,
    deadline: Option<u64>,
) -> Option<Interrupted> {
    loop {
        let now = word.load(Ordering::Acquire);
        if is_done() {
            return None;
        }
        let slept = sys::futex_wait(word, now, deadline);
        if slept == Err(libc::ETIMEDOUT) && !is_done() {
            return Some(Interrupted::TimedOut);
        }
    }
}

impl Wake {
    #[inline]
    pub(crate) fn call(self) {
        match self {
            Self::Fiber(fiber) => runtime::unpark(fiber),
            // The word may be gone; the kernel then wakes nobody, or somebody for no reason, which every
            // waiter of a futex must bear.
            Self::Thread(word) => {
                sys::futex_wake(word, 1);
            }
        }
    }
}

/// What keeps the running fiber from waiting at all.
#[inline]
pub(crate) fn interrupted() -> Option<Interrupted> {
    let fiber = FiberRef::current()?;
    if fiber.is_cancelled() {
        return Some(Interrupted::Cancelled);
    }
    let deadline = fiber.deadline();
    (deadline != u64::MAX && sys::now() >= deadline).then_some(Interrupted::TimedOut)
}

/// What came of a wait with a time limit: false where that has passed, and it was not the fiber's own.
pub(crate) fn in_time(ended: Result<(), Interrupted>) -> Result<bool, Interrupted> {
    match (ended, interrupted()) {
        (Ok(()), _) => Ok(true),
        (Err(Interrupted::TimedOut), None) => Ok(false),
        (Err(why), own) => Err(own.unwrap_or(why)),
    }
}
