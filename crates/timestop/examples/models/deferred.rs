//! An echo server in Deferreds: one fiber, one loop, and `inline_callbacks` for each connection.
//!
//! `cargo run --example echo_deferred`. [`Connection`] is what a library on callbacks offers; [`echo`] is the
//! server.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;

use timestop::reactor::{Deferred, EventLoop, Trigger, fail, inline_callbacks, succeed, wait};

mod common;

pub(crate) fn serve(listener: TcpListener) -> io::Result<()> {
    let event_loop = EventLoop::new()?;
    listener.set_nonblocking(true)?;
    let listener = Rc::new(listener);
    let (accepts, this) = (Rc::clone(&listener), event_loop.clone());
    event_loop.add_reader(&listener, move || {
        while let Ok((stream, _)) = accepts.accept() {
            let connection = Connection::start(&this, stream);
            let served = inline_callbacks(move || echo(&connection?));
            // A client that is gone is no error of the server's.
            drop(served.add_errback(|_: io::Error| Ok(())));
        }
    })?;
    event_loop.run_forever()
}

fn echo(connection: &Connection) -> io::Result<()> {
    loop {
        let data = wait(connection.read())?;
        if data.is_empty() {
            return Ok(());
        }
        wait(connection.write_all(data))?;
    }
}

/// A connection whose operations are Deferreds: one read and one write at a time.
struct Connection(Rc<State>);

type Unwritten = (Vec<u8>, Trigger<(), io::Error>);

struct State {
    stream: TcpStream,
    event_loop: EventLoop,
    reader: RefCell<Option<Trigger<Vec<u8>, io::Error>>>,
    /// What is still to be written, and what is fired then.
    writer: RefCell<Option<Unwritten>>,
}

impl Connection {
    fn start(event_loop: &EventLoop, stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let state = Rc::new(State {
            stream,
            event_loop: event_loop.clone(),
            reader: RefCell::default(),
            writer: RefCell::default(),
        });
        Ok(Self(state))
    }

    /// Fires with what has come; with nothing at the end.
    fn read(&self) -> Deferred<Vec<u8>, io::Error> {
        let (trigger, deferred) = Deferred::new();
        let before = self.0.reader.replace(Some(trigger));
        // The reader stays from one read to the next: two system calls less.
        if before.is_none() {
            let state = Rc::clone(&self.0);
            let watched = self.0.event_loop.add_reader(&self.0.stream, move || state.readable());
            if let Err(error) = watched {
                return fail(error);
            }
        }
        deferred
    }

    /// Fires when all is written.
    fn write_all(&self, mut data: Vec<u8>) -> Deferred<(), io::Error> {
        match (&self.0.stream).write(&data) {
            Ok(count) if count == data.len() => return succeed(()),
            Ok(count) => drop(data.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return fail(error),
        }
        let (trigger, deferred) = Deferred::new();
        *self.0.writer.borrow_mut() = Some((data, trigger));
        let state = Rc::clone(&self.0);
        match self.0.event_loop.add_writer(&self.0.stream, move || state.writable()) {
            Ok(()) => deferred,
            Err(error) => fail(error),
        }
    }
}

impl State {
    fn readable(&self) {
        let Some(trigger) = self.reader.borrow_mut().take() else {
            // Nobody asks: no more of it until somebody does.
            self.event_loop.remove_reader(&self.stream);
            return;
        };
        let mut buffer = [0; 4096];
        match (&self.stream).read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                *self.reader.borrow_mut() = Some(trigger);
            }
            result => {
                // It was cancelled at most.
                let _ = trigger.fire(result.map(|count| buffer[..count].to_vec()));
            }
        }
    }

    fn writable(&self) {
        let Some((mut rest, trigger)) = self.writer.borrow_mut().take() else { return };
        let result = match (&self.stream).write(&rest) {
            Ok(count) if count == rest.len() => Ok(()),
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            written => {
                rest.drain(..written.unwrap_or(0));
                *self.writer.borrow_mut() = Some((rest, trigger));
                return;
            }
        };
        self.event_loop.remove_writer(&self.stream);
        // It was cancelled at most.
        let _ = trigger.fire(result);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.event_loop.remove_reader(&self.0.stream);
        self.0.event_loop.remove_writer(&self.0.stream);
    }
}

fn main() -> io::Result<()> {
    common::main(serve)
}
