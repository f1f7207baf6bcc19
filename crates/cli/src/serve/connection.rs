//! The life of a connection, in the fiber that is its own: read, answer, again.
//!
//! Every blocking call below has a deadline around it (`timestop::timeout`), and no other code
//! knows of it: past the deadline the read or write fails with `TimedOut`. An error of the
//! stream, whatever its kind (the peer has gone, the deadline, the fiber was cancelled), ends the
//! connection; only a request that was refused gets an answer first.

use std::{
    io::{self, Read},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use super::{
    drain::Registered,
    http::{Failure, Input, Output, Reply, Request, body, request},
    routes,
};

/// How long and how much to read on after a refusal, so that the client gets to see the answer: a
/// close with unread bytes would reset the connection and destroy it.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: u64 = 1 << 20;

/// Answers requests until either side is done with the connection.
pub(super) fn serve(connection: &Registered) {
    let mut conversation = Conversation {
        connection,
        input: Input::new(connection.stream()),
        output: Output::new(connection.stream(), connection.server().limits.write),
    };
    let end = loop {
        match conversation.exchange() {
            Ok(true) => {}
            other => break other,
        }
    };
    let refused = match end {
        Err(Failure::Refused(refusal)) => {
            connection.busy();
            let reply = Reply { close: true, ..Reply::default() };
            conversation.output.send(refusal, reply).is_ok()
        }
        Err(Failure::Io(_)) | Ok(_) => false,
    };
    let unread = refused || conversation.input.holds_bytes();
    if unread && !connection.server().drain.begun() {
        connection.idle();
        // Whatever comes of it, the connection ends here.
        let _ = linger(connection.stream());
    }
}

struct Conversation<'a> {
    connection: &'a Registered,
    input: Input<&'a TcpStream>,
    output: Output<&'a TcpStream>,
}

impl Conversation<'_> {
    /// One request and its answer; returns whether the connection goes on.
    fn exchange(&mut self) -> Result<bool, Failure> {
        let server = self.connection.server();
        self.connection.idle();
        let Some(length) = self.input.head(&server.limits)? else {
            return Ok(false);
        };
        self.connection.busy();
        let request = request::parse(&self.input.available()[..length])?;
        self.input.consume(length);
        self.read_body(&request)?;

        let response = routes::answer(server, &request);
        let reply = Reply {
            // Asked only now: the answer may have taken a while.
            close: !request.keep_alive || server.drain.begun(),
            head_only: request.is_head(),
            http10: request.http10,
        };
        self.output.send(response, reply)?;
        Ok(!reply.close)
    }

    fn read_body(&mut self, request: &Request) -> Result<(), Failure> {
        if request.body.is_empty() {
            return Ok(());
        }
        let limits = &self.connection.server().limits;
        body::check_length(request.body, limits.body_bytes)?;
        if request.expects_continue && !self.input.holds_bytes() {
            self.output.send_continue()?;
        }
        let read = || body::discard(&mut self.input, request.body, limits.body_bytes);
        timestop::timeout(limits.body, read).map_err(Failure::or_request_timeout)
    }
}

fn linger(stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    timestop::timeout(LINGER, || io::copy(&mut stream.take(LINGER_BYTES), &mut io::sink()))
        .map(drop)
}
