//! An echo server in blocking code: a fiber a connection.
//!
//! `cargo run --example echo_blocking`. The others in this folder do the same in callbacks, Deferreds, `await`.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

mod common;

pub(crate) fn serve(listener: TcpListener) -> io::Result<()> {
    for stream in listener.incoming() {
        let stream = stream?;
        timestop::spawn(move || echo(stream));
    }
    Ok(())
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}

fn main() -> io::Result<()> {
    common::main(serve)
}
