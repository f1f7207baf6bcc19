//! What the live fibers are doing.

use std::time::Duration;

use timestop_runtime::{self as runtime, Reason, Snapshot};

/// One live fiber, as it was a moment ago.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FiberInfo {
    /// Its number, in order of spawning.
    pub id: u64,
    /// Its name, cut to 31 bytes.
    pub name: Option<String>,
    /// Whether it runs, or waits to.
    pub state: FiberState,
    /// What it waits for: `read of descriptor 7`.
    pub waiting_for: Option<String>,
    /// How long it has waited.
    pub since: Duration,
}

/// What a fiber is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FiberState {
    /// Runnable, in line for a worker.
    Queued,
    /// Running on a worker, or in a blocking call that no hook knows.
    Running,
    /// Suspended until something happens.
    Waiting,
}

/// The live fibers, at most `limit`, in no particular order. Fibers that have not run yet are not
/// among them: they are closures in a queue. Cost: a look at each stack's record.
#[must_use]
pub fn fibers(limit: usize) -> Vec<FiberInfo> {
    runtime::snapshots().take(limit).map(describe).collect()
}

fn describe(snapshot: Snapshot) -> FiberInfo {
    let argument = snapshot.argument;
    let waiting_for = match snapshot.reason {
        Reason::Sleep => Some("a point in time".to_owned()),
        Reason::Read => Some(format!("read of descriptor {argument}")),
        Reason::Write => Some(format!("write to descriptor {argument}")),
        Reason::Poll if argument == 0 => Some("an epoll's descriptors".to_owned()),
        Reason::Poll => Some(format!("one of {argument} descriptors")),
        Reason::Futex => Some(format!("lock or condition (futex {argument:#x})")),
        Reason::Mutex => Some(format!("mutex {argument:#x}")),
        Reason::Condition => Some(format!("condition variable {argument:#x}")),
        Reason::Semaphore => Some(format!("semaphore {argument:#x}")),
        Reason::RwLock => Some(format!("read-write lock {argument:#x}")),
        Reason::Barrier => Some(format!("barrier {argument:#x}")),
        Reason::Join => Some(format!("end of fiber {argument}")),
        Reason::Child => Some("end of a child process".to_owned()),
        Reason::Signal => Some("a signal".to_owned()),
        _ => None,
    };
    let state = if !snapshot.parked {
        if snapshot.running { FiberState::Running } else { FiberState::Queued }
    } else {
        FiberState::Waiting
    };
    FiberInfo {
        id: snapshot.id,
        name: timestop_hooks::thread::name_of(snapshot.fiber),
        state,
        waiting_for: waiting_for.filter(|_| state == FiberState::Waiting),
        since: Duration::from_nanos(snapshot.waited),
    }
}
