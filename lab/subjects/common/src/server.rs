//! What every server does before it serves.

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::process;

use rustix::process::{Resource, getrlimit, setrlimit};

/// How many bytes an echo server reads at a time.
pub const BUFFER: usize = 512;

/// std asks for 128 waiting connections; thousands may come at once.
const BACKLOG: i32 = 4096;

/// Listens on a free port of 127.0.0.1, ready for thousands.
pub fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    make_room(&listener)?;
    Ok(listener)
}

/// Lets thousands connect at once to who listens already, and lets the process have a descriptor for each.
pub fn make_room(listener: &TcpListener) -> io::Result<()> {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files)?;
    // A second time, which changes nothing but the backlog.
    Ok(rustix::net::listen(listener.as_fd(), BACKLOG)?)
}

/// Prints `PORT PID`: from now on it can be reached.
pub fn announce(port: u16) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{port} {}", process::id())?;
    stdout.flush()
}
