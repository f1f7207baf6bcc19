//! A trace of what fibers do, in a file that `ui.perfetto.dev` and `chrome://tracing` open.
//!
//! The runtime keeps events in rings (`timestop_runtime::trace`); an OS thread here takes them out every few
//! milliseconds and writes them as lines ([`json`]). So a program that is killed leaves all but the last
//! of them. Nothing here allocates once the file is open, and the file is written by raw system calls.
//!
//! Each process has a file: the one that was traced first the one that was named, a child of `fork` or
//! another program that it executes `FILE.PID`.
//!
//! Rejected: Perfetto's own format (a third of the size, but `chrome://tracing` does not open it, and
//! neither does anybody's text editor); a file that is mapped (a full disk would be SIGBUS).

mod json;

use std::ffi::CString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{pollfd, timespec};
use syscalls::{Sysno, raw_syscall};
use timestop_fiber::lock::Lock;
use timestop_runtime::housekeeper::Housekeeper;
use timestop_runtime::own::Own;
use timestop_runtime::{fork, is_started, signal, stats, sys, trace};

use crate::raw::{Stderr, outcome};
use crate::{end, text};
use json::Lines;

/// How often the rings are emptied, in nanoseconds, unless they fill up sooner.
const PAUSE: u64 = 20_000_000;
/// What a file may grow to by default: viewers keep all of it in memory.
pub const DEFAULT_LIMIT: u64 = 512 << 20;

/// What was asked for.
#[derive(Debug)]
struct Plan {
    path: PathBuf,
    limit: u64,
    /// Whose trace the file itself is.
    owner: u32,
}

static PLAN: OnceLock<Plan> = OnceLock::new();
/// Held by who opens the file, or writes to it and then tells what went wrong: the process does not end in
/// between. (What is opened or told may take memory; nobody who has memory's lock waits for this one.)
static TURN: Lock<()> = Lock::new(());
static WRITER: Lock<Writer> = Lock::new(Writer::new());
static THREAD: Housekeeper = Housekeeper::new(c"timestop-trace", work);

/// The file, and what is to be written to it.
#[derive(Debug)]
struct Writer {
    file: Own,
    lines: Lines,
    /// Bytes in the file, whole lines all of them.
    written: u64,
    limit: u64,
    lost: u64,
    /// Runnable, fibers, OS threads, as last written.
    counters: [u64; 3],
    /// What has gone wrong, to be told once the lock is open.
    trouble: Option<Trouble>,
}

#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// The kernel's error number.
    Failed(i32),
    Limit,
    /// A pipe is full, and the process is to end.
    Unread,
}

/// The process ends: who reads a pipe has [`PATIENCE`] for each part of what is left.
static ENDS: AtomicBool = AtomicBool::new(false);
/// In nanoseconds.
const PATIENCE: u64 = 1_000_000_000;

/// Has everything that fibers do from now on written to a file, of `limit` bytes at most. `owner` is the
/// process whose trace this file is, if nothing is in it yet; other processes' are beside it. Once; the
/// runtime has been started.
///
/// # Errors
///
/// The file cannot be written to, or memory is short: 4 MiB a worker are needed.
pub fn start_trace(path: &Path, limit: u64, owner: u32) -> io::Result<()> {
    let plan = Plan { path: std::path::absolute(path)?, limit, owner };
    if PLAN.set(plan).is_err() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a trace is being written already",
        ));
    }
    open()?;
    trace::set_hooks(drain, in_child);
    trace::start().map_err(io::Error::from_raw_os_error)?;
    name_all();
    end::tell();
    THREAD.want();
    Ok(())
}

/// Writes what waits, and ends the trace: the process ends.
pub(crate) fn finish() {
    if PLAN.get().is_none() || !is_started() || fork::is_young() {
        return;
    }
    ENDS.store(true, Ordering::Relaxed);
    open_in_child(); // the thread may be about to
    trace::stop();
    let mut writer = WRITER.lock();
    if writer.file == Own::NONE {
        return;
    }
    writer.drain();
    trace::open_ends(|event| writer.event(&event));
    writer.count();
    // Told in the trace, and here if there is nothing worse to tell.
    let lost = writer.lost;
    writer.lines.close(lost);
    writer.flush();
    writer.close();
    let trouble = writer.trouble.take();
    drop(writer);
    tell(trouble);
    if lost > 0 && trouble.is_none() {
        let lost = text::number(usize::try_from(lost).unwrap_or(usize::MAX));
        say(&format!("{lost} events were lost: they came faster than they could be written"));
    }
}

