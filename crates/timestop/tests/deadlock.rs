//! The report of a deadlock names what fibers wait for, by the address that their `Debug` shows.
//!
//! A program of its own, without std's test harness, whose main thread waits for a test in a way that the
//! runtime does not know: it might do something yet.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use timestop::channel::{bounded, unbuffered};
use timestop::queue::Queue;
use timestop::sync::WaitGroup;
use timestop::{Config, Deadlock};

const CHILD: &str = "TIMESTOP_TEST_CHILD";
/// How long the child may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// What `{:?}` shows of it in parentheses.
fn address(shown: &str) -> &str {
    shown.split(['(', ')']).nth(1).expect("an address in parentheses")
}

fn main() {
    if env::var_os(CHILD).is_some() {
        return Config::new().workers(1).deadlock(Deadlock::Abort).run(stand_still);
    }
    let mut child = Command::new(env::current_exe().expect("a process knows its program"))
        .env(CHILD, "deadlock")
        .stderr(Stdio::piped())
        .spawn()
        .expect("this program starts again");
    let start = Instant::now();
    while child.try_wait().expect("it is our child").is_none() {
        if start.elapsed() > DEADLINE {
            child.kill().expect("it is our child");
            panic!("no report after {DEADLINE:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("it is piped");
    stderr.read_to_string(&mut said).expect("text");
    assert!(said.contains("all fibers are asleep - deadlock!"), "{said}");
    let shown = |what: &str| {
        let line = said.lines().find(|line| line.starts_with(what));
        address(line.unwrap_or_else(|| panic!("{what}: {said}"))).to_owned()
    };
    for expected in [
        format!("waits for a message from the channel at {}", shown("Receiver")),
        format!("waits for room in the channel at {}", shown("Sender")),
        format!("waits for a message from the channel at {}", shown("Queue")),
        "waits for one of 2 channels (select)".to_owned(),
        "waits for the condition variable at 0x".to_owned(),
    ] {
        assert!(said.contains(&expected), "{expected}: {said}");
    }
    println!("the report of a deadlock names channels and queues ... ok");
}

/// Fibers that wait for what nobody else holds, or nobody who would do something.
fn stand_still() {
    let (keep, receiver) = unbuffered::<()>();
    eprintln!("{receiver:?}");
    timestop::spawn(move || (receiver.recv(), keep.send(())));
    let (sender, keep) = bounded(1);
    eprintln!("{sender:?}");
    timestop::spawn(move || (sender.send(1), sender.send(2), keep.recv()));
    timestop::spawn(|| {
        let (one, two) = (unbuffered::<()>(), unbuffered::<()>());
        timestop::channel::select! {
            recv(one.1) -> _ => drop(one.0),
            recv(two.1) -> _ => drop(two.0),
        }
    });
    let group = WaitGroup::new();
    group.add(1);
    timestop::spawn(move || group.wait());
    let queue = Queue::<()>::new(0);
    eprintln!("{queue:?}");
    let _ = queue.get();
}
