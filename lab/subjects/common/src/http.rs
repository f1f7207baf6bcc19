//! HTTP/1.1 with keep-alive on a stream that blocks: for systems whose users have no HTTP library that fits.
//!
//! The head is parsed by httparse. There is one resource, and so no request with a body: one that announces a body is
//! answered and then left, since what follows its head is not a request.

use std::io::{self, Read, Write};
use std::time::SystemTime;

use httparse::{EMPTY_HEADER, Request, Status};

/// What `GET /` answers: text, 1,024 bytes.
pub static BODY: [u8; 1024] = [b'x'; 1024];

/// No head is longer.
const LONGEST_HEAD: usize = 8 * 1024;
/// No head has more headers.
const MOST_HEADERS: usize = 64;

/// What to do with one request.
struct Asked {
    /// Its head, in bytes.
    length: usize,
    found: bool,
    keep_alive: bool,
}

/// Answers the requests of one connection until it ends.
pub fn serve_http<S: Read + Write>(mut stream: S) -> io::Result<()> {
    let mut buffer = [0; LONGEST_HEAD];
    let mut filled = 0;
    let mut answer = Vec::with_capacity(BODY.len() + 256);
    loop {
        let Some(asked) = parse(&buffer[..filled])? else {
            if filled == buffer.len() {
                return Err(io::Error::other("the head is too long"));
            }
            match stream.read(&mut buffer[filled..])? {
                0 => return Ok(()),
                read => filled += read,
            }
            continue;
        };
        answer.clear();
        respond(&mut answer, &asked)?;
        // In one piece: the body is not to wait for the head's acknowledgement.
        stream.write_all(&answer)?;
        if !asked.keep_alive {
            return Ok(());
        }
        buffer.copy_within(asked.length..filled, 0);
        filled -= asked.length;
    }
}

/// Nothing while the head is not complete.
fn parse(bytes: &[u8]) -> io::Result<Option<Asked>> {
    let mut headers = [EMPTY_HEADER; MOST_HEADERS];
    let mut request = Request::new(&mut headers);
    let Status::Complete(length) = request.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let connection = |wanted: &str| {
        request.headers.iter().any(|header| {
            header.name.eq_ignore_ascii_case("connection")
                && header.value.eq_ignore_ascii_case(wanted.as_bytes())
        })
    };
    let has_body = request.headers.iter().any(|header| {
        header.name.eq_ignore_ascii_case("transfer-encoding")
            || (header.name.eq_ignore_ascii_case("content-length") && header.value != b"0")
    });
    let persistent = match request.version {
        Some(1) => !connection("close"),
        _ => connection("keep-alive"),
    };
    let found = request.method == Some("GET") && request.path == Some("/");
    Ok(Some(Asked { length, found, keep_alive: persistent && !has_body }))
}

fn respond(answer: &mut Vec<u8>, asked: &Asked) -> io::Result<()> {
    let (status, body) = match asked.found {
        true => ("200 OK", &BODY[..]),
        false => ("404 Not Found", &b"not found\n"[..]),
    };
    let connection = if asked.keep_alive { "keep-alive" } else { "close" };
    write!(
        answer,
        "HTTP/1.1 {status}\r\ndate: {}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\
         connection: {connection}\r\n\r\n",
        httpdate::fmt_http_date(SystemTime::now()),
        body.len(),
    )?;
    answer.extend_from_slice(body);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that has sent all it will, in pieces of three bytes.
    struct Client<'a> {
        sends: &'a [u8],
        got: Vec<u8>,
    }

    impl Read for Client<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let piece = buffer.len().min(3);
            self.sends.read(&mut buffer[..piece])
        }
    }

    impl Write for Client<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.got.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn statuses(sends: &[u8]) -> Vec<String> {
        let mut client = Client { sends, got: Vec::new() };
        serve_http(&mut client).expect("the requests are well formed");
        let got = String::from_utf8(client.got).expect("it answers with text");
        got.split("HTTP/1.1 ")
            .skip(1)
            .map(|response| response.lines().next().expect("a status").to_owned())
            .collect()
    }

    #[test]
    fn requests_are_answered_in_turn_until_one_says_close() {
        let sends = b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /b HTTP/1.1\r\n\r\n\
            GET / HTTP/1.1\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        assert_eq!(statuses(sends), ["200 OK", "404 Not Found", "200 OK"]);
    }

    #[test]
    fn what_follows_a_head_with_a_body_is_no_request() {
        let sends = b"POST / HTTP/1.1\r\ncontent-length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        assert_eq!(statuses(sends), ["404 Not Found"]);
        assert_eq!(statuses(b"GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n"), ["200 OK"]);
    }
}
