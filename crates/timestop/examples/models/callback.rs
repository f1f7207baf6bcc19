//! An echo server in callbacks: one fiber, one loop, and what a connection has still to say in its own state.
//!
//! `cargo run --example echo_callback`. Blocking code does the same in `blocking.rs`, in a third of the lines.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;

use timestop::reactor::EventLoop;

mod common;

pub(crate) fn serve(listener: TcpListener) -> io::Result<()> {
    let event_loop = EventLoop::new()?;
    listener.set_nonblocking(true)?;
    let listener = Rc::new(listener);
    let (accepts, this) = (Rc::clone(&listener), event_loop.clone());
    event_loop.add_reader(&listener, move || {
        loop {
            match accepts.accept() {
                Ok((stream, _)) => drop(Connection::start(&this, stream)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // A client that is gone already, or no descriptors: the others go on.
                Err(_) => return,
            }
        }
    })?;
    event_loop.run_forever()
}

struct Connection {
    stream: TcpStream,
    event_loop: EventLoop,
    /// What was read and could not be written yet. While there is some, nothing is read.
    rest: RefCell<Vec<u8>>,
}

impl Connection {
    fn start(event_loop: &EventLoop, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let connection =
            Rc::new(Self { stream, event_loop: event_loop.clone(), rest: RefCell::default() });
        connection.reads()
    }

    fn reads(self: Rc<Self>) -> io::Result<()> {
        let this = Rc::clone(&self);
        self.event_loop.add_reader(&self.stream, move || this.readable())
    }

    fn readable(self: &Rc<Self>) {
        let mut buffer = [0; 4096];
        match (&self.stream).read(&mut buffer) {
            Ok(0) => self.close(),
            Ok(count) => self.send(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.close(),
        }
    }

    fn send(self: &Rc<Self>, data: &[u8]) {
        let written = match (&self.stream).write(data) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => return self.close(),
        };
        if written < data.len() {
            // No room: read no more before the rest is gone.
            self.rest.borrow_mut().extend_from_slice(&data[written..]);
            self.event_loop.remove_reader(&self.stream);
            let this = Rc::clone(self);
            if self.event_loop.add_writer(&self.stream, move || this.writable()).is_err() {
                self.close();
            }
        }
    }

    fn writable(self: &Rc<Self>) {
        let mut rest = self.rest.borrow_mut();
        match (&self.stream).write(&rest) {
            Ok(count) => drop(rest.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => rest.clear(),
        }
        if rest.is_empty() {
            drop(rest);
            self.event_loop.remove_writer(&self.stream);
            if Rc::clone(self).reads().is_err() {
                self.close();
            }
        }
    }

    /// The callbacks go, and with them the connection.
    fn close(&self) {
        self.event_loop.remove_reader(&self.stream);
        self.event_loop.remove_writer(&self.stream);
    }
}

fn main() -> io::Result<()> {
    common::main(serve)
}
