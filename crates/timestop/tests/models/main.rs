//! Models of concurrency, each tested by the cases of the original that its users come from.

mod coro_generators;
mod coro_greenlet;
mod coro_pep380;
mod coro_runtime;

mod coro_stackless;
#[path = "../it/support.rs"]
#[allow(dead_code)]
mod support;
