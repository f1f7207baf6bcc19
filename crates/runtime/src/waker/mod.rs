//! Wakers of futures: how the runtime wakes who polls, be it a fiber in `block_on` or a task of anybody's
//! executor.
//!
//! - [`call`]: what a fiber that polls sleeps on. Its waker is the address of its record and nothing else:
//!   to clone it is to copy a pointer, to wake is an exchange on one word. Records are never unmapped, so a
//!   waker may be kept for ever: once its fiber has ended it wakes nobody, or makes who has the record by
//!   then poll once for nothing.
//! - [`bell`]: wakers of others are code of others, which may allocate, lock and panic. The runtime calls
//!   none: it puts them in a list, and a fiber calls them.
//! - [`watched`]: an event that comes once.
//!
//! *Rejected*: to call others' wakers where the event is found (on a carrier's loop, under which no fiber
//! can be suspended: a waker that takes a lock would wait for a fiber that only this loop could run); a
//! counted allocation for each waker.

pub mod call;
pub mod watched;

#[cfg(not(loom))]
pub mod bell;
#[cfg(not(loom))]
mod target;

#[cfg(not(loom))]
pub(crate) use target::{Target, summon_tagged};
#[cfg(not(loom))]
pub use target::{Watcher, come, is_ours, of_fiber};
