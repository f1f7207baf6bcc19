//! Points in time, as the runtime counts them: monotonic nanoseconds.

use std::time::{Duration, Instant};

use timestop_runtime::sys;

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A point in time.
pub(crate) fn from_now(wait: Duration) -> u64 {
    sys::now().saturating_add(nanoseconds(wait))
}

/// The same of an instant; now for one that is past.
pub(crate) fn point(instant: Instant) -> u64 {
    from_now(instant.saturating_duration_since(Instant::now()))
}
