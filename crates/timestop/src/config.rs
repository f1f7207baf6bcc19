//! How the runtime is set up: by code, by environment, by default.

use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, io, thread};

use timestop_runtime::report::HogReports;
use timestop_runtime::{self as runtime, Deadlock, FiberRef, Settings, signal, sys};

use crate::spawn::Builder;

/// Stack of the first fiber, [`run`]: what a main thread has.
const MAIN_STACK: usize = 8 << 20;

/// Settings of the runtime, fixed once the first fiber has been spawned.
///
/// What is not set here is taken from the environment (`TIMESTOP_WORKERS`, `TIMESTOP_STACK`,
/// `TIMESTOP_CARRIERS`, `TIMESTOP_DEADLOCK`, `TIMESTOP_SLICE`, `TIMESTOP_PREEMPT`, `TIMESTOP_HOG`), else
/// the default.
#[derive(Debug, Clone, Default)]
#[must_use = "a configuration does nothing until it is started"]
pub struct Config {
    workers: Option<usize>,
    stack_size: Option<usize>,
    carriers: Option<usize>,
    deadlock: Option<Deadlock>,
    slice: Option<Duration>,
    preempt: Option<bool>,
    preempt_signal: Option<i32>,
    hogs: Option<HogReports>,
    dump_on_quit: bool,
    trace: Option<PathBuf>,
}

impl Config {
    /// Everything as the environment or the defaults have it.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many fibers may run at once. Default: `TIMESTOP_WORKERS`, else the CPUs that this process
    /// may use, its cgroup's quota included.
    ///
    /// # Panics
    ///
    /// If `count` is 0.
    pub fn workers(mut self, count: usize) -> Self {
        assert!(count > 0, "fibers need a worker to run");
        self.workers = Some(count);
        self
    }

    /// Bytes of address space of a fiber's stack, rounded up to a power of two of at least 64 KiB.
    /// Default: `TIMESTOP_STACK`, else 256 KiB.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// The most OS threads that may run fibers, those stuck in blocking calls that no hook knows
    /// included. Beyond it such a call holds up its worker's other fibers until it returns. Default:
    /// `TIMESTOP_CARRIERS`, else 1024.
    pub fn carriers(mut self, count: usize) -> Self {
        self.carriers = Some(count);
        self
    }

    /// What happens when every fiber waits for another, and `main` too, and nothing from outside
    /// could wake any of them. Default: `TIMESTOP_DEADLOCK` (`report`, `abort` or `off`), else one
    /// report on standard error of who waits for what. Source: Go's "all goroutines are asleep".
    pub fn deadlock(mut self, action: Deadlock) -> Self {
        self.deadlock = Some(action);
        self
    }

    /// How long a fiber may compute while others wait, of CPU time; at least a millisecond. Fibers that
    /// compute share by such slices. Default: `TIMESTOP_SLICE` in milliseconds, else 10 ms.
    pub fn slice(mut self, slice: Duration) -> Self {
        self.slice = Some(slice);
        self
    }

    /// Whether a fiber that computes is interrupted by a signal, so that others run on its OS thread.
    /// Without, its worker moves on to another OS thread: nobody starves either, but each such fiber
    /// keeps an OS thread. Default: `TIMESTOP_PREEMPT` (`on` or `off`), else on.
    pub fn preempt(mut self, preempt: bool) -> Self {
        self.preempt = Some(preempt);
        self
    }

    /// By which signal. A handler that the program itself has for it goes on to work. Default: `SIGURG`,
    /// which programs hardly use, and whose default is to be ignored.
    ///
    /// # Panics
    ///
    /// If that is not the number of a signal that can be handled.
    pub fn preempt_signal(mut self, signal: i32) -> Self {
        let ours = !matches!(signal, libc::SIGKILL | libc::SIGSTOP | libc::SIGSEGV | libc::SIGBUS);
        assert!((1..=64).contains(&signal) && ours && !matches!(signal, 32 | 33));
        self.preempt_signal = Some(signal);
        self
    }

    /// Whether fibers that compute for longer than a slice while others wait, or are stuck in blocking
    /// calls that no hook knows, are told as `tracing` warnings, once a call site. Default:
    /// `TIMESTOP_HOG` (`warn` or `off`), else `warn`.
    pub fn hog_reports(mut self, reports: HogReports) -> Self {
        self.hogs = Some(reports);
        self
    }

    /// Whether SIGQUIT (`^\` on a terminal, `kill -QUIT`) prints a dump of all fibers on standard error
    /// ([`dump`](crate::dump)), in place of ending the program; it goes on then. A handler of the
    /// program's own for SIGQUIT, set before or after, gets the signal instead. Default: no. Source: the
    /// JVM's thread dump.
    pub fn dump_on_quit(mut self, dump: bool) -> Self {
        self.dump_on_quit = dump;
        self
    }

