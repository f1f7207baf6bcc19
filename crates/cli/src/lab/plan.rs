//! What a subject is asked for in a row: as much as the row says, or as much as it and the machine can bear, or nothing,
//! and why.

use std::num::NonZeroUsize;

use super::experiments::{Amount, Call, Row, Subject};
use super::machine::Room;
use super::outside::{AtMost, Program, Readiness};
use super::report::number;

/// Of the memory that is free, the part that a run may take.
const OF_MEMORY: f64 = 0.8;
/// Descriptors that a process has beside those that are counted.
const OTHER_DESCRIPTORS: usize = 256;

/// What is done about one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// It is run.
    Run {
        /// How much, if the row has an amount.
        amount: Option<usize>,
        /// On how many cores, if it cannot use all that the row has.
        workers: Option<NonZeroUsize>,
        /// Why either is less than the row says.
        why: Vec<String>,
    },
    /// It cannot be done here: something has to be built or installed first.
    NotReady(String),
    /// It cannot be done at all.
    Unable(String),
}

/// For `subject`, which is as ready as it says, on a machine with so much room.
pub(crate) fn plan(row: &Row, subject: Subject, ready: &Readiness, room: Room) -> Plan {
    let Subject::Outside(program) = subject else { return fitting(row, None, room) };
    let name = row.name();
    let bench = row.experiment.outside.map_or(row.experiment.name, |Call { bench, .. }| bench);
    if let Some(why) = program.unable(&name, bench) {
        return Plan::Unable(why.to_owned());
    }
    let few = fewer_cores(row, program);
    match few {
        // The row with fewer cores has the answer.
        Some(most) if row.is_of_workers() => return Plan::Unable(most.why.clone()),
        _ => {}
    }
    if let Readiness::Not(why) = ready {
        return Plan::NotReady(why.clone());
    }
    let family = bench.split('_').next().unwrap_or(bench);
    let most = program.at_most([name.as_str(), bench, family]);
    let mut plan = fitting(row, most.map(|most| (most.value, most.why.clone())), room);
    if let (Plan::Run { workers, why, .. }, Some(few)) = (&mut plan, few) {
        *workers = NonZeroUsize::new(few.value);
        why.push(format!("on {} core: {}", few.value, few.why));
    }
    plan
}

/// Cores that it cannot use. What one makes of them without threads is what `multicore` and its like ask: a process for each, say.
fn fewer_cores(row: &Row, program: &Program) -> Option<&'static AtMost> {
    let most = program.at_most(["workers"])?;
    let is_asked_about_them = row.experiment.name.starts_with("multicore");
    (row.workers() > most.value && !is_asked_about_them).then_some(most)
}

/// As much as fits into `room` and is not above `most`.
fn fitting(row: &Row, most: Option<(usize, String)>, room: Room) -> Plan {
    let run = |amount, why| Plan::Run { amount, workers: None, why };
    let Some(full) = row.amount() else { return run(None, Vec::new()) };
    let takes = row.experiment.takes;
    let descriptors = (takes.descriptors > 0).then(|| {
        let most = room.descriptors.saturating_sub(OTHER_DESCRIPTORS) / takes.descriptors;
        (most, format!("a process may open {} files here (ulimit -n)", room.descriptors))
    });
    let memory = (takes.bytes > 0).then(|| {
        let most = (room.memory as f64 * OF_MEMORY) as usize / takes.bytes;
        (most, format!("{} MiB of memory are free", room.memory >> 20))
    });
    let limits = most.into_iter().chain(descriptors).chain(memory);
    let Some((most, why)) = limits.min_by_key(|(most, _)| *most).filter(|(most, _)| *most < full)
    else {
        return run(Some(full), Vec::new());
    };
    match shrunk(row, full, most) {
        0 => Plan::NotReady(format!("too little room to measure anything: {why}")),
        amount => run(Some(amount), vec![measured_at(amount, &why)]),
    }
}

/// In words: not at the size that the row says.
pub(crate) fn measured_at(amount: usize, why: &str) -> String {
    format!("measured at {}: {why}", number(amount as f64))
}

/// The largest amount not above `most`: that itself, or a whole tree.
fn shrunk(row: &Row, full: usize, most: usize) -> usize {
    if row.experiment.shrink == 2 {
        return most;
    }
    let mut amount = full;
    while amount > most {
        amount /= row.experiment.shrink;
    }
    amount
}

/// Less of it, for a subject that has failed at `amount`. None if that was not much.
pub(crate) fn less(row: &Row, amount: usize) -> Option<usize> {
    let is_counted = matches!(row.experiment.amount, Amount::Fixed(_) | Amount::Parameter);
    let less = amount / row.experiment.shrink;
    (is_counted && less >= 500).then_some(less)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { descriptors: 20_000, memory: 20 << 30 };

    fn row(name: &str) -> Row {
        Row::all(false).find(|row| row.name() == name).expect("a known row")
    }

    fn planned(name: &str, most: Option<usize>, room: Room) -> (Option<usize>, String) {
        let most = most.map(|most| (most, "mappings".to_owned()));
        match fitting(&row(name), most, room) {
            Plan::Run { amount, why, .. } => (amount, why.join("; ")),
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn what_fits_is_asked_for_in_full() {
        assert_eq!(planned("echo/8000", None, ROOM), (Some(8_000), String::new()));
        assert_eq!(planned("yield", None, ROOM), (None, String::new()));
    }

    #[test]
    fn what_does_not_fit_is_cut_to_the_least_of_the_limits() {
        let few = Room { descriptors: 1_024, ..ROOM };
        let (amount, why) = planned("echo/8000", None, few);
        assert!(amount == Some(768) && why.contains("1024 files"), "{amount:?} {why}");
        let small = Room { memory: 1 << 30, ..ROOM };
        let (amount, why) = planned("memory_sleep/1000000", None, small);
        assert!(amount < Some(100_000) && why.contains("1024 MiB"), "{amount:?} {why}");
        let (amount, why) = planned("memory_sleep/1000000", Some(15_000), small);
        assert_eq!((amount, why.as_str()), (Some(15_000), "measured at 15,000: mappings"));
    }

    #[test]
    fn a_tree_stays_whole() {
        assert_eq!(planned("skynet/1000000", Some(30_000), ROOM).0, Some(10_000));
        assert_eq!(less(&row("skynet/1000000"), 100_000), Some(10_000));
    }

    #[test]
    fn what_is_small_already_is_not_tried_smaller() {
        assert_eq!(less(&row("timers/20000"), 20_000), Some(10_000));
        assert_eq!(less(&row("echo/64"), 64), None);
        assert_eq!(less(&row("yield"), 1_000_000), None);
    }
}
