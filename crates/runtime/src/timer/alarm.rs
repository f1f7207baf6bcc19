//! A point in time that a future waits for.

use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::Waker;

use super::{Timer, disarm};
use crate::sched;
use crate::waker::Target;
use crate::waker::bell::Ring;

/// A timer with whom to wake. It stays where it is once it has been armed, and disarms itself when dropped.
#[derive(Debug)]
pub struct Alarm {
    timer: Timer,
    ring: Ring,
    /// Whether the timer may be in a wheel, or the ring in a list.
    armed: bool,
    _stays: PhantomPinned,
}

// SAFETY: a timer may be armed here and disarmed there: a wheel's lock lies between.
unsafe impl Send for Alarm {}

impl Default for Alarm {
    fn default() -> Self {
        Self::new()
    }
}

impl Alarm {
    /// Not armed.
    #[must_use]
    pub const fn new() -> Self {
        Self { timer: Timer::new(), ring: Ring::new(), armed: false, _stays: PhantomPinned }
    }

    /// Wakes `waker` at `deadline`, in monotonic nanoseconds, or up to a tick later; as it did nobody else any
    /// more. The runtime has been started.
    pub fn arm(self: Pin<&mut Self>, deadline: u64, waker: &Waker) {
        // SAFETY: nothing is moved out.
        let this = unsafe { self.get_unchecked_mut() };
        if this.armed
            && Target::word_is_task_of(this.timer.target.get(), waker)
            && !this.timer.has_fired()
        {
            return; // polled for another reason
        }
        this.disarm();
        // SAFETY: disarmed, the ring is in no list; it is pinned, and dropped only when disarmed again.
        this.timer.belongs_to(unsafe { Target::of_waker(waker, &this.ring) });
        this.armed = true;
        // SAFETY: it is pinned, and taken out of the wheel before it goes.
        let timer: &'static Timer = unsafe { &*std::ptr::from_ref(&this.timer) };
        sched::arm(timer, deadline);
    }

    fn disarm(&mut self) {
        if std::mem::take(&mut self.armed) {
            // SAFETY: as above.
            let timer: &'static Timer = unsafe { &*std::ptr::from_ref(&self.timer) };
            disarm(timer, sched::wheel);
            self.ring.silence();
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.disarm();
    }
}
