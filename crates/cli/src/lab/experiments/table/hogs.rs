//! Tasks beside others that hold what runs them.

use super::{
    BASE, BOTH, Experiment, Key, LATENESS, Pinned, Plain, Run, Timestop, WINDOW, bench, fixed,
    higher, lower, program, scaled,
};

pub(super) static ALL: &[Experiment] = &[
    Experiment {
        name: "hog",
        question: "How late do 100 fibers wake from sleep(1 ms) beside others that compute for ever, on 2 workers?",
        metrics: LATENESS,
        parameter: fixed("hogs"),
        variants: &[(1, &[Timestop]), (4, &[Timestop])],
        full_only: &[4],
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
        seconds: (2.1, 1.0),
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
        seconds: (2.1, 1.0),
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
        question: "Of very many hogs on 2 workers, what has the slowest done in parts of what the fastest has?",
        metrics: &[higher("value", "ratio")],
        parameter: scaled("hogs"),
        variants: &[(100, BOTH)],
        measure: bench::hog::share::measure,
        seconds: (10.3, 1.2),
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
];
