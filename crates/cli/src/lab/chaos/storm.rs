//! The process that is preempted: starts the loops, watches over them, adds up.
//!
//! The watchdog is an OS thread, which nobody preempts. It ends the storm in time, and a loop that has made no progress for
//! ten seconds ends it with a dump of all fibers: a fiber that was lost, a wake-up that never came. Ten seconds of the
//! process's CPU time too, for a machine that gives it little is no fault of ours.

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};

use super::dice::Dice;
use super::ledger::Ledger;
use super::part::{self, Check, Part, Round};
use super::{
    allocation, channels, floats, input_output, locals, locks, panics, registers, spawning, text,
    timers,
};
use crate::lab::{machine, preemption};

const PARTS: &[fn() -> Part] = &[
    allocation::part,
    locks::part,
    registers::part,
    floats::part,
    panics::part,
    input_output::part,
    channels::part,
    locals::part,
    text::part,
    spawning::part,
    timers::part,
];

/// Without progress for so long, of time and of CPU time that the process has used, a loop hangs; and if it uses none,
/// for so long.
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);
/// Memory may double on the way, and this much more: caches fill. What leaks at each round is beyond that soon.
const ROOM_KIB: u64 = 64 * 1024;
const DUMPED: usize = 1_000;

/// A storm from begin to end.
struct Storm {
    seconds: u64,
    seed: u32,
    json: bool,
    ledger: Ledger,
}

/// Runs the loops for so many seconds, and prints what they did.
pub(super) fn run(seconds: u64, seed: u32, json: bool) -> ExitCode {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    panics::silence();
    let workers = machine::cores().len().max(2);
    timestop::Config::new().workers(workers).run(|| {
        let parts: Vec<Part> = PARTS.iter().map(|part| part()).collect();
        let names = parts.iter().flat_map(|part| part.rounds.iter().map(|_| part.name));
        let storm = Arc::new(Storm { seconds, seed, json, ledger: Ledger::of(names) });
        let watchdog = {
            let storm = Arc::clone(&storm);
            thread::spawn(move || storm.watch())
        };
        let mut loops = Vec::new();
        let mut checks: Vec<(&str, Check)> = Vec::new();
        for part in parts {
            checks.push((part.name, part.in_the_end));
            for round in part.rounds {
                let (storm, nth) = (Arc::clone(&storm), loops.len());
                let name = format!("{} {nth}", part.name);
                loops.push(part::spawn(Some(&name), move || storm.turn(nth, round)));
            }
        }
        for each in loops {
            // What a loop panics with is told by `turn`.
            let _ = each.join();
        }
        let memory = watchdog.join().expect("the watchdog only looks");
        for (part, check) in checks {
            if let Err(what) = check() {
                storm.ledger.mismatch(part, &what);
            }
        }
        storm.report(memory)
    })
}

/// A point in time, and in the process's CPU time.
#[derive(Clone, Copy)]
struct Moment {
    wall: Instant,
    cpu: Duration,
}

impl Moment {
    fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Moment { wall: Instant::now(), cpu: Duration::new(cpu.tv_sec as u64, cpu.tv_nsec as u32) }
    }

    /// Whether what has not gone on since then hangs.
    fn is_long_before(self, now: Self) -> bool {
        let wall = now.wall - self.wall;
        wall > LONGEST || wall > PATIENCE && now.cpu - self.cpu > PATIENCE
    }
}

/// KiB in memory: once everything was in use, and in the end.
struct Memory {
    early: u64,
    late: u64,
}

impl Storm {
    /// One loop, until all is over.
    fn turn(&self, nth: usize, mut round: Round) {
        let part = self.ledger.loops[nth].part;
        let mut dice = Dice::new(self.seed, nth);
        while !self.ledger.is_over() {
            match panic::catch_unwind(AssertUnwindSafe(|| round(&mut dice))) {
                Ok(Ok(())) => self.ledger.round_done(nth),
                Ok(Err(what)) => self.ledger.mismatch(part, &what),
                Err(_) => {
                    // Its message is on standard error, and its state is not to be trusted.
                    self.ledger.mismatch(part, "a round panicked");
                    break;
                }
            }
        }
        drop(round);
        self.ledger.loop_ended(nth);
    }

