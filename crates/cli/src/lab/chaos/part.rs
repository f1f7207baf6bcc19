//! A kind of work: loops of rounds, and what must be true when all have ended.

use std::sync::atomic::{AtomicU64, Ordering};

use super::dice::Dice;

/// What is wrong, if something is.
pub(super) type Outcome = Result<(), String>;

/// Does something, some milliseconds long at most, and checks it.
pub(super) type Round = Box<dyn FnMut(&mut Dice) -> Outcome + Send>;

/// Looks once at what all loops of a part have left.
pub(super) type Check = Box<dyn FnOnce() -> Outcome + Send>;

pub(super) struct Part {
    pub(super) name: &'static str,
    /// One loop each.
    pub(super) rounds: Vec<Round>,
    /// Looked at when all loops have ended.
    pub(super) in_the_end: Check,
}

impl Part {
    /// Loops that have nothing in common.
    pub(super) fn of<R>(name: &'static str, loops: usize, mut round: impl FnMut(usize) -> R) -> Self
    where
        R: FnMut(&mut Dice) -> Outcome + Send + 'static,
    {
        let rounds = (0..loops).map(|nth| Box::new(round(nth)) as Round).collect();
        Part { name, rounds, in_the_end: Box::new(|| Ok(())) }
    }
}

/// An error that says what was there in place of what.
pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Outcome {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{what}: found {found:x?}, expected {expected:x?}")),
    }
}

static STARTED: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);

/// One fiber that has not ended.
struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        ENDED.fetch_add(1, Ordering::Relaxed);
    }
}

/// A fiber that will be missed.
pub(super) fn spawn<T: Send + 'static>(
    name: Option<&str>,
    body: impl FnOnce() -> T + Send + 'static,
) -> timestop::JoinHandle<T> {
    let mut builder = timestop::Builder::new();
    if let Some(name) = name {
        builder = builder.name(name.to_owned());
    }
    STARTED.fetch_add(1, Ordering::Relaxed);
    let counted = Counted;
    let spawned = builder.spawn(move || {
        let _counted = counted;
        body()
    });
    spawned.expect("there is room for some hundred fibers")
}

/// How many fibers were started, and how many of them have not ended.
pub(super) fn started_and_missing() -> (u64, u64) {
    let ended = ENDED.load(Ordering::Relaxed);
    let started = STARTED.load(Ordering::Relaxed);
    (started, started - ended)
}
