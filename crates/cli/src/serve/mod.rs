//! `timestop serve`: an HTTP/1.1 server written the way one writes it for threads.
//!
//! One fiber per connection, and in it nothing but blocking `std::net`, `std::fs` and
//! `std::thread::sleep`; the only words of timestop are `run`, `Builder::spawn`, `timeout`.
//! So it is a server for a directory and, at the same time, the demonstration that plain code
//! scales: ten thousand sleeping requests are ten thousand sleeping fibers.
//!
//! Where to look: [`accept`] takes connections, [`connection`] is the life of one, [`http`] the
//! protocol and its limits, [`routes`] decides who answers ([`files`], [`demo`], or [`live`] for a
//! program under `timestop run --html`), [`drain`] is how it ends.

mod accept;
mod connection;
mod demo;
mod drain;
mod files;
mod http;
pub(crate) mod live;
mod routes;

use std::{
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use self::{drain::Drain, files::Root, http::Limits};

/// What `timestop serve` is told on the command line.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory to serve; without it only the demonstration is there
    dir: Option<PathBuf>,

    /// The address to listen on (port 0: any free one)
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8000", value_parser = address)]
    bind: SocketAddr,

    /// Seconds a client may take for the header section of a request
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds, hide = true)]
    header_timeout: Duration,

    /// Seconds a connection may stay open between two requests
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds, hide = true)]
    idle_timeout: Duration,

    /// Seconds given to requests in flight once the server is told to stop
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds, hide = true)]
    drain_timeout: Duration,
}

/// What a server shows.
#[derive(Debug)]
enum What {
    /// The demonstration, and a directory if there is one.
    Demonstration(Option<Root>),
    /// Another program's fibers.
    Program(live::Program),
}

/// Everything the fibers of one server share.
#[derive(Debug)]
struct Server {
    listener: TcpListener,
    what: What,
    limits: Limits,
    drain: Drain,
}

/// Serves until a signal ends it. Failure to start is one line on stderr and exit code 1.
pub(crate) fn run(args: Args) -> ExitCode {
    start(args).unwrap_or_else(|message| {
        eprintln!("timestop: {message}");
        ExitCode::FAILURE
    })
}

fn start(args: Args) -> Result<ExitCode, String> {
    timestop::Config::new().dump_on_quit(true).start().map_err(|error| error.to_string())?;
    let root = args.dir.as_deref().map(Root::open).transpose()?;
    accept::raise_open_files_limit();
    let listener = accept::listen(args.bind)?;
    let address = listener
        .local_addr()
        .map_err(|error| format!("cannot tell the listening address: {error}"))?;
    let server = Arc::new(Server {
        listener,
        what: What::Demonstration(root),
        limits: Limits {
            idle: args.idle_timeout,
            header: args.header_timeout,
            ..Limits::default()
        },
        drain: Drain::default(),
    });
    drain::on_signals(&server).map_err(|error| format!("cannot listen for signals: {error}"))?;
    eprintln!("listening on http://{address}");

    let drain_timeout = args.drain_timeout;
    let cut_off = timestop::run(move || {
        accept::serve(&server);
        server.drain.wait(drain_timeout)
    });
    if cut_off > 0 {
        return Err(format!(
            "stopped with {cut_off} connections still busy after {drain_timeout:?}"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut found = text
        .to_socket_addrs()
        .map_err(|error| format!("{error}; expected HOST:PORT, e.g. 127.0.0.1:8000"))?;
    found.next().ok_or_else(|| "that name has no address".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