    /// Ends the storm in time; returns when no fiber is left, and not at all if one hangs.
    fn watch(&self) -> Memory {
        let begin = Moment::now();
        let end = begin.wall + Duration::from_secs(self.seconds);
        let warm = begin.wall
            + Duration::from_secs(self.seconds).mul_f64(0.2).min(Duration::from_secs(20));
        let mut seen: Vec<(u64, Moment)> = vec![(0, begin); self.ledger.loops.len()];
        let mut early = 0;
        loop {
            thread::sleep(LOOK);
            let now = Moment::now();
            if early == 0 && now.wall >= warm {
                early = resident();
            }
            if now.wall >= end && !self.ledger.is_over() {
                self.ledger.stop();
                // From here on they have to end.
                seen.iter_mut().for_each(|(_, when)| *when = now);
            }
            let mut late = None;
            for (record, (rounds, when)) in self.ledger.loops.iter().zip(&mut seen) {
                if record.rounds() != *rounds {
                    (*rounds, *when) = (record.rounds(), now);
                }
                if !record.has_ended() && when.is_long_before(now) {
                    late = Some(record.part);
                }
            }
            let (_, missing) = part::started_and_missing();
            let all_ended = self.ledger.loops.iter().all(|record| record.has_ended());
            if self.ledger.is_over() && all_ended {
                let last = seen.iter().map(|(_, when)| *when).max_by_key(|when| when.wall);
                match missing {
                    0 => return Memory { early, late: resident() },
                    _ if last.unwrap_or(begin).is_long_before(now) => {
                        late = Some("fibers that a loop started")
                    }
                    _ => {}
                }
            }
            if let Some(part) = late {
                self.hangs(part, Memory { early, late: resident() });
            }
        }
    }

    fn hangs(&self, part: &str, memory: Memory) -> ! {
        let fibers = timestop::fibers(DUMPED);
        for fiber in &fibers {
            eprintln!("{fiber:?}");
        }
        eprintln!("{:?}", timestop::stats());
        self.ledger.mismatch(part, &format!("no progress for {} s or more", PATIENCE.as_secs()));
        self.report(memory);
        std::process::exit(1)
    }

    /// Prints everything; whether all was well.
    fn report(&self, memory: Memory) -> ExitCode {
        let (started, lost) = part::started_and_missing();
        let stats = timestop::stats();
        if memory.late > 2 * memory.early + ROOM_KIB {
            let grown = format!("grew from {} to {} KiB", memory.early, memory.late);
            self.ledger.mismatch("memory", &grown);
        }
        if preemption::count() == 0 {
            self.ledger.mismatch("preemption", "there was none: nothing was tested");
        }
        let refusals = stats.refusals;
        let operations = self.ledger.operations();
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
        put("bench", json!("chaos"));
        put("seed", json!(self.seed));
        put("secs", json!(self.seconds));
        put("workers", json!(stats.workers));
        let of_part = operations.iter().map(|(part, rounds)| ((*part).to_owned(), json!(rounds)));
        put("operations", Value::Object(of_part.collect()));
        put("fibers", json!(started));
        put("preemptions", json!(preemption::count()));
        put("refused_in_runtime", json!(refusals.runtime));
        put("refused_in_libraries", json!(refusals.library));
        put(
            "refused_elsewhere",
            json!(
                refusals.stack
                    + refusals.foreign_stack
                    + refusals.pinned
                    + refusals.disabled
                    + refusals.late
            ),
        );
        put("hand_offs", json!(stats.hand_offs));
        put("os_threads", json!(stats.os_threads));
        put("memory_early_kib", json!(memory.early));
        put("memory_kib", json!(memory.late));
        put("mismatches", json!(self.ledger.mismatches()));
        put("lost", json!(lost));
        match self.json {
            true => println!("{}", Value::Object(object)),
            false => object.iter().for_each(|(key, value)| println!("{key:<16} {value}")),
        }
        if self.ledger.mismatches() == 0 && lost == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

fn resident() -> u64 {
    machine::status("self", "VmRSS").unwrap_or_default()
}
