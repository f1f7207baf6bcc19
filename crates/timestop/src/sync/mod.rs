//! Working together: [`WaitGroup`], [`group`], [`Context`], [`SingleFlight`] and [`RateLimiter`], as Go has
//! them, between fibers and OS threads in any mixture. For locks and conditions there is [`std::sync`].
//!
//! | Go | here |
//! |---|---|
//! | `sync.WaitGroup` | [`WaitGroup`] |
//! | `errgroup.Group`, `WithContext`, `SetLimit` | [`group`], [`group_within`], [`Group::set_limit`] |
//! | `context.Context`, `WithCancel`, `WithTimeout`, `WithCancelCause` | [`Context`], [`Cancel`] |
//! | `singleflight.Group` | [`SingleFlight`] |
//! | `rate.Limiter` | [`RateLimiter`] |
//!
//! Waits end when the fiber is [cancelled](crate::JoinHandle::cancel) or past its
//! [time limit](crate::timeout), with an error; but for those of a [`group`], which ends when its fibers
//! have. How they are made: `docs/sync.md`.

mod context;
mod group;
mod rate;
mod single_flight;
mod wait_group;

pub use crate::wait::sync::Interrupted;
pub use context::{Cancel, Cause, Context, ContextError};
pub use group::{Group, group, group_within};
pub use rate::{AcquireError, Rate, RateLimiter, Reservation};
pub use single_flight::{Answer, SingleFlight};
pub use wait_group::WaitGroup;
