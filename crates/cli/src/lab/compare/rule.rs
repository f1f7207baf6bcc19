//! When a difference between two cells counts.
//!
//! It counts if both of these hold:
//!
//! 1. The ranges do not overlap: every run of one is better than every run of the other.
//! 2. The medians differ by more than the threshold, which is the greatest of 5 % and the spreads of both (greatest run
//!    less least, in parts of the median); and at least 25 % where a side has fewer than three runs.
//!
//! Why both: if nothing changed, three runs a side still lie apart in one case of ten (2 of the 20 ways to deal six
//! runs into two hands), and a file has a hundred rows, so the first alone would cry wolf ten times. Runs that were
//! spread over 8 % say that the next median may well lie 8 % off: that is the second. 5 % is the floor since rows whose
//! runs agree to a percent within a minute differ by more from one hour to the next, on machines that others share and
//! after a change that only moved code. Fewer than three runs have no spread worth the name. Small changes are lost by
//! this; who looks for them takes more runs and reads the ratios, which are printed whatever the rule says.
//!
//! A cell that has a value now and failed before got better; the other way round it got worse, because what fails has
//! no figure to be level with. What only one file has is told of and counts for nothing: a lab of two rows compares
//! with a lab of all.

use crate::lab::noise::SPREAD;
use crate::lab::record::Record;

/// What is no change whatever the spread, in parts of the smaller median.
const FLOOR: f64 = 0.05;
/// The floor where there are too few runs to have a spread: they may lie as far apart as runs that nobody calls noisy, and
/// differ by the floor besides.
const FLOOR_OF_FEW: f64 = SPREAD + FLOOR;
/// From how many runs on there is a spread.
const ENOUGH: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Improved,
    Regressed,
    Unchanged,
    /// In the old file only.
    Missing,
    /// In the new file only.
    New,
}

impl Change {
    pub(crate) const ALL: [Change; 5] =
        [Change::Regressed, Change::Improved, Change::Unchanged, Change::Missing, Change::New];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Change::Improved => "improved",
            Change::Regressed => "regressed",
            Change::Unchanged => "unchanged",
            Change::Missing => "missing",
            Change::New => "new",
        }
    }
}

/// A cell in either file, or in one of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair<'a> {
    pub(crate) old: Option<&'a Record>,
    pub(crate) new: Option<&'a Record>,
}

/// Every cell of both files, in the order of the old one. A cell is the same if it measures the same, at
/// the same size, in the same unit.
pub(crate) fn pairs<'a>(old: &'a [Record], new: &'a [Record]) -> Vec<Pair<'a>> {
    let is_same = |one: &Record, other: &Record| {
        (&one.bench, &one.subject, &one.unit, one.better, one.smaller)
            == (&other.bench, &other.subject, &other.unit, other.better, other.smaller)
    };
    let before = old.iter().map(|record| Pair {
        old: Some(record),
        new: new.iter().find(|other| is_same(record, other)),
    });
    let only_now = new
        .iter()
        .filter(|record| !old.iter().any(|other| is_same(record, other)))
        .map(|record| Pair { old: None, new: Some(record) });
    before.chain(only_now).collect()
}

impl<'a> Pair<'a> {
    pub(crate) fn either(&self) -> &'a Record {
        self.old.or(self.new).expect("a pair has a side")
    }

    pub(crate) fn change(&self) -> Change {
        let (old, new) = match (self.old, self.new) {
            (Some(old), Some(new)) => (old, new),
            (Some(_), None) => return Change::Missing,
            (None, _) => return Change::New,
        };
        match (old.is_failure(), new.is_failure()) {
            (true, true) => Change::Unchanged,
            (true, false) => Change::Improved,
            (false, true) => Change::Regressed,
            (false, false) if !self.is_beyond_noise() => Change::Unchanged,
            (false, false) if new.beats(old) => Change::Improved,
            (false, false) => Change::Regressed,
        }
    }

    /// The median now, in parts of what it was.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let (old, new) = (self.old?.value?, self.new?.value?);
        (old != 0.0).then_some(new / old)
    }

    /// By what part the medians must differ at least.
    pub(crate) fn threshold(&self) -> Option<f64> {
        let (old, new) = (self.old?, self.new?);
        let few = old.runs.min(new.runs) < ENOUGH;
        let floor = if few { FLOOR_OF_FEW } else { FLOOR };
        Some(floor.max(spread(old)?).max(spread(new)?))
    }

    fn is_beyond_noise(&self) -> bool {
        let (Some(old), Some(new)) = (self.old, self.new) else { return false };
        let apart = old.beats(new) || new.beats(old);
        let difference = old.value.zip(new.value).map(|(old, new)| difference(old, new));
        apart && difference.zip(self.threshold()).is_some_and(|(by, least)| by > least)
    }

    /// What a reader should know who sees the change.
    pub(crate) fn remark(&self) -> String {
        let Some((old, new)) = self.old.zip(self.new) else { return String::new() };
        if new.is_failure() || old.is_failure() {
            let why = |record: &Record| record.error.clone();
            let [before, now] = [("before", why(old)), ("now", why(new))]
                .map(|(when, why)| why.map(|why| format!("{when}: {why}")));
            return [before, now].into_iter().flatten().collect::<Vec<_>>().join("; ");
        }
        let few = old.runs.min(new.runs);
        if few < ENOUGH {
            return format!(
                "{few} run{}: counts from {:.0} % on",
                if few == 1 { "" } else { "s" },
                FLOOR_OF_FEW * 100.0
            );
        }
        String::new()
    }
}

