//! An echo server under load: what a request costs when every connection is a fiber that blocks.
//!
//! The server is a process on the first core, with one worker; the load generator is this process, on the second.
//! `timestop` is blocking code; `epoll` is the least a server can do, and so the yardstick; the others are programs outside.
//!
//! Against the fastest servers the generator's core is full as well (`load_cpu_percent`): then the requests a second are
//! the generator's as much as the server's, and CPU time a request is the figure to compare.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process;
use std::time::Duration;

use crate::lab::child::Server;
use crate::lab::experiments::Subject;
use crate::lab::load::Load;
use crate::lab::machine;
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;
use crate::lab::threads::{OnThreads, Threads, on};

mod epoll;

/// Messages are 64 bytes at most.
const BUFFER: usize = 512;

/// Connections with something to say, beside idle ones.
const BUSY: usize = 100;

/// How long to warm up and to measure.
pub(super) fn load(trial: &Trial, connections: usize) -> Load {
    let (warm_up, window) = trial.pick((200, 1_000), (100, 300));
    Load {
        connections,
        idle: 0,
        warm_up: Duration::from_millis(warm_up),
        window: Duration::from_millis(window),
    }
}

/// Every connection is busy.
pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    let load = load(trial, trial.parameter());
    with_server(trial, |server| load.put_on(server))
}

/// Few enough for each to be answered before the next message: what is measured is the server's way, not its queue.
const OF_STYLES: usize = 64;

/// As many as there need be to keep the server busy.
pub(in crate::lab) fn styles(trial: &Trial) -> Result<Measured, String> {
    let load = load(trial, OF_STYLES);
    with_server(trial, |server| load.put_on(server))
}

/// A hundred are, beside as many idle ones as the row says.
pub(in crate::lab) fn beside_idle(trial: &Trial) -> Result<Measured, String> {
    let load = Load { idle: trial.parameter(), ..load(trial, BUSY) };
    with_server(trial, |server| load.put_on(server))
}

/// Starts the server of `trial` on the first cores, one a worker, and does `what` to it from the others.
pub(super) fn with_server(
    trial: &Trial,
    what: impl FnOnce(&Server) -> Result<Measured, String>,
) -> Result<Measured, String> {
    let mut command = trial.command(true).map_err(|error| error.to_string())?;
    // It pins itself, and so starts before this process has narrowed what it inherits.
    let server = Server::start(&mut command)?;
    let cores = machine::cores();
    let others = cores.get(trial.row.workers()..).filter(|others| !others.is_empty());
    machine::pin_to(others.unwrap_or(&cores));
    let measured = what(&server);
    let shared =
        others.is_none().then(|| "no core is left: the load shares the server's".to_owned());
    Ok(server.unless_ended(measured)?.with_note(shared))
}

/// Serves until killed; returns only to say what went wrong.
pub(in crate::lab) fn serve(trial: &Trial) -> String {
    let served = match trial.subject {
        Subject::Epoll => epoll::serve().map_err(io::Error::from),
        subject => match on(subject, Blocking) {
            Ok(served) => served,
            Err(why) => return why,
        },
    };
    match served {
        Ok(()) => "the server stopped".to_owned(),
        Err(error) => format!("the server failed: {error}"),
    }
}

/// What `child::Server` waits for.
pub(super) fn announce(port: u16) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{port} {}", process::id())?;
    stdout.flush()
}

/// A thread for each connection, and blocking calls in it.
struct Blocking;

impl OnThreads for Blocking {
    type Output = io::Result<()>;

    fn on<T: Threads>(self) -> io::Result<()> {
        T::run(1, || {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            announce(listener.local_addr()?.port())?;
            loop {
                let (stream, _) = listener.accept()?;
                T::spawn(move || echo(stream));
            }
        })
    }
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; BUFFER];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            bytes => stream.write_all(&buffer[..bytes])?,
        }
    }
}
