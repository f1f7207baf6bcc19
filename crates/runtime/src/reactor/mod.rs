//! The outside world: one epoll for the process, edge-triggered.
//!
//! A descriptor is registered at its first would-block and forgotten at `close`. One carrier at a
//! time looks at epoll: an idle one sleeps in it on behalf of all, a busy one glances now and then.
//! See [`descriptor`] for how an edge is never missed.

pub mod descriptor;

use timestop_fiber::fault::{self, Fault};
use timestop_fiber::lock::Lock;

use crate::own::Own;
use crate::sched::{Wakes, Worker};
use crate::sys;

/// Marks the event of the wake-up counter.
const WAKE: u64 = u64::MAX;
/// Events taken at once.
const BATCH: usize = 256;

/// The epoll descriptor, and who looks at it.
#[derive(Debug)]
pub(crate) struct Reactor {
    epoll: Own,
    wake: Own,
    /// Held by whoever is in `epoll_wait`; the value is where the events go.
    poller: Lock<Events>,
}

struct Events([libc::epoll_event; BATCH]);

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

impl Reactor {
    /// # Errors
    ///
    /// The number of an error: no descriptors are left.
    pub(crate) fn new() -> Result<Self, i32> {
        if fault::is(Fault::Epoll) {
            return Err(libc::EMFILE);
        }
        let epoll = sys::epoll_create()?;
        let wake = sys::eventfd().inspect_err(|_| epoll.close())?;
        let buffer = Events([libc::epoll_event { events: 0, u64: 0 }; BATCH]);
        let reactor = Self { epoll, wake, poller: Lock::new(buffer) };
        let events = libc::EPOLLIN as u32 | libc::EPOLLET as u32;
        match sys::epoll_ctl(epoll.number(), libc::EPOLL_CTL_ADD, wake.number(), events, WAKE) {
            Ok(_) => Ok(reactor),
            Err(number) => {
                reactor.close();
                Err(number)
            }
        }
    }

    /// Of a runtime that has not begun.
    pub(crate) fn close(&self) {
        self.epoll.close();
        self.wake.close();
    }

    pub(crate) fn epoll(&self) -> i32 {
        self.epoll.number()
    }

    /// Makes whoever sleeps in epoll return.
    pub(crate) fn interrupt(&self) {
        sys::eventfd_signal(self.wake.number());
    }

    /// Looks at epoll unless somebody else does: then false. Queues the fibers whose descriptors are
    /// ready.
    pub(crate) fn poll(&self, deadline: Option<u64>, worker: Option<&Worker>) -> bool {
        let Some(mut events) = self.poller.try_lock() else { return false };
        self.wait(&mut events, deadline, worker);
        true
    }

    /// Sleeps in epoll until `deadline`, unless somebody else does: then false. `stays` is asked before, and
    /// says whether nobody has woken the caller; `awake` is called as soon as the sleep is over.
    ///
    /// Who [interrupts](Self::interrupt) a sleeper that is on its way here makes one event. Whoever looks at epoll
    /// meanwhile takes it, for nobody: so the question comes when nobody else can look any more.
    pub(crate) fn poll_blocking(
        &self,
        deadline: Option<u64>,
        worker: Option<&Worker>,
        stays: impl FnOnce() -> bool,
        awake: impl FnOnce() -> bool,
    ) -> bool {
        let Some(mut events) = self.poller.try_lock() else { return false };
        let deadline = if stays() { deadline } else { Some(0) };
        let count = sys::epoll_wait(self.epoll(), &mut events.0, deadline).unwrap_or(0);
        awake();
        self.dispatch(&events.0[..count], worker);
        true
    }

    fn wait(&self, events: &mut Events, deadline: Option<u64>, worker: Option<&Worker>) {
        if let Some(worker) = worker {
            worker.counters.polled();
        }
        // No more than the worker's queue holds: the kernel keeps the rest, in order, for the next
        // look, where an overflow into the global queue would let others pass.
        let room = worker.map_or(BATCH, |worker| worker.room().clamp(16, BATCH));
        let count = sys::epoll_wait(self.epoll(), &mut events.0[..room], deadline).unwrap_or(0);
        self.dispatch(&events.0[..count], worker);
    }

    fn dispatch(&self, events: &[libc::epoll_event], worker: Option<&Worker>) {
        let mut wakes = Wakes::new(worker);
        for event in events {
            let (data, bits) = (event.u64, event.events);
            if data != WAKE {
                descriptor::ready(data, bits, &mut wakes);
            }
        }
    }
}
