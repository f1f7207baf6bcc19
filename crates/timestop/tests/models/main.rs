//! The other models on fibers, a module a theme, in a binary that builds in seconds.
//!
//! Modules named after a project (`twisted_…`, `asyncio_…`, `coro_pep380`, `coro_greenlet`, …) have the cases of its tests.

#![allow(clippy::duplicate_mod, reason = "the examples, each a program, share a file")]

#[path = "../it/servers.rs"]
#[allow(dead_code, reason = "shared with a larger binary, which uses all of it")]
mod servers;
#[path = "../it/support.rs"]
#[allow(dead_code, reason = "shared with a larger binary, which uses all of it")]
mod support;

mod asyncio_base_events;
mod asyncio_events;
mod asyncio_signals;
mod coro_generators;
mod coro_greenlet;
mod coro_pep380;
mod coro_runtime;
mod coro_stackless;
mod echo;
mod future;
mod queue;
mod reactor;
mod sync;
mod twisted_cancellation;
mod twisted_defer;
mod twisted_defgen;
