//! What fibers have done so far, in a few lines: counters, and the call sites that cost most.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use syscalls::Sysno;
use timestop_runtime::sites::{self, Cause, Site};
use timestop_runtime::{fork, is_started, report, signal, stats, sys};

use crate::raw::Stderr;
use crate::symbols::{Frame, Symbols};
use crate::trim::trim;
use crate::{end, text, unwind};

/// Call sites that are told, of each kind.
const MOST: usize = 5;
/// How often the tables for walking stacks are looked after: libraries come late.
const TICK: u64 = 1_000_000_000;

/// Where and how often statistics are written.
#[derive(Debug)]
struct Plan {
    /// The end of a file; standard error without one.
    file: Option<PathBuf>,
    /// Nanoseconds between two; 0 for at the end only.
    every: u64,
    since: u64,
}

static PLAN: OnceLock<Plan> = OnceLock::new();
/// When they were written last.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// Has statistics written when the process ends by a signal of whoever wants it to end, and `every` so
/// often if that is given; [`crate::at_end`] is for its other ends. Once, when the runtime has started.
pub fn keep_stats(every: Option<Duration>, file: Option<PathBuf>) {
    let every = every.map_or(0, |every| u64::try_from(every.as_nanos()).unwrap_or(u64::MAX));
    let now = sys::now();
    WRITTEN.store(now, Ordering::Relaxed);
    if PLAN.set(Plan { file, every, since: now }).is_err() {
        return;
    }
    unwind::prepare(); // not at the first tick: what happens before it has a place too
    sites::count();
    report::tick_every(TICK);
    end::tell();
}

/// Writes statistics to where [`keep_stats`] has said; does nothing where that was not called, or in a
/// process without fibers of its own.
pub(crate) fn write_stats() {
    let Some(plan) = PLAN.get() else { return };
    if !is_started() || fork::is_young() {
        return;
    }
    WRITTEN.store(sys::now(), Ordering::Relaxed);
    let page = page(plan);
    // Who is to be told of an error?
    let _ = match &plan.file {
        None => Stderr.write_all(&page),
        Some(path) => OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .and_then(|mut file| file.write_all(&page)),
    };
}

/// A second or so has passed.
pub(crate) fn tick() {
    unwind::prepare();
    if let Some(plan) = PLAN.get()
        && plan.every != 0
        && sys::now() - WRITTEN.load(Ordering::Relaxed) + TICK / 2 >= plan.every
    {
        write_stats();
    }
}

fn page(plan: &Plan) -> Vec<u8> {
    let mut page = Vec::new();
    let _: io::Result<()> = compose(&mut page, plan);
    page
}

fn compose(out: &mut impl Write, plan: &Plan) -> io::Result<()> {
    let stats = stats();
    let number = |count: u64| text::number(usize::try_from(count).unwrap_or(usize::MAX));
    let process = sys::process_id();
    let name = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
    let age = text::duration(sys::now() - plan.since);
    writeln!(out, "timestop: statistics of {} (process {process}) after {age}", name.trim_end())?;
    writeln!(
        out,
        "  fibers       {} now, {} in all",
        number(signal::live_fibers().count() as u64),
        number(stats.spawned)
    )?;
    let workers = if stats.workers == 1 { "worker" } else { "workers" };
    write!(out, "  OS threads   {}, for {} {workers}", number(stats.os_threads), stats.workers)?;
    let reserve = if stats.reserve > 0 { ", all but one in reserve" } else { "" };
    writeln!(out, "{reserve}")?;
    writeln!(out, "  switches     {}, {} steals", number(stats.switches), number(stats.steals))?;
    writeln!(out, "  preemptions  {}", number(stats.preemptions))?;
    writeln!(out, "  hand-offs    {}", number(stats.hand_offs))?;
    let counted = sites::sites();
    let mut symbols = Symbols::new();
    let is_preemption = |site: &&Site| site.cause == Cause::Preempted;
    let (preempted, handed): (Vec<&Site>, Vec<&Site>) =
        counted.sites.iter().partition(is_preemption);
    for (title, sites) in [("hand-offs", handed), ("preemptions", preempted)] {
        if sites.is_empty() {
            continue;
        }
        writeln!(out, "  most {title}:")?;
        let mut counts: HashMap<String, u64> = HashMap::new();
        for site in sites {
            *counts.entry(describe(site, &mut symbols)).or_default() += site.count;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by(|one, other| (other.1, &one.0).cmp(&(one.1, &other.0)));
        for (place, count) in counts.iter().take(MOST) {
            writeln!(out, "    {:>9}  {place}", number(*count))?;
        }
        if counts.len() > MOST {
            writeln!(out, "               … and {} other places", counts.len() - MOST)?;
        }
    }
    if counted.missed > 0 {
        writeln!(
            out,
            "  {} of these happened where there was no time to look",
            number(counted.missed)
        )?;
    }
    Ok(())
}

/// What a fiber did, and where in the program.
fn describe(site: &Site, symbols: &mut Symbols) -> String {
    let frames: Vec<Frame> =
        site.stack().iter().flat_map(|address| symbols.resolve(*address).to_vec()).collect();
    let first = trim(&frames).first();
    let call = usize::try_from(site.call).ok().and_then(Sysno::new);
    match (site.cause, first) {
        // Where in the function is chance.
        (Cause::Preempted, Some(frame)) => Frame { place: None, ..frame.clone() }.to_string(),
        (Cause::Preempted, None) => "in code without unwind tables".to_owned(),
        (Cause::Computing, _) => "computing where it could not be preempted".to_owned(),
        (Cause::Blocked, frame) => {
            let call = call.map_or("a system call", |call| call.name());
            frame.map_or_else(|| call.to_owned(), |frame| format!("{call}, from {frame}"))
        }
    }
}