/// Greatest less least, in parts of the median; none of a cell that failed.
fn spread(record: &Record) -> Option<f64> {
    let ((min, max), value) = (record.range()?, record.value?);
    match max - min {
        0.0 => Some(0.0),
        width if value == 0.0 => Some(width * f64::INFINITY),
        width => Some(width / value.abs()),
    }
}

/// In parts of the smaller: the same whichever way it went.
fn difference(one: f64, other: f64) -> f64 {
    let smaller = one.abs().min(other.abs());
    match (one - other).abs() {
        0.0 => 0.0,
        difference => difference / smaller,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::record::made_up::{rate, record};

    fn change(old: &[f64], new: &[f64]) -> Change {
        let (old, new) = (record("a", None, old), record("a", None, new));
        Pair { old: Some(&old), new: Some(&new) }.change()
    }

    #[test]
    fn a_difference_beyond_the_spreads_counts_either_way() {
        assert_eq!(change(&[100.0, 101.0, 102.0], &[120.0, 121.0, 122.0]), Change::Regressed);
        assert_eq!(change(&[120.0, 121.0, 122.0], &[100.0, 101.0, 102.0]), Change::Improved);
        let (old, new) =
            (rate("a", None, &[100.0, 101.0, 102.0]), rate("a", None, &[90.0, 91.0, 92.0]));
        assert_eq!(Pair { old: Some(&old), new: Some(&new) }.change(), Change::Regressed);
        assert_eq!(Pair { old: Some(&new), new: Some(&old) }.change(), Change::Improved);
    }

    #[test]
    fn ranges_that_overlap_are_no_change() {
        assert_eq!(change(&[100.0, 101.0, 150.0], &[140.0, 141.0, 142.0]), Change::Unchanged);
    }

    #[test]
    fn less_than_five_percent_is_no_change() {
        assert_eq!(change(&[100.0, 100.1, 100.2], &[104.0, 104.1, 104.2]), Change::Unchanged);
        assert_eq!(change(&[100.0, 100.1, 100.2], &[106.0, 106.1, 106.2]), Change::Regressed);
    }

    #[test]
    fn less_than_a_spread_is_no_change() {
        // Apart, and 20 % of difference; but the old runs alone lie 25 % apart.
        assert_eq!(change(&[90.0, 100.0, 115.0], &[119.0, 120.0, 121.0]), Change::Unchanged);
        // The same of the new runs.
        assert_eq!(change(&[99.0, 100.0, 101.0], &[102.0, 120.0, 133.0]), Change::Unchanged);
    }

    #[test]
    fn few_runs_need_a_quarter() {
        assert_eq!(change(&[100.0], &[120.0]), Change::Unchanged);
        assert_eq!(change(&[100.0, 101.0, 102.0], &[130.0]), Change::Regressed);
        assert_eq!(change(&[130.0], &[100.0]), Change::Improved);
    }

    #[test]
    fn nothing_that_becomes_something_counts() {
        assert_eq!(change(&[0.0, 0.0, 0.0], &[1.0, 1.0, 1.0]), Change::Regressed);
        assert_eq!(change(&[0.0, 0.0, 0.0], &[0.0, 0.0, 0.0]), Change::Unchanged);
        assert_eq!(change(&[0.0, 0.0, 0.1], &[1.0, 1.0, 1.0]), Change::Unchanged);
    }

    #[test]
    fn failing_is_worse_and_working_again_better() {
        assert_eq!(change(&[1.0], &[]), Change::Regressed);
        assert_eq!(change(&[], &[1.0]), Change::Improved);
        assert_eq!(change(&[], &[]), Change::Unchanged);
    }

    #[test]
    fn cells_are_paired_by_what_they_measure() {
        let old = [record("a", Some(1), &[1.0]), record("b", Some(1), &[1.0])];
        let new = [rate("a", Some(1), &[1.0]), record("b", Some(1), &[1.0])];
        let changes: Vec<Change> = pairs(&old, &new).iter().map(Pair::change).collect();
        // Another unit is another thing.
        assert_eq!(changes, [Change::Missing, Change::Unchanged, Change::New]);
        assert_eq!(pairs(&old, &new)[1].ratio(), Some(1.0));
    }
}
