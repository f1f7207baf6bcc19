//! A thread for each connection.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;

use common::{BUFFER, announce, fail, listen, serve_http};

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
    let listener = listen()?;
    announce(listener.local_addr()?.port())?;
    loop {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        // A client that breaks off is no matter of the server's.
        thread::spawn(move || answer(stream));
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
