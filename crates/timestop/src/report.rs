//! What the live fibers are doing.

use std::io::{self, Write};
use std::time::Duration;

use timestop_runtime::{self as runtime, Snapshot};

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
    /// CPU time that it has used, to some milliseconds.
    pub cpu: Duration,
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

/// Writes on standard error what every fiber is doing: id, name, what it waits for (descriptor and peer,
/// lock and holder, time left), for how long, and its stack. Fibers that do the same at the same place are
/// one entry. Fibers go on meanwhile. Source: Go's SIGQUIT.
///
/// Cost: microseconds a fiber, and reading the debug information of what is on their stacks.
///
/// ```
/// timestop::run(|| {
///     let sleeper = timestop::spawn(|| std::thread::sleep(std::time::Duration::from_millis(50)));
///     timestop::dump();
///     sleeper.join().unwrap();
/// });
/// ```
pub fn dump() {
    timestop_report::dump_to_stderr();
}

/// As [`dump`], to `out`.
///
/// # Errors
///
/// Those of `out`.
pub fn dump_to(out: &mut impl Write) -> io::Result<()> {
    timestop_report::dump(out)
}

fn describe(snapshot: Snapshot) -> FiberInfo {
    let waiting_for = timestop_report::waiting_for(&snapshot);
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
        cpu: Duration::from_nanos(snapshot.cpu),
    }
}
