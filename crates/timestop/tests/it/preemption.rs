//! It is never wrong to compute: fibers that do not block, in whatever code they are, stop no others, and what they hold
//! in registers, on stacks and in locks is what it was when they go on.
//!
//! Each test runs in processes of its own, once with slices alone and once with a preemption every 50 µs, since what is
//! preempted is the whole process. [`Hogs`] compute until [`others_go_on`] has been through everything that a fiber may
//! wait for; a watchdog of [`support::DEADLINE`] turns starvation into a failure.
//!
//! What a test says of results holds without preemption too (fibers that compute are handed off then); what it says of
//! preemptions goes through [`preemptions`].

mod fairness;
mod hogs;
mod locks;
mod processes;
mod registers;
mod sections;
mod signals;
mod stacks;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use std::{any, env, panic, thread};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{self, DEADLINE, child, fan_out, is_child, listen, on_fiber, until};

/// Microseconds between the preemptions of a process that has many.
const CHAOS: &str = "50";

/// How often this process has preempted a fiber so far.
fn preemptions() -> u64 {
    timestop::stats().preemptions
}

/// Fails unless this process has preempted fibers `at_least` that often.
fn assert_preempted(at_least: u64) {
    let count = preemptions();
    assert!(count >= at_least, "{count} preemptions, expected {at_least}");
}

/// Whether there have been `enough` preemptions.
fn preempted(enough: u64) -> bool {
    preemptions() >= enough
}

/// Whether this process preempts at random, besides by slices.
fn is_chaos() -> bool {
    env::var_os("TIMESTOP_CHAOS").is_some()
}

/// Runs `body`, a closure of a test, on a fiber of a process of its own with so many workers: with slices alone, then
/// with preemptions at random.
fn alone<F: FnOnce() + Clone + Send + 'static>(workers: u32, body: F) {
    let workers = ("TIMESTOP_WORKERS", &*workers.to_string());
    alone_with(&[workers], body.clone());
    alone_with(&[workers, ("TIMESTOP_CHAOS", CHAOS)], body);
}

/// Runs `body`, a closure of a test, on a fiber of a process of its own that has `environment`. (In that process it is
/// the first such call that counts, and the others are the same.)
fn alone_with<F: FnOnce() + Send + 'static>(environment: &[(&str, &str)], body: F) {
    static HAS_RUN: AtomicBool = AtomicBool::new(false);
    if !is_child() {
        let mut command = child(&test_of::<F>());
        command.env_remove("TIMESTOP_CHAOS").envs(environment.iter().copied());
        passes(&mut command);
    } else if !HAS_RUN.swap(true, Ordering::Relaxed) {
        on_fiber(body);
    }
}

/// The test in which the closure `F` is written, as the test harness names it.
fn test_of<F>() -> String {
    // "crate::module::test::{{closure}}"
    let path = any::type_name::<F>().trim_end_matches("::{{closure}}");
    let (_crate, test) = path.split_once("::").expect("a path begins with its crate");
    test.to_owned()
}

/// Fails unless the child that `command` starts runs one test, and that passes. One that hangs is killed.
fn passes(command: &mut Command) {
    passes_within(DEADLINE, command);
}

/// The same with a deadline of its own. Returns what the child printed to stdout.
fn passes_within(limit: Duration, command: &mut Command) -> String {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this binary starts again");
    let pid = Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    let waiter = thread::spawn(move || sender.send(child.wait_with_output()));
    // Its own watchdog is to bark first.
    let mut result = receiver.recv_timeout(limit + Duration::from_secs(30));
    let hangs = matches!(result, Err(RecvTimeoutError::Timeout));
    if hangs {
        kill_process(pid, Signal::KILL).expect("our child");
        result = receiver.recv().map_err(RecvTimeoutError::from);
    }
    let output: Output = result.expect("it sends").expect("our child");
    waiter.join().expect("no panic").expect("we listen");
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(!hangs, "{command:?} hangs\n{stdout}\n{stderr}");
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    assert!(stdout.contains("1 passed"), "{command:?} names no test:\n{stdout}");
    stdout
}

/// Fibers that compute until they are told to stop.
struct Hogs {
    stop: Arc<AtomicBool>,
    begun: Arc<Tally>,
    fibers: Vec<timestop::JoinHandle<()>>,
}

