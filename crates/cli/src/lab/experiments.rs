//! The experiments, as data. To add one: a file in `bench/`, and an entry here.

use std::collections::BTreeSet;

use super::bench::{self, Measure};
use super::record::Better;

/// What is measured: a way to write the same program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// Fibers of this crate.
    Timestop,
    /// `std::thread`.
    Threads,
    /// A loop over `epoll_wait` with no runtime at all.
    Epoll,
    /// A foreign program as it is.
    Plain,
    /// The same program under `timestop run`.
    Run,
}

use Subject::{Epoll, Plain, Run, Threads, Timestop};

impl Subject {
    pub(crate) const ALL: [Subject; 5] = [Timestop, Threads, Epoll, Plain, Run];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Timestop => "timestop",
            Threads => "threads",
            Epoll => "epoll",
            Plain => "plain",
            Run => "run",
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

const fn lower(key: &'static str, unit: &'static str) -> Metric {
    Metric { key, unit, better: Better::Lower }
}

const fn higher(key: &'static str, unit: &'static str) -> Metric {
    Metric { key, unit, better: Better::Higher }
}

/// What differs between the rows of an experiment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    /// A count that `--quick` divides by ten.
    pub(crate) scales: bool,
}

#[derive(Debug)]
pub(crate) struct Experiment {
    pub(crate) name: &'static str,
    /// In one sentence.
    pub(crate) question: &'static str,
    pub(crate) metrics: &'static [Metric],
    pub(crate) parameter: Option<Parameter>,
    /// Values of the parameter, with the subjects that can bear them. Without a parameter: one, and the value unused.
    pub(crate) variants: &'static [(usize, &'static [Subject])],
    pub(crate) measure: Measure,
}

const BOTH: &[Subject] = &[Timestop, Threads];
const WORKERS: Option<Parameter> = Some(Parameter { name: "workers", scales: false });
const FIBERS: Option<Parameter> = Some(Parameter { name: "fibers", scales: true });
const CONNS: Option<Parameter> = Some(Parameter { name: "conns", scales: false });
const ONE_AND_TWO: &[(usize, &[Subject])] = &[(1, BOTH), (2, BOTH)];
/// The value is p99.
const LATENESS: &[Metric] = &[lower("value", "ms"), lower("p50", "ms"), lower("max", "ms")];
const ECHO_SUBJECTS: &[Subject] = &[Timestop, Threads, Epoll];

