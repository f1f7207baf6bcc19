//! The experiments, as data: `table` has them. To add one: a file in `bench/`, and an entry there.
//!
//! An experiment with its parameter settled is a *row*. A row has a *name*, under which it is asked for and reported, and
//! an *amount*, which is how much of something is done in one run: as many rounds as fill a second, or a number of
//! fibers. The amount of a subject may be less than the row's name says (what it cannot bear is not asked of it), the
//! name never changes.

use std::collections::BTreeSet;

use super::bench::Measure;
use super::outside::{Catalogue, Program};
use super::record::Better;
use super::subject::Trial;

mod table;

pub(crate) use table::{GROUPS, experiments};

/// What is measured: a way to write the same program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// Fibers of this crate.
    Timestop,
    /// `std::thread` in this binary, where no program outside does the same without timestop's hooks.
    Threads,
    /// A loop over `epoll_wait` with no runtime at all.
    Epoll,
    /// A program of `lab/subjects`.
    Outside(&'static Program),
    /// A foreign program as it is.
    Plain,
    /// The same program under `timestop run`.
    Run,
}

use Subject::{Epoll, Outside, Plain, Run, Threads, Timestop};

impl Subject {
    /// Those that are in this binary.
    pub(crate) const INSIDE: [Subject; 5] = [Timestop, Threads, Epoll, Plain, Run];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Timestop => "timestop",
            Threads => "threads",
            Epoll => "epoll",
            Outside(program) => program.name(),
            Plain => "plain",
            Run => "run",
        }
    }

    /// As a person would say it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Timestop => "timestop, in Rust",
            Threads => "std::thread",
            Epoll => "a loop over epoll",
            Outside(program) => program.title(),
            Plain => "a Python program as it is",
            Run => "the same under timestop run",
        }
    }
}

/// One number of a run. The first metric of an experiment is its `value`; the others are rows of their own.
#[derive(Debug)]
pub(crate) struct Metric {
    /// What the subject's process prints it under; added to the bench's name, but for `value`.
    pub(crate) key: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
}

/// What differs between the rows of an experiment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    /// A count that `--quick` divides by ten.
    pub(crate) scales: bool,
}

/// How much is done in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    /// As many rounds as fill the time that a run is given; `value` is nanoseconds for each.
    Timed,
    /// So many, or a tenth under `--quick`.
    Fixed(usize),
    /// The row's parameter.
    Parameter,
    /// A window of time, whatever happens in it.
    Window,
}

/// What one of the amount takes of the machine: more of it than there is are not asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Takes {
    /// Descriptors of one process.
    pub(crate) descriptors: usize,
    /// Bytes of memory, from above, of what takes most in an ordinary system.
    pub(crate) bytes: usize,
}

/// Which cores the measured and the load run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pinned {
    /// As the system likes.
    No,
    /// On as many cores as there are workers.
    Workers,
    /// The server on the first cores, one a worker, and the load on the others; on all, if there are no others. Of a
    /// program that asks a server, the other way round.
    Apart,
}

impl Pinned {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Pinned::No => "not pinned",
            Pinned::Workers => "pinned to as many cores as workers",
            Pinned::Apart => {
                "measured on as many cores as workers, load or server beside it on the others"
            }
        }
    }
}

/// How a program outside is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    /// In the words of `lab/subjects/README.md`.
    pub(crate) bench: &'static str,
    pub(crate) keys: &'static [(&'static str, Key)],
    /// It is a server, or looked at from outside: the experiment's `measure` starts it. Else it measures itself.
    pub(crate) server: bool,
    /// These alone take part; all that have the bench, if none is named.
    pub(crate) only: &'static [&'static str],
}

/// The value of one of the keys.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key {
    Number(usize),
    Parameter,
    /// How many cores it has.
    Workers,
    Amount,
    /// A window, in milliseconds; it is told in seconds.
    Seconds {
        full: u64,
        quick: u64,
    },
    /// The file that latenesses are written to.
    Late,
    /// Of the server that it asks.
    Port,
}

#[derive(Debug)]
pub(crate) struct Experiment {
    pub(crate) name: &'static str,
    /// In one sentence.
    pub(crate) question: &'static str,
    pub(crate) metrics: &'static [Metric],
    pub(crate) parameter: Option<Parameter>,
    /// Values of the parameter, with the subjects of this binary that can bear them. Without a parameter: one, and the
    /// value unused.
    pub(crate) variants: &'static [(usize, &'static [Subject])],
    pub(crate) measure: Measure,
    /// The server that `measure` puts its load on: serves until killed, or says why it does not.
    pub(crate) serve: fn(&Trial) -> String,
    /// How programs outside take part.
    pub(crate) outside: Option<Call>,
    pub(crate) amount: Amount,
    pub(crate) takes: Takes,
    /// What an amount that cannot be borne is divided by.
    pub(crate) shrink: usize,
    pub(crate) pinned: Pinned,
    /// Unless that is the parameter.
    pub(crate) workers: usize,
    /// Values of the parameter that `--quick` passes over.
    pub(crate) full_only: &'static [usize],
    /// Of a typical run, in full and under `--quick`: for the estimate that is printed first.
    pub(crate) seconds: (f64, f64),
}

