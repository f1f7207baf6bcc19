//! A coroutine for each connection.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;

use common::{BUFFER, announce, fail, make_room, serve_http};
use may::go;
use may::net::{TcpListener, TcpStream};

pub(crate) fn echo() {
    serve(send_back);
}

pub(crate) fn http() {
    serve(serve_http);
}

fn serve(answer: fn(TcpStream) -> io::Result<()>) {
    let Err(error) = accept(answer);
    fail(&format!("the server failed: {error}"));
}

fn accept(answer: fn(TcpStream) -> io::Result<()>) -> io::Result<Infallible> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    make_room(listener.inner())?;
    announce(listener.local_addr()?.port())?;
    loop {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        // A client that breaks off is no matter of the server's.
        go!(move || answer(stream));
    }
}

fn send_back(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            read => stream.write_all(&buffer[..read])?,
        }
    }
}
