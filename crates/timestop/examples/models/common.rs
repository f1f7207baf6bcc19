//! What the echo servers share: how they are started.
//!
//! `echo_… [workers=N]` listens on a free port of 127.0.0.1, prints `PORT PID`, and serves until it is killed.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// Runs a server as the program's first fiber.
pub(crate) fn main(serve: fn(TcpListener) -> io::Result<()>) -> io::Result<()> {
    let mut config = timestop::Config::new();
    for argument in std::env::args().skip(1) {
        let workers = argument.strip_prefix("workers=").and_then(|number| number.parse().ok());
        let Some(workers) = workers.filter(|&number: &usize| number > 0) else {
            let text = format!("{argument}: expected nothing, or workers=N");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        config = config.workers(workers);
    }
    config.run(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        println!("{} {}", listener.local_addr()?.port(), std::process::id());
        serve(listener)
    })
}
