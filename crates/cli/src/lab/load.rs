//! The load on an echo server: connections with one outstanding message each, on one thread, in one epoll.
//!
//! A closed loop: a server that is slow gets fewer requests, so its latency is that of a full house and not of a queue
//! without end. Every connection has a message echoed before the load begins, or a server that accepts slowly would look
//! as if it starved the rest. Raw system calls throughout (`rustix`): this side measures, it must not be measured.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::{Errno, ioctl_fionbio, read, write};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use super::child::Server;
use super::machine;
use super::measured::Measured;

const MESSAGE: &[u8; 64] = b"The king sat waiting while a wizard stopped all time around him.";
/// Latencies are kept in nanoseconds, to this many digits, up to longer than any window.
const DIGITS: u8 = 3;
const LONGEST: Duration = Duration::from_secs(60);
const EVENTS: usize = 1024;
/// Connections that are opened at a time: no server's backlog is shorter.
const AT_A_TIME: usize = 64;
/// As many times its length a window may last until there is an answer.
const WINDOWS: u32 = 10;

/// How much load, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    /// Further ones, that have a message echoed before the load begins and then say no more.
    pub(crate) idle: usize,
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
}

struct Connection {
    /// None when it broke.
    socket: Option<OwnedFd>,
    /// Of its messages: 16, 32, 48 or 64 bytes.
    length: usize,
    received: usize,
    sent: Instant,
}

/// What the window is measured by, from its begin to its end.
struct Window {
    begin: Instant,
    server: Duration,
    load: Duration,
    requests: Histogram<u64>,
    errors: u64,
}

impl Load {
    /// Puts it on `server`: requests a second, latencies, and the server's CPU time a request.
    pub(crate) fn put_on(self, server: &Server) -> Result<Measured, String> {
        let told = |error: Errno| format!("load generator: {error}");
        let open = |count| -> Result<Vec<Connection>, String> {
            let length = |at| 16 * (1 + at % 4);
            let mut all: Vec<Connection> = Vec::with_capacity(count);
            // One by one, each would wait for a turn of the server, which on a busy machine is milliseconds away.
            while all.len() < count {
                let begin = all.len();
                for at in begin..count.min(begin + AT_A_TIME) {
                    all.push(Connection::open(server.port, length(at)).map_err(told)?);
                }
                for connection in &mut all[begin..] {
                    connection.await_first_echo().map_err(told)?;
                }
            }
            Ok(all)
        };
        let _idle = open(self.idle)?;
        let mut connections = open(self.connections)?;
        let events = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(told)?;
        for (at, connection) in connections.iter().enumerate() {
            let socket = connection.socket.as_ref().expect("just opened");
            let data = epoll::EventData::new_u64(at as u64);
            epoll::add(&events, socket, data, epoll::EventFlags::IN).map_err(told)?;
        }
        for connection in &mut connections {
            connection.send(Instant::now()).map_err(told)?;
        }

        let begin = Instant::now() + self.warm_up;
        drive(&events, &mut connections, begin, None)?;
        let mut window = Window::begin(server)?;
        let mut end = window.begin;
        // A window may be too short for a full house on a slow machine to answer anybody within it.
        for _ in 0..WINDOWS {
            end += self.window;
            drive(&events, &mut connections, end, Some(&mut window))?;
            if !window.requests.is_empty() {
                break;
            }
        }
        let stuck = connections.iter().filter(|c| c.sent < window.begin).count();
        window.end(server, stuck)
    }
}

impl Connection {
    /// Connects, and sends one message.
    fn open(port: u16, length: usize) -> rustix::io::Result<Self> {
        let socket =
            net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        net::connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        // Reset on close: no TIME_WAIT, so the next run finds free ports.
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
        write(&socket, &MESSAGE[..length])?;
        Ok(Connection { socket: Some(socket), length, received: 0, sent: Instant::now() })
    }

    /// Waits until that has come back; from then on nothing that is done with it waits.
    fn await_first_echo(&mut self) -> rustix::io::Result<()> {
        let socket = self.socket.as_ref().ok_or(Errno::NOTCONN)?;
        let mut received = 0;
        while received < self.length {
            match read(socket, &mut [0; MESSAGE.len()])? {
                0 => return Err(Errno::CONNRESET),
                bytes => received += bytes,
            }
        }
        ioctl_fionbio(socket, true)
    }

