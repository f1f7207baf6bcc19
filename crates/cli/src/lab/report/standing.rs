//! Where timestop stands in a row: the one judgement that the verdicts, the overview and the README are made from.
//!
//! Who is ahead is said by the runs, not by the medians alone: a subject *beats* another if every run of it is better
//! than every run of the other. The place of a subject is one more than the number of those that beat it, so that
//! several can be first. Rejected: a test of significance. With three runs a side none can say less than one in ten
//! (of the twenty ways to deal six runs into two hands, two keep the hands apart), and the overlap is what a reader sees
//! in the chart.

use super::results::Row;
use crate::lab::record::Record;

/// What a row says of timestop.
#[derive(Debug, Clone)]
pub(crate) enum Standing<'a> {
    /// No subject has a value.
    Nothing { ours: Option<&'a Record> },
    /// Nobody to compare with: the only one that was measured.
    Alone(&'a Record),
    /// Every other is beaten by some; `next` has the next best median.
    First { ours: &'a Record, next: &'a Record },
    /// Nobody beats it, nor `with`.
    Tied { ours: &'a Record, with: Vec<&'a Record>, next: Option<&'a Record> },
    /// `place` of `of`; `first` has the best median.
    Behind { ours: &'a Record, first: &'a Record, place: usize, of: usize },
    /// It has no value, others have.
    Failed { ours: &'a Record, first: &'a Record },
    /// It has not this row.
    Absent { leaders: Vec<&'a Record>, next: Option<&'a Record> },
}

impl<'a> Standing<'a> {
    pub(crate) fn of(row: &Row<'a>) -> Self {
        let measured = &row.measured;
        let ours = ours(row);
        let Some(&first) = measured.first() else { return Standing::Nothing { ours } };
        let ours = match ours {
            Some(ours) if ours.is_failure() => return Standing::Failed { ours, first },
            _ if measured.len() == 1 => return Standing::Alone(first),
            ours => ours,
        };
        let (leaders, others): (Vec<&Record>, Vec<&Record>) =
            measured.iter().partition(|record| place(row, record) == 1);
        let next = others.first().copied();
        let Some(ours) = ours else { return Standing::Absent { leaders, next } };
        let place = place(row, ours);
        if place > 1 {
            return Standing::Behind { ours, first, place, of: measured.len() };
        }
        let with: Vec<&Record> =
            leaders.into_iter().filter(|other| !std::ptr::eq(*other, ours)).collect();
        match (with.is_empty(), next) {
            (true, Some(next)) => Standing::First { ours, next },
            _ => Standing::Tied { ours, with, next },
        }
    }

    /// The record of timestop, whether or not it has a value.
    pub(crate) fn ours(&self) -> Option<&'a Record> {
        match self {
            Standing::Alone(record) => is_ours(&record.subject).then_some(*record),
            Standing::First { ours, .. }
            | Standing::Tied { ours, .. }
            | Standing::Behind { ours, .. }
            | Standing::Failed { ours, .. } => Some(ours),
            Standing::Nothing { ours } => *ours,
            Standing::Absent { .. } => None,
        }
    }

    /// The best of the others.
    pub(crate) fn rival(&self) -> Option<&'a Record> {
        match self {
            Standing::First { next, .. } => Some(next),
            Standing::Tied { with, .. } => with.first().copied(),
            Standing::Behind { first, .. } | Standing::Failed { first, .. } => Some(first),
            Standing::Absent { leaders, .. } => leaders.first().copied(),
            Standing::Alone(record) => (!is_ours(&record.subject)).then_some(*record),
            Standing::Nothing { .. } => None,
        }
    }
}

/// One more than the number of those that beat it.
fn place(row: &Row, record: &Record) -> usize {
    1 + row.measured.iter().filter(|other| other.beats(record)).count()
}

