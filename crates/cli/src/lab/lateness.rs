//! How late things were, when one is due again as soon as it has happened.
//!
//! Whoever was held up for 50 ms measures one lateness and not the forty-nine that would have followed, each a millisecond
//! shorter than the one before: the worse it is, the less is measured. That is *coordinated omission* (Gil Tene), and
//! what was omitted is put back here, as everybody does who compares schedulers.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::measured::Measured;

/// Kept in nanoseconds, to this many digits, up to this long.
const DIGITS: u8 = 3;
const LONGEST: Duration = Duration::from_secs(180);

pub(crate) struct Lateness {
    histogram: Histogram<u64>,
    /// One event each.
    interval: Duration,
    events: u64,
}

impl Lateness {
    pub(crate) fn of_every(interval: Duration) -> Self {
        let histogram = Histogram::new_with_bounds(1, nanoseconds(LONGEST), DIGITS);
        Self { histogram: histogram.expect("constant bounds"), interval, events: 0 }
    }

    /// One event, and those that it kept from happening.
    pub(crate) fn record(&mut self, late: Duration) {
        let late = nanoseconds(late.min(LONGEST)).max(1);
        let recorded = self.histogram.record_correct(late, nanoseconds(self.interval));
        recorded.expect("within the bounds");
        self.events += 1;
    }

    /// p99, p50 and the greatest, in milliseconds; and how many events were seen.
    pub(crate) fn measured(&self) -> Result<Measured, String> {
        if self.events == 0 {
            return Err("nothing happened within the window".to_owned());
        }
        let at = |quantile| self.histogram.value_at_quantile(quantile) as f64 / 1e6;
        Ok(Measured::new(at(0.99))
            .with("p50", at(0.5))
            .with("max", at(1.0))
            .with("events", self.events as f64))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stall_counts_as_all_that_it_kept_from_happening() {
        let mut lateness = Lateness::of_every(Duration::from_millis(1));
        (0..100).for_each(|_| lateness.record(Duration::from_micros(10)));
        lateness.record(Duration::from_millis(100));
        // 100 in time, 100 late by 1 to 100 ms: three quarters of the way is the middle of those.
        let at = lateness.histogram.value_at_quantile(0.75) as f64 / 1e6;
        assert!((45.0..55.0).contains(&at), "{at}");
        let measured = lateness.measured().expect("events");
        assert_eq!(measured.numbers["events"], 101.0);
        assert!((99.0..101.0).contains(&measured.numbers["max"]));
    }

    #[test]
    fn without_events_there_is_no_answer() {
        assert!(Lateness::of_every(Duration::from_millis(1)).measured().is_err());
    }
}
