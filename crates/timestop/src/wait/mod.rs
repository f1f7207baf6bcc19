//! Waiting for others: what [`channel`](crate::channel), [`queue`](crate::queue) and [`sync`](crate::sync)
//! stand on.
//!
//! Who waits stands in a queue with a place on its own stack ([`waiter`]) and sleeps ([`sleeper`]). Whoever
//! serves it takes the place out of the queue, moves a value into it or out of it, says so and wakes it: who
//! was served does not look again. A wait that its fiber ends takes the place out itself. Both happen under
//! the lock of the queue, of which there are two kinds:
//!
//! - the channels' ([`lock`]): held for nanoseconds, its waiters spin, nothing of others runs under it;
//! - a [`Mutex`](held::Mutex), std's: its waiters sleep, so code of others may run under it, which may take
//!   long, suspend or panic.

pub(crate) mod held;
pub(crate) mod list;
#[cfg(not(loom))]
pub(crate) mod lock;
#[cfg(not(loom))]
pub(crate) mod sleeper;
pub(crate) mod sync;
#[cfg(not(loom))]
pub(crate) mod time;
pub(crate) mod waiter;
