//! What the tests share: a watchdog, waiting for an event with a deadline, tasks that are fibers or OS threads, an echo
//! server, and this binary run again as a child process.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, fs, panic, thread};

/// Whether `timestop` is still the placeholder whose fibers are OS threads: then large numbers are scaled down.
pub(crate) const PLACEHOLDER: bool = false;

/// How many fibers a test of "very many" has.
pub(crate) const MANY: usize = if PLACEHOLDER { 500 } else { 100_000 };

/// How many connections a test of "many connections" has; each takes two descriptors and two fibers.
pub(crate) const CONNECTIONS: usize = if PLACEHOLDER { 200 } else { 2_000 };

/// How long a test may take before it counts as hung. Nothing is meant to come near it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

const CHILD: &str = "TIMESTOP_TEST_CHILD";

/// Runs `f` on a fiber and returns its value. A panic of `f` goes on in the caller, and an `f` that is not done after
/// [`DEADLINE`] fails the test instead of hanging it.
pub(crate) fn on_fiber<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    on_fiber_within(DEADLINE, f)
}

/// As [`on_fiber`], with a deadline of its own.
pub(crate) fn on_fiber_within<T: Send + 'static>(
    limit: Duration,
    f: impl FnOnce() -> T + Send + 'static,
) -> T {
    // Dropped at the end of `f`, whichever way it ends.
    let (done, ended) = mpsc::channel::<()>();
    let fiber = timestop::spawn(move || {
        let _done = done;
        f()
    });
    if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
        panic!("the test's fiber is not done after {limit:?}");
    }
    fiber.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
}

/// Yields until `condition` holds; panics after [`DEADLINE`], naming `what` did not happen.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "{what}: not so after {DEADLINE:?}");
        thread::yield_now();
    }
}

/// Whether the fiber is suspended.
pub(crate) fn waits<T>(fiber: &timestop::JoinHandle<T>) -> bool {
    let infos = timestop::fibers(usize::MAX);
    infos.iter().any(|info| info.id == fiber.id() && info.state == timestop::FiberState::Waiting)
}

/// Who runs the tasks of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mix {
    /// Fibers only.
    Fibers,
    /// Fibers and OS threads in turn: they meet at the same locks.
    Alternating,
}

impl Mix {
    /// Runs `test` on a fiber for each mix.
    pub(crate) fn each(test: fn(Mix)) {
        for mix in [Mix::Fibers, Mix::Alternating] {
            on_fiber(move || test(mix));
        }
    }

    /// Starts the `index`th task of a test.
    pub(crate) fn spawn<T: Send + 'static>(
        self,
        index: usize,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Task<T> {
        if self == Mix::Alternating && index % 2 == 1 {
            Task::Thread(thread::spawn(f))
        } else {
            Task::Fiber(timestop::spawn(f))
        }
    }
}

/// A fiber or an OS thread.
pub(crate) enum Task<T> {
    Fiber(timestop::JoinHandle<T>),
    Thread(thread::JoinHandle<T>),
}

impl<T> Task<T> {
    /// The task's value; its panic goes on in the caller.
    pub(crate) fn join(self) -> T {
        match self {
            Task::Fiber(fiber) => fiber.join(),
            Task::Thread(thread) => thread.join(),
        }
        .unwrap_or_else(|payload| panic::resume_unwind(payload))
    }

    /// The handle by which to unpark the task.
    pub(crate) fn thread(&self) -> &thread::Thread {
        match self {
            Task::Fiber(fiber) => fiber.thread(),
            Task::Thread(thread) => thread.thread(),
        }
    }
}

/// Spawns `count` fibers that run `f` with their index, joins them all and returns their values in order.
pub(crate) fn fan_out<T, F>(count: usize, f: F) -> Vec<T>
where
    T: Send + 'static,
    F: Fn(usize) -> T + Clone + Send + 'static,
{
    let fibers: Vec<_> = (0..count)
        .map(|index| {
            let f = f.clone();
            timestop::spawn(move || f(index))
        })
        .collect();
    fibers
        .into_iter()
        .map(|fiber| fiber.join().unwrap_or_else(|payload| panic::resume_unwind(payload)))
        .collect()
}

/// A listener on a free loopback port, and its address.
pub(crate) fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
    let address = listener.local_addr().expect("a bound listener has an address");
    (listener, address)
}

/// Two ends of one TCP connection over loopback.
pub(crate) fn tcp_pair() -> (TcpStream, TcpStream) {
    let (listener, address) = listen();
    let client = TcpStream::connect(address).expect("connects to our listener");
    let (server, _) = listener.accept().expect("accepts our client");
    (client, server)
}

/// A server that gives a fiber to each of `connections` connections, sends back what it reads, and ends after the last.
pub(crate) fn echo_server(connections: usize) -> (SocketAddr, timestop::JoinHandle<()>) {
    let (listener, address) = listen();
    let server = timestop::spawn(move || {
        let fibers: Vec<_> = (0..connections)
            .map(|_| {
                let (stream, _) = listener.accept().expect("accepts a client");
                timestop::spawn(move || echo(stream).expect("echoes until its client closes"))
            })
            .collect();
        for fiber in fibers {
            fiber.join().expect("no echo panics");
        }
    });
    (address, server)
}

/// Sends back what it reads until the peer closes.
pub(crate) fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}

/// `length` bytes that depend on `seed`: a byte that is lost, doubled or out of place shows.
pub(crate) fn pattern(seed: usize, length: usize) -> Vec<u8> {
    let mut state = seed as u64;
    (0..length).map(|_| (splitmix(&mut state) >> 56) as u8).collect()
}

/// The next number of a reproducible sequence (Steele, Lea and Flood's SplitMix64).
pub(crate) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// How many OS threads this process has now.
pub(crate) fn os_threads() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has /proc/self/status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Threads:"))
        .expect("it counts the threads");
    line.trim().parse().expect("the count is a number")
}

/// Raises this process's (and its children's) limit of open descriptors to the most that it may have.
pub(crate) fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("a process may raise its own soft limit");
}

/// The command that runs the test `name` of this binary alone, in a process of its own in which [`is_child`] holds: for
/// what ends a process or changes all of it.
pub(crate) fn child(name: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("a process knows its program"));
    command
        .args([name, "--exact", "--include-ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD, name);
    command
}

/// Whether this process was started by [`child`].
pub(crate) fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

/// Runs the test `name` as a [`child`], fails unless it passes, and returns what it printed to stdout and stderr.
pub(crate) fn child_passes(name: &str) -> (String, String) {
    let output = child(name).output().expect("this binary starts again");
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{name} as a child: {}\n{stdout}\n{stderr}", output.status);
    assert!(stdout.contains("1 passed"), "{name} names no test:\n{stdout}");
    (stdout, stderr)
}