    /// Writes what fibers do from the start on to a file: which one ran where and why it left, what it
    /// waited for, who woke it. `ui.perfetto.dev` and `chrome://tracing` open it. What is there already is
    /// overwritten. A child of `fork` that makes fibers writes `FILE.PID`. Default: no.
    ///
    /// Cost: 4 MiB of memory a worker, some 100 ns a switch, and an OS thread that writes; a file of half a
    /// kilobyte for each time that a fiber waits, of 512 MB at most. Where the rings overflow, events are
    /// lost and counted, in the file and on standard error. Source: Go's `runtime/trace`.
    pub fn trace(mut self, file: impl Into<PathBuf>) -> Self {
        self.trace = Some(file.into());
        self
    }

    /// Starts the runtime with these settings; without effect if it runs already.
    ///
    /// # Errors
    ///
    /// Fibers cannot run on this machine, a variable of the environment makes no sense, or an OS
    /// thread cannot be made. The text says what to do.
    pub fn start(&self) -> io::Result<()> {
        if runtime::is_started() {
            return Ok(());
        }
        let workers = match (self.workers, number("TIMESTOP_WORKERS")?) {
            (Some(count), _) | (None, Some(count)) => count,
            (None, None) => thread::available_parallelism().map_or(1, usize::from),
        };
        let defaults = Settings::default();
        let settings = Settings {
            workers,
            reserve: defaults.reserve,
            stack_size: self
                .stack_size
                .or(number("TIMESTOP_STACK")?)
                .unwrap_or(defaults.stack_size),
            carriers: self
                .carriers
                .or(number("TIMESTOP_CARRIERS")?)
                .unwrap_or(defaults.carriers)
                .max(workers + 1),
            deadlock: match self.deadlock {
                Some(action) => action,
                None => choice("TIMESTOP_DEADLOCK", DEADLOCK)?.unwrap_or_default(),
            },
            preempt: match self.preempt {
                Some(preempt) => preempt,
                None => choice("TIMESTOP_PREEMPT", SWITCH)?.unwrap_or(defaults.preempt),
            },
            preempt_signal: self.preempt_signal.unwrap_or(defaults.preempt_signal),
            slice: match self.slice {
                Some(slice) => nanoseconds(slice),
                None => number("TIMESTOP_SLICE")?
                    .map_or(defaults.slice, |slice| slice as u64 * 1_000_000),
            }
            .max(1_000_000),
            chaos: number("TIMESTOP_CHAOS")?.map_or(0, |pause| pause as u64 * 1_000),
            hogs: match self.hogs {
                Some(reports) => reports,
                None => choice("TIMESTOP_HOG", HOG)?.unwrap_or_default(),
            },
        };
        if let Some(file) = &self.trace {
            std::fs::File::create(file)?;
        }
        timestop_hooks::install();
        runtime::set_asked(crate::packet::answer);
        timestop_report::install();
        runtime::start(settings)?;
        if self.dump_on_quit {
            timestop_report::dump_on_quit();
        }
        if let Some(file) = &self.trace {
            timestop_report::start_trace(file, timestop_report::TRACE_LIMIT, sys::process_id())?;
            timestop_report::at_exit();
        }
        Ok(())
    }

    /// Starts the runtime, runs `f` as the program's first fiber, and returns its value. Other
    /// fibers that still live then go on until the program ends, as threads do.
    ///
    /// # Panics
    ///
    /// With what `f` panics with, or if fibers cannot run on this machine.
    pub fn run<F, T>(&self, f: F) -> T
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        if FiberRef::current().is_some() {
            return f();
        }
        if let Err(error) = self.start() {
            panic!("{error}");
        }
        let builder = Builder::new().name("main".to_owned()).stack_size(MAIN_STACK);
        let first = || {
            signal::set_main_fiber(FiberRef::current());
            f()
        };
        // SAFETY: we wait for the fiber's end before we return.
        let spawned = unsafe { builder.spawn_unchecked(first) };
        let handle = spawned.unwrap_or_else(|error| panic!("failed to spawn a fiber: {error}"));
        let result = signal::lend_thread(|| handle.join());
        signal::set_main_fiber(None);
        match result {
            Ok(value) => value,
            Err(payload) => std::panic::resume_unwind(payload),
        }
    }
}

/// A variable of the environment as a positive number.
fn number(name: &str) -> io::Result<Option<usize>> {
    let Some(text) = env::var_os(name) else { return Ok(None) };
    let number =
        text.to_str().and_then(|text| text.trim().parse().ok()).filter(|&number| number > 0);
    number.map(Some).ok_or_else(|| {
        let text = format!("{name}={}: expected a positive number", text.to_string_lossy());
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })
}

const DEADLOCK: &[(&str, Deadlock)] =
    &[("report", Deadlock::Report), ("abort", Deadlock::Abort), ("off", Deadlock::Off)];