/// The OS thread that writes.
fn work() {
    open_in_child();
    loop {
        let bell = trace::bell();
        drain();
        if WRITER.lock().file == Own::NONE {
            return; // ended, or gone wrong
        }
        trace::wait(bell, sys::now() + PAUSE);
    }
}

/// A child of `fork` keeps events before it has a file for them: this is where it gets one.
fn open_in_child() {
    let _turn = TURN.lock();
    if WRITER.lock().file == Own::NONE && trace::is_on() {
        match open() {
            Ok(()) => name_all(),
            Err(error) => {
                trace::stop();
                say(&error.to_string());
            }
        }
    }
}

/// Writes what waits.
fn drain() {
    let _turn = TURN.lock();
    let mut writer = WRITER.lock();
    if writer.file == Own::NONE {
        return;
    }
    writer.drain();
    writer.count();
    writer.flush();
    let trouble = writer.trouble.take();
    drop(writer);
    tell(trouble);
}

/// In the child of a `fork`, alone. The descriptor is closed with all others of ours.
fn in_child() {
    // SAFETY: the only thread; what follows makes the value whole.
    unsafe { WRITER.reset() };
    // SAFETY: as above; there is no value.
    unsafe { TURN.reset() };
    let mut writer = WRITER.lock();
    writer.file = Own::NONE;
    (writer.written, writer.lost, writer.trouble) = (0, 0, None);
    drop(writer);
    THREAD.want(); // when there is a runtime again
}

fn tell(trouble: Option<Trouble>) {
    match trouble {
        None => {}
        Some(Trouble::Failed(number)) => {
            let error = io::Error::from_raw_os_error(number);
            say(&format!("{error}; the trace ends there, and the program goes on"));
        }
        Some(Trouble::Unread) => say("nobody reads it; the trace ends there"),
        Some(Trouble::Limit) => {
            let limit = PLAN.get().map_or(0, |plan| plan.limit) >> 20;
            say(&format!("the trace has reached its limit of {limit} MB, and ends there"));
        }
    }
}

fn say(what: &str) {
    let path = PLAN.get().map_or_else(String::new, |plan| plan.path.display().to_string());
    let _ = Stderr.write_all(format!("timestop: --trace {path}: {what}\n").as_bytes());
}

/// Opens this process's file.
fn open() -> io::Result<()> {
    let plan = PLAN.get().expect("there is a plan before there is a file");
    let process = sys::process_id();
    let file = descriptor(plan, process)?;
    let mut name = std::fs::read("/proc/self/comm").unwrap_or_default();
    name.truncate(name.trim_ascii_end().len());
    let mut writer = WRITER.lock();
    writer.file = Own::adopt(file);
    (writer.written, writer.lost, writer.limit) = (0, 0, plan.limit);
    writer.counters = [u64::MAX; 3];
    writer.lines.open(process, &name, stats().workers as usize);
    Ok(())
}

/// The file itself, or `FILE.PID`, `FILE.PID.2` …: never one that holds another trace.
fn descriptor(plan: &Plan, process: u32) -> io::Result<i32> {
    if process == plan.owner {
        let file = open_at(&plan.path, 0)?;
        if std::fs::metadata(&plan.path).map_or(true, |about| about.len() == 0) {
            return Ok(file);
        }
        Own::adopt(file).close();
    }
    let mut name = plan.path.clone().into_os_string();
    name.push(format!(".{process}"));
    let mut count = 1;
    loop {
        let path = if count == 1 {
            name.clone()
        } else {
            let mut path = name.clone();
            path.push(format!(".{count}"));
            path
        };
        match open_at(Path::new(&path), libc::O_EXCL) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && count < 100 => count += 1,
            other => return other,
        }
    }
}

