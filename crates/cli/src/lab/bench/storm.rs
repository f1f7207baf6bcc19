//! A storm of connections: connect, one message there and back, close; how many a second does a server bear?
//!
//! A closed loop again: as many at a time as a busy site has in its backlog, and a new one for each that is done. They
//! are closed by a reset, or the ports would be used up within two seconds (`TIME_WAIT`).

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::{Errno, read, write};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use super::echo::with_server;
use crate::lab::child::Server;
use crate::lab::machine;
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;

const AT_A_TIME: usize = 64;
const MESSAGE: &[u8; 16] = b"One of 16 bytes.";
/// Nobody's backlog holds a connection for as long.
const LONGEST: Duration = Duration::from_secs(60);
/// A server that does nothing at all for this long is broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection, from its call to its close.
struct Visit {
    socket: OwnedFd,
    begun: Instant,
    received: usize,
    has_sent: bool,
}

/// All that are under way, and what was counted of those that are done.
struct Storm {
    port: u16,
    events: OwnedFd,
    visits: Vec<Visit>,
    done: Histogram<u64>,
    errors: u64,
}

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    let (warm_up, window) = trial.pick((200, 1_000), (100, 300));
    let (warm_up, window) = (Duration::from_millis(warm_up), Duration::from_millis(window));
    with_server(trial, |server| Storm::begin(server.port)?.measure(server, warm_up, window))
}

impl Storm {
    fn begin(port: u16) -> Result<Self, String> {
        let events = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(told)?;
        let done = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3);
        let done = done.expect("constant bounds");
        let mut storm = Storm { port, events, visits: Vec::new(), done, errors: 0 };
        for at in 0..AT_A_TIME {
            let visit = storm.call(at)?;
            storm.visits.push(visit);
        }
        Ok(storm)
    }

    fn measure(
        mut self,
        server: &Server,
        warm_up: Duration,
        window: Duration,
    ) -> Result<Measured, String> {
        self.blow(Instant::now() + warm_up)?;
        self.done.reset();
        self.errors = 0;
        let (begin, cpu) = (Instant::now(), machine::cpu_time_of(server.pid)?);
        self.blow(begin + window)?;
        let elapsed = begin.elapsed().as_secs_f64();
        let cpu = machine::cpu_time_of(server.pid)?.saturating_sub(cpu);
        let done = self.done.len();
        if done == 0 {
            return Err(format!(
                "no connection was served within the window, {} failed",
                self.errors
            ));
        }
        Ok(Measured::new(done as f64 / elapsed)
            .with("p50", self.done.value_at_quantile(0.5) as f64 / 1e3)
            .with("p99", self.done.value_at_quantile(0.99) as f64 / 1e3)
            .with("cpu", cpu.as_secs_f64() * 1e6 / done as f64)
            .with("errors", self.errors as f64))
    }

    /// Until `end`.
    fn blow(&mut self, end: Instant) -> Result<(), String> {
        let timeout = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        let mut ready: Vec<epoll::Event> = Vec::with_capacity(AT_A_TIME);
        let mut last = Instant::now();
        while Instant::now() < end {
            ready.clear();
            match epoll::wait(&self.events, spare_capacity(&mut ready), Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(told(error)),
            }
            if ready.is_empty() && last.elapsed() > PATIENCE {
                return Err("the server has accepted nothing for ten seconds".to_owned());
            }
            for event in &ready {
                last = Instant::now();
                let data = event.data;
                let at = data.u64() as usize;
                match self.visits[at].go_on() {
                    Ok(false) => continue,
                    Ok(true) => {
                        let took = self.visits[at].begun.elapsed();
                        self.done.saturating_record(took.as_nanos() as u64);
                    }
                    Err(_) => self.errors += 1,
                }
                // The old one is closed by this.
                self.visits[at] = self.call(at)?;
            }
        }
        Ok(())
    }

    /// Calls the server, and waits for the line to stand.
    fn call(&self, at: usize) -> Result<Visit, String> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None);
        let socket = socket.map_err(told)?;
        sockopt::set_tcp_nodelay(&socket, true).map_err(told)?;
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).map_err(told)?;
        let begun = Instant::now();
        match net::connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port)) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(told(error)),
        }
        let data = epoll::EventData::new_u64(at as u64);
        // Edges: first it can be written, then it can be read.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&self.events, &socket, data, flags).map_err(told)?;
        Ok(Visit { socket, begun, received: 0, has_sent: false })
    }
}

impl Visit {
    /// Does what can be done. True when the message has come back.
    fn go_on(&mut self) -> Result<bool, Errno> {
        let socket = &self.socket;
        if !self.has_sent {
            match write(socket, MESSAGE) {
                Ok(_) => self.has_sent = true,
                Err(Errno::AGAIN | Errno::NOTCONN) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        let mut buffer = [0; MESSAGE.len()];
        match read(socket, &mut buffer) {
            Ok(0) => Err(Errno::CONNRESET),
            Ok(bytes) => {
                self.received += bytes;
                Ok(self.received >= MESSAGE.len())
            }
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn told(error: Errno) -> String {
    format!("load generator: {error}")
}
