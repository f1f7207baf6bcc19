//! Who runs next ([`sched`]), what wakes a fiber from outside ([`reactor`], [`timer`]) and from
//! inside ([`futex`]), and who watches ([`monitor`]).
//!
//! The runtime's own code calls no libc symbol that the crate above hooks, uses no thread-local but
//! [`timestop_fiber::current`], and allocates nothing once it has started.

/// What the model checker does not run: everything but the lock-free structures.
macro_rules! not_under_loom {
    ($($item:item)*) => { $( #[cfg(not(loom))] $item )* };
}

mod sync;

#[cfg(loom)]
#[allow(dead_code)] // the models use a part of each
mod sched {
    mod idle;
    mod owner;
    mod parker;
    mod run_queue;
    mod state;
}

not_under_loom! {
    mod clock;
    mod deadlock;
    mod fiber;
    pub mod fork;
    pub mod futex;
    mod monitor;
    pub mod overflow;
    pub mod own;
    pub mod reactor;
    mod sched;
    pub mod signal;
    mod snapshot;
    mod start;
    mod stats;
    pub mod sys;
    mod timer;
    mod wait;

    pub use deadlock::{Deadlock, outside_wait};
    pub use fiber::{FiberRef, Name, Reason, Runnable, Start, Task, USER_WORDS};
    pub use sched::{create, exit, launch, release, set_key_destructors, spawn, unpark, yield_now};
    pub use snapshot::{Snapshot, snapshots};
    pub use start::{
        Settings, carrier_thread_pointer, is_started, settings, start, start_on_this_thread,
    };
    pub use stats::{Stats, stats};
    pub use wait::{Outcome, set_asked, sleep_until, wait_until};
}
