//! Foreign programs, unchanged.

use super::{Amount, BASE, Experiment, Key, LEGACY, Plain, Run, asking, bench, higher, lower};

pub(super) static ALL: &[Experiment] = &[
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
        seconds: (3.0, 1.2),
        ..BASE
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
        question: "And one of 40 threads for 10 requests each, if a library in C does the waiting, which no patch of Python's modules reaches?",
        measure: bench::legacy::measure,
        outside: asking(
            "legacy_c",
            &[("port", Key::Port), ("threads", Key::Number(40)), ("count", Key::Amount)],
        ),
        amount: Amount::Fixed(10),
        seconds: (7.5, 1.1),
        ..LEGACY
    },
];