impl Hogs {
    /// Starts `count` fibers that call `round` over and over, each with its index and the number of the round.
    fn start(count: usize, round: impl Fn(usize, u64) + Clone + Send + 'static) -> Self {
        let (stop, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(Tally::default()));
        let fibers = (0..count)
            .map(|index| {
                let (stop, begun, round) = (stop.clone(), begun.clone(), round.clone());
                timestop::spawn(move || {
                    for number in 0.. {
                        round(index, number);
                        if number == 0 {
                            begun.add();
                        }
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                })
            })
            .collect();
        Self { stop, begun, fibers }
    }

    /// Waits until each has been through a round.
    fn run(self) -> Self {
        let count = self.fibers.len() as u64;
        until("every hog has its turn", || self.begun.get() == count);
        self
    }

    /// Stops them all; a panic of one goes on here. Every one has been through a round, at least.
    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for fiber in self.fibers {
            fiber.join().unwrap_or_else(|payload| panic::resume_unwind(payload));
        }
    }
}

/// Runs [`others_go_on`] beside two fibers that call `round` for ever; where there are preemptions at random, until
/// there have been many, or for long: a hog that sits in libc is not preempted there.
fn beside_hogs(round: impl Fn(usize, u64) + Clone + Send + 'static) {
    let hogs = Hogs::start(2, round).run();
    others_go_on();
    if is_chaos() {
        let enough = preemptions() + 500;
        (0..50).take_while(|_| !preempted(enough)).for_each(|_| others_go_on());
    }
    hogs.end();
}

/// Goes through what fibers wait for, in counts and not in time: sleep, channels, connections, locks, each other.
fn others_go_on() {
    let sleepers: Vec<_> = (0..10)
        .map(|_| timestop::spawn(|| (0..10).for_each(|_| thread::sleep(Duration::from_millis(1)))))
        .collect();

    let (ping, pings) = mpsc::channel();
    let (pong, pongs) = mpsc::channel();
    let player = timestop::spawn(move || pings.into_iter().try_for_each(|ball| pong.send(ball)));
    for ball in 0..200 {
        ping.send(ball).expect("the player listens");
        assert_eq!(pongs.recv(), Ok(ball));
    }
    drop(ping);
    player.join().expect("no panic").expect("we listened to each");

    accept_and_echo(10);

    let turn = Arc::new((Mutex::new(0), Condvar::new()));
    let order = turn.clone();
    fan_out(5, move |index| {
        let (turn, changed) = &*order;
        let turn = turn.lock().expect("no panic");
        let mut turn = changed.wait_while(turn, |turn| *turn != index).expect("no panic");
        *turn += 1;
        changed.notify_all();
    });
    assert_eq!(*turn.0.lock().expect("no panic"), 5);

    for sleeper in sleepers {
        sleeper.join().expect("a sleep cannot fail");
    }
}

/// A server that accepts one connection after the other, and its clients.
fn accept_and_echo(connections: usize) {
    let (listener, address) = listen();
    let server = timestop::spawn(move || {
        for _ in 0..connections {
            let (stream, _) = listener.accept().expect("accepts a client");
            timestop::spawn(move || support::echo(stream));
        }
    });
    fan_out(connections, move |index| {
        let mut stream = TcpStream::connect(address).expect("the server listens");
        let message = support::pattern(index, 1_000);
        stream.write_all(&message).expect("the server reads");
        let mut echoed = [0; 1_000];
        stream.read_exact(&mut echoed).expect("the server echoes");
        assert!(echoed == *message);
    });
    server.join().expect("no panic");
}

/// Computes without a call for some tens of microseconds or more, by `effort`; returns what only depends on `seed`.
#[inline(never)]
fn compute(seed: u64, effort: u32) -> u64 {
    let mut state = seed;
    let mut float = 1.0_f64 + (seed % 1_000) as f64;
    for _ in 0..effort * 1_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed | 1);
        float = (float * 1.000_1 + (state >> 60) as f64).sqrt();
    }
    state ^ float.to_bits()
}

/// Counts what happened to whom, for tests that say so.
#[derive(Default)]
struct Tally(AtomicU64);

impl Tally {
    fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