const SWITCH: &[(&str, bool)] = &[("on", true), ("off", false)];
const HOG: &[(&str, HogReports)] = &[("warn", HogReports::Warn), ("off", HogReports::Off)];

/// A variable of the environment as one of several words.
fn choice<T: Copy>(name: &str, words: &[(&str, T)]) -> io::Result<Option<T>> {
    let Some(text) = env::var_os(name) else { return Ok(None) };
    if let Some((_, value)) = words.iter().find(|(word, _)| text == *word) {
        return Ok(Some(*value));
    }
    let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    let (last, others) = words.split_last().expect("there is a choice");
    let text = text.to_string_lossy();
    let text = format!("{name}={text}: expected {} or {last}", others.join(", "));
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Starts the runtime as the environment has it, unless it runs.
#[inline]
pub(crate) fn ensure_started() -> io::Result<()> {
    if runtime::is_started() { Ok(()) } else { Config::new().start() }
}

/// The stack size that a fiber gets by default.
pub(crate) fn stack_size() -> usize {
    runtime::settings().map_or(Settings::default().stack_size, |settings| settings.stack_size)
}

/// As [`Config::run`] with everything as the environment or the defaults have it.
pub fn run<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    Config::new().run(f)
}

/// Runs `f` without preemption: while it computes, its OS thread is not taken from it by a signal.
///
/// For the rare code that cannot bear a pause between two of its instructions, such as one that spins
/// for another core. It makes nothing atomic: other workers run on, and blocking calls suspend as
/// ever. When it computes for two slices while others wait, its worker goes on on another OS thread, so
/// nobody starves. Without effect on an OS thread.
///
/// Cost: two additions.
///
/// # Example
///
/// ```
/// let sum: u64 = timestop::without_preemption(|| (1..=100).sum());
/// assert_eq!(sum, 5050);
/// ```
pub fn without_preemption<T>(f: impl FnOnce() -> T) -> T {
    /// Allows it again when dropped, by a panic too.
    struct Allow(FiberRef);

    impl Drop for Allow {
        fn drop(&mut self) {
            self.0.allow_preemption();
        }
    }

    let _allow = FiberRef::current().map(|fiber| {
        fiber.forbid_preemption();
        Allow(fiber)
    });
    f()
}

/// From here on every `std::thread`, and every `pthread_create` of any library, makes a fiber.
/// Threads that exist stay what they are.
///
/// # Errors
///
/// As [`Config::start`].
pub fn adopt_threads() -> io::Result<()> {
    ensure_started()?;
    timestop_hooks::thread::adopt_all(true);
    Ok(())
}

/// Restores a deadline when dropped.
struct Restore(FiberRef, u64);

impl Drop for Restore {
    fn drop(&mut self) {
        self.0.replace_deadline(self.1);
    }
}

/// Runs `f` with a time limit on its blocking calls.
///
/// Once `limit` has passed, blocking I/O within `f` fails with `ErrorKind::TimedOut` (`ETIMEDOUT`),
/// and sleeps end early, so that any blocking code ends along the error paths that it has. `f` is not
/// interrupted otherwise: it may compute on, and waits for locks, std's channels (`mpsc::recv`) and other
/// fibers go on; those in [`channel`](crate::channel), [`queue`](crate::queue) and [`sync`](crate::sync) end.
/// The nearest of several nested limits counts. Fibers that `f` spawns do not inherit it: see
/// [`Context`](crate::sync::Context).
///
/// Cost: two stores, and a timer at each wait.
///
/// # Panics
///
/// When called outside a fiber, where no limit could be kept.
///
/// # Example
///
/// ```
/// use std::io::{ErrorKind, Read};
/// use std::time::Duration;
///
/// timestop::run(|| {
///     let (mut ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
///     let mut byte = [0];
///     let read = timestop::timeout(Duration::from_millis(5), || ours.read(&mut byte));
///     assert_eq!(read.unwrap_err().kind(), ErrorKind::TimedOut);
/// });
/// ```
pub fn timeout<T>(limit: Duration, f: impl FnOnce() -> T) -> T {
    within(sys::now().saturating_add(nanoseconds(limit)), f)
}

/// As [`timeout`], until a point in time.
///
/// # Panics
///
/// As [`timeout`].
pub fn deadline<T>(at: Instant, f: impl FnOnce() -> T) -> T {
    timeout(at.saturating_duration_since(Instant::now()), f)
}

fn within<T>(at: u64, f: impl FnOnce() -> T) -> T {
    let fiber = FiberRef::current()
        .expect("timestop::timeout works on fibers: call it within timestop::run or spawn");
    let before = fiber.deadline();
    fiber.replace_deadline(before.min(at));
    let _restore = Restore(fiber, before);
    f()
}
