//! The models of concurrency that the crate has beside plain fibers, a module each.

#[path = "../it/support.rs"]
#[allow(dead_code)] // each target uses a part of it
mod support;

#[path = "../it/servers.rs"]
#[allow(dead_code)]
mod servers;

mod future;
