//! Points in time.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use timestop_runtime::{Alarm, sys};

use super::foreign;

/// A point in time to wait for. Made by [`sleep`] and [`sleep_until`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Sleep {
    /// Monotonic nanoseconds.
    deadline: u64,
    alarm: Alarm,
}

/// Is ready when `duration` has passed since this call, or up to 33 µs later.
///
/// On any executor: the timer is the runtime's. Dropped, it is disarmed.
///
/// Cost: to arm and to disarm is to link into a list. 192 bytes.
pub fn sleep(duration: Duration) -> Sleep {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Sleep { deadline: sys::now().saturating_add(nanoseconds), alarm: Alarm::new() }
}

/// Is ready at a point in time: see [`sleep`].
pub fn sleep_until(at: Instant) -> Sleep {
    sleep(at.saturating_duration_since(Instant::now()))
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if sys::now() >= self.deadline {
            return Poll::Ready(());
        }
        let deadline = self.deadline;
        if deadline != u64::MAX {
            foreign::prepare(context);
            // SAFETY: pinned with what it is part of.
            let alarm = unsafe { self.map_unchecked_mut(|this| &mut this.alarm) };
            alarm.arm(deadline, context.waker());
        }
        Poll::Pending
    }
}

/// The time has passed before the future was ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time limit has passed")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

/// Waits for a future until `limit` has passed, and then drops it: that is how a future is cancelled, and it
/// has ended when this returns. A future that is ready at once is, whatever the limit.
///
/// A fiber is not ended by dropping: [`JoinFuture::wait_for`](super::JoinFuture::wait_for) cancels it and waits.
///
/// Source: `asyncio.wait_for` as of Python 3.12; tokio's `timeout`.
///
/// # Errors
///
/// [`Elapsed`].
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use timestop::future::{Elapsed, block_on, wait_for};
///
/// timestop::run(|| {
///     let never = std::future::pending::<()>();
///     assert_eq!(block_on(wait_for(Duration::from_millis(2), never)), Ok(Err(Elapsed)));
/// });
/// ```
pub async fn wait_for<F: IntoFuture>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future.into_future());
    let mut clock = pin!(sleep(limit));
    std::future::poll_fn(|context| {
        if let Poll::Ready(value) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(value));
        }
        clock.as_mut().poll(context).map(|()| Err(Elapsed))
    })
    .await
}
