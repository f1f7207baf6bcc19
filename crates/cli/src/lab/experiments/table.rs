//! The table. Its order is that of everything that is printed.
//!
//! `threads` is a program outside wherever one does the same; what is listed here as `Threads` has no such program.

use super::Subject::{Epoll, Plain, Run, Threads, Timestop};
use super::{Amount, Call, Experiment, Key, Metric, Parameter, Pinned, Subject, Takes};
use crate::lab::bench;
use crate::lab::record::Better;

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
    seconds: (0.9, 0.3),
    ..BASE
};

/// A server under the load of connections.
const SERVED: Experiment = Experiment {
    serve: bench::echo::serve,
    amount: Amount::Parameter,
    takes: Takes { descriptors: 1, bytes: 64 << 10 },
    pinned: Pinned::Apart,
    workers: 1,
    seconds: (2.6, 0.8),
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
const WINDOW: Key = Key::Seconds { full: 2, quick: 1 };
const SYSTEM_OF_TASK: &[Metric] =
    &[lower("value", "B"), lower("page_tables", "B"), lower("system", "B")];
const SERVER: &[Metric] =
    &[higher("value", "req/s"), lower("p50", "us"), lower("p99", "us"), lower("cpu", "us/req")];
const SERVERS: &[Subject] = &[Timestop, Epoll];
/// The three ways to write a server, where each is at its best.
const WAYS: &[&str] = &["threads", "tokio", "go", "node"];

pub(crate) static EXPERIMENTS: &[Experiment] = &[
    Experiment {
        name: "yield",
        question: "What does a switch cost when two fibers on one worker yield to each other?",
        measure: bench::switch::two,
        outside: program("yield", COUNTED),
        workers: 1,
        ..TIMED
    },
    Experiment {
        name: "yield_many",
        question: "And when 1,000 fibers take turns, so that no stack stays in the cache?",
        variants: &[(0, BOTH)],
        measure: bench::switch::many,
        workers: 1,
        ..TIMED
    },
    Experiment {
        name: "spawn_join",
        question: "What does it cost to spawn an empty fiber and join it, one by one?",
        parameter: fixed("workers"),
        variants: ONE_AND_TWO,
        measure: bench::spawn::one_by_one,
        outside: program("spawn_join", COUNTED),
        ..TIMED
    },
    Experiment {
        name: "spawn_many",
        question: "And to spawn very many at once, and then to join them all?",
        metrics: &[lower("value", "ns")],
        parameter: fixed("workers"),
        variants: ONE_AND_TWO,
        measure: bench::spawn::all_at_once,
        outside: program("spawn_many", COUNTED),
        amount: Amount::Fixed(100_000),
        takes: TASK,
        pinned: Pinned::Workers,
        seconds: (0.8, 0.3),
        ..BASE
    },
    Experiment {
        name: "pingpong",
        question: "How long is a round trip between two fibers over two channels?",
        parameter: fixed("workers"),
        variants: ONE_AND_TWO,
        measure: bench::pingpong::over_channels,
        outside: program("pingpong", COUNTED),
        ..TIMED
    },
    Experiment {
        name: "pingpong_crossbeam",
        question: "And over two crossbeam channels, which know nothing of fibers, with room for one message?",
        parameter: fixed("workers"),
        variants: &[(1, BOTH), (2, BOTH)],
        measure: bench::pingpong::over_crossbeam,
        ..TIMED
    },
    Experiment {
        name: "ring",
        question: "What does a hop cost when a token goes round a ring of 1,000 fibers?",
        parameter: fixed("workers"),
        variants: ONE_AND_TWO,
        measure: bench::ring::measure,
        outside: program(
            "ring",
            &[
                ("workers", Key::Workers),
                ("tasks", Key::Number(bench::ring::FIBERS)),
                ("count", Key::Amount),
            ],
        ),
        ..TIMED
    },
    Experiment {
        name: "mpmc",
        question: "What does a message cost on one channel of capacity 1,024 with four senders and four receivers?",
        measure: bench::mpmc::measure,
        outside: program("mpmc", COUNTED),
        ..TIMED
    },
    Experiment {
        name: "mutex",
        question: "What does a lock and unlock cost when eight fibers on two workers want one Mutex?",
        measure: bench::mutex::measure,
        outside: program("mutex", COUNTED),
        ..TIMED
    },
    Experiment {
        name: "skynet",
        question: "How long does a tree of fibers take, ten children each, to sum up the numbers of its leaves?",
        metrics: &[lower("value", "ms")],
        parameter: scaled("leaves"),
        variants: &[(1_000_000, &[Timestop])],
        measure: bench::skynet::measure,
        outside: program("skynet", &[("workers", Key::Workers), ("leaves", Key::Amount)]),
        amount: Amount::Parameter,
        takes: Takes { descriptors: 0, bytes: 3 << 10 },
        shrink: 10,
        pinned: Pinned::Workers,
        seconds: (4.0, 0.8),
        ..BASE
    },
    Experiment {
        name: "memory_recv",
        question: "How much memory does a fiber hold that waits for a message, in the process and in the whole system?",
        metrics: SYSTEM_OF_TASK,
        parameter: scaled("fibers"),
        variants: &[(100_000, &[Timestop]), (1_000_000, &[Timestop])],
        full_only: &[1_000_000],
        measure: bench::memory::receiving,
        outside: program("memory_recv", TASKS),
        amount: Amount::Parameter,
        takes: TASK,
        pinned: Pinned::Workers,
        seconds: (4.0, 0.7),
        ..BASE
    },
    Experiment {
        name: "memory_sleep",
        question: "And one that sleeps?",
        metrics: SYSTEM_OF_TASK,
        parameter: scaled("fibers"),
        variants: &[(100_000, &[Timestop]), (1_000_000, &[Timestop])],
        full_only: &[1_000_000],
        measure: bench::memory::sleeping,
        outside: program("memory_sleep", TASKS),
        amount: Amount::Parameter,
        takes: TASK,
        pinned: Pinned::Workers,
        seconds: (4.0, 0.7),
        ..BASE
    },
    Experiment {
        name: "timers",
        question: "When fibers sleep a random 0 to 1,000 ms each, how long after the ideal second is the last one joined?",
        metrics: &[lower("value", "ms"), lower("rss", "MiB")],
        parameter: scaled("fibers"),
        variants: &[(20_000, &[Timestop]), (1_000_000, &[Timestop])],
        full_only: &[20_000],
        measure: bench::timers::measure,
        outside: program("timers", TASKS),
        amount: Amount::Parameter,
        takes: TASK,
        pinned: Pinned::Workers,
        seconds: (4.0, 1.3),
        ..BASE
    },
    Experiment {
        name: "multicore",
        question: "How long do two fibers compute that share the same work, on one core and on two?",
        metrics: &[lower("value", "ms")],
        parameter: fixed("workers"),
        variants: ONE_AND_TWO,
        measure: bench::multicore::measure,
        outside: program("multicore", COUNTED),
        amount: Amount::Fixed(30_000_000),
        pinned: Pinned::Workers,
        seconds: (3.0, 0.5),
        ..BASE
    },
    Experiment {
        name: "echo",
        question: "How many messages a second does an echo server on one core answer, and how soon?",
        metrics: SERVER,
        parameter: fixed("conns"),
        variants: &[(64, SERVERS), (1_000, SERVERS), (8_000, SERVERS)],
        full_only: &[8_000],
        measure: bench::echo::measure,
        outside: server("echo", &[]),
        ..SERVED
    },
    Experiment {
        name: "thousand",
        question: "At how many connections do threads, fibers and callbacks part ways?",
        metrics: &[higher("value", "req/s"), lower("p99", "us"), lower("cpu", "us/req")],
        parameter: fixed("conns"),
        variants: &[(10, SERVERS), (100, SERVERS), (1_000, SERVERS), (10_000, SERVERS)],
        measure: bench::echo::measure,
        outside: server("echo", WAYS),
        ..SERVED
    },
    Experiment {
        name: "storm",
        question: "How many connections a second does it accept, echo one message on, and see closed?",
        metrics: &[higher("value", "conn/s"), lower("p99", "us"), lower("cpu", "us/conn")],
        variants: &[(0, SERVERS)],
        measure: bench::storm::measure,
        outside: server("echo", &[]),
        amount: Amount::Window,
        ..SERVED
    },
    Experiment {
        name: "slow_clients",
        question: "What do 100 busy connections get while very many others are open and silent?",
        metrics: &[higher("value", "req/s"), lower("p99", "us"), lower("cpu", "us/req")],
        parameter: scaled("idle"),
        variants: &[(10_000, SERVERS)],
        measure: bench::echo::beside_idle,
        outside: server("echo", &[]),
        ..SERVED
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
        variants: &[(0, &[Plain, Run])],
        measure: bench::python::measure,
        seconds: (4.0, 1.2),
        ..BASE
    },
    Experiment {
        name: "demo_sleep",
        question: "How long until `serve` has answered so many requests at once that sleep a second each?",
        metrics: &[lower("value", "ms")],
        parameter: fixed("conns"),
        variants: &[(10_000, &[Timestop])],
        measure: bench::demo::sleep,
        amount: Amount::Parameter,
        takes: Takes { descriptors: 1, bytes: 64 << 10 },
        seconds: (2.5, 2.5),
        ..BASE
    },
    Experiment {
        name: "demo_block",
        question: "How late is the latest of other requests while one is stuck in an unknown blocking call?",
        metrics: &[lower("value", "ms"), lower("p99", "ms")],
        measure: bench::demo::block,
        seconds: (5.3, 0.8),
        ..BASE
    },
    Experiment {
        name: "idle_cpu",
        question: "How much CPU do 10,000 fibers use that sleep or wait in recv, with nothing to do?",
        metrics: &[lower("value", "ms/s")],
        variants: &[(0, BOTH)],
        measure: bench::idle_cpu::measure,
        amount: Amount::Fixed(10_000),
        takes: Takes { descriptors: 1, bytes: 20 << 10 },
        ..BASE
    },
    Experiment {
        name: "hog",
        question: "How late do 100 fibers wake from sleep(1 ms) beside others that compute for ever, on 2 workers?",
        metrics: LATENESS,
        parameter: fixed("hogs"),
        variants: &[(1, &[Timestop]), (4, &[Timestop])],
        measure: bench::hog::lateness::beside_hogs,
        outside: program(
            "hog",
            &[
                ("workers", Key::Workers),
                ("hogs", Key::Parameter),
                ("secs", WINDOW),
                ("late", Key::Late),
            ],
        ),
        pinned: Pinned::Workers,
        seconds: (2.6, 1.2),
        ..BASE
    },
    Experiment {
        name: "blocked",
        question: "And beside 4 that are blocked in a call that the runtime knows nothing of?",
        metrics: LATENESS,
        measure: bench::hog::lateness::beside_blocked,
        outside: program(
            "blocked",
            &[
                ("workers", Key::Workers),
                ("stuck", Key::Number(4)),
                ("secs", WINDOW),
                ("late", Key::Late),
            ],
        ),
        pinned: Pinned::Workers,
        seconds: (2.6, 1.2),
        ..BASE
    },
    Experiment {
        name: "hog_loss",
        question: "How much of a lone hog's CPU time is lost to watching and preempting it?",
        metrics: &[lower("value", "%")],
        measure: bench::hog::loss::measure,
        seconds: (7.0, 1.5),
        ..BASE
    },
    Experiment {
        name: "hog_preemption",
        question: "What does one preemption cost, with the resumption after it? (threads: a signal that does nothing)",
        metrics: &[lower("value", "us")],
        variants: &[(0, BOTH)],
        measure: bench::hog::preemption::measure,
        ..BASE
    },
    Experiment {
        name: "hog_demo",
        question: "How soon does `serve` answer `/demo/hello` while it has 8 requests that compute?",
        metrics: LATENESS,
        measure: bench::demo::spin,
        ..BASE
    },
    Experiment {
        name: "hog_share",
        question: "Of 100 hogs on 2 workers, what has the slowest done in parts of what the fastest has?",
        metrics: &[higher("value", "ratio")],
        variants: &[(0, BOTH)],
        measure: bench::hog::share::measure,
        seconds: (10.5, 2.5),
        ..BASE
    },
    Experiment {
        name: "hog_python",
        question: "How late does a Python thread wake from sleep(0.001) beside 16 that compute?",
        metrics: LATENESS,
        variants: &[(0, &[Plain, Run])],
        measure: bench::hog::python::measure,
        seconds: (6.5, 2.0),
        ..BASE
    },
    Experiment {
        name: "http",
        question: "How many requests a second does an HTTP server on one core answer, keep-alive and 1 KB each, and how soon?",
        metrics: SERVER,
        parameter: fixed("conns"),
        variants: &[(64, &[Timestop]), (1_000, &[Timestop])],
        full_only: &[1_000],
        measure: bench::http::measure,
        outside: server("http", &[]),
        amount: Amount::Parameter,
        takes: Takes { descriptors: 1, bytes: 64 << 10 },
        seconds: (4.6, 2.5),
        ..ASKED
    },
    Experiment {
        name: "view",
        question: "While some views compute for two seconds each, how long do 50 other clients wait for an answer, on one core?",
        metrics: &[
            lower("value", "ms"),
            lower("p50", "ms"),
            lower("max", "ms"),
            lower("unanswered", "clients"),
        ],
        parameter: fixed("spinners"),
        variants: &[(1, BOTH), (4, BOTH)],
        full_only: &[4],
        measure: bench::view::measure,
        outside: server("view", &[]),
        seconds: (7.0, 2.0),
        ..ASKED
    },
    Experiment {
        name: "multicore_http",
        question: "How many views that compute 2 ms does one server answer a second, on one core and on two?",
        metrics: &[higher("value", "req/s"), lower("p99", "us")],
        parameter: fixed("workers"),
        variants: &[(1, BOTH), (2, BOTH)],
        measure: bench::multicore_http::measure,
        outside: Some(Call {
            bench: "multicore_http",
            keys: &[("workers", Key::Parameter)],
            server: true,
            only: &[],
        }),
        seconds: (4.8, 2.6),
        ..ASKED
    },
    Experiment {
        name: "legacy",
        question: "How long does a blocking Python program of 200 threads take for 40 requests each, at 50 ms each, unchanged?",
        measure: bench::legacy::measure,
        outside: asking(
            "legacy",
            &[("port", Key::Port), ("threads", Key::Number(200)), ("count", Key::Amount)],
        ),
        amount: Amount::Fixed(40),
        seconds: (4.0, 1.5),
        ..LEGACY
    },
    Experiment {
        name: "legacy_c",
        question: "And one of 100 threads for 10 requests each, if a library in C does the waiting, which no patch of Python's modules reaches?",
        measure: bench::legacy::measure,
        outside: asking(
            "legacy_c",
            &[("port", Key::Port), ("threads", Key::Number(100)), ("count", Key::Amount)],
        ),
        amount: Amount::Fixed(10),
        seconds: (20.0, 3.0),
        ..LEGACY
    },
];
