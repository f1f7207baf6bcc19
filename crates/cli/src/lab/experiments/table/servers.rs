//! Servers under load.

use super::{
    ASKED, Amount, BASE, BOTH, Call, Experiment, Key, SERVED, SERVER, SERVERS, Takes, Timestop,
    WAYS, bench, fixed, higher, lower, scaled, server,
};

pub(super) static ALL: &[Experiment] = &[
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
        name: "styles",
        question: "What does the same echo server cost when it is written in another way, with 64 connections?",
        metrics: SERVER,
        variants: &[(0, SERVERS)],
        measure: bench::echo::styles,
        amount: Amount::Window,
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
        seconds: (3.7, 1.4),
        ..ASKED
    },
    Experiment {
        name: "view",
        question: "While some views compute for a second each, how long do 50 other clients wait for an answer, on one core?",
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
        seconds: (4.5, 1.7),
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
        seconds: (3.8, 1.5),
        ..ASKED
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
];
