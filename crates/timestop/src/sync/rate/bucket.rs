//! A bucket of tokens, without a clock: whoever asks says what time it is.
//!
//! All is counted in whole numbers: time in nanoseconds, tokens in parts of which the rate adds a whole number
//! each nanosecond. A rate of 3 a second adds 3 parts a nanosecond, of which 10⁹ are a token. So nothing is
//! rounded away, however often the bucket is asked: it does not drift.
//!
//! A bucket can owe tokens: those that were promised for later. The next promise is for when the debt is paid
//! and so many more have come, so promises come true in the order in which they were made.
//!
//! Source: Go's `golang.org/x/time/rate`, which counts in floating point.

use std::time::Duration;

/// How many tokens in how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// `u32::MAX` in no time: any number.
    tokens: u32,
    /// Nanoseconds.
    period: u64,
}

impl Rate {
    /// Any number of tokens at any time. Source: Go's `rate.Inf`.
    pub const INFINITE: Self = Self { tokens: u32::MAX, period: 0 };
    /// No tokens but those that are there.
    pub const ZERO: Self = Self { tokens: 0, period: 1 };

    /// So many tokens each `period`, one after the other.
    ///
    /// # Panics
    ///
    /// If the period is 0 or longer than 584 years.
    #[must_use]
    pub const fn new(tokens: u32, period: Duration) -> Self {
        let nanoseconds = period.as_nanos();
        assert!(nanoseconds > 0, "timestop::sync::Rate: a period of 0; see Rate::INFINITE");
        assert!(nanoseconds <= u64::MAX as u128, "timestop::sync::Rate: a period of 584 years");
        Self { tokens, period: nanoseconds as u64 }
    }

    /// So many tokens a second.
    #[must_use]
    pub const fn per_second(tokens: u32) -> Self {
        Self::new(tokens, Duration::from_secs(1))
    }

    /// A token each `period`. Source: Go's `rate.Every`.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    #[must_use]
    pub const fn every(period: Duration) -> Self {
        Self::new(1, period)
    }

    /// Whether it is [`INFINITE`](Self::INFINITE).
    #[must_use]
    pub const fn is_infinite(self) -> bool {
        self.period == 0
    }

    /// Parts of `count` tokens.
    fn parts(self, count: u32) -> i128 {
        i128::from(count) * i128::from(self.period)
    }

    /// Parts that come in so many nanoseconds.
    fn in_time(self, nanoseconds: u64) -> i128 {
        i128::from(nanoseconds) * i128::from(self.tokens)
    }

    /// Nanoseconds in which so many parts come, rounded up; `None` for never.
    fn time_for(self, parts: i128) -> Option<u64> {
        if parts <= 0 {
            return Some(0);
        }
        let tokens = u128::from(self.tokens);
        (tokens != 0)
            .then(|| (parts as u128).div_ceil(tokens))
            .and_then(|nanoseconds| u64::try_from(nanoseconds).ok())
    }

    /// Parts of another rate, in those of this one.
    fn convert(self, parts: i128, other: Self) -> i128 {
        if self.period == other.period {
            return parts;
        }
        let (from, to) = (i128::from(other.period.max(1)), i128::from(self.period));
        // In two steps, neither of which overflows.
        parts.div_euclid(from) * to + (parts.rem_euclid(from) as u128 * to as u128 / from as u128) as i128
    }
}

/// A bucket of tokens.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    rate: Rate,
    burst: u32,
    /// In parts, at the time `last`; below 0 for a debt.
    level: i128,
    last: u64,
    /// The latest time for which something was promised.
    latest: u64,
}

/// A promise of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Promise {
    pub(super) count: u32,
    /// When they may be used.
    pub(super) at: u64,
    /// The rate that this was reckoned with.
    rate: Rate,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(rate: Rate, burst: u32, now: u64) -> Self {
        Self { rate, burst, level: rate.parts(burst), last: now, latest: now }
    }

    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    pub(super) fn burst(&self) -> u32 {
        self.burst
    }

    /// Parts that there are now. A clock that has gone back counts as one that stands.
    fn level(&self, now: u64) -> i128 {
        if self.rate.is_infinite() {
            return 0;
        }
        let came = self.rate.in_time(now.saturating_sub(self.last));
        (self.level + came).min(self.rate.parts(self.burst))
    }

    /// Tokens that there are now, rounded down; below 0 for a debt.
    pub(super) fn tokens(&self, now: u64) -> i64 {
        if self.rate.is_infinite() {
            return i64::from(self.burst);
        }
        i64::try_from(self.level(now).div_euclid(i128::from(self.rate.period))).unwrap_or(i64::MIN)
    }

    fn advance(&mut self, now: u64) {
        self.level = self.level(now);
        self.last = now;
    }

    /// Promises so many tokens for a time at most `patience` from now; else changes nothing.
    pub(super) fn reserve(&mut self, count: u32, now: u64, patience: u64) -> Option<Promise> {
        let rate = self.rate;
        if rate.is_infinite() {
            return Some(Promise { count, at: now, rate });
        }
        let level = self.level(now) - rate.parts(count);
        let wait = rate.time_for(-level)?;
        let at = now.checked_add(wait)?;
        if count > self.burst || wait > patience {
            return None;
        }
        self.level = level;
        self.last = now;
        self.latest = at;
        Some(Promise { count, at, rate })
    }

    /// Whether so many could ever be promised.
    pub(super) fn may_promise(&self, count: u32, now: u64) -> bool {
        self.clone().reserve(count, now, u64::MAX).is_some()
    }

    /// Takes a promise back before its time. What was promised to others for later stays promised for then:
    /// so many tokens do not come back.
    pub(super) fn cancel(&mut self, promise: Promise, now: u64) {
        let Promise { count, at, rate } = promise;
        if self.rate.is_infinite() || rate.is_infinite() || count == 0 || at < now {
            return;
        }
        let later = rate.in_time(self.latest.saturating_sub(at));
        let back = rate.parts(count) - later;
        if back <= 0 {
            return;
        }
        self.advance(now);
        let full = self.rate.parts(self.burst);
        self.level = (self.level + self.rate.convert(back, rate)).min(full);
        if at == self.latest {
            // It was the last: the one before it is now.
            let before = rate.time_for(rate.parts(count)).map_or(0, |time| at.saturating_sub(time));
            if before >= now {
                self.latest = before;
            }
        }
    }

    /// Changes the rate from now on. What was promised stays so.
    pub(super) fn set_rate(&mut self, rate: Rate, now: u64) {
        if self.rate.is_infinite() {
            self.level = rate.parts(self.burst);
            self.last = now;
        } else {
            self.advance(now);
            self.level = rate.convert(self.level, self.rate);
        }
        self.rate = rate;
    }

    /// Changes how many tokens the bucket holds.
    pub(super) fn set_burst(&mut self, burst: u32, now: u64) {
        self.advance(now);
        self.burst = burst;
    }
}