/// An experiment with its parameter settled: what is run.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) experiment: &'static Experiment,
    /// The parameter as the row is named after it, already divided under `--quick`.
    pub(crate) value: usize,
    pub(crate) subjects: Vec<Subject>,
    pub(crate) quick: bool,
}

impl Row {
    /// Every row there is, in the order of the table, with the subjects of this binary.
    pub(crate) fn all(quick: bool) -> impl Iterator<Item = Row> {
        experiments().flat_map(move |experiment| {
            let scales = quick && experiment.parameter.is_some_and(|p| p.scales);
            let is_run = move |value| !quick || !experiment.full_only.contains(&value);
            let variants = experiment.variants.iter().filter(move |(value, _)| is_run(*value));
            variants.map(move |&(value, subjects)| Row {
                experiment,
                value: if scales { value / 10 } else { value },
                subjects: subjects.to_vec(),
                quick,
            })
        })
    }

    /// With the programs outside that have it, or say why they do not.
    pub(crate) fn with(mut self, catalogue: &Catalogue) -> Self {
        if let Some(Call { bench, only, .. }) = self.experiment.outside {
            let name = self.name();
            // Of two by one name, the one in this binary: a table of experiments that lists it means it.
            let inside: Vec<_> = self.subjects.iter().map(|subject| subject.name()).collect();
            let takes_part = |program: &&&'static Program| {
                !inside.contains(&program.name())
                    && (program.has(bench) || program.unable(&name, bench).is_some())
                    && (only.is_empty() || only.contains(&program.name()))
            };
            self.subjects.extend(catalogue.programs.iter().filter(takes_part).map(|p| Outside(p)));
            self.subjects.sort();
        }
        self
    }

    /// What is typed to ask for this row alone.
    pub(crate) fn name(&self) -> String {
        self.metric_name(&self.experiment.metrics[0])
    }

    /// What the row of one of its metrics is called.
    pub(crate) fn metric_name(&self, metric: &Metric) -> String {
        let mut name = self.experiment.name.to_owned();
        if metric.key != "value" {
            name = format!("{name}_{}", metric.key);
        }
        if self.experiment.parameter.is_some() {
            name = format!("{name}/{}", self.value);
        }
        name
    }

    /// How much is done in a run, unless a subject cannot bear it.
    pub(crate) fn amount(&self) -> Option<usize> {
        match self.experiment.amount {
            Amount::Fixed(full) => Some(if self.quick { full / 10 } else { full }),
            Amount::Parameter => Some(self.value),
            Amount::Timed | Amount::Window => None,
        }
    }

    /// How many cores its subjects have.
    pub(crate) fn workers(&self) -> usize {
        if self.is_of_workers() { self.value } else { self.experiment.workers }
    }

    /// Do its experiment's rows differ by that?
    pub(crate) fn is_of_workers(&self) -> bool {
        self.experiment.parameter.is_some_and(|parameter| parameter.name == "workers")
    }
}

/// The subjects of an experiment, over all its rows.
pub(crate) fn subjects_of(experiment: &Experiment, catalogue: &Catalogue) -> BTreeSet<Subject> {
    let rows = Row::all(false).filter(|row| row.experiment.name == experiment.name);
    rows.flat_map(|row| row.with(catalogue).subjects).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for quick in [false, true] {
            let names: Vec<String> = Row::all(quick)
                .flat_map(|row| {
                    row.experiment
                        .metrics
                        .iter()
                        .map(move |m| row.metric_name(m))
                        .collect::<Vec<_>>()
                })
                .collect();
            let unique: BTreeSet<_> = names.iter().collect();
            assert_eq!(unique.len(), names.len(), "{names:?}");
        }
    }

    #[test]
    fn groups_are_of_experiments_and_are_called_like_none() {
        let names: BTreeSet<_> = experiments().map(|experiment| experiment.name).collect();
        for group in GROUPS {
            assert!(!names.contains(group.name), "{}", group.name);
            assert!(group.members.iter().all(|member| names.contains(member)), "{group:?}");
        }
    }

    #[test]
    fn the_first_metric_is_the_value() {
        for experiment in experiments() {
            assert_eq!(experiment.metrics[0].key, "value", "{}", experiment.name);
        }
    }

    #[test]
    fn quick_divides_counts_but_not_connections() {
        let names: Vec<String> = Row::all(true).map(|row| row.name()).collect();
        assert!(names.contains(&"timers/100000".to_owned()), "{names:?}");
        assert!(!names.contains(&"timers/1000000".to_owned()), "{names:?}");
        assert!(names.contains(&"thousand/10000".to_owned()), "{names:?}");
        // Nor is everything run.
        assert!(!names.contains(&"echo/8000".to_owned()), "{names:?}");
    }

    #[test]
    fn what_is_timed_is_told_in_nanoseconds() {
        // The runner takes the value times the amount for the time of the run.
        for experiment in experiments().filter(|e| e.amount == Amount::Timed) {
            assert_eq!(experiment.metrics[0].unit, "ns", "{}", experiment.name);
        }
    }
}
