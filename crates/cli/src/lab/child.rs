//! Processes the lab starts: runs of a subject, and servers that such a run talks to.
//!
//! What a process writes goes to memory files and is read when it has ended: a full pipe can block nobody, and no thread
//! is needed to drain one. A run is the leader of a process group, so that ending it ends the server it started; and
//! every process of this binary asks the kernel to be killed when its parent dies.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process_group, pidfd_open, waitpgid,
};

use super::interrupt::Interrupt;

/// How long a server that reset a connection may take to end, if that was why.
const AFTER_RESET: Duration = Duration::from_secs(1);

/// What a process writes to one of its streams.
#[derive(Debug)]
pub(crate) struct Capture(File);

impl Capture {
    pub(crate) fn new() -> io::Result<Self> {
        let memory: OwnedFd = memfd_create(c"timestop-lab", MemfdFlags::CLOEXEC)?;
        Ok(Capture(memory.into()))
    }

    pub(crate) fn stdio(&self) -> io::Result<Stdio> {
        Ok(self.0.try_clone()?.into())
    }

    pub(crate) fn text(&mut self) -> io::Result<String> {
        let mut bytes = Vec::new();
        self.0.rewind()?;
        self.0.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// How the process ended and the last thing it said, for people.
    fn reason(&mut self, ended: &str) -> String {
        let text = self.text().unwrap_or_default();
        match last_words(&text) {
            Some(words) => format!("{ended}: {words}"),
            None => ended.to_owned(),
        }
    }
}

/// The last line that says something: not the hint that Rust adds to a panic.
pub(crate) fn last_words(text: &str) -> Option<&str> {
    let says_something = |line: &&str| !line.is_empty() && !line.starts_with("note: ");
    text.lines().rev().map(str::trim).find(says_something)
}

/// How a run ended, if not well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// By Ctrl-C: the run does not count.
    Interrupted,
    /// For this reason.
    Broken(String),
    /// It did not end in time.
    Late(String),
}

impl Failure {
    /// With the last thing that was said.
    fn with(self, said: &mut Capture) -> Self {
        match self {
            Failure::Interrupted => Failure::Interrupted,
            Failure::Broken(ended) => Failure::Broken(said.reason(&ended)),
            Failure::Late(ended) => Failure::Late(said.reason(&ended)),
        }
    }

    /// Of a run, which ends with 1 whatever was wrong, and says what: that it ended with 1 says no more.
    pub(crate) fn of_a_run(self) -> Self {
        match self {
            Failure::Broken(why) => {
                let said = why.strip_prefix("exit status: 1: ").map(str::to_owned);
                Failure::Broken(said.unwrap_or(why))
            }
            other => other,
        }
    }

    /// For people.
    pub(crate) fn why(&self) -> &str {
        match self {
            Failure::Interrupted => "interrupted",
            Failure::Broken(why) | Failure::Late(why) => why,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Broken(error.to_string())
    }
}

/// Runs `command` to its end, or to `limit`, or to Ctrl-C, and returns its standard output.
pub(crate) fn output(
    command: &mut Command,
    limit: Duration,
    interrupt: &Interrupt,
) -> Result<String, Failure> {
    let (mut stdout, mut stderr) = (Capture::new()?, Capture::new()?);
    command.stdin(Stdio::null()).stdout(stdout.stdio()?).stderr(stderr.stdio()?);
    match status(command, limit, interrupt) {
        Ok(status) if status.success() => Ok(stdout.text()?),
        Ok(status) => Err(Failure::Broken(stderr.reason(&status.to_string()))),
        Err(failure) => Err(failure.with(&mut stderr)),
    }
}

/// How a process ended, and all that it wrote.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: ExitStatus,
    pub(crate) text: String,
}

impl Told {
    pub(crate) fn last_words(&self) -> &str {
        last_words(&self.text).unwrap_or("it said nothing")
    }
}

/// As [`output`], whatever its status, with both of its streams in one.
pub(crate) fn captured(
    command: &mut Command,
    limit: Duration,
    interrupt: &Interrupt,
) -> Result<Told, Failure> {
    let mut both = Capture::new()?;
    command.stdin(Stdio::null()).stdout(both.stdio()?).stderr(both.stdio()?);
    match status(command, limit, interrupt) {
        Ok(status) => Ok(Told { status, text: both.text()? }),
        // What a step of a build exceeds is not told apart from other failures.
        Err(Failure::Broken(ended) | Failure::Late(ended)) => {
            Err(Failure::Broken(both.reason(&ended)))
        }
        Err(Failure::Interrupted) => Err(Failure::Interrupted),
    }
}

/// As [`output`], with its streams as `command` has them: how it ended by itself.
pub(crate) fn status(
    command: &mut Command,
    limit: Duration,
    interrupt: &Interrupt,
) -> Result<ExitStatus, Failure> {
    let mut child = command.process_group(0).spawn()?;
    let ended = wait(&child, limit, interrupt);
    // Also when it ended by itself: whatever it left running ends here.
    let group = Pid::from_child(&child);
    let _ = kill_process_group(group, Signal::KILL);
    let status = child.wait()?;
    // What lost its parent is a child of ours, if we asked for that: its CPU time is then told with that of the others.
    while let Ok(Some(_)) = waitpgid(group, WaitOptions::empty()) {}
    match ended? {
        End::Itself => Ok(status),
        End::Interrupted => Err(Failure::Interrupted),
        End::TooLate => Err(Failure::Late(format!("not finished after {} s", limit.as_secs()))),
    }
}

