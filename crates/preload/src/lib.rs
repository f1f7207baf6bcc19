//! The hooks as a shared object that `timestop run` has the dynamic linker load first.
//!
//! Nothing happens until the program creates its first thread: then the runtime starts, the thread
//! that is running (main, with nothing else around yet) becomes a fiber, and so does the new one. A
//! program without threads pays one comparison a hook.
//!
//! Where fibers cannot run, the program runs on plain threads after one warning; with
//! `TIMESTOP_STRICT=1` it does not run at all.
//!
//! - [`settings`]: the environment. - [`front`]: whether the program's threads are ours to make.
//! - [`end`]: the ways in which a process ends.

mod end;
mod front;
mod settings;

use std::ffi::{CStr, OsStr};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use front::Front;
use timestop_hooks as hooks;
use timestop_report as report;
use timestop_runtime::report::HogReports;
use timestop_runtime::{self as runtime, Deadlock, FiberRef, Settings};

/// Something else makes the program's threads.
static FOREIGN: AtomicBool = AtomicBool::new(false);

/// Runs when the object is loaded. Must stay cheap and allocate nothing: libraries may not be
/// initialised yet.
extern "C" fn loaded() {
    // SAFETY: the program is being loaded, and has one thread.
    unsafe { settings::keep() };
    let Some(path) = settings::value("TIMESTOP_PRELOAD") else { return };
    if settings::value("TIMESTOP_CHILDREN").is_some_and(|value| value == "off") {
        // SAFETY: as above.
        unsafe { settings::leave_no_trace(path) };
    }
    match front::look() {
        Front::Nobody => {}
        Front::Timestop => return,
        Front::Other => FOREIGN.store(true, Ordering::Relaxed),
    }
    hooks::thread::adopt_all(true);
    hooks::set_lazy_start(start);
}

#[used]
#[unsafe(link_section = ".init_array")]
static LOADED: extern "C" fn() = loaded;

/// Whether the program is a Python or Ruby with a global lock: its fibers only fight for the lock on a
/// second worker, unless one of them computes without it.
///
/// A free-threaded Python has the functions about the lock too. Only there a count of references in two
/// parts has to be merged, by a function that every extension module for it calls: it is there to stay.
fn has_global_lock() -> bool {
    // SAFETY: looks up names of the program.
    let find = |name: &CStr| unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    let has = |name| !find(name).is_null();
    has(c"PyGILState_Check") && !has(c"_Py_MergeZeroLocalRefcount")
        || has(c"rb_thread_call_without_gvl")
}

/// What the environment asks for.
fn wanted() -> Settings {
    let number = settings::number;
    let asked = number("TIMESTOP_WORKERS");
    let workers =
        asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let defaults = Settings::default();
    Settings {
        workers,
        reserve: match settings::value("TIMESTOP_RESERVE") {
            Some(value) if value == "on" => true,
            Some(value) if value == "off" => false,
            _ => asked.is_none() && has_global_lock(),
        },
        stack_size: number("TIMESTOP_STACK").unwrap_or(defaults.stack_size),
        carriers: number("TIMESTOP_CARRIERS").unwrap_or(defaults.carriers).max(workers + 1),
        deadlock: Deadlock::Off,
        slice: number("TIMESTOP_SLICE").map_or(defaults.slice, |slice| slice as u64 * 1_000_000),
        preempt: settings::value("TIMESTOP_PREEMPT").is_none_or(|value| value != "off"),
        chaos: number("TIMESTOP_CHAOS").map_or(0, |pause| pause as u64 * 1_000),
        // Standard error is the program's: only where that is asked for.
        hogs: match settings::value("TIMESTOP_HOG") {
            Some(value) if value == "warn" => HogReports::Warn,
            _ => HogReports::Off,
        },
        ..defaults
    }
}

/// Starts the runtime and makes the calling thread a fiber. False: plain threads from here on.
fn start() -> bool {
    if FOREIGN.load(Ordering::Relaxed) {
        return go_without(
            "something in front of the hooks defines pthread_create, and makes the threads",
        );
    }
    hooks::install();
    report::install();
    let wanted = wanted();
    if wanted.hogs == HogReports::Warn {
        // A program in C or Python has nobody who listens to `tracing`.
        report::warn_on_stderr();
    }
    match runtime::start_on_this_thread(wanted) {
        Ok(()) => {
            if let Some(fiber) = FiberRef::current() {
                hooks::signal::became_fiber(fiber);
            }
            tell();
            true
        }
        Err(error) => go_without(&error.to_string()),
    }
}

/// Has told what the environment wants to be told.
fn tell() {
    if !settings::is_off("TIMESTOP_DUMP_ON_QUIT") {
        report::dump_on_quit();
    }
    if let Some(file) = settings::value("TIMESTOP_TRACE") {
        start_trace(file);
    }
    if let Some(address) = settings::value("TIMESTOP_HTML") {
        report::answer_page(&address.to_string_lossy());
    }
    let Some(seconds) = settings::value("TIMESTOP_STATS") else { return };
    let seconds: u64 = seconds.to_string_lossy().parse().unwrap_or(0);
    let file = settings::value("TIMESTOP_STATS_FILE").map(PathBuf::from);
    report::keep_stats((seconds > 0).then(|| Duration::from_secs(seconds)), file);
}

fn start_trace(file: &OsStr) {
    let limit = settings::number("TIMESTOP_TRACE_LIMIT");
    let limit = limit.map_or(report::TRACE_LIMIT, |megabytes| (megabytes as u64) << 20);
    // Whose variables these are; another process has a file of its own.
    let owner = settings::number("TIMESTOP_TRACE_PROCESS").unwrap_or(0) as u32;
    if let Err(error) = report::start_trace(Path::new(file), limit, owner) {
        let file = file.to_string_lossy();
        let _ = writeln!(io::stderr(), "timestop: no trace in {file}: {error}");
    }
}

/// Fibers cannot run here.
fn go_without(why: &str) -> bool {
    let strict = settings::is_on("TIMESTOP_STRICT");
    let then = if strict { "not running (--strict)" } else { "running on plain threads" };
    let _ = writeln!(io::stderr(), "timestop: {why}; {then}");
    if strict {
        std::process::exit(125);
    }
    hooks::thread::adopt_all(false);
    false
}
