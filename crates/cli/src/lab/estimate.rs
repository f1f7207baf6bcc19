//! How long a lab will take, before it begins: what is said first, and what `--dry-run` shows row by row.
//!
//! It adds up what a typical run of each experiment takes (`Experiment::seconds`: what one took on two cores, or what its windows and set-ups add up to),
//! over the cells that will be run as things are: a subject that is not built takes no time. A run that fails is tried
//! at smaller sizes, and one that hangs lasts to its limit: neither is reckoned with.

use std::fmt;
use std::time::Duration;

use super::experiments::{Amount, Row};
use super::runner::Runner;

#[derive(Debug)]
pub(crate) struct Estimate {
    pub(crate) rows: Vec<OfRow>,
    /// Of each cell.
    runs: u32,
}

#[derive(Debug)]
pub(crate) struct OfRow {
    pub(crate) name: String,
    /// Those that will be run.
    pub(crate) cells: usize,
    /// Of each cell, those included that find out how many rounds fill the time.
    pub(crate) runs: u32,
    pub(crate) each: Duration,
}

impl OfRow {
    pub(crate) fn time(&self) -> Duration {
        self.each * self.runs * self.cells as u32
    }
}

impl Estimate {
    pub(crate) fn of(rows: &[Row], runner: &Runner) -> Self {
        let of_row = |row: &Row| {
            let is_run = |subject: &&_| runner.is_run(row, **subject);
            let (full, quick) = row.experiment.seconds;
            OfRow {
                name: row.name(),
                cells: row.subjects.iter().filter(is_run).count(),
                // Finding out how many rounds fill the time takes about as long as a run.
                runs: runner.runs + u32::from(row.experiment.amount == Amount::Timed),
                each: Duration::from_secs_f64(if row.quick { quick } else { full }),
            }
        };
        Estimate { rows: rows.iter().map(of_row).collect(), runs: runner.runs }
    }

    pub(crate) fn cells(&self) -> usize {
        self.rows.iter().map(|row| row.cells).sum()
    }

    pub(crate) fn time(&self) -> Duration {
        self.rows.iter().map(OfRow::time).sum()
    }
}

/// In a line.
impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = match self.rows.len() {
            1 => "1 row".to_owned(),
            rows => format!("{rows} rows"),
        };
        let runs = match self.runs {
            1 => "one run each, so that their spread is unknown".to_owned(),
            runs => format!("{runs} runs each"),
        };
        let time = match (self.time().as_secs_f64() / 60.0).ceil() {
            minutes if minutes <= 1.0 => "about a minute at most".to_owned(),
            minutes => format!("about {minutes} minutes"),
        };
        write!(f, "{} cells in {rows}, {runs}: {time}", self.cells())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::outside::Catalogue;
    use crate::lab::{QUICK_RUNS, RUNS};

    #[test]
    fn the_time_is_that_of_all_runs_of_all_cells() {
        let row = |cells, runs, each| OfRow {
            name: "echo/64".to_owned(),
            cells,
            runs,
            each: Duration::from_secs(each),
        };
        let estimate = Estimate { rows: vec![row(10, 3, 2), row(5, 4, 1), row(0, 3, 9)], runs: 3 };
        assert_eq!((estimate.cells(), estimate.time()), (15, Duration::from_secs(80)));
        assert_eq!(estimate.to_string(), "15 cells in 3 rows, 3 runs each: about 2 minutes");
    }

    #[test]
    fn everything_fits_into_the_time_that_it_is_to_take() {
        // As if everything were built, and whatever the machine has room for.
        let catalogue = Catalogue::read().expect("the subjects lie here");
        for (quick, runs, minutes) in [(true, QUICK_RUNS, 10), (false, RUNS, 60)] {
            let time: f64 = Row::all(quick)
                .map(|row| row.with(&catalogue))
                .map(|row| {
                    let (full, quick) = row.experiment.seconds;
                    let runs = runs + u32::from(row.experiment.amount == Amount::Timed);
                    let each = if row.quick { quick } else { full };
                    each * f64::from(runs) * row.subjects.len() as f64
                })
                .sum();
            assert!(time < f64::from(minutes * 60), "{time} s, quick: {quick}");
        }
    }
}
