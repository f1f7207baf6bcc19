//! Short things that tasks do: switch, spawn, send, lock, compute.

use super::{
    Amount, BASE, BOTH, COUNTED, Experiment, Key, ONE_AND_TWO, Pinned, TASK, TIMED, Takes,
    Timestop, bench, fixed, lower, program, scaled,
};

pub(super) static ALL: &[Experiment] = &[
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
        seconds: (0.9, 0.3),
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
        name: "select",
        question: "What does it cost to send to one of eight channels and to take it by a select over all of them?",
        measure: bench::select::measure,
        outside: program("select", COUNTED),
        workers: 1,
        ..TIMED
    },
    Experiment {
        name: "generator",
        question: "What does the next value of a generator cost?",
        variants: &[(0, &[Timestop])],
        measure: bench::generator::measure,
        outside: program("generator", COUNTED),
        workers: 1,
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
        name: "multicore",
        question: "How long do two fibers compute that share the same work, on one core and on two?",
        metrics: &[lower("value", "ms")],
        parameter: fixed("workers"),
        variants: ONE_AND_TWO,
        measure: bench::multicore::measure,
        outside: program("multicore", COUNTED),
        amount: Amount::Fixed(20_000_000),
        pinned: Pinned::Workers,
        seconds: (1.2, 0.35),
        ..BASE
    },
];
