//! Tasks that wait: what each holds, and what it costs that they are there.

use super::{
    Amount, BASE, BOTH, Experiment, Pinned, SYSTEM_OF_TASK, TASK, TASKS, Takes, Timestop, bench,
    lower, program, scaled,
};

pub(super) static ALL: &[Experiment] = &[
    Experiment {
        name: "memory_recv",
        question: "How much memory does a fiber hold that waits for a message, in the process and in the whole system?",
        metrics: SYSTEM_OF_TASK,
        parameter: scaled("fibers"),
        variants: &[(100_000, &[Timestop])],
        measure: bench::memory::receiving,
        outside: program("memory_recv", TASKS),
        amount: Amount::Parameter,
        takes: TASK,
        pinned: Pinned::Workers,
        seconds: (1.5, 0.6),
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
        seconds: (5.0, 0.6),
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
        seconds: (3.5, 1.5),
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
];
