//! Runs the cells of a row, subjects in turn, and gathers what they told.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use super::child::{self, Failure};
use super::experiments::{Metric, Row, Subject};
use super::interrupt::Interrupt;
use super::measured::Measured;
use super::progress::Progress;
use super::stats::Sample;
use super::subject::Trial;

/// Longer than any run should take on a slow machine: what exceeds it hangs.
const LIMIT: Duration = Duration::from_secs(180);

/// One metric of one subject in one row: a line of the report.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) row: Row,
    pub(crate) metric: &'static Metric,
    pub(crate) subject: Subject,
    pub(crate) sample: Sample,
    /// Medians of what else the runs told. With the row's value only.
    pub(crate) also: BTreeMap<String, f64>,
    pub(crate) note: Option<String>,
    /// Of the last run that failed.
    pub(crate) error: Option<String>,
}

impl Cell {
    pub(crate) fn name(&self) -> String {
        self.row.metric_name(self.metric)
    }
}

#[derive(Debug)]
pub(crate) struct Runner {
    interrupt: Interrupt,
    runs: u32,
    subjects: BTreeSet<Subject>,
}

/// The runs of one subject so far.
#[derive(Debug, Default)]
struct Runs {
    told: Vec<Measured>,
    error: Option<String>,
}

impl Runner {
    pub(crate) fn new(interrupt: Interrupt, runs: u32, subjects: BTreeSet<Subject>) -> Self {
        Runner { interrupt, runs, subjects }
    }

    pub(crate) fn interrupted(&self) -> bool {
        self.interrupt.has_come()
    }

    /// The subjects of `row` that were asked for.
    pub(crate) fn subjects_of(&self, row: &Row) -> Vec<Subject> {
        row.subjects.iter().copied().filter(|subject| self.subjects.contains(subject)).collect()
    }

    /// Measures `row`; after Ctrl-C, what there is of it. A subject that was never run has no cell.
    pub(crate) fn measure(&self, row: &Row, progress: &Progress) -> io::Result<Vec<Cell>> {
        let subjects = self.subjects_of(row);
        let mut runs: Vec<Runs> = subjects.iter().map(|_| Runs::default()).collect();
        'interrupted: for run in 1..=self.runs {
            for (&subject, runs) in subjects.iter().zip(&mut runs) {
                let trial = Trial { row: row.clone(), subject };
                progress.begin(&trial, run, self.runs);
                let told = self.run(&trial)?;
                match &told {
                    Err(Failure::Interrupted) => break 'interrupted,
                    Ok(measured) => runs.told.push(measured.clone()),
                    Err(Failure::Broken(why)) => runs.error = Some(why.clone()),
                }
                progress.end(&trial, run, self.runs, &told);
            }
        }
        let measured = subjects.into_iter().zip(runs);
        Ok(measured.flat_map(|(subject, runs)| runs.into_cells(row, subject)).collect())
    }

    fn run(&self, trial: &Trial) -> io::Result<Result<Measured, Failure>> {
        let told = child::output(&mut trial.command(false)?, LIMIT, &self.interrupt);
        Ok(told.and_then(|text| text.parse().map_err(Failure::Broken)))
    }
}

impl Runs {
    fn into_cells(self, row: &Row, subject: Subject) -> Vec<Cell> {
        if self.told.is_empty() && self.error.is_none() {
            return Vec::new();
        }
        let metrics = row.experiment.metrics;
        let sample = |key: &str| -> Sample {
            self.told.iter().filter_map(|told| told.numbers.get(key).copied()).collect()
        };
        let keys: BTreeSet<&String> =
            self.told.iter().flat_map(|told| told.numbers.keys()).collect();
        let others =
            keys.into_iter().filter(|key| metrics.iter().all(|metric| metric.key != **key));
        let mut also: BTreeMap<String, f64> =
            others.filter_map(|key| Some((key.clone(), sample(key).median()?))).collect();
        let note = self.told.iter().find_map(|told| told.note.clone());
        // A run that failed failed for all its metrics, but is told of once.
        let metrics = if self.told.is_empty() { &metrics[..1] } else { metrics };
        let cell = |metric: &'static Metric| Cell {
            row: row.clone(),
            metric,
            subject,
            sample: sample(metric.key),
            also: std::mem::take(&mut also),
            note: note.clone(),
            error: self.error.clone(),
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

    #[test]
    fn every_metric_is_a_cell_and_the_rest_goes_with_the_first() {
        let told = |rate| Measured::new(rate).with("p50", 2.0).with("errors", 0.0);
        let runs = Runs { told: vec![told(1.0), told(3.0), told(2.0)], error: None };
        let cells = runs.into_cells(&row("echo/64"), Subject::Epoll);
        let medians: Vec<_> =
            cells.iter().map(|cell| (cell.name(), cell.sample.median())).collect();
        assert_eq!(medians[0], ("echo/64".to_owned(), Some(2.0)));
        assert_eq!(medians[1], ("echo_p50/64".to_owned(), Some(2.0)));
        assert_eq!(cells[0].also, BTreeMap::from([("errors".to_owned(), 0.0)]));
        assert!(cells[1].also.is_empty());
    }

    #[test]
    fn a_subject_that_always_failed_is_one_cell_and_one_never_run_is_none() {
        let failed = Runs { told: Vec::new(), error: Some("why".to_owned()) };
        let cells = failed.into_cells(&row("echo/64"), Subject::Epoll);
        assert_eq!(cells.len(), 1);
        assert_eq!(cells[0].sample.len(), 0);
        assert!(Runs::default().into_cells(&row("echo/64"), Subject::Epoll).is_empty());
    }
}