    fn send(&mut self, now: Instant) -> rustix::io::Result<()> {
        self.sent = now;
        self.received = 0;
        let socket = self.socket.as_ref().ok_or(Errno::NOTCONN)?;
        match write(socket, &MESSAGE[..self.length])? {
            bytes if bytes == self.length => Ok(()),
            // A socket whose last message was echoed has room for this one.
            _ => Err(Errno::NOBUFS),
        }
    }

    /// Reads once. True when the whole message has come back.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<bool, Broken> {
        let socket = self.socket.as_ref().ok_or(Broken::Connection)?;
        let bytes = match read(socket, &mut *buffer) {
            Ok(0) => return Err(Broken::Connection),
            Ok(bytes) => bytes,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            Err(_) => return Err(Broken::Connection),
        };
        let expected = &MESSAGE[self.received..self.length];
        if !expected.starts_with(&buffer[..bytes]) {
            return Err(Broken::Echo);
        }
        self.received += bytes;
        Ok(self.received == self.length)
    }
}

enum Broken {
    Connection,
    Echo,
}

/// Answers every echo with the next message until `end`, and writes down the latencies of what was sent in `window`.
fn drive(
    events: &OwnedFd,
    connections: &mut [Connection],
    end: Instant,
    mut window: Option<&mut Window>,
) -> Result<(), String> {
    let timeout = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    let mut ready: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
    let mut buffer = [0; 2 * MESSAGE.len()];
    while Instant::now() < end {
        ready.clear();
        match epoll::wait(events, spare_capacity(&mut ready), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(format!("load generator: {error}")),
        }
        for event in &ready {
            let data = event.data;
            let connection = &mut connections[data.u64() as usize];
            let sent = match connection.receive(&mut buffer) {
                Ok(false) => continue,
                Ok(true) => {
                    let now = Instant::now();
                    if let Some(window) = window.as_deref_mut() {
                        window.record(connection.sent, now, end);
                    }
                    connection.send(now).is_ok()
                }
                Err(Broken::Echo) => return Err("the server echoed something else".to_owned()),
                Err(Broken::Connection) => false,
            };
            if !sent {
                connection.socket = None;
                if let Some(window) = window.as_deref_mut() {
                    window.errors += 1;
                }
            }
        }
    }
    Ok(())
}

impl Window {
    fn begin(server: &Server) -> Result<Self, String> {
        Ok(Window {
            requests: Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, DIGITS)
                .expect("constant bounds"),
            errors: 0,
            server: machine::cpu_time_of(server.pid)?,
            load: machine::cpu_time(),
            begin: Instant::now(),
        })
    }

    fn record(&mut self, sent: Instant, now: Instant, end: Instant) {
        if sent >= self.begin && now < end {
            self.requests.saturating_record((now - sent).as_nanos() as u64);
        }
    }

    /// `stuck`: connections still waiting since before the window. They leave no latency, so they are counted.
    fn end(self, server: &Server, stuck: usize) -> Result<Measured, String> {
        let elapsed = self.begin.elapsed().as_secs_f64();
        let load = machine::cpu_time() - self.load;
        let cpu = machine::cpu_time_of(server.pid)?.saturating_sub(self.server);
        let threads = machine::status(&server.pid.to_string(), "Threads")?;
        let requests = self.requests.len();
        if requests == 0 {
            return Err("no request was answered within the window".to_owned());
        }
        let micros = |quantile| self.requests.value_at_quantile(quantile) as f64 / 1e3;
        Ok(Measured::new(requests as f64 / elapsed)
            .with("p50", micros(0.5))
            .with("p99", micros(0.99))
            .with("cpu", cpu.as_secs_f64() * 1e6 / requests as f64)
            .with("os_threads", threads as f64)
            .with("load_cpu_percent", load.as_secs_f64() / elapsed * 100.0)
            .with("errors", self.errors as f64)
            .with("stuck", stuck as f64))
    }
}
