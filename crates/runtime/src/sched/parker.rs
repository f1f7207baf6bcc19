//! Where a carrier sleeps: on a futex of its own, or in epoll on behalf of all.
//!
//! The word says which, so that a waker makes the one system call that helps, and none where the
//! carrier is awake: it then finds the token before it sleeps.
//!
//! Of a carrier on its way to epoll the token is looked at once more when epoll is its own: the event that its
//! waker made may have been taken by another that looked there in between. (It was not, once: all workers
//! slept beside a fiber that could run, until something came to a descriptor.)

use crate::sync::{Futex, Ordering};

const AWAKE: u32 = 0;
const TOKEN: u32 = 1;
const ASLEEP: u32 = 2;
const POLLING: u32 = 3;

/// One sleeper's word.
#[derive(Debug)]
pub(crate) struct Parker(Futex);

/// What a waker has to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Nothing: the sleeper finds the token.
    Nothing,
    /// Wake the futex.
    Futex,
    /// Make epoll return.
    Poller,
}

impl Parker {
    pub(crate) fn new() -> Self {
        Self(Futex::new(AWAKE))
    }

    /// The owner is about to sleep. False if a token was there: it is used up.
    #[must_use]
    pub(crate) fn prepare(&self, polling: bool) -> bool {
        let next = if polling { POLLING } else { ASLEEP };
        // SeqCst: ordered against the looks at the queues that follow.
        if self.0.compare_exchange(AWAKE, next, Ordering::SeqCst, Ordering::Acquire).is_ok() {
            return true;
        }
        // An exchange, not a store: a waker that comes between is seen by what the owner looks at
        // next, or its token stays.
        self.0.swap(AWAKE, Ordering::SeqCst);
        false
    }

    /// Whether the owner is still to sleep.
    pub(crate) fn is_asleep(&self) -> bool {
        self.0.load(Ordering::Acquire) == ASLEEP
    }

    /// Whether the owner is still to sleep in epoll. Asked when nobody else can take the event that a waker makes.
    pub(crate) fn is_polling(&self) -> bool {
        // The token was left before the event was made, and whoever took that let go of epoll before we got it.
        self.0.load(Ordering::Acquire) == POLLING
    }

    /// The owner is awake again. True if someone woke it.
    pub(crate) fn finish(&self) -> bool {
        // Acquire pairs with `wake`.
        self.0.swap(AWAKE, Ordering::Acquire) == TOKEN
    }

    /// Leaves a token.
    #[must_use]
    pub(crate) fn wake(&self) -> Call {
        match self.0.swap(TOKEN, Ordering::SeqCst) {
            ASLEEP => Call::Futex,
            POLLING => Call::Poller,
            _ => Call::Nothing,
        }
    }

    /// Leaves a token and makes the call that it takes; `interrupt` is how epoll is made to return.
    pub(crate) fn call(&self, interrupt: impl FnOnce()) {
        match self.wake() {
            Call::Nothing => {}
            Call::Futex => self.0.wake(),
            Call::Poller => interrupt(),
        }
    }

    /// Sleeps on the futex until woken or `deadline`. After [`prepare`](Self::prepare)`(false)`.
    pub(crate) fn sleep(&self, deadline: Option<u64>) {
        while self.is_asleep() {
            if !self.0.wait(ASLEEP, deadline) {
                return;
            }
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicBool;
    use loom::sync::atomic::Ordering::{Acquire, Release, SeqCst};
    use loom::thread;

    use super::*;

    /// Work is published, then the sleeper is woken: it never sleeps on without a call to wake it.
    #[test]
    fn loom_no_lost_token() {
        loom::model(|| {
            let shared = Arc::new((Parker::new(), AtomicBool::new(false)));
            let waker = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.1.store(true, SeqCst);
                    shared.0.wake()
                })
            };
            let mut must_be_called = false;
            if shared.0.prepare(false) {
                if shared.1.load(SeqCst) {
                    shared.0.finish();
                } else {
                    must_be_called = shared.0.is_asleep();
                }
            } else {
                assert!(shared.1.load(SeqCst), "a token comes after the work");
            }
            let call = waker.join().expect("the waker does not panic");
            assert!(!must_be_called || call == Call::Futex);
        });
    }

    /// A waker makes epoll return, but somebody else looks at epoll before the sleeper is there, and takes the
    /// event: the sleeper must not sleep on its token.
    #[test]
    fn loom_no_event_taken_by_others() {
        loom::model(|| {
            // The parker, whether somebody looks at epoll, and whether an event is there. (The lock by hand:
            // loom's has others wait in `try_lock`. Exchanges: loom does not order a store and an exchange.)
            let shared = Arc::new((Parker::new(), AtomicBool::new(false), AtomicBool::new(false)));
            let waker = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.0.call(|| _ = shared.2.swap(true, SeqCst)))
            };
            let other = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    if !shared.1.swap(true, Acquire) {
                        shared.2.swap(false, SeqCst);
                        shared.1.store(false, Release);
                    }
                })
            };
            // With the lock, which is kept: in epoll, nobody else takes what comes.
            let may_look = shared.0.prepare(true) && !shared.1.swap(true, Acquire);
            let sleeps = may_look && shared.0.is_polling();
            waker.join().expect("the waker does not panic");
            other.join().expect("the other does not panic");
            assert!(!sleeps || shared.2.swap(false, SeqCst), "nobody wakes the sleeper");
        });
    }
}
