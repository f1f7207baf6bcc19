//! Runs the cells of a row, subjects in turn, and gathers what they told.
//!
//! Before the first run that counts, a subject that is measured in rounds is run to find out how many fill the time: that
//! is also when its files are read for the first time. One that fails at its size is tried at a smaller one, and its cell
//! says so. One that hangs is not run again.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use super::child::{self, Failure};
use super::experiments::{Amount, Row, Subject};
use super::interrupt::Interrupt;
use super::machine::Room;
use super::measured::Measured;
use super::noise::{Accounts, Disturbance};
use super::outside::{Readiness, readiness};
use super::plan::{self, Plan};
use super::progress::Progress;
use super::report::number;
use super::subject::{FIRST, Trial};
use super::turn::{Cell, Runs, Turn};

/// What rounds have to fill.
const FULL: Duration = Duration::from_millis(300);
const QUICK: Duration = Duration::from_millis(60);
/// A first run that filled this part of it says how many rounds fill all.
const ENOUGH: f64 = 0.3;
/// From one attempt to the next: the first says little of what is compiled while it runs.
const GROWTH: f64 = 1_000.0;
const MOST: f64 = 2e9;
const ATTEMPTS: u32 = 6;

#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) interrupt: Interrupt,
    pub(crate) runs: u32,
    /// What exceeds it hangs.
    pub(crate) limit: Duration,
    /// Were the subjects asked for by name?
    pub(crate) named: bool,
    /// Of each folder of subjects.
    ready: BTreeMap<&'static str, Readiness>,
}

/// Ctrl-C came.
struct Interrupted;

impl Runner {
    pub(crate) fn new(interrupt: Interrupt, runs: u32, limit: Duration, named: bool) -> Self {
        Runner { interrupt, runs, limit, named, ready: BTreeMap::new() }
    }

    /// Looks which of the programs outside are ready: once, and not between runs.
    pub(crate) fn look_at(&mut self, rows: &[Row]) {
        for subject in rows.iter().flat_map(|row| &row.subjects) {
            let Subject::Outside(program) = subject else { continue };
            let interrupt = &self.interrupt;
            let look = || readiness(program.folder, program.name(), interrupt);
            self.ready.entry(&program.folder.name).or_insert_with(look);
        }
    }

    /// What it was built with, if it is ready.
    pub(crate) fn version(&self, subject: Subject) -> Option<String> {
        match self.readiness(subject) {
            Readiness::Ready { version } => version,
            Readiness::Not(_) => None,
        }
    }

    fn readiness(&self, subject: Subject) -> Readiness {
        let inside = || Readiness::Ready { version: None };
        match subject {
            Subject::Outside(program) => {
                self.ready.get(program.folder.name.as_str()).cloned().unwrap_or_else(inside)
            }
            _ => inside(),
        }
    }

    pub(crate) fn interrupted(&self) -> bool {
        self.interrupt.has_come()
    }

    /// Is there anything to run for it, as things are?
    pub(crate) fn is_run(&self, row: &Row, subject: Subject) -> bool {
        matches!(plan::plan(row, subject, &self.readiness(subject), Room::now()), Plan::Run { .. })
    }