enum End {
    Itself,
    Interrupted,
    TooLate,
}

fn wait(child: &Child, limit: Duration, interrupt: &Interrupt) -> io::Result<End> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).expect("a limit is minutes");
        let mut fds = [PollFd::new(&process, PollFlags::IN), PollFd::new(interrupt, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Ok(End::TooLate),
            Ok(_) if !fds[1].revents().is_empty() => return Ok(End::Interrupted),
            Ok(_) => return Ok(End::Itself),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A server under test. It says `PORT PID` in one line once it listens; it is killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    stderr: Capture,
    pub(crate) port: u16,
    /// Of the server itself: what was started may be a program that started it.
    pub(crate) pid: u32,
}

impl Server {
    pub(crate) fn start(command: &mut Command) -> Result<Self, String> {
        let program = command.get_program().display().to_string();
        let start = |error: io::Error| format!("{program}: {error}");
        let mut stderr = Capture::new().map_err(start)?;
        let errors = stderr.stdio().map_err(start)?;
        let mut child = command.stdout(Stdio::piped()).stderr(errors).spawn().map_err(start)?;
        let mut line = String::new();
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let read = BufReader::new(stdout).read_line(&mut line);
        if let (Ok(_), Some((port, pid))) = (read, parse_address(&line)) {
            return Ok(Server { child, stderr, port, pid });
        }
        let status = end(&mut child);
        let ended = format!("the server did not say where it listens ({status})");
        Err(stderr.reason(&ended))
    }

    /// What was measured, unless the server is no more: then how it ended, which explains whatever the load met.
    pub(crate) fn unless_ended<T>(mut self, measured: Result<T, String>) -> Result<T, String> {
        // Connections are reset a moment before the process can be waited for.
        let patience = if measured.is_err() { AFTER_RESET } else { Duration::ZERO };
        match self.ended_within(patience) {
            Ok(None) => measured,
            Ok(Some(status)) => Err(self.stderr.reason(&format!("the server ended ({status})"))),
            Err(error) => Err(format!("the server cannot be waited for: {error}")),
        }
    }

    fn ended_within(&mut self, patience: Duration) -> io::Result<Option<ExitStatus>> {
        let process = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())?;
        let timeout = Timespec::try_from(patience).expect("a patience is short");
        poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout))?;
        self.child.try_wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Kills it if it has not ended, and says how it ended.
fn end(child: &mut Child) -> String {
    // An error means that it has been waited for already.
    let _ = child.kill();
    child.wait().as_ref().map_or_else(io::Error::to_string, ExitStatus::to_string)
}

fn parse_address(line: &str) -> Option<(u16, u32)> {
    let (port, pid) = line.trim_end().split_once(' ')?;
    Some((port.parse().ok()?, pid.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_a_panic_are_its_message() {
        let text = "\nthread 'main' panicked at x.rs:1:1:\nno more threads\nnote: run with `RUST_BACKTRACE=1`\n";
        assert_eq!(last_words(text), Some("no more threads"));
        assert_eq!(last_words("\n \n"), None);
    }

    #[test]
    fn a_server_says_its_port_and_its_process() {
        assert_eq!(parse_address("4000 17\n"), Some((4000, 17)));
        assert_eq!(parse_address("4000\n"), None);
        assert_eq!(parse_address(""), None);
    }

    #[test]
    fn a_server_that_ended_is_the_reason_and_one_that_runs_is_not() {
        let start = |script: &str| {
            Server::start(Command::new("sh").args(["-c", script]))
                .expect("it says where it listens")
        };
        let reset = || Err::<(), _>("connection reset".to_owned());
        let running = start("echo 1 $$; exec sleep 60");
        assert_eq!(running.unless_ended(reset()), reset());
        let ended = start("echo 1 $$; echo out of luck >&2; exit 3");
        let why = "the server ended (exit status: 3): out of luck";
        assert_eq!(ended.unless_ended(reset()), Err(why.to_owned()));
    }

    #[test]
    fn a_run_that_fails_says_why() {
        let interrupt = Interrupt::install().expect("signal handlers");
        let run = |script: &str, limit| {
            output(Command::new("sh").args(["-c", script]), limit, &interrupt)
        };
        let long = Duration::from_secs(60);
        assert_eq!(run("echo value 1", long), Ok("value 1\n".to_owned()));
        let broken = |why: &str| Err(Failure::Broken(why.to_owned()));
        assert_eq!(run("echo no luck >&2; exit 3", long), broken("exit status: 3: no luck"));
        let late = Err(Failure::Late("not finished after 0 s".to_owned()));
        assert_eq!(run("sleep 60", Duration::ZERO), late);
    }
}
