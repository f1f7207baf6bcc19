//! Fibers for tests of the hooks: started, joined with a deadline, their panics passed on.

use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use timestop_runtime::{Settings, Start, create, launch, snapshots};

/// What takes this long hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who runs a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Fiber,
    Thread,
}

/// Starts the runtime once.
pub fn start() {
    timestop_hooks::install();
    timestop_runtime::start(Settings { workers: 2, ..Settings::default() })
        .expect("the runtime starts on the machines that we test on");
}

/// Something that runs.
pub struct Running<T>(Receiver<std::thread::Result<T>>);

type Body = Box<dyn FnOnce()>;

unsafe fn run(argument: usize) {
    // SAFETY: `spawn` passes a box's address once.
    let body = unsafe { Box::from_raw(argument as *mut Body) };
    body();
}

/// Runs `body` on a fiber or on an OS thread.
pub fn spawn<T: Send + 'static>(
    kind: Kind,
    body: impl FnOnce() -> T + Send + 'static,
) -> Running<T> {
    let (sender, receiver) = channel();
    let body = move || {
        let _ = sender.send(catch_unwind(AssertUnwindSafe(body)));
    };
    match kind {
        Kind::Thread => drop(std::thread::spawn(body)),
        Kind::Fiber => {
            let body: Box<Body> = Box::new(Box::new(body));
            let start = Start { function: run, argument: Box::into_raw(body) as usize };
            launch(create(256 * 1024, start).expect("room for a stack"));
        }
    }
    Running(receiver)
}

/// Runs `body` on a fiber.
pub fn fiber<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> Running<T> {
    spawn(Kind::Fiber, body)
}

/// Runs `body` on a fiber and waits for its end.
pub fn on_fiber<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    fiber(body).join()
}

impl<T> Running<T> {
    /// Waits for the end.
    pub fn join(self) -> T {
        match self.0.recv_timeout(PATIENCE) {
            Ok(Ok(value)) => value,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(RecvTimeoutError::Disconnected) => panic!("ended without a word"),
            Err(RecvTimeoutError::Timeout) => {
                // Past the harness, which captures what tests print.
                let mut report = String::from("hangs; the fibers:\n");
                for fiber in snapshots() {
                    let _ = writeln!(report, "{fiber:?}");
                }
                let _ = std::io::stderr().lock().write_all(report.as_bytes());
                std::process::abort();
            }
        }
    }
}

/// Fibers and OS threads in turn.
pub fn kinds(count: usize) -> impl Iterator<Item = Kind> {
    (0..count).map(|index| if index % 3 == 2 { Kind::Thread } else { Kind::Fiber })
}

/// A generator whose seed is printed.
pub struct Random(u64);

impl Random {
    /// Seeded by the clock, or by `TIMESTOP_SEED`.
    pub fn new(test: &str) -> Self {
        let given = std::env::var("TIMESTOP_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let seed = given.unwrap_or(now.as_nanos() as u64) | 1;
        println!("{test}: TIMESTOP_SEED={seed}");
        Self(seed)
    }

    /// Another one, for another fiber.
    pub fn split(&mut self) -> Self {
        Self(self.next() | 1)
    }

    /// xorshift64.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// A value that C functions work on.
pub struct Shared<T>(std::cell::UnsafeCell<T>);

// SAFETY: only C functions that may be called from anywhere get the pointer, or code that holds the
// lock that is tested.
unsafe impl<T> Sync for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Send for Shared<T> {}

impl<T> Shared<T> {
    pub fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    pub fn get(&self) -> *mut T {
        self.0.get()
    }
}

/// Runs a test of this file in a process of its own, which must end well; true in that process. For
/// what changes all of a process.
pub fn alone(name: &str) -> bool {
    if std::env::var_os("TIMESTOP_ALONE").is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("this program");
    let output = std::process::Command::new("timeout")
        .args(["-s", "KILL", "60"])
        .arg(program)
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env("TIMESTOP_ALONE", "1")
        .output()
        .expect("this program runs again");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}\n{errors}", output.status);
    assert!(text.contains("1 passed"), "{name} names no test:\n{text}");
    false
}