pub(crate) static EXPERIMENTS: &[Experiment] = &[
    Experiment {
        name: "yield",
        question: "What does a switch cost when two fibers on one worker yield to each other?",
        metrics: &[lower("value", "ns")],
        parameter: None,
        variants: &[(0, BOTH)],
        measure: bench::switch::two,
    },
    Experiment {
        name: "yield_many",
        question: "And when 1,000 fibers take turns, so that no stack stays in the cache?",
        metrics: &[lower("value", "ns")],
        parameter: None,
        variants: &[(0, BOTH)],
        measure: bench::switch::many,
    },
    Experiment {
        name: "spawn_join",
        question: "What does it cost to spawn an empty fiber and join it, one by one?",
        metrics: &[lower("value", "ns")],
        parameter: WORKERS,
        variants: ONE_AND_TWO,
        measure: bench::spawn_join::measure,
    },
    Experiment {
        name: "pingpong",
        question: "How long is a round trip between two fibers over two std::sync::mpsc channels?",
        metrics: &[lower("value", "ns")],
        parameter: WORKERS,
        variants: ONE_AND_TWO,
        measure: bench::pingpong::std_channels,
    },
    Experiment {
        name: "pingpong_crossbeam",
        question: "And over two crossbeam channels with room for one message?",
        metrics: &[lower("value", "ns")],
        parameter: WORKERS,
        variants: ONE_AND_TWO,
        measure: bench::pingpong::crossbeam_channels,
    },
    Experiment {
        name: "mutex",
        question: "What does a lock and unlock cost when eight fibers on two workers want one std Mutex?",
        metrics: &[lower("value", "ns")],
        parameter: None,
        variants: &[(0, BOTH)],
        measure: bench::mutex::measure,
    },
    Experiment {
        name: "memory",
        question: "How much memory does a sleeping fiber hold, and how much in page tables?",
        metrics: &[lower("value", "B"), lower("page_tables", "B")],
        parameter: FIBERS,
        variants: &[(10_000, BOTH), (100_000, &[Timestop]), (1_000_000, &[Timestop])],
        measure: bench::memory::measure,
    },
    Experiment {
        name: "timers",
        question: "When fibers sleep a random 0 to 1,000 ms each, how long after the ideal second is the last one joined?",
        metrics: &[lower("value", "ms")],
        parameter: FIBERS,
        variants: &[(20_000, BOTH), (1_000_000, &[Timestop])],
        measure: bench::timers::measure,
    },
    Experiment {
        name: "echo",
        question: "How many messages a second does a thread-per-connection echo server on one core answer, and how soon?",
        metrics: &[
            higher("value", "req/s"),
            lower("p50", "us"),
            lower("p99", "us"),
            lower("cpu", "us/req"),
        ],
        parameter: CONNS,
        variants: &[(64, ECHO_SUBJECTS), (1_000, ECHO_SUBJECTS), (8_000, ECHO_SUBJECTS)],
        measure: bench::echo::measure,
    },
    Experiment {
        name: "python",
        question: "What does `timestop run` do for a thread-per-connection Python server of 1,000 connections?",
        metrics: &[
            higher("value", "req/s"),
            lower("p99", "us"),
            lower("cpu", "us/req"),
            lower("os_threads", "threads"),
        ],
        parameter: None,
        variants: &[(0, &[Plain, Run])],
        measure: bench::python::measure,
    },
    Experiment {
        name: "demo_sleep",
        question: "How long until `serve` has answered so many requests at once that sleep a second each?",
        metrics: &[lower("value", "ms")],
        parameter: CONNS,
        variants: &[(10_000, &[Timestop])],
        measure: bench::demo::sleep,
    },
    Experiment {
        name: "demo_block",
        question: "How late is the latest of other requests while one is stuck in an unknown blocking call?",
        metrics: &[lower("value", "ms"), lower("p99", "ms")],
        parameter: None,
        variants: &[(0, &[Timestop])],
        measure: bench::demo::block,
    },
    Experiment {
        name: "idle_cpu",
        question: "How much CPU do 10,000 fibers use that sleep or wait in recv, with nothing to do?",
        metrics: &[lower("value", "ms/s")],
        parameter: None,
        variants: &[(0, BOTH)],
        measure: bench::idle_cpu::measure,
    },
    Experiment {
        name: "hog_lateness",
        question: "How late do 100 fibers wake from sleep(1 ms) beside 4 that compute for ever, on 2 workers?",
        metrics: LATENESS,
        parameter: None,
        variants: &[(0, BOTH)],
        measure: bench::hog::lateness::beside_hogs,
    },
    Experiment {
        name: "hog_blocked",
        question: "And beside 4 that are blocked in a call that no hook knows?",
        metrics: LATENESS,
        parameter: None,
        variants: &[(0, BOTH)],
        measure: bench::hog::lateness::beside_blocked,
    },
    Experiment {
        name: "hog_loss",
        question: "How much of a lone hog's CPU time is lost to watching and preempting it?",
        metrics: &[lower("value", "%")],
        parameter: None,
        variants: &[(0, &[Timestop])],
        measure: bench::hog::loss::measure,
    },
    Experiment {
        name: "hog_preemption",
        question: "What does one preemption cost, with the resumption after it? (threads: a signal that does nothing)",
        metrics: &[lower("value", "us")],
        parameter: None,
        variants: &[(0, &[Timestop, Threads])],
        measure: bench::hog::preemption::measure,
    },
    Experiment {
        name: "hog_demo",
        question: "How soon does `serve` answer `/demo/hello` while it has 8 requests that compute?",
        metrics: LATENESS,
        parameter: None,
        variants: &[(0, &[Timestop])],
        measure: bench::demo::spin,
    },
    Experiment {
        name: "hog_share",
        question: "Of 100 hogs on 2 workers, what has the slowest done in parts of what the fastest has?",
        metrics: &[higher("value", "ratio")],
        parameter: None,
        variants: &[(0, BOTH)],
        measure: bench::hog::share::measure,
    },
    Experiment {
        name: "hog_python",
        question: "How late does a Python thread wake from sleep(0.001) beside 16 that compute?",
        metrics: LATENESS,
        parameter: None,
        variants: &[(0, &[Plain, Run])],
        measure: bench::hog::python::measure,
    },
];

/// An experiment with its parameter settled: what is run.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) experiment: &'static Experiment,
    /// The parameter as it is measured, already divided under `--quick`.
    pub(crate) value: usize,
    pub(crate) subjects: &'static [Subject],
    pub(crate) quick: bool,
}

impl Row {
    /// Every row there is, in the order of the table.
    pub(crate) fn all(quick: bool) -> impl Iterator<Item = Row> {
        EXPERIMENTS.iter().flat_map(move |experiment| {
            let scales = quick && experiment.parameter.is_some_and(|p| p.scales);
            experiment.variants.iter().map(move |&(value, subjects)| Row {
                experiment,
                value: if scales { value / 10 } else { value },
                subjects,
                quick,
            })
        })
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
}

/// The subjects of an experiment, over all its variants.
pub(crate) fn subjects_of(experiment: &Experiment) -> BTreeSet<Subject> {
    experiment.variants.iter().flat_map(|(_, subjects)| subjects.iter().copied()).collect()
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
    fn the_first_metric_is_the_value() {
        for experiment in EXPERIMENTS {
            assert_eq!(experiment.metrics[0].key, "value", "{}", experiment.name);
        }
    }

    #[test]
    fn quick_divides_counts_but_not_connections() {
        let names: Vec<String> = Row::all(true).map(|row| row.name()).collect();
        assert!(names.contains(&"memory/100000".to_owned()), "{names:?}");
        assert!(!names.contains(&"memory/1000000".to_owned()), "{names:?}");
        assert!(names.contains(&"echo/8000".to_owned()), "{names:?}");
    }
}
