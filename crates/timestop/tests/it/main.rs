//! One binary with every integration test of `timestop`, a module a theme. What a test promises holds for plain threads
//! too ("a fiber is a thread"): a test that fails on fibers and passes on threads has found a bug in the runtime. Only
//! [`limits`], [`census`] and parts of [`preemption`] test what threads do not have.
//!
//! No test sleeps to wait for something: it waits for the event, under the watchdog of [`support::on_fiber`].

mod api;
mod census;
mod channel;
mod connect;
mod crates_at_work;
mod databases;
mod faults;
mod limits;
mod net;
mod outside;
mod pinning;
mod preemption;
mod processes;
mod scope;
mod servers;
mod sockets;
mod storage;
mod stress;
mod support;
mod sync;
mod sync_crates;
mod tracing;
mod unwinding;
