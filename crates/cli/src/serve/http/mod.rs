//! HTTP/1.1 over any blocking byte stream: bytes in ([`input`]), what they say ([`request`],
//! [`body`]), what is said back ([`response`]), bytes out ([`output`]).
//!
//! Knows nothing of files, the demonstration or the server. Strict where leniency is what request
//! smuggling lives on: one length, one framing, lines that end in CR LF and nothing else. Parsing of
//! the header section itself is `httparse`'s.

pub(super) mod body;
mod input;
mod output;
pub(super) mod request;
pub(super) mod response;

use std::{io, time::Duration};

pub(super) use self::{
    input::Input,
    output::{Output, Reply},
    request::{Method, Request},
    response::{Body, Response, Segment, Status},
};

/// What a client may use up of the server.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// How long a connection may wait for the first byte of a request.
    pub(super) idle: Duration,
    /// From the first byte of a header section to its last.
    pub(super) header: Duration,
    /// From the end of the header section to that of the body.
    pub(super) body: Duration,
    /// How long one write, of at most [`output::CHUNK`] bytes or so, may take.
    pub(super) write: Duration,
    /// The size of a header section, in bytes.
    pub(super) header_bytes: usize,
    /// The size of a body, in bytes.
    pub(super) body_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60),
            header: Duration::from_secs(10),
            body: Duration::from_secs(30),
            write: Duration::from_secs(60),
            header_bytes: 32 << 10,
            body_bytes: 1 << 20,
        }
    }
}

/// Why a connection ends before its time.
#[derive(Debug)]
pub(super) enum Failure {
    /// The request is not one we answer: tell the client why, then close.
    Refused(Response),
    /// The stream failed, or a deadline passed: there is nobody to tell.
    Io(io::Error),
}

impl Failure {
    /// Refuses a request: `text` tells the client what is wrong with it.
    pub(super) fn refused(status: Status, text: &str) -> Self {
        Self::Refused(Response::plain(status, text))
    }

    /// Turns a passed deadline into the answer 408.
    pub(super) fn or_request_timeout(self) -> Self {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                Self::refused(Status::REQUEST_TIMEOUT, "the request took too long to arrive")
            }
            other => other,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
