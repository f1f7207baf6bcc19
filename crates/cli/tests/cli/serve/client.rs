//! A client that says exactly what it is told to, and reads answers by their length.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

use super::DEADLINE;

/// A connection to the server.
pub(crate) struct Client(BufReader<TcpStream>);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("the deadline is not zero");
        stream.set_write_timeout(Some(DEADLINE)).expect("the deadline is not zero");
        Self(BufReader::new(stream))
    }

    /// Sends these bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.0.get_mut().write_all(bytes.as_ref()).expect("the server reads");
        self
    }

    /// Sends a request of that first line (`GET /path`), with further fields, each ended by CR LF.
    pub(crate) fn request(&mut self, line: &str, fields: &str) -> &mut Self {
        self.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"))
    }

    /// Reads an answer; its body too, unless told that there is none.
    fn read(&mut self, with_body: bool) -> Answer {
        let first = self.line();
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut answer = Answer {
            status: status.unwrap_or_else(|| panic!("no status: {first:?}")),
            fields: vec![],
            body: vec![],
        };
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").expect("a field has a name");
            answer.fields.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        if with_body && let Some(length) = answer.field("content-length") {
            answer.body.resize(length.parse().expect("a length is a number"), 0);
            self.0.read_exact(&mut answer.body).expect("the body is as long as it says");
        }
        answer
    }

    /// Reads an answer.
    pub(crate) fn answer(&mut self) -> Answer {
        self.read(true)
    }

    /// Reads an answer to HEAD.
    pub(crate) fn head(&mut self) -> Answer {
        self.read(false)
    }

    /// A GET and its answer.
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.request(&format!("GET {path}"), "").answer()
    }

    /// Waits until the server closes; nothing else may come.
    pub(crate) fn closed(mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("the server closes in an orderly way");
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer comes, and its head is text");
        match line.strip_suffix("\r\n") {
            Some(line) => line.to_owned(),
            None => panic!("the stream ends within a line: {line:?}"),
        }
    }
}

impl Answer {
    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("the body is text")
    }
}
