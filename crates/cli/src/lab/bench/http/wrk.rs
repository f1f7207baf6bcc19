//! The load on an HTTP server: `wrk`, which others trust, from Debian.
//!
//! A closed loop on connections that stay open. Its latencies make up for what a stalled server kept from being sent
//! (it does so itself, by the mean time between the requests of a connection). It prints milliseconds for people; what is
//! read here is what a script makes it print in the end, in microseconds. The script goes in by standard input, so
//! that there is no file to leave behind.

use std::fs::File;
use std::io::{self, ErrorKind, Seek, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};

use super::client::Client;
use crate::lab::child::Server;
use crate::lab::descent;
use crate::lab::measured::Measured;

const SCRIPT: &str = r#"
done = function(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format("told %d %d %d %d %d %d %d %d\n", summary.requests, summary.duration,
        latency:percentile(50), latency:percentile(99), errors.connect, errors.read + errors.write,
        errors.status, errors.timeout))
end
"#;

/// At either end of a run, before and after which the server's CPU time is taken: it is still being connected to, or no
/// longer asked.
const MARGIN: Duration = Duration::from_millis(250);

/// How much load, on which path, and for how long: `wrk` knows whole seconds.
#[derive(Debug, Clone, Copy)]
pub(in crate::lab::bench) struct Wrk {
    pub(in crate::lab::bench) connections: usize,
    pub(in crate::lab::bench) path: &'static str,
    /// None: a single request.
    pub(in crate::lab::bench) warm_up: u32,
    pub(in crate::lab::bench) window: u32,
}

impl Wrk {
    /// Puts it on `server`: requests a second, latencies, the server's CPU time a request, and what went wrong.
    pub(in crate::lab::bench) fn put_on(self, server: &Server) -> Result<Measured, String> {
        match self.warm_up {
            // What is done once, at the first request, is not to be measured, however short the time is.
            0 => {
                let asked =
                    Client::connect(server.port).and_then(|mut client| client.get(self.path));
                asked.map_err(|error| format!("the first request: {error}"))?;
            }
            seconds => {
                self.run(server.port, seconds, || Ok(()))?;
            }
        }
        let window = Duration::from_secs(self.window.into()).saturating_sub(2 * MARGIN);
        let (told, (cpu, elapsed, threads)) = self.run(server.port, self.window, || {
            thread::sleep(MARGIN);
            let (before, begin) = (descent::cpu_time_of(server.pid)?, Instant::now());
            thread::sleep(window);
            let cpu = descent::cpu_time_of(server.pid)?.saturating_sub(before);
            let elapsed = begin.elapsed();
            // While it has its connections.
            let threads = descent::threads_of(server.pid)?;
            Ok((cpu.as_secs_f64(), elapsed.as_secs_f64(), threads))
        })?;
        if told.requests == 0.0 {
            return Err("no request was answered within the window".to_owned());
        }
        let rate = told.requests / told.seconds;
        Ok(Measured::new(rate)
            .with("p50", told.p50)
            .with("p99", told.p99)
            .with("cpu", cpu / elapsed / rate * 1e6)
            .with("os_threads", threads as f64)
            .with("not_connected", told.not_connected)
            .with("broken", told.broken)
            .with("not_ok", told.not_ok)
            .with("later_than_2_s", told.timeouts))
    }

    /// What it told, and what came of `meanwhile`.
    fn run<T>(
        self,
        port: u16,
        seconds: u32,
        meanwhile: impl FnOnce() -> Result<T, String>,
    ) -> Result<(Told, T), String> {
        let mut command = Command::new("wrk");
        command
            .args(["-t", "1", "-c", &self.connections.to_string(), "-d", &format!("{seconds}s")])
            .args(["-s", "/dev/stdin", &format!("http://127.0.0.1:{port}{}", self.path)])
            .stdin(script().map_err(|error| format!("wrk: {error}"))?)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let wrk = command.spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => "wrk is not installed: apt-get install wrk".to_owned(),
            _ => format!("wrk: {error}"),
        })?;
        // It ends by itself, whatever came of that.
        let other = meanwhile();
        let output = wrk.wait_with_output().map_err(|error| format!("wrk: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let told = said.lines().find_map(|line| line.strip_prefix("told "));
        match told.and_then(Told::parse) {
            Some(told) if output.status.success() => Ok((told, other?)),
            _ => {
                let errors = String::from_utf8_lossy(&output.stderr);
                Err(format!("wrk ended ({}): {}", output.status, (said + errors).trim()))
            }
        }
    }
}

fn script() -> io::Result<File> {
    let mut file: File = memfd_create(c"wrk.lua", MemfdFlags::CLOEXEC)?.into();
    file.write_all(SCRIPT.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// What the script prints; latencies in microseconds.
#[derive(Debug, PartialEq)]
struct Told {
    requests: f64,
    seconds: f64,
    p50: f64,
    p99: f64,
    not_connected: f64,
    broken: f64,
    not_ok: f64,
    /// Answered, but not within its patience.
    timeouts: f64,
}

impl Told {
    fn parse(line: &str) -> Option<Self> {
        let numbers: Result<Vec<f64>, _> = line.split(' ').map(str::parse).collect();
        let [requests, micros, p50, p99, not_connected, broken, not_ok, timeouts] =
            numbers.ok()?.try_into().ok()?;
        let seconds = micros / 1e6;
        Some(Told { requests, seconds, p50, p99, not_connected, broken, not_ok, timeouts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_line_is_read_in_its_order() {
        let told = Told::parse("1000 2000000 30 40 5 6 7 8").expect("a line");
        assert_eq!((told.requests, told.seconds, told.p50, told.p99), (1000.0, 2.0, 30.0, 40.0));
        assert_eq!((told.not_connected, told.broken), (5.0, 6.0));
        assert_eq!((told.not_ok, told.timeouts), (7.0, 8.0));
        assert_eq!(Told::parse("1000 2000000 30 40 5 6 7"), None);
    }
}