    /// Measures `row`; after Ctrl-C, what there is of it. A subject that was never run has no cell then.
    pub(crate) fn measure(&self, row: &Row, progress: &Progress) -> io::Result<Vec<Cell>> {
        let mut turns: Vec<Turn> =
            row.subjects.iter().map(|&subject| self.turn(row, subject)).collect();
        'interrupted: for run in 1..=self.runs {
            for turn in turns.iter_mut().filter(|turn| turn.runs.is_some()) {
                if turn.is_given_up {
                    progress.skip();
                } else if self.take(turn, run, progress)?.is_err() {
                    break 'interrupted;
                }
            }
        }
        Ok(turns.into_iter().flat_map(|turn| turn.into_cells(row)).collect())
    }

    /// What is to be done for one subject.
    fn turn(&self, row: &Row, subject: Subject) -> Turn {
        let ready = self.readiness(subject);
        let mut turn = Turn {
            trial: Trial { row: row.clone(), subject, amount: None, workers: None },
            runs: None,
            is_given_up: false,
            is_excused: false,
            notes: Vec::new(),
            error: None,
        };
        match plan::plan(row, subject, &ready, Room::now()) {
            Plan::Run { amount, workers, why } => {
                turn.runs = Some(Runs::default());
                (turn.trial.amount, turn.trial.workers) = (amount, workers);
                turn.notes = why;
            }
            Plan::NotReady(why) => (turn.error, turn.is_excused) = (Some(why), !self.named),
            Plan::Unable(why) => (turn.error, turn.is_excused) = (Some(why), true),
        }
        turn
    }

    /// One run of one subject, and what comes before the first.
    fn take(
        &self,
        turn: &mut Turn,
        run: u32,
        progress: &Progress,
    ) -> io::Result<Result<(), Interrupted>> {
        progress.begin(&turn.trial, run, self.runs);
        let begin = Instant::now();
        let mut told = match run {
            1 => self.settle_rounds(&mut turn.trial)?,
            _ => Ok(()),
        };
        let mut told = match std::mem::replace(&mut told, Ok(())) {
            Ok(()) => self.run(&turn.trial)?,
            Err(failure) => Err(failure),
        };
        if run == 1 {
            told = self.shrink(turn, told)?;
        }
        let outcome = told.as_ref().map(|(told, _)| told);
        progress.end(&turn.trial, run, self.runs, &outcome, begin.elapsed());
        let runs = turn.runs.as_mut().expect("only what is run has turns");
        match told {
            Err(Failure::Interrupted) => return Ok(Err(Interrupted)),
            Ok((measured, disturbance)) => {
                runs.told.push(measured);
                runs.disturbance = runs.disturbance.or_worse(disturbance);
            }
            Err(Failure::Broken(why)) => turn.error = Some(why),
            Err(Failure::Late(why)) => (turn.error, turn.is_given_up) = (Some(why), true),
        }
        Ok(Ok(()))
    }

    /// As many rounds as fill the time, where rounds are what is counted.
    fn settle_rounds(&self, trial: &mut Trial) -> io::Result<Result<(), Failure>> {
        if trial.row.experiment.amount != Amount::Timed || trial.amount.is_some() {
            return Ok(Ok(()));
        }
        let target = trial.pick(FULL, QUICK).as_secs_f64();
        let mut rounds = FIRST as f64;
        for _ in 0..ATTEMPTS {
            trial.amount = Some(rounds as usize);
            let value = match self.run(trial)? {
                Ok((measured, _)) => measured.value().unwrap_or_default(),
                Err(failure) => return Ok(Err(failure)),
            };
            let took = value * 1e-9 * rounds;
            rounds = next_rounds(rounds, took, target);
            if took >= ENOUGH * target {
                break;
            }
        }
        trial.amount = Some(rounds as usize);
        Ok(Ok(()))
    }

    /// If it failed, the same with less, as long as that is much.
    fn shrink(
        &self,
        turn: &mut Turn,
        mut told: Result<(Measured, Disturbance), Failure>,
    ) -> io::Result<Result<(Measured, Disturbance), Failure>> {
        let full = turn.trial.amount;
        let first = told.as_ref().err().cloned();
        while let (Err(Failure::Broken(_)), Some(amount)) = (&told, turn.trial.amount) {
            let Some(less) = plan::less(&turn.trial.row, amount) else { break };
            turn.trial.amount = Some(less);
            told = self.run(&turn.trial)?;
        }
        match (&told, first, turn.trial.amount) {
            (Ok(_), Some(Failure::Broken(why)), Some(amount)) => {
                let full = full.unwrap_or_default() as f64;
                let why = format!("{} failed ({why})", number(full));
                turn.notes.push(plan::measured_at(amount, &why));
            }
            // It was not the size: what it said at first is what it is.
            (Err(Failure::Broken(_)), Some(first), _) => {
                turn.trial.amount = full;
                told = Err(first);
            }
            _ => {}
        }
        Ok(told)
    }

    fn run(&self, trial: &Trial) -> io::Result<Result<(Measured, Disturbance), Failure>> {
        let before = Accounts::now();
        let told = child::output(&mut trial.command(false)?, self.limit, &self.interrupt);
        let disturbance = before.map(|before| before.disturbance()).unwrap_or_default();
        let measured = told.and_then(|text| text.parse::<Measured>().map_err(Failure::Broken));
        let measured = measured.map_err(Failure::of_a_run);
        Ok(measured.map(|measured| (measured, disturbance)))
    }
}

/// Whole thousands, so that every bench can share them among its tasks.
fn next_rounds(rounds: f64, took: f64, target: f64) -> f64 {
    let factor = if took > 0.0 { (target / took).min(GROWTH) } else { GROWTH };
    (rounds * factor / 1_000.0).ceil().clamp(1.0, MOST / 1_000.0) * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_grow_until_they_fill_the_time() {
        // 10,000 took a tenth of it.
        assert_eq!(next_rounds(1e4, 0.1, 1.0), 1e5);
        // Too many at once, and whole thousands.
        assert_eq!(next_rounds(1e4, 3.0, 1.0), 4e3);
        // Nothing is known of what took no time.
        assert_eq!(next_rounds(1e4, 0.0, 1.0), 1e7);
        assert_eq!(next_rounds(1e4, 1e9, 1.0), 1e3);
        assert_eq!(next_rounds(1e9, 1e-9, 1.0), MOST);
    }
}
