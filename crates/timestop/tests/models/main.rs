//! The other models on fibers, a module a theme, in a binary that builds in seconds.
//!
//! Modules named `twisted_…` and `asyncio_…` have the cases of those projects' tests.

#![allow(clippy::duplicate_mod, reason = "the examples, each a program, share a file")]

#[path = "../it/support.rs"]
#[allow(dead_code, reason = "shared with a larger binary, which uses all of it")]
mod support;

mod asyncio_base_events;
mod asyncio_events;
mod asyncio_signals;
mod echo;
mod reactor;
mod twisted_cancellation;
mod twisted_defer;
mod twisted_defgen;
