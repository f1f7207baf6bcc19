//! A blocking program that nobody has changed: Python threads, each with a connection of its own, that ask a server which
//! takes 50 ms to answer. As it is; patched by gevent; under `timestop run`.
//!
//! In `legacy` all is Python, down to the sockets. In `legacy_c` the client is libcurl, whose waits no patch of Python's
//! modules can reach: under gevent, one waits and all wait.
//!
//! The program has the first core, the server the second.

use std::io;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::lab::child::{Capture, Server, last_words};
use crate::lab::descent;
use crate::lab::experiments::{Row, Subject};
use crate::lab::machine;
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;

/// The row whose server is asked.
const SERVER: &str = "http/64";
/// Between two looks at how many OS threads there are.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    let told = |error: io::Error| error.to_string();
    let cores = machine::cores();
    machine::pin_to(&[*cores.get(1).unwrap_or(&cores[0])]);
    let server = Server::start(&mut slow_server().map_err(told)?)?;
    machine::pin_to(&cores[..1]);
    let mut program = trial.command(true).map_err(told)?;
    program.args(["--port", &server.port.to_string()]);
    let measured = run(program);
    server.unless_ended(measured)
}

/// Timestop's own: it has the view that takes 50 ms.
fn slow_server() -> io::Result<Command> {
    let row = Row::all(true).find(|row| row.name() == SERVER).expect("one of the experiments");
    Trial { row, subject: Subject::Timestop, amount: None, workers: None }.command(true)
}

/// What it prints, its CPU time, and the most OS threads that it was seen to have.
fn run(mut command: Command) -> Result<Measured, String> {
    let told = |error: io::Error| format!("the program: {error}");
    let (mut stdout, mut stderr) = (Capture::new().map_err(told)?, Capture::new().map_err(told)?);
    command.stdout(stdout.stdio().map_err(told)?).stderr(stderr.stdio().map_err(told)?);
    let mut child = command.spawn().map_err(told)?;
    let begin = Instant::now();
    let watched = watch(&child);
    let whole = begin.elapsed();
    if watched.is_err() {
        // It may have ended by itself.
        let _ = child.kill();
    }
    let status = child.wait().map_err(told)?;
    let Watched { cpu, threads } = watched?;
    if !status.success() {
        let said = stderr.text().map_err(told)?;
        let reason = last_words(&said).unwrap_or("it said nothing");
        return Err(format!("the program ended ({status}): {reason}"));
    }
    let measured: Measured = stdout.text().map_err(told)?.parse()?;
    Ok(measured
        .with("cpu", cpu.as_secs_f64())
        .with("os_threads", threads as f64)
        .with("with_its_start_s", whole.as_secs_f64()))
}

struct Watched {
    cpu: Duration,
    threads: u64,
}

/// Until it has ended, and before it is waited for: its account is there until then.
fn watch(child: &Child) -> Result<Watched, String> {
    let told = |error: rustix::io::Errno| format!("the program: {error}");
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).map_err(told)?;
    let pid = child.id();
    let mut threads = 0;
    while poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&LOOK)).map_err(told)? == 0 {
        threads = threads.max(machine::status(&pid.to_string(), "Threads")?);
    }
    Ok(Watched { cpu: descent::cpu_time_of(pid)?, threads })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<Measured, String> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command)
    }

    #[test]
    fn what_the_program_prints_is_measured_beside_what_it_used() {
        let measured = shell("sleep 0.05; echo value 1.5").expect("a value");
        assert_eq!(measured.value(), Some(1.5));
        assert_eq!(measured.numbers["os_threads"], 1.0);
        assert!(measured.numbers["cpu"] >= 0.0);
    }

    #[test]
    fn a_program_that_fails_says_why() {
        let why = "the program ended (exit status: 3): no luck";
        assert_eq!(shell("echo no luck >&2; exit 3"), Err(why.to_owned()));
        assert_eq!(shell("exec true"), Err("it printed no value".to_owned()));
    }
}