fn open_at(path: &Path, flags: i32) -> io::Result<i32> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC | flags;
    // SAFETY: a C string.
    let opened =
        unsafe { raw_syscall!(Sysno::openat, libc::AT_FDCWD, path.as_ptr(), flags, 0o644) };
    let file = outcome(opened).map_err(io::Error::from_raw_os_error)? as i32;
    // A pipe that is full says so ([`has_room`]). Not before it is open: nobody may read it yet.
    // SAFETY: touches no memory of ours.
    let _ = unsafe {
        raw_syscall!(Sysno::fcntl, file, libc::F_SETFL, libc::O_APPEND | libc::O_NONBLOCK)
    };
    Ok(file)
}

/// Waits until a pipe that is full has room again. False if the process ends and nobody reads.
fn has_room(file: i32) -> bool {
    let begin = sys::now();
    let tenth = timespec { tv_sec: 0, tv_nsec: (PATIENCE / 10) as i64 };
    loop {
        let mut record = pollfd { fd: file, events: libc::POLLOUT, revents: 0 };
        // SAFETY: one record, and a time.
        let ready = outcome(unsafe {
            raw_syscall!(Sysno::ppoll, &raw mut record, 1, &raw const tenth, 0, 8)
        });
        if ready.is_ok_and(|count| count > 0) {
            return true;
        }
        if ENDS.load(Ordering::Relaxed) && sys::now() - begin >= PATIENCE {
            return false;
        }
    }
}

/// Names the fibers that were there before.
fn name_all() {
    let mut writer = WRITER.lock();
    for fiber in signal::live_fibers() {
        let name = fiber.name();
        if !name.bytes().is_empty() {
            writer.lines.name_fiber(fiber.id(), &name);
            writer.make_room();
        }
    }
}

impl Writer {
    const fn new() -> Self {
        Self {
            file: Own::NONE,
            lines: Lines::new(),
            written: 0,
            limit: 0,
            lost: 0,
            counters: [u64::MAX; 3],
            trouble: None,
        }
    }

    fn drain(&mut self) {
        let lost = trace::drain(|event| self.event(&event));
        if lost > 0 {
            self.lost += lost;
            self.lines.lost(lost);
            self.make_room();
        }
    }

    fn event(&mut self, event: &trace::Event) {
        self.lines.event(event);
        self.make_room();
    }

    fn make_room(&mut self) {
        if !self.lines.has_room() {
            self.flush();
        }
    }

    /// Writes the counters that have changed.
    fn count(&mut self) {
        let stats = stats();
        let now = [trace::runnable() as u64, stats.fibers, stats.os_threads];
        for (index, what) in ["runnable fibers", "fibers", "OS threads"].into_iter().enumerate() {
            if self.counters[index] != now[index] {
                self.counters[index] = now[index];
                self.lines.counter(what, now[index]);
                self.make_room();
            }
        }
    }

    /// Writes the lines. What cannot be written whole is taken back: the file stays readable.
    fn flush(&mut self) {
        let bytes = self.lines.bytes();
        let mut rest = bytes;
        let mut trouble = None;
        let is_open = self.file != Own::NONE;
        while is_open && !rest.is_empty() && trouble.is_none() {
            // SAFETY: the kernel reads that many bytes.
            let written = outcome(unsafe {
                raw_syscall!(Sysno::write, self.file.number(), rest.as_ptr(), rest.len())
            });
            match written {
                Ok(0) => trouble = Some(Trouble::Failed(libc::EIO)),
                Ok(count) => rest = &rest[count..],
                Err(libc::EINTR) => {}
                Err(libc::EAGAIN) if has_room(self.file.number()) => {}
                Err(libc::EAGAIN) => trouble = Some(Trouble::Unread),
                Err(number) => trouble = Some(Trouble::Failed(number)),
            }
        }
        if trouble.is_none() {
            self.written += bytes.len() as u64;
            if is_open && self.written >= self.limit {
                trouble = Some(Trouble::Limit);
            }
        } else {
            // SAFETY: touches no memory of ours.
            let _ = unsafe { raw_syscall!(Sysno::ftruncate, self.file.number(), self.written) };
        }
        self.lines.clear();
        if trouble.is_some() {
            trace::stop();
            self.close();
            self.trouble = trouble;
        }
    }

    fn close(&mut self) {
        self.file.close();
        self.file = Own::NONE;
    }
}
