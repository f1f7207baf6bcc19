//! One connection that asks one thing after the other: what a browser's is to a server.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use httparse::{EMPTY_HEADER, Response, Status};

/// Longer than any view takes on any server: what exceeds it hangs.
const PATIENCE: Duration = Duration::from_secs(120);
const BUFFER: usize = 16 << 10;
const FIELDS: usize = 32;

#[derive(Debug)]
pub(in crate::lab::bench) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(in crate::lab::bench) fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Client { stream, buffer: vec![0; BUFFER] })
    }

    /// Asks for `path`, and returns how long it took until the answer was whole.
    pub(in crate::lab::bench) fn get(&mut self, path: &str) -> io::Result<Duration> {
        let begin = Instant::now();
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        self.stream.write_all(request.as_bytes())?;
        let mut filled = 0;
        while !whole(&self.buffer[..filled]).map_err(io::Error::other)? {
            match self.stream.read(&mut self.buffer[filled..])? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                bytes => filled += bytes,
            }
        }
        Ok(begin.elapsed())
    }
}

/// Whether `bytes` are all of an answer, which must be a good one and say how long it is.
fn whole(bytes: &[u8]) -> Result<bool, String> {
    let mut fields = [EMPTY_HEADER; FIELDS];
    let mut response = Response::new(&mut fields);
    let head = match response.parse(bytes).map_err(|error| error.to_string())? {
        Status::Complete(length) => length,
        Status::Partial if bytes.len() < BUFFER => return Ok(false),
        Status::Partial => return Err("an answer without end".to_owned()),
    };
    if response.code != Some(200) {
        return Err(format!("answered {}", response.code.unwrap_or_default()));
    }
    let length = response
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))
        .and_then(|field| str::from_utf8(field.value).ok()?.trim().parse::<usize>().ok())
        .ok_or("an answer that does not say how long it is")?;
    match bytes.len().cmp(&(head + length)) {
        std::cmp::Ordering::Less if head + length <= BUFFER => Ok(false),
        std::cmp::Ordering::Equal => Ok(true),
        _ => Err(format!("an answer of {length} bytes came as {}", bytes.len() - head)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";
        assert_eq!(whole(answer), Ok(true));
        assert_eq!(whole(&answer[..answer.len() - 1]), Ok(false));
        assert_eq!(whole(&answer[..10]), Ok(false));
        assert_eq!(whole(b""), Ok(false));
    }

    #[test]
    fn anything_else_is_an_error() {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcd",
            "HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 30000\r\n\r\nabc",
            "nonsense",
        ] {
            assert!(whole(answer.as_bytes()).is_err(), "{answer}");
        }
    }
}
