//! The one way to wait: until something is so, a deadline, a signal, or the fiber's cancellation.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use timestop_fiber::current::undisturbed;

use crate::fiber::{FiberRef, Reason};
use crate::{sched, signal, timer};

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// What was waited for has come.
    Woken,
    /// The deadline has passed.
    TimedOut,
    /// A signal waits for the fiber.
    Interrupted,
    /// The fiber has been cancelled, and the wait is one that cancelling ends.
    Cancelled,
}

/// Suspends the running fiber until `done`, a deadline, a signal or its cancellation.
///
/// Whoever makes `done` true then unparks the fiber. With `breakable`, signals, cancelling and the
/// fiber's own deadline ([`FiberRef::deadline`]) end the wait; without, `deadline` alone does. Handlers
/// of signals run within, so nothing on the caller's stack may be in a list that others follow: a
/// handler may leave by `siglongjmp`.
pub fn wait_until(
    fiber: FiberRef,
    reason: Reason,
    argument: u64,
    deadline: Option<u64>,
    breakable: bool,
    done: impl Fn() -> bool,
) -> Outcome {
    loop {
        let since = fiber.handled();
        let outcome = wait_listed(fiber, reason, argument, deadline, breakable, &done);
        let interrupted = outcome == Outcome::Interrupted;
        if !interrupted && !fiber.is_interrupted() {
            return outcome;
        }
        let goes_on = signal::goes_on(fiber, reason, deadline.is_some(), since, interrupted);
        if done() {
            return Outcome::Woken;
        }
        if !interrupted || !goes_on && breakable {
            return outcome;
        }
    }
}

/// The same for a caller that stands in a list, by something on its stack. The wait ends at *every*
/// signal, with its handlers still to run: the caller takes itself off the list and calls
/// [`signal::goes_on`]. From before it has put itself there until then it is [`undisturbed`].
pub(crate) fn wait_listed(
    fiber: FiberRef,
    reason: Reason,
    argument: u64,
    deadline: Option<u64>,
    breakable: bool,
    done: impl Fn() -> bool,
) -> Outcome {
    if done() {
        return Outcome::Woken;
    }
    // No handler of the program's in between: one that leaves by `siglongjmp` would leave the fiber's
    // timer behind, armed. A signal that comes is posted, and ends the wait.
    undisturbed(|| wait_undisturbed(fiber, reason, argument, deadline, breakable, &done))
}

fn wait_undisturbed(
    fiber: FiberRef,
    reason: Reason,
    argument: u64,
    deadline: Option<u64>,
    breakable: bool,
    done: impl Fn() -> bool,
) -> Outcome {
    let own = if breakable { fiber.deadline() } else { u64::MAX };
    let deadline = deadline.unwrap_or(u64::MAX).min(own);
    let _noted = fiber.note_wait(reason, argument);
    let timed = deadline != u64::MAX;
    if timed {
        sched::arm_timer(fiber, deadline);
    }
    let outcome = loop {
        if breakable && fiber.is_cancelled() {
            break Outcome::Cancelled;
        }
        if fiber.is_interrupted() {
            break Outcome::Interrupted;
        }
        // A plain look first: the exchange costs as much as a lock.
        if fiber.asked.load(Relaxed) && fiber.asked.swap(false, Acquire) {
            answer(fiber);
        }
        if timed && fiber.timer().has_fired() {
            break Outcome::TimedOut;
        }
        sched::park(fiber);
        if done() {
            break Outcome::Woken;
        }
    };
    if timed {
        timer::disarm(fiber.timer(), sched::wheel);
    }
    // The last look decides: what came together with the deadline has come.
    if done() { Outcome::Woken } else { outcome }
}

static ANSWER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// Has `function` run on a fiber that was [asked](FiberRef::ask), when it next waits.
pub fn set_asked(function: fn(FiberRef)) {
    ANSWER.store(function as usize, std::sync::atomic::Ordering::Release);
}

#[cold]
fn answer(fiber: FiberRef) {
    let function = ANSWER.load(std::sync::atomic::Ordering::Acquire);
    if function != 0 {
        // SAFETY: only `set_asked` writes the word.
        let function: fn(FiberRef) = unsafe { std::mem::transmute(function) };
        function(fiber);
    }
}

/// Suspends the running fiber until `deadline` (monotonic nanoseconds), a signal, its own deadline
/// or its cancellation.
pub fn sleep_until(fiber: FiberRef, deadline: u64) -> Outcome {
    wait_until(fiber, Reason::Sleep, deadline, Some(deadline), true, || false)
}
