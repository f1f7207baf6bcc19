//! The hooks as a shared object that `timestop run` has the dynamic linker load first.
//!
//! Nothing happens until the program creates its first thread: then the runtime starts, the thread
//! that is running (main, with nothing else around yet) becomes a fiber, and so does the new one. A
//! program without threads pays one comparison a hook.
//!
//! Where fibers cannot run, the program runs on plain threads after one warning; with
//! `TIMESTOP_STRICT=1` it does not run at all.

use std::ffi::CStr;
use std::io::{self, Write};

use timestop_hooks as hooks;
use timestop_report as report;
use timestop_runtime::report::HogReports;
use timestop_runtime::{self as runtime, Deadlock, FiberRef, Settings};

/// Runs when the object is loaded. Must stay cheap and allocate nothing: libraries may not be
/// initialised yet.
extern "C" fn loaded() {
    if variable(c"TIMESTOP_PRELOAD").is_some() {
        hooks::thread::adopt_all(true);
        hooks::set_lazy_start(start);
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static LOADED: extern "C" fn() = loaded;

/// A variable of the environment, without allocating.
fn variable(name: &CStr) -> Option<&'static CStr> {
    // SAFETY: a C string; the environment is not changed while the program is loaded.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    // SAFETY: null, or a C string.
    (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) })
}

/// A variable as a positive number. One that is something else is told, and not used.
fn number(name: &CStr) -> Option<usize> {
    let text = variable(name)?.to_string_lossy();
    let number = text.trim().parse().ok().filter(|number| *number > 0);
    if number.is_none() {
        let name = name.to_string_lossy();
        let _ = writeln!(
            io::stderr(),
            "timestop: {name}={text}: expected a positive number; going on as if it were not set"
        );
    }
    number
}

/// Whether the program is a Python with a global interpreter lock: it gains nothing from a second
/// worker, which only fights for the lock.
fn has_global_lock() -> bool {
    // SAFETY: looks up names of the program.
    let find = |name: &CStr| unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    !find(c"PyGILState_Check").is_null() || !find(c"rb_thread_call_without_gvl").is_null()
}

fn workers() -> usize {
    number(c"TIMESTOP_WORKERS").unwrap_or_else(|| {
        if has_global_lock() {
            1
        } else {
            std::thread::available_parallelism().map_or(1, usize::from)
        }
    })
}

/// Starts the runtime and makes the calling thread a fiber. False: plain threads from here on.
fn start() -> bool {
    hooks::install();
    report::install();
    // Standard error is the program's: only where that is asked for.
    let tells = variable(c"TIMESTOP_HOG") == Some(c"warn");
    if tells {
        // A program in C or Python has nobody who listens to `tracing`.
        report::warn_on_stderr();
    }
    let workers = workers();
    let defaults = Settings::default();
    let settings = Settings {
        workers,
        stack_size: number(c"TIMESTOP_STACK").unwrap_or(defaults.stack_size),
        carriers: number(c"TIMESTOP_CARRIERS").unwrap_or(defaults.carriers).max(workers + 1),
        deadlock: Deadlock::Off,
        slice: number(c"TIMESTOP_SLICE").map_or(defaults.slice, |slice| slice as u64 * 1_000_000),
        preempt: variable(c"TIMESTOP_PREEMPT").is_none_or(|value| value != c"off"),
        chaos: number(c"TIMESTOP_CHAOS").map_or(0, |pause| pause as u64 * 1_000),
        hogs: if tells { HogReports::Warn } else { HogReports::Off },
        ..defaults
    };
    match runtime::start_on_this_thread(settings) {
        Ok(()) => {
            if let Some(fiber) = FiberRef::current() {
                hooks::signal::became_fiber(fiber);
            }
            report::dump_on_quit();
            true
        }
        Err(error) => {
            let strict = variable(c"TIMESTOP_STRICT").is_some_and(|value| value != c"0");
            let then = if strict { "not running (--strict)" } else { "running on plain threads" };
            let _ = writeln!(io::stderr(), "timestop: {error}; {then}");
            if strict {
                std::process::exit(125);
            }
            hooks::thread::adopt_all(false);
            false
        }
    }
}
