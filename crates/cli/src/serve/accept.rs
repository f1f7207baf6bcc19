//! Taking connections: the listening socket, and the loop that gives each its fiber.
//!
//! The loop never spins and never dies of what one connection did: an error of the connection is
//! passed over, and want of descriptors or memory makes it pause. The backlog is as large as the
//! kernel grants, since a client whose SYN is dropped tries again only after a whole second.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Server, connection, drain::Registered};

/// More than kernels grant (`net.core.somaxconn`, usually 4,096).
const BACKLOG: i32 = 65_535;

/// How long to pause when the system has no descriptor or memory for one more connection.
const PAUSE: Duration = Duration::from_millis(50);

/// Raises the soft limit on open files to the hard one: a connection is a descriptor.
pub(super) fn raise_open_files_limit() {
    let limit = getrlimit(Resource::Nofile);
    // The kernel may refuse; the server then works with what it has.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Binds `address`. Accepted sockets inherit `TCP_NODELAY` from the listening one, which saves a
/// system call a connection.
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    let open = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket)
    };
    open().map(TcpListener::from).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("cannot listen on {address}: address in use; stop the other program or choose another with --bind")
        }
        _ => format!("cannot listen on {address}: {error}"),
    })
}

/// Accepts until the server drains (which shuts the listening socket down).
pub(super) fn serve(server: &Arc<Server>) {
    let mut told = false;
    loop {
        let accepted = server.listener.accept();
        if server.drain.begun() {
            if let Ok((stream, _)) = accepted {
                let _ = start(server, stream);
            }
            return;
        }
        let failure = match accepted {
            Ok((stream, _)) => start(server, stream).err(),
            Err(error) if concerns_one_connection(&error) => None,
            Err(error) => Some(error),
        };
        if let Some(error) = failure {
            if !told {
                eprintln!("timestop: cannot take more connections for now: {error}");
                told = true;
            }
            thread::sleep(PAUSE);
        }
    }
}

/// Gives the connection a fiber of its own. It is registered before that, so that a drain which
/// begins now waits for it.
fn start(server: &Arc<Server>, stream: TcpStream) -> io::Result<()> {
    let connection = Registered::new(server, stream);
    timestop::Builder::new().spawn(move || connection::serve(&connection)).map(drop)
}

/// `accept` also reports what went wrong with the connection it was about to return.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::CONNABORTED
                | Errno::INTR
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NONET
                | Errno::OPNOTSUPP
                | Errno::PERM
        )
    )
}
