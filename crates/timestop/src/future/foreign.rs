//! The fiber that calls other executors' wakers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Waker};

use timestop_runtime::waker::bell;
use timestop_runtime::{FiberRef, Priority, waker};

use crate::config;
use crate::spawn::Builder;

/// Sees to it that the runtime runs, and that whoever polls can be woken by it.
///
/// # Panics
///
/// If fibers cannot run on this machine, or there is no room for a stack.
#[inline]
pub(super) fn prepare(context: &Context<'_>) {
    if waker::is_ours(context.waker()) {
        return; // so a fiber polls
    }
    if !bell::is_served() {
        start();
    }
}

#[cold]
fn start() {
    config::ensure_started().unwrap_or_else(|error| panic!("{error}"));
    if !bell::claim() {
        return;
    }
    let ringer = Builder::new().name("wakers".to_owned()).priority(Priority::High);
    let serve = || {
        let fiber = FiberRef::current().expect("it was spawned as a fiber");
        bell::serve(fiber, call);
    };
    let spawned = ringer.spawn(serve);
    drop(spawned.unwrap_or_else(|error| panic!("no fiber to call wakers: {error}")));
}

/// A waker that panics keeps nobody else waiting.
fn call(waker: Waker) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
        std::mem::forget(payload); // its destructor might panic again
    }
}
