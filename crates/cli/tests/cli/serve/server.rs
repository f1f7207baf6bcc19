//! The server under test: a process that is killed when its guard goes.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{DEADLINE, client::Client};

/// A running `timestop serve`.
pub(super) struct Server {
    child: Child,
    lines: Receiver<String>,
    pub(super) address: SocketAddr,
}

impl Server {
    /// Starts one on a free port.
    pub(super) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_timestop"));
        Self::start_as(command.args(["serve", "--bind", "127.0.0.1:0"]).args(arguments))
    }

    /// Starts one by a command that leads to it.
    pub(super) fn start_as(command: &mut Command) -> Self {
        let (child, lines) = spawn(command);
        let mut server = Self { child, lines, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let line = server.line_with("listening on ");
        let address = line.strip_prefix("listening on http://").expect("the line gives a URL");
        server.address = address.parse().expect("the URL holds an address");
        assert_ne!(server.address.port(), 0, "the real port is printed");
        server
    }

    /// Its process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Connects to it.
    pub(super) fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Waits for a line on stderr that contains `text`.
    pub(super) fn line_with(&mut self, text: &str) -> String {
        loop {
            let line = self
                .lines
                .recv_timeout(DEADLINE)
                .unwrap_or_else(|_| panic!("no line on stderr has {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal)
            .expect("it is our child, not waited for");
    }

    /// Waits for its end; returns how it ended and what was left on stderr.
    pub(super) fn end(mut self) -> (ExitStatus, Vec<String>) {
        let rest = rest(&self.lines);
        (self.child.wait().expect("it is our child"), rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails if it has ended and was waited for, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a `timestop` that is expected to end by itself; returns its exit code and stderr.
pub(super) fn run(arguments: &[&str]) -> (Option<i32>, Vec<String>) {
    let (mut child, lines) = spawn(Command::new(env!("CARGO_BIN_EXE_timestop")).args(arguments));
    let rest = rest(&lines);
    (child.wait().expect("it is our child").code(), rest)
}

fn spawn(command: &mut Command) -> (Child, Receiver<String>) {
    let mut child =
        command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program was built");
    let stderr = child.stderr.take().expect("it is piped");
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    (child, lines)
}

/// The lines up to the end of stderr, which is the end of the process.
fn rest(lines: &Receiver<String>) -> Vec<String> {
    let mut rest = Vec::new();
    loop {
        match lines.recv_timeout(DEADLINE) {
            Ok(line) => rest.push(line),
            Err(RecvTimeoutError::Disconnected) => return rest,
            Err(RecvTimeoutError::Timeout) => panic!("the process does not end; it said {rest:?}"),
        }
    }
}
