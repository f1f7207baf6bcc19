//! Who runs next ([`sched`]), what wakes a fiber from outside ([`reactor`], [`timer`]) and from
//! inside ([`futex`]), who watches ([`monitor`]), and how a fiber that computes is interrupted
//! ([`preempt`]).
//!
//! The runtime's own code calls no libc symbol that the crate above hooks, uses no thread-local but
//! [`timestop_fiber::current`], and allocates nothing once it has started.

/// What the model checker does not run: everything but the lock-free structures.
macro_rules! not_under_loom {
    ($($item:item)*) => { $( #[cfg(not(loom))] $item )* };
}

pub mod ending;
mod sync;
pub mod waker;
#[cfg(loom)]
#[allow(dead_code)]
mod trace {
    mod ring;
}

#[cfg(loom)]
#[allow(dead_code)] // the models use a part of each
mod sched {
    #[cfg(test)]
    mod hand_off_model;
    mod idle;
    mod lease;
    mod owner;
    mod parker;
    mod run_queue;
    mod spare_list;
    mod state;
}

not_under_loom! {
    pub mod action;
    mod clock;
    mod deadlock;
    mod debugger;
    mod fiber;
    pub mod fork;
    pub mod futex;
    pub mod housekeeper;
    mod monitor;
    mod offload;
    pub mod overflow;
    pub mod own;
    pub mod preempt;
    pub mod reactor;
    pub mod report;
    mod sched;
    pub mod signal;
    pub mod sites;
    mod snapshot;
    mod start;
    mod stats;
    pub mod sys;
    mod timer;
    pub mod trace;
    mod wait;

    pub use deadlock::{Deadlock, outside_wait, set_own_signal};
    pub use offload::{Pending, offload};
    pub use fiber::{FiberRef, Name, Priority, Reason, Runnable, Start, Task, USER_WORDS};
    pub use sched::{
        create, exit, launch, release, set_key_destructors, spawn, take_turns, unpark, yield_now,
    };
    pub use sched::spare::{NoCarrier, retire};
    pub use snapshot::{Snapshot, Suspended, snapshots, stack_around};
    pub use start::{
        Settings, carrier_thread_pointer, is_started, prepare_stacks, settings, start,
        start_on_this_thread,
    };
    pub use stats::{Refusals, Stats, stats};
    pub use timestop_fiber::current::undisturbed;
    pub use timer::Alarm;
    pub(crate) use wait::wait_listed;
    pub use wait::{Outcome, set_asked, sleep_until, wait_until};
}
