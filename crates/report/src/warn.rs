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
    /// Stacks that have been looked at, by their return addresses. Names cost a look at the debug
    /// information, and a hundred fibers that run one function stop at a hundred of its instructions.
    stacks: HashSet<(Kind, Vec<usize>)>,
    since: Option<Instant>,
    count: u32,
}

static TOLD: Mutex<Option<Told>> = Mutex::new(None);

impl Told {
    fn new() -> Self {
        Self { sites: HashSet::new(), stacks: HashSet::new(), since: None, count: 0 }
    }

    /// Whether a stack with these callers has not been looked at.
    fn is_new(&mut self, kind: Kind, callers: &[usize]) -> bool {
        callers.is_empty()
            || self.stacks.len() < SITES && self.stacks.insert((kind, callers.to_vec()))
    }

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
    let heard = ON_STDERR.load(Ordering::Relaxed)
        || tracing::enabled!(target: "timestop", tracing::Level::WARN);
    if !heard {
        return;
    }
    let Some(text) = compose(report) else { return };
    if ON_STDERR.load(Ordering::Relaxed) {
        let _ = Stderr.write_all(format!("timestop: {text}\n").as_bytes());
        return;
    }
    tracing::warn!(
        target: "timestop",
        fiber = report.id,
        name = &*String::from_utf8_lossy(report.name.bytes()),
        milliseconds = report.nanoseconds / 1_000_000,
        os_thread = report.thread_id,
        "{text}"
    );
}

/// What is to be said, with the backtrace; `None` where it has been said already.
fn compose(report: &Report) -> Option<String> {
    unwind::prepare();
    let mut stack = report.frames[..report.frames.len().min(report.depth as usize)].to_vec();
    let mut call = None;
    if report.kind == Kind::Blocked
        && let Some(fiber) = report.fiber
        && let Some(blocked) = stack::blocked(report.thread_id)
    {
        call = blocked.name();
        // One address is what a walk gives before the first `prepare`.
        if stack.len() <= 1 {
            stack = stack::of_blocked(fiber, report.thread_id, blocked);
        }
    }
    if !with_told(|told| told.is_new(report.kind, stack.get(1..).unwrap_or_default())) {
        return None;
    }
    let mut symbols = Symbols::new();
    let frames: Vec<Frame> =
        stack.iter().flat_map(|address| symbols.resolve(*address).to_vec()).collect();
    let place = site(&frames).map_or_else(String::new, Frame::to_string);
    let site = format!("{:?} {place}", report.kind);
    let is_wanted = with_told(|told| told.wants(&site, Instant::now()));
    is_wanted.then(|| message(report, call, &frames))
}

fn with_told<R>(body: impl FnOnce(&mut Told) -> R) -> R {
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    body(told.get_or_insert_with(Told::new))
}

fn message(report: &Report, call: Option<&str>, frames: &[Frame]) -> String {
    let name = String::from_utf8_lossy(report.name.bytes());
    let who = if name.is_empty() {
        format!("fiber {}", report.id)
    } else {
        format!("fiber {} '{name}'", report.id)
    };
    let time = text::duration(report.nanoseconds);
    let mut message = match (report.kind, call) {
        (Kind::Held, _) => format!("{who} has computed for {time} without waiting"),
        (_, Some(call)) => {
            format!("{who} has been blocked in {call} for {time}, and its OS thread with it")
        }
        (_, None) => format!("{who} was blocked for {time}, and its OS thread with it"),
    };
    for frame in trim(frames).iter().take(LINES) {
        let _ = write!(message, "\n    {frame}");
    }
    message
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use timestop_runtime::report::FRAMES;
    use timestop_runtime::{FiberRef, signal, sys};

    use super::*;
    use crate::waiting;

    /// In a call that no hook knows: a futex in the kernel.
    #[inline(never)]
    fn blocks_its_thread(word: &AtomicU32) {
        let _ = sys::futex_wait(word, 0, None);
    }

    #[test]
    fn a_blocked_fiber_is_told_with_its_call_and_place() {
        static WORD: AtomicU32 = AtomicU32::new(0);
        let builder = timestop::Builder::new().name("stuck".to_owned());
        let stuck = builder.spawn(|| {
            while WORD.load(Ordering::Acquire) == 0 {
                std::hint::black_box(blocks_its_thread)(&WORD);
            }
        });
        let stuck = stuck.expect("room for a fiber");
        let is_it = |fiber: &FiberRef| fiber.name().bytes() == b"stuck";
        let deadline = Instant::now() + Duration::from_secs(20);
        let (fiber, thread_id) = loop {
            let fiber = signal::live_fibers().find(is_it);
            if let Some(fiber) = fiber
                && let Some(thread) = signal::running_thread(fiber)
                && stack::blocked(thread).is_some_and(|call| call.name() == Some("futex"))
            {
                break (fiber, thread);
            }
            assert!(Instant::now() < deadline, "it does not block");
            std::thread::yield_now();
        };
        let report = Report {
            kind: Kind::Blocked,
            fiber: Some(fiber),
            id: fiber.id(),
            name: fiber.name(),
            nanoseconds: 1_500_000_000,
            thread_id,
            frames: [0; FRAMES],
            depth: 0,
        };
        let text = compose(&report).expect("it is the first time");
        let start = format!("fiber {} 'stuck' has been blocked in futex for 1.5 s", fiber.id());
        assert!(text.starts_with(&start), "{text}");
        // The runtime's own frames are cut, and this crate's count as such: its files do not.
        assert!(text.contains("blocks_its_thread"), "{text}");
        assert_eq!(compose(&report), None, "once a call site");
        assert!(waiting::Holders::new().of_mutex(0).is_none(), "a lock that is no memory");
        WORD.store(1, Ordering::Release);
        sys::futex_wake(WORD.as_ptr() as usize, 1);
        stuck.join().expect("no panic");
    }

    #[test]
    fn a_site_is_told_once_and_many_are_limited() {
        let mut told = Told::new();
        let now = Instant::now();
        assert!(told.wants("here", now));
        assert!(!told.wants("here", now));
        let more = (0..100).filter(|site| told.wants(&site.to_string(), now)).count();
        assert_eq!(more, AT_MOST as usize - 1);
        assert!(told.wants("99", now + PERIOD), "one that was passed over is told later");
        assert!(!told.wants("here", now + PERIOD));
    }
}
