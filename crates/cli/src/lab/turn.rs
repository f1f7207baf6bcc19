//! What became of one subject in one row: its runs as they come, and in the end the cells that are made of them, one a
//! metric.
//!
//! A cell has a value or says why it has none. What a run prints beside the metrics of its experiment goes with the first
//! of them, so that nothing that was measured is lost, and nothing is a row that no experiment has named.

use std::collections::{BTreeMap, BTreeSet};

use super::experiments::{Metric, Row, Subject};
use super::measured::Measured;
use super::noise::{Disturbance, is_spread};
use super::stats::Sample;
use super::subject::Trial;

/// One metric of one subject in one row: a line of the report.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) row: Row,
    pub(crate) metric: &'static Metric,
    pub(crate) subject: Subject,
    pub(crate) sample: Sample,
    /// The size, if it is less than the row says.
    pub(crate) smaller: Option<usize>,
    pub(crate) noisy: bool,
    /// Medians of what else the runs told. With the row's value only.
    pub(crate) also: BTreeMap<String, f64>,
    pub(crate) note: Option<String>,
    /// Of the last run that failed, or why there was none.
    pub(crate) error: Option<String>,
    /// Nobody asked for this subject by name, so that it is missing is no failure of the lab.
    pub(crate) is_excused: bool,
}

impl Cell {
    pub(crate) fn name(&self) -> String {
        self.row.metric_name(self.metric)
    }

    pub(crate) fn is_failure(&self) -> bool {
        self.sample.len() == 0 && !self.is_excused
    }
}

/// One subject's part in a row.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) trial: Trial,
    /// None: it is not run.
    pub(super) runs: Option<Runs>,
    pub(super) is_given_up: bool,
    pub(super) is_excused: bool,
    pub(super) notes: Vec<String>,
    pub(super) error: Option<String>,
}

/// The runs so far.
#[derive(Debug, Default)]
pub(super) struct Runs {
    pub(super) told: Vec<Measured>,
    pub(super) disturbance: Disturbance,
}

impl Turn {
    pub(super) fn into_cells(self, row: &Row) -> Vec<Cell> {
        let Runs { told, disturbance } = self.runs.unwrap_or_default();
        if told.is_empty() && self.error.is_none() {
            return Vec::new();
        }
        let full = row.amount().unwrap_or_default();
        let smaller = self.trial.amount.filter(|amount| *amount < full);
        let metrics = row.experiment.metrics;
        let sample = |key: &str| -> Sample {
            told.iter().filter_map(|told| told.numbers.get(key).copied()).collect()
        };
        let keys: BTreeSet<&String> = told.iter().flat_map(|told| told.numbers.keys()).collect();
        let others =
            keys.into_iter().filter(|key| metrics.iter().all(|metric| metric.key != **key));
        let mut also: BTreeMap<String, f64> =
            others.filter_map(|key| Some((key.clone(), sample(key).median()?))).collect();
        let mut notes = self.notes;
        notes.extend(told.iter().find_map(|told| told.note.clone()));
        notes.extend(disturbance.words());
        let note = (!notes.is_empty()).then(|| notes.join("; "));
        // A run that failed failed for all its metrics, but is told of once.
        let metrics = if told.is_empty() { &metrics[..1] } else { metrics };
        let cell = |metric: &'static Metric| {
            let sample = sample(metric.key);
            let range = sample.median().zip(sample.min()).zip(sample.max());
            let is_spread = range.is_some_and(|((median, min), max)| is_spread(median, min, max));
            let unsaid = || format!("it printed no {}", metric.key);
            Cell {
                row: row.clone(),
                metric,
                subject: self.trial.subject,
                smaller,
                noisy: is_spread || disturbance.words().is_some(),
                also: std::mem::take(&mut also),
                note: note.clone(),
                error: self.error.clone().or_else(|| (sample.len() == 0).then(unsaid)),
                is_excused: self.is_excused,
                sample,
            }
        };
        metrics.iter().map(cell).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str) -> Row {
        Row::all(false).find(|row| row.name() == name).expect("a known row")
    }

    fn turn(told: Vec<Measured>, error: Option<&str>) -> Turn {
        Turn {
            trial: Trial {
                row: row("echo/64"),
                subject: Subject::Epoll,
                amount: None,
                workers: None,
            },
            runs: Some(Runs { told, disturbance: Disturbance::default() }),
            is_given_up: false,
            is_excused: false,
            notes: Vec::new(),
            error: error.map(str::to_owned),
        }
    }

    fn told(rate: f64) -> Measured {
        let numbers = [("p50", 2.0), ("p99", 3.0), ("cpu", 1.0), ("errors", 0.0)];
        numbers.into_iter().fold(Measured::new(rate), |told, (key, number)| told.with(key, number))
    }

    #[test]
    fn every_metric_is_a_cell_and_the_rest_goes_with_the_first() {
        let turn = turn(vec![told(1.0), told(3.0), told(2.0)], None);
        let cells = turn.into_cells(&row("echo/64"));
        let medians: Vec<_> =
            cells.iter().map(|cell| (cell.name(), cell.sample.median())).collect();
        assert_eq!(medians[0], ("echo/64".to_owned(), Some(2.0)));
        assert_eq!(medians[1], ("echo_p50/64".to_owned(), Some(2.0)));
        assert_eq!(cells[0].also, BTreeMap::from([("errors".to_owned(), 0.0)]));
        assert!(cells[1].also.is_empty());
    }

    #[test]
    fn a_cell_of_a_smaller_size_says_of_which() {
        for (amount, smaller) in [(100_000, Some(100_000)), (1_000_000, None)] {
            let mut turn = turn(vec![Measured::new(1.0)], None);
            turn.trial.amount = Some(amount);
            assert_eq!(turn.into_cells(&row("skynet/1000000"))[0].smaller, smaller);
        }
    }

    #[test]
    fn runs_that_lie_apart_are_noisy_by_metric() {
        let cells = turn(vec![told(1.0), told(3.0)], None).into_cells(&row("echo/64"));
        let noisy: Vec<_> = cells.iter().map(|cell| cell.noisy).collect();
        assert_eq!(noisy, [true, false, false, false]);
    }

    #[test]
    fn a_metric_that_was_not_printed_is_not_blank() {
        let cells = turn(vec![Measured::new(1.0)], None).into_cells(&row("echo/64"));
        assert_eq!(cells[0].error, None);
        assert_eq!(cells[1].error.as_deref(), Some("it printed no p50"));
        assert!(cells[1].is_failure());
    }

    #[test]
    fn a_subject_that_always_failed_is_one_cell_and_one_never_run_is_none() {
        let cells = turn(Vec::new(), Some("why")).into_cells(&row("echo/64"));
        assert_eq!(cells.len(), 1);
        assert!(cells[0].is_failure());
        assert!(turn(Vec::new(), None).into_cells(&row("echo/64")).is_empty());
    }
}
