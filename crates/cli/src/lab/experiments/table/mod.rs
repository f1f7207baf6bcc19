//! The table, a file for each kind of question. Its order is that of everything that is printed.
//!
//! `threads` is a program outside wherever one does the same; what is listed here as `Threads` has no such program.

use super::Subject::{Epoll, Plain, Run, Threads, Timestop};
use super::{Amount, Call, Experiment, Key, Metric, Parameter, Pinned, Subject, Takes};
use crate::lab::bench;
use crate::lab::record::Better;

mod hogs;
mod idle;
mod programs;
mod servers;
mod tasks;

/// Every experiment, in that order.
pub(crate) fn experiments() -> impl Iterator<Item = &'static Experiment> {
    [tasks::ALL, idle::ALL, servers::ALL, hogs::ALL, programs::ALL].into_iter().flatten()
}

/// Experiments that have a name together, beside families, whose names begin alike.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) members: &'static [&'static str],
}

pub(crate) static GROUPS: &[Group] = &[
    // The ways to think that programs are written in, each by what it does most.
    Group {
        name: "models",
        members: &["generator", "select", "pingpong", "ring", "mpmc", "styles"],
    },
];

const fn lower(key: &'static str, unit: &'static str) -> Metric {
    Metric { key, unit, better: Better::Lower }
}

const fn higher(key: &'static str, unit: &'static str) -> Metric {
    Metric { key, unit, better: Better::Higher }
}

/// A number of something that every subject bears.
const fn fixed(name: &'static str) -> Option<Parameter> {
    Some(Parameter { name, scales: false })
}

/// A count, a tenth of it under `--quick`.
const fn scaled(name: &'static str) -> Option<Parameter> {
    Some(Parameter { name, scales: true })
}

/// How a program outside is asked for a bench.
const fn program(bench: &'static str, keys: &'static [(&'static str, Key)]) -> Option<Call> {
    Some(Call { bench, keys, server: false, only: &[] })
}

/// And for a server on one core.
const fn server(bench: &'static str, only: &'static [&'static str]) -> Option<Call> {
    Some(Call { bench, keys: &[("workers", Key::Workers)], server: true, only })
}

/// And for a program of threads that asks a server.
const fn asking(bench: &'static str, keys: &'static [(&'static str, Key)]) -> Option<Call> {
    Some(Call { bench, keys, server: true, only: &[] })
}

/// What most have in common; the rest is named by each.
const BASE: Experiment = Experiment {
    name: "",
    question: "",
    metrics: &[],
    parameter: None,
    variants: &[(0, &[Timestop])],
    measure: |_| Err("this experiment measures nothing".to_owned()),
    serve: |_| "this experiment has no server".to_owned(),
    outside: None,
    amount: Amount::Window,
    takes: Takes { descriptors: 0, bytes: 0 },
    shrink: 2,
    pinned: Pinned::No,
    workers: 2,
    full_only: &[],
    seconds: (4.0, 1.0),
};

/// Rounds of something short, on cores of its own.
const TIMED: Experiment = Experiment {
    metrics: &[lower("value", "ns")],
    amount: Amount::Timed,
    pinned: Pinned::Workers,
    seconds: (0.5, 0.22),
    ..BASE
};

/// A server under the load of connections.
const SERVED: Experiment = Experiment {
    serve: bench::echo::serve,
    amount: Amount::Parameter,
    takes: Takes { descriptors: 1, bytes: 64 << 10 },
    pinned: Pinned::Apart,
    workers: 1,
    seconds: (1.5, 0.6),
    ..BASE
};

/// A program that is asked for by path, and has a thread a connection in this binary.
const ASKED: Experiment =
    Experiment { serve: bench::http::server::serve, pinned: Pinned::Apart, workers: 1, ..BASE };

/// A program of threads that asks a slow server.
const LEGACY: Experiment = Experiment {
    metrics: &[lower("value", "s"), lower("cpu", "s"), lower("os_threads", "threads")],
    variants: &[(0, &[])],
    pinned: Pinned::Apart,
    workers: 1,
    ..BASE
};

const BOTH: &[Subject] = &[Timestop, Threads];
const ONE_AND_TWO: &[(usize, &[Subject])] = &[(1, &[Timestop]), (2, &[Timestop])];
const COUNTED: &[(&str, Key)] = &[("workers", Key::Workers), ("count", Key::Amount)];
const TASKS: &[(&str, Key)] = &[("workers", Key::Workers), ("tasks", Key::Amount)];
/// A fiber, task or process of an ordinary system.
const TASK: Takes = Takes { descriptors: 0, bytes: 10 << 10 };
/// The value is p99.
const LATENESS: &[Metric] = &[lower("value", "ms"), lower("p50", "ms"), lower("max", "ms")];
const WINDOW: Key = Key::Seconds { full: 1_500, quick: 500 };
const SYSTEM_OF_TASK: &[Metric] =
    &[lower("value", "B"), lower("page_tables", "B"), lower("system", "B")];
const SERVER: &[Metric] =
    &[higher("value", "req/s"), lower("p50", "us"), lower("p99", "us"), lower("cpu", "us/req")];
const SERVERS: &[Subject] = &[Timestop, Epoll];
/// The three ways to write a server, where each is at its best.
const WAYS: &[&str] = &["threads", "tokio", "go", "node"];
