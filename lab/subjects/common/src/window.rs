//! A hundred tasks that sleep a millisecond again and again, beside others that hold what runs them: how late do the
//! sleepers wake up in a window of some seconds?
//!
//! The window's end is told by an OS thread. A task that waited for it would be one of those that are held up, and a task
//! that computes must not look at a clock: a call may be where a system preempts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use crate::args::Args;
use crate::cpu::Lcg;
use crate::report::{fail, report};

/// How many sleep.
pub const SLEEPERS: usize = 100;
/// How long each time.
pub const SLEEP: Duration = Duration::from_millis(1);
/// How long they sleep undisturbed, before the window begins and the others with it.
const WARM_UP: Duration = Duration::from_millis(300);

/// When is measured.
#[derive(Debug)]
pub struct Window {
    begin: Instant,
    end: Instant,
    over: AtomicBool,
}

impl Window {
    /// Begins soon and ends `length` later, when `at_end` is called, on an OS thread of its own.
    pub fn open(length: Duration, at_end: impl FnOnce() + Send + 'static) -> Arc<Window> {
        let begin = Instant::now() + WARM_UP;
        let window = Window { begin, end: begin + length, over: AtomicBool::new(false) };
        let window = Arc::new(window);
        thread::spawn({
            let window = window.clone();
            move || {
                thread::sleep(window.end - Instant::now());
                window.over.store(true, Ordering::Relaxed);
                at_end();
            }
        });
        window
    }

    /// How long it is until those come who hold up the others.
    pub fn before_begin(&self) -> Duration {
        self.begin.saturating_duration_since(Instant::now())
    }

    /// Computes until the window is over: no call, nothing that waits.
    pub fn hog(&self) {
        let mut lcg = Lcg::new(1);
        while !self.over.load(Ordering::Relaxed) {
            lcg.round();
        }
    }

    /// What one sleeper will tell.
    pub fn lateness(self: &Arc<Window>) -> Lateness {
        Lateness { window: self.clone(), micros: Vec::new() }
    }
}

/// How late one sleeper was, each time that was due before the window's end and came after its begin: who was held up
/// across either counts in full.
#[derive(Debug)]
pub struct Lateness {
    window: Arc<Window>,
    micros: Vec<u64>,
}

impl Lateness {
    /// When a sleep that begins now is due; none once the window is over.
    pub fn next_due(&self) -> Option<Instant> {
        let due = Instant::now() + SLEEP;
        (due < self.window.end).then_some(due)
    }

    /// To be called right after that sleep.
    pub fn woke(&mut self, due: Instant) {
        let now = Instant::now();
        if now >= self.window.begin {
            self.micros.push(now.saturating_duration_since(due).as_micros() as u64);
        }
    }

    /// In microseconds.
    pub fn into_micros(self) -> Vec<u64> {
        self.micros
    }
}

/// What holds up the others, once it is run: an OS thread, a coroutine, a task.
pub type Holder = Box<dyn FnOnce() + Send>;

/// A window, and as many hogs for it as the bench asks for.
pub fn hogs(args: &Args) -> (Arc<Window>, Vec<Holder>) {
    let window = Window::open(args.secs(), || {});
    let hog = |_| -> Holder {
        let window = window.clone();
        Box::new(move || window.hog())
    };
    let hogs = (0..args.number("hogs")).map(hog).collect();
    (window, hogs)
}

/// A window, and as many for it that are blocked until it is over as the bench asks for.
pub fn stuck(args: &Args) -> (Arc<Window>, Vec<Holder>) {
    let (held, others) =
        Held::new(args.number("stuck")).unwrap_or_else(|error| fail(&format!("no file: {error}")));
    let window = Window::open(args.secs(), || drop(held));
    let wait_for = |file: File| -> Holder {
        Box::new(move || file.lock().expect("it is unlocked when the window is over"))
    };
    (window, others.into_iter().map(wait_for).collect())
}

/// Writes what all sleepers tell where the lab reads it, and ends the run's report.
pub fn report_late(args: &Args, all: impl IntoIterator<Item = Vec<u64>>) {
    if let Err(error) = write_late(args.late(), all) {
        fail(&format!("{}: {error}", args.late()));
    }
    report(&[("value", 0.0)]);
}

/// Writes all latenesses, a line each.
fn write_late(path: &str, all: impl IntoIterator<Item = Vec<u64>>) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for micros in all.into_iter().flatten() {
        writeln!(file, "{micros}")?;
    }
    file.flush()
}

/// A file that is locked (`flock`) until this is dropped.
#[derive(Debug)]
struct Held(#[expect(dead_code, reason = "open, and with that locked")] File);

impl Held {
    /// Locks a file, and opens it `others` times more: whoever locks one of those waits.
    fn new(others: u64) -> io::Result<(Held, Vec<File>)> {
        let path = env::temp_dir().join(format!("lab-held-{}", process::id()));
        let open = || OpenOptions::new().create(true).append(true).open(&path);
        let held = open()?;
        held.lock()?;
        let others = (0..others).map(|_| open()).collect::<io::Result<_>>()?;
        fs::remove_file(&path)?;
        Ok((Held(held), others))
    }
}
