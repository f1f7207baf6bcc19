//! What is being measured just now: a bar on a terminal, a line a run elsewhere, always on standard error.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::child::Failure;
use super::measured::Measured;
use super::report::number;
use super::subject::Trial;

#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new(runs: usize) -> Self {
        if !std::io::stderr().is_terminal() {
            return Progress { bar: None };
        }
        let style = "{spinner} {wide_bar} {pos}/{len} {elapsed}  {msg}";
        let style = ProgressStyle::with_template(style).expect("a constant template");
        let bar = ProgressBar::new(runs as u64).with_style(style);
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress { bar: Some(bar) }
    }

    pub(crate) fn begin(&self, trial: &Trial, run: u32, runs: u32) {
        if let Some(bar) = &self.bar {
            bar.set_message(label(trial, run, runs));
        }
    }

    /// A run that is not worth the time.
    pub(crate) fn skip(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    pub(crate) fn end(
        &self,
        trial: &Trial,
        run: u32,
        runs: u32,
        told: &Result<&Measured, &Failure>,
        took: Duration,
    ) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
            return;
        }
        let outcome = match told {
            Ok(measured) => {
                let unit = trial.row.experiment.metrics[0].unit;
                format!("{} {unit}", number(measured.value().unwrap_or(f64::NAN)))
            }
            Err(Failure::Interrupted) => "interrupted".to_owned(),
            Err(failure) => format!("failed: {}", failure.why()),
        };
        eprintln!("{}: {outcome} ({:.1} s)", label(trial, run, runs), took.as_secs_f64());
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn label(trial: &Trial, run: u32, runs: u32) -> String {
    format!("{} {} {run}/{runs}", trial.row.name(), trial.subject.name())
}
