//! How the server ends: it stops accepting, lets requests in flight finish, and closes what is idle.
//!
//! Every connection is in a register with one flag, *busy*. To close an idle one its reading side
//! is shut down: its fiber, blocked in `read`, finds the end of the stream and leaves along the
//! path it has anyway. Bytes the kernel already holds are still read first, so a request that
//! arrived before the signal is answered. Cancelling the fibers was rejected: it could hit one
//! which has just begun to answer.
//!
//! The invariant: once draining has begun, no connection waits for a request with its reading side
//! open. A connection clears *busy* and then looks at *begun*; the drain sets *begun* and then
//! looks at *busy*. All four are sequentially consistent, so at least one of the two sees the other.

use std::{
    collections::HashMap,
    io,
    net::{Shutdown, TcpStream},
    process,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use socket2::SockRef;

use super::Server;

/// The register of open connections, and whether the server is ending.
#[derive(Debug, Default)]
pub(super) struct Drain {
    begun: AtomicBool,
    register: Mutex<Register>,
    none_open: Condvar,
}

#[derive(Debug, Default)]
struct Register {
    open: HashMap<u64, Arc<Connection>>,
    /// The number of the next connection.
    next: u64,
}

/// An accepted stream and whether a request on it is being answered.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    busy: AtomicBool,
}

/// A connection's place in the register of its server: given up as this is dropped.
#[derive(Debug)]
pub(super) struct Registered {
    server: Arc<Server>,
    number: u64,
    connection: Arc<Connection>,
}

impl Drain {
    /// Whether the server is ending.
    pub(super) fn begun(&self) -> bool {
        self.begun.load(SeqCst)
    }

    /// Waits until no connection is open, at most `limit`; returns how many still are.
    pub(super) fn wait(&self, limit: Duration) -> usize {
        let (register, _) = self
            .none_open
            .wait_timeout_while(self.register(), limit, |register| !register.open.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        register.open.len()
    }

    fn begin(&self) {
        self.begun.store(true, SeqCst);
        for connection in self.register().open.values() {
            if !connection.busy.load(SeqCst) {
                connection.end_reading();
            }
        }
    }

    /// Nothing that holds the lock can panic halfway through a change, so poison means nothing.
    fn register(&self) -> MutexGuard<'_, Register> {
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    fn end_reading(&self) {
        // Fails only if the peer has gone, and then the reader knows already.
        let _ = self.stream.shutdown(Shutdown::Read);
    }
}

impl Registered {
    /// Enters a connection; it starts as idle.
    pub(super) fn new(server: &Arc<Server>, stream: TcpStream) -> Self {
        let connection = Arc::new(Connection { stream, busy: AtomicBool::new(false) });
        let mut register = server.drain.register();
        let number = register.next;
        register.next += 1;
        register.open.insert(number, Arc::clone(&connection));
        drop(register);
        Self { server: Arc::clone(server), number, connection }
    }

    /// The server it is a connection of.
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// The stream itself.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.connection.stream
    }

    /// Says that the connection now waits for a request.
    pub(super) fn idle(&self) {
        self.connection.busy.store(false, SeqCst);
        if self.server.drain.begun() {
            self.connection.end_reading();
        }
    }

    /// Says that a request has arrived and is being answered.
    pub(super) fn busy(&self) {
        self.connection.busy.store(true, SeqCst);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let drain = &self.server.drain;
        let mut register = drain.register();
        register.open.remove(&self.number);
        if register.open.is_empty() {
            drain.none_open.notify_all();
        }
    }
}

/// Drains `server` at the first SIGINT or SIGTERM; the second ends the process at once.
pub(super) fn on_signals(server: &Arc<Server>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let server = Arc::clone(server);
    let watch = move || {
        for signal in signals.forever() {
            if server.drain.begun() {
                eprintln!("timestop: stopped by a second signal");
                process::exit(128 + signal);
            }
            eprintln!("stopping: requests in flight may finish, a second signal ends them");
            server.drain.begin();
            // Wakes the fiber blocked in `accept`, with an error.
            let _ = SockRef::from(&server.listener).shutdown(Shutdown::Both);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(watch).map(drop)
}