/// Is this subject timestop, by either door?
pub(crate) fn is_ours(subject: &str) -> bool {
    let word = subject.split(['-', '_', ' ']).next();
    matches!(word, Some("timestop" | "run"))
}

/// The crate's record if the row has one, else that of a program under `run`; of several the best.
fn ours<'a>(row: &Row<'a>) -> Option<&'a Record> {
    let cells = || row.measured.iter().chain(&row.failed).copied();
    let named = |name: &str| cells().find(|record| record.subject == name);
    let any = || cells().find(|record| is_ours(&record.subject));
    named("timestop").or_else(|| named("run")).or_else(any)
}

/// How many times better `better` is than `worse`, by their medians; none where one of them is nothing.
pub(crate) fn factor(better: &Record, worse: &Record) -> Option<f64> {
    let (one, other) = (better.value?, worse.value?);
    let factor = if one > other { one / other } else { other / one };
    (one > 0.0 && other > 0.0).then_some(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::record::made_up::{rate, record};

    fn standing(cells: &[Record]) -> Standing<'_> {
        Standing::of(&Row::new("echo", cells.iter().collect()))
    }

    #[test]
    fn a_clear_win() {
        let cells = [record("timestop", None, &[1.0, 1.1, 1.2]), record("go", None, &[2.0, 2.2])];
        let Standing::First { ours, next } = standing(&cells) else { panic!("{cells:?}") };
        assert_eq!((ours.subject.as_str(), next.subject.as_str()), ("timestop", "go"));
        assert_eq!(factor(ours, next), Some(2.0));
    }

    #[test]
    fn overlapping_runs_are_a_tie_whoever_has_the_better_median() {
        for (ours, others) in
            [([1.0, 2.0, 3.0], [2.5, 4.0, 5.0]), ([2.5, 4.0, 5.0], [1.0, 2.0, 3.0])]
        {
            let cells = [
                record("timestop", None, &ours),
                record("go", None, &others),
                record("slow", None, &[9.0]),
            ];
            let Standing::Tied { with, next, .. } = standing(&cells) else { panic!("{cells:?}") };
            assert_eq!(with[0].subject, "go");
            assert_eq!(next.map(|next| next.subject.as_str()), Some("slow"));
        }
    }

    #[test]
    fn a_loss_counts_only_those_that_beat_us() {
        let cells = [
            rate("timestop", None, &[50.0, 55.0, 60.0]),
            rate("epoll", None, &[100.0, 110.0]),
            rate("go", None, &[58.0, 70.0, 71.0]),
            rate("slow", None, &[1.0]),
        ];
        let Standing::Behind { first, place, of, .. } = standing(&cells) else { panic!() };
        assert_eq!((first.subject.as_str(), place, of), ("epoll", 2, 4));
    }

    #[test]
    fn failing_and_being_absent_are_told_apart() {
        let cells = [record("timestop", None, &[]), record("go", None, &[1.0])];
        assert!(matches!(standing(&cells), Standing::Failed { .. }));
        assert!(matches!(standing(&cells[..1]), Standing::Nothing { ours: Some(_) }));
        assert!(matches!(standing(&cells[1..]), Standing::Alone(_)));
        let cells = [record("plain", None, &[2.0]), record("go", None, &[1.0])];
        let Standing::Absent { leaders, next } = standing(&cells) else { panic!() };
        assert_eq!((leaders[0].subject.as_str(), next.is_some()), ("go", true));
    }

    #[test]
    fn a_program_under_run_is_ours_where_the_crate_has_no_row() {
        let cells = [record("run", None, &[1.0]), record("plain", None, &[2.0])];
        assert!(matches!(standing(&cells), Standing::First { ours, .. } if ours.subject == "run"));
        assert!(is_ours("run-python") && !is_ours("runtime") && !is_ours("go"));
    }

    #[test]
    fn there_is_no_factor_of_nothing() {
        assert_eq!(factor(&record("a", None, &[0.0]), &record("b", None, &[1.0])), None);
    }
}
