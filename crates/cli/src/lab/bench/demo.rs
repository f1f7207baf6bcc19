//! `timestop serve` as a stranger meets it: many requests that sleep, and requests beside one that is
//! stuck in a blocking call no hook knows, or beside many that compute. The clients are fibers of this process.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::lab::lateness::Lateness;
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;

/// Connections that one client opens at a time: more at once than a listener's backlog holds would
/// measure the kernel's retries.
const OPENERS: usize = 64;

/// Between an answer and the next request for `/demo/hello`.
const PAUSE: Duration = Duration::from_millis(1);

/// `timestop serve` in a process of its own; ends when dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start() -> Result<Self, String> {
        let this = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(this);
        command.args(["serve", "--bind", "127.0.0.1:0"]);
        let child = command.stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
        let mut server = Self { child, port: 0 };
        let mut line = String::new();
        if let Some(stderr) = &mut server.child.stderr {
            BufReader::new(stderr).read_line(&mut line).map_err(|error| error.to_string())?;
        }
        let port = line.trim_end().strip_prefix("listening on http://127.0.0.1:");
        server.port = port
            .and_then(|port| port.parse().ok())
            .ok_or_else(|| format!("the server said {line:?}"))?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nobody to end, and only the status to fetch.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends one request on a connection of its own; how long the answer took.
fn ask(stream: &mut TcpStream, path: &str) -> io::Result<Duration> {
    let begin = Instant::now();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::with_capacity(256);
    stream.read_to_end(&mut answer)?;
    match answer.starts_with(b"HTTP/1.1 200") {
        true => Ok(begin.elapsed()),
        false => Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned())),
    }
}

/// `parameter` requests for `/demo/sleep?ms=1000` at once: milliseconds until the last is answered.
pub(in crate::lab) fn sleep(trial: &Trial) -> Result<Measured, String> {
    let (server, count) = (Server::start()?, trial.parameter());
    let port = server.port;
    timestop::Config::new().workers(1).run(|| {
        let openers: Vec<_> = (0..OPENERS)
            .map(|nth| {
                let share = count / OPENERS + usize::from(nth < count % OPENERS);
                timestop::spawn(move || -> io::Result<Vec<TcpStream>> {
                    (0..share).map(|_| TcpStream::connect(("127.0.0.1", port))).collect()
                })
            })
            .collect();
        let mut streams = Vec::with_capacity(count);
        for opener in openers {
            streams.extend(joined(opener)?);
        }
        let begin = Instant::now();
        let requests: Vec<_> = streams
            .into_iter()
            .map(|mut stream| timestop::spawn(move || ask(&mut stream, "/demo/sleep?ms=1000")))
            .collect();
        for request in requests {
            joined(request)?;
        }
        Ok(Measured::new(begin.elapsed().as_secs_f64() * 1e3))
    })
}

/// The longest of requests for `/demo/hello`, sent all the while that `/demo/block?ms=…` takes.
pub(in crate::lab) fn block(trial: &Trial) -> Result<Measured, String> {
    let blocked_for = trial.pick(5_000, 500);
    let mut times = hello_beside(1, &format!("/demo/block?ms={blocked_for}"))?;
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    Ok(Measured::new(at(1.0)).with("p99", at(0.99)).with("requests", times.len() as f64))
}

/// How long requests for `/demo/hello` take, sent all the while that eight requests `/demo/spin?ms=…` do.
pub(in crate::lab) fn spin(trial: &Trial) -> Result<Measured, String> {
    let spun_for = trial.pick(2_000, 500);
    let mut lateness = Lateness::of_every(PAUSE);
    for time in hello_beside(8, &format!("/demo/spin?ms={spun_for}"))? {
        lateness.record(time);
    }
    lateness.measured()
}

/// The times of requests for `/demo/hello`, one after the other while `count` requests for `path` are answered.
fn hello_beside(count: usize, path: &str) -> Result<Vec<Duration>, String> {
    let server = Server::start()?;
    let port = server.port;
    timestop::Config::new().workers(1).run(|| {
        let connect = move || TcpStream::connect(("127.0.0.1", port));
        let missing = &AtomicUsize::new(count);
        timestop::scope(|scope| {
            let hard: Vec<_> = (0..count)
                .map(|_| {
                    scope.spawn(move || {
                        let asked = connect().and_then(|mut stream| ask(&mut stream, path));
                        missing.fetch_sub(1, Ordering::Relaxed);
                        asked
                    })
                })
                .collect();
            let mut times = Vec::new();
            // The first to be answered would leave the server with less to do.
            while missing.load(Ordering::Relaxed) == count {
                let begin = Instant::now();
                let mut stream = connect().map_err(|error| error.to_string())?;
                ask(&mut stream, "/demo/hello").map_err(|error| error.to_string())?;
                times.push(begin.elapsed());
                thread::sleep(PAUSE);
            }
            for request in hard {
                let asked = request.join().map_err(|_| "a client panicked".to_owned())?;
                asked.map_err(|error| error.to_string())?;
            }
            Ok(times)
        })
    })
}

fn joined<T>(handle: timestop::JoinHandle<io::Result<T>>) -> Result<T, String> {
    let result = handle.join().map_err(|_| "a client panicked".to_owned())?;
    result.map_err(|error| error.to_string())
}
