//! A fiber that held a worker for long, or was blocked in a call that no hook knows, is told once a
//! call site: the first frame of the program's own.
//!
//! To `tracing` (target `timestop`) in a program that has it; a program in C or Python has not, and is
//! told on standard error, if it was asked for.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use timestop_runtime::report::{Kind, Report};

use crate::raw::Stderr;
use crate::symbols::{Frame, Symbols};
use crate::trim::{site, trim};
use crate::{stack, text, unwind};

/// Warnings in a [`PERIOD`], whatever the number of call sites.
const AT_MOST: u32 = 10;
const PERIOD: Duration = Duration::from_secs(10);
/// Call sites remembered.
const SITES: usize = 4096;
/// Lines of a backtrace.
const LINES: usize = 16;

static ON_STDERR: AtomicBool = AtomicBool::new(false);

/// Has warnings go to standard error and not to `tracing`.
pub fn to_stderr() {
    ON_STDERR.store(true, Ordering::Relaxed);
}

struct Told {
    sites: HashSet<String>,
    since: Option<Instant>,
    count: u32,
}

static TOLD: Mutex<Option<Told>> = Mutex::new(None);

impl Told {
    /// Whether a warning about a call site is to be made.
    fn wants(&mut self, site: &str, now: Instant) -> bool {
        if self.sites.contains(site) || self.sites.len() >= SITES {
            return false;
        }
        if self.since.is_none_or(|since| now.duration_since(since) >= PERIOD) {
            (self.since, self.count) = (Some(now), 0);
        }
        if self.count >= AT_MOST {
            return false; // not remembered: it may be told later
        }
        self.count += 1;
        self.sites.insert(site.to_owned())
    }
}

/// Warns about a report of a fiber. On an ordinary thread.
pub(crate) fn warn(report: &Report) {
    unwind::prepare();
    let mut stack = report.frames[..report.frames.len().min(report.depth as usize)].to_vec();
    let mut call = None;
    if report.kind == Kind::Blocked
        && let Some(fiber) = report.fiber
        && let Some(blocked) = stack::blocked(report.thread_id)
    {
        call = blocked.name();
        if stack.is_empty() {
            stack = stack::of_blocked(fiber, report.thread_id, blocked);
        }
    }
    let mut symbols = Symbols::new();
    let frames: Vec<Frame> =
        stack.iter().flat_map(|address| symbols.resolve(*address).to_vec()).collect();
    let place = site(&frames).map_or_else(String::new, Frame::to_string);
    {
        let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
        let told =
            told.get_or_insert_with(|| Told { sites: HashSet::new(), since: None, count: 0 });
        if !told.wants(&format!("{:?} {place}", report.kind), Instant::now()) {
            return;
        }
    }
    tell(report, call, &frames);
}

fn tell(report: &Report, call: Option<&str>, frames: &[Frame]) {
    let name = String::from_utf8_lossy(report.name.bytes()).into_owned();
    let mut backtrace = String::new();
    for frame in trim(frames).iter().take(LINES) {
        let _ = write!(backtrace, "\n    {frame}");
    }
    let who = if name.is_empty() {
        format!("fiber {}", report.id)
    } else {
        format!("fiber {} '{name}'", report.id)
    };
    let time = text::duration(report.nanoseconds);
    let message = match (report.kind, call) {
        (Kind::Held, _) => format!("{who} has computed for {time} without waiting"),
        (_, Some(call)) => {
            format!("{who} is blocked in {call} for {time}, and its OS thread with it")
        }
        (_, None) => format!("{who} was blocked for {time}, and its OS thread with it"),
    };
    if ON_STDERR.load(Ordering::Relaxed) {
        let _ = Stderr.write_all(format!("timestop: {message}{backtrace}\n").as_bytes());
    } else {
        tracing::warn!(
            target: "timestop",
            fiber = report.id,
            name,
            milliseconds = report.nanoseconds / 1_000_000,
            os_thread = report.thread_id,
            "{message}{backtrace}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_told_once_and_many_are_limited() {
        let mut told = Told { sites: HashSet::new(), since: None, count: 0 };
        let now = Instant::now();
        assert!(told.wants("here", now));
        assert!(!told.wants("here", now));
        let more = (0..100).filter(|site| told.wants(&site.to_string(), now)).count();
        assert_eq!(more, AT_MOST as usize - 1);
        assert!(told.wants("99", now + PERIOD), "one that was passed over is told later");
        assert!(!told.wants("here", now + PERIOD));
    }
}
