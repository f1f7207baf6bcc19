//! No more than so often.

mod bucket;
#[cfg(test)]
mod golang;

use std::error::Error;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use timestop_runtime::{FiberRef, sys};

use crate::wait::sleeper::{Sleeper, interrupted};
use crate::wait::sync::{AtomicU32, For, Interrupted, Limit};
use crate::wait::time;

pub use bucket::Rate;
use bucket::{Bucket, Promise};

/// Lets so much through in so much time: a bucket that holds `burst` tokens, is full at first, and gets new
/// ones at a steady rate. Who needs one waits for it.
///
/// In Go you write
///
/// ```go
/// limiter := rate.NewLimiter(rate.Every(100*time.Millisecond), 5)
/// if err := limiter.Wait(ctx); err != nil { return err }
/// ```
///
/// Here you write
///
/// ```
/// use std::time::Duration;
/// use timestop::sync::{Rate, RateLimiter};
///
/// let limiter = RateLimiter::new(Rate::every(Duration::from_millis(100)), 5);
/// limiter.acquire(1).unwrap();
/// assert!(limiter.try_acquire(4));
/// assert!(!limiter.try_acquire(1));
/// ```
///
/// **In turn.** Who waits has its tokens promised for a time, and the next who comes is promised a later one.
/// **No drift.** Times are reckoned from when tokens came, not from when someone woke up, and in whole
/// numbers. **Cancelling** ends a wait, and gives the tokens back.
///
/// Cost: a lock and a few divisions; where it waits, a timer.
///
/// Source: Go's `golang.org/x/time/rate`.
pub struct RateLimiter(Mutex<Bucket>);

/// Tokens that were promised for a time.
///
/// Source: Go's `Reservation`.
#[derive(Debug)]
#[must_use = "the tokens are promised until `cancel`"]
pub struct Reservation<'limiter> {
    limiter: &'limiter RateLimiter,
    promise: Promise,
}

/// Why there are no tokens. None were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AcquireError {
    /// There will never be so many: they are more than the burst, or the rate is zero.
    Never,
    /// Not within the time that the call has set, or the [fiber](crate::timeout) has. This is known and said
    /// at once.
    Timeout,
    /// The fiber was [cancelled](crate::JoinHandle::cancel).
    Cancelled,
}

impl RateLimiter {
    /// A limiter with a full bucket of `burst` tokens.
    #[must_use]
    pub fn new(rate: Rate, burst: u32) -> Self {
        Self(Mutex::new(Bucket::new(rate, burst, sys::now())))
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `count` tokens, if they are there and nobody waits for them.
    #[doc(alias = "allow")]
    pub fn try_acquire(&self, count: u32) -> bool {
        self.bucket().reserve(count, sys::now(), 0).is_some()
    }

    /// Takes `count` tokens; waits until they are there.
    ///
    /// # Errors
    ///
    /// There will never be so many, or not within the fiber's time limit, or it is cancelled.
    #[doc(alias = "wait")]
    pub fn acquire(&self, count: u32) -> Result<(), AcquireError> {
        self.acquire_within(count, u64::MAX)
    }

    /// As [`acquire`](Self::acquire), if that takes so long at most.
    ///
    /// # Errors
    ///
    /// As `acquire`; and it would take longer, which is said at once.
    pub fn acquire_timeout(&self, count: u32, limit: Duration) -> Result<(), AcquireError> {
        self.acquire_within(count, time::nanoseconds(limit))
    }

    fn acquire_within(&self, count: u32, patience: u64) -> Result<(), AcquireError> {
        if let Some(why) = interrupted() {
            return Err(why.into());
        }
        let now = sys::now();
        let own = FiberRef::current().map_or(u64::MAX, FiberRef::deadline);
        let patience = patience.min(own.saturating_sub(now));
        let promise = {
            let mut bucket = self.bucket();
            let promise = bucket.reserve(count, now, patience);
            promise.ok_or_else(|| match bucket.may_promise(count, now) {
                true => AcquireError::Timeout,
                false => AcquireError::Never,
            })?
        };
        let reservation = Reservation { limiter: self, promise };
        let sleeper = Sleeper::current();
        while sys::now() < promise.at {
            // Nobody changes the word: only time ends the sleep, or the fiber's end.
            let what = (For::Time, 0);
            sleeper.sleep(&AtomicU32::new(0), 1, what, Limit::until(promise.at));
            if let Some(why) = interrupted()
                && sys::now() < promise.at
            {
                reservation.cancel();
                return Err(why.into());
            }
        }
        Ok(())
    }

    /// Promises `count` tokens, and says from when on they may be used; the caller waits as it likes.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Never`].
    pub fn reserve(&self, count: u32) -> Result<Reservation<'_>, AcquireError> {
        let promise = self.bucket().reserve(count, sys::now(), u64::MAX);
        let promise = promise.ok_or(AcquireError::Never)?;
        Ok(Reservation { limiter: self, promise })
    }

    /// How many tokens there are; below 0 if some are promised that have yet to come.
    #[must_use]
    pub fn tokens(&self) -> i64 {
        self.bucket().tokens(sys::now())
    }

    /// The rate.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.bucket().rate()
    }

    /// How many tokens it holds.
    #[must_use]
    pub fn burst(&self) -> u32 {
        self.bucket().burst()
    }

    /// Changes the rate from now on. Who waits already waits as long as it would have.
    pub fn set_rate(&self, rate: Rate) {
        self.bucket().set_rate(rate, sys::now());
    }

    /// Changes how many tokens it holds.
    pub fn set_burst(&self, burst: u32) {
        self.bucket().set_burst(burst, sys::now());
    }
}

impl Reservation<'_> {
    /// How long to wait before the tokens may be used.
    #[must_use]
    pub fn delay(&self) -> Duration {
        Duration::from_nanos(self.promise.at.saturating_sub(sys::now()))
    }

    /// How many tokens.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.promise.count
    }

    /// Gives the tokens back, if their time has not come; all but as many as were promised to others for
    /// later, whose time stays.
    pub fn cancel(self) {
        self.limiter.bucket().cancel(self.promise, sys::now());
    }
}

impl From<Interrupted> for AcquireError {
    fn from(why: Interrupted) -> Self {
        match why {
            Interrupted::Cancelled => Self::Cancelled,
            Interrupted::TimedOut => Self::Timeout,
        }
    }
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "acquiring more tokens than there will ever be",
            Self::Timeout => "acquiring tokens: not within the time limit",
            Self::Cancelled => "acquiring tokens: the fiber was cancelled",
        })
    }
}

impl Error for AcquireError {}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bucket = self.bucket();
        write!(f, "RateLimiter({:?}, burst {})", bucket.rate(), bucket.burst())
    }
}
