//! The reading side of a connection: a buffer, and finding where a header section ends in it.
//!
//! Invariant: `start <= end <= buffer.len()`, and `buffer[start..end]` has arrived and is not yet
//! consumed. The section is searched for its end once, byte by byte as it arrives, and parsed only
//! when whole; parsing each time more arrives (what `httparse` invites to) costs the square of it.

use std::{io, io::Read, time::Instant};

use super::{Failure, Limits, Status};

/// Enough for what browsers send; grows for those who send more.
const INITIAL: usize = 2 << 10;

/// A buffered reader that hands out what it holds.
#[derive(Debug)]
pub(in crate::serve) struct Input<R> {
    stream: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<R: Read> Input<R> {
    /// Starts with nothing read.
    pub(in crate::serve) fn new(stream: R) -> Self {
        Self { stream, buffer: vec![0; INITIAL], start: 0, end: 0 }
    }

    /// What has arrived and was not consumed.
    pub(in crate::serve) fn available(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Whether anything is available without reading.
    pub(in crate::serve) fn holds_bytes(&self) -> bool {
        self.start < self.end
    }

    /// Forgets the first `count` available bytes.
    pub(in crate::serve) fn consume(&mut self, count: usize) {
        assert!(count <= self.end - self.start, "consumed more than has arrived");
        self.start += count;
    }

    /// Reads once, and returns how many bytes that added: 0 at the end of the stream.
    pub(in crate::serve) fn fill(&mut self) -> io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() && self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        loop {
            match self.stream.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
            }
        }
    }

    /// Waits for a whole header section and returns its length, the empty line included. `None`:
    /// the client closed, or had nothing to say for as long as it may.
    pub(in crate::serve) fn head(&mut self, limits: &Limits) -> Result<Option<usize>, Failure> {
        let mut searched = 0;
        let mut deadline = None;
        loop {
            // RFC 9112 §2.2: empty lines before a request line are passed over.
            while searched < 2 && self.available().starts_with(b"\r\n") {
                self.consume(2);
                searched = 0;
            }
            if let Some(length) = end_of_head(self.available(), &mut searched)? {
                return if length > limits.header_bytes {
                    Err(too_large(self.available()))
                } else {
                    Ok(Some(length))
                };
            }
            if self.available().len() >= limits.header_bytes {
                return Err(too_large(self.available()));
            }
            let read = if self.holds_bytes() {
                let at = *deadline.get_or_insert_with(|| Instant::now() + limits.header);
                timestop::deadline(at, || self.fill())
                    .map_err(|error| Failure::from(error).or_request_timeout())?
            } else {
                match timestop::timeout(limits.idle, || self.fill()) {
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => 0,
                    other => other?,
                }
            };
            if read == 0 {
                return Ok(None);
            }
        }
    }

    /// Waits for a whole line of at most `limit` bytes and returns its length without CR LF.
    pub(in crate::serve) fn line(&mut self, limit: usize) -> Result<usize, Failure> {
        let mut searched = 0;
        loop {
            let line = self.available();
            if let Some(found) = line[searched..].iter().position(|&byte| byte == b'\n') {
                return match (searched + found).checked_sub(1) {
                    Some(length) if line[length] == b'\r' && length <= limit => Ok(length),
                    _ => Err(bare_line_feed()),
                };
            }
            searched = line.len();
            if searched > limit {
                return Err(Failure::refused(
                    Status::BAD_REQUEST,
                    "a line within the body is too long",
                ));
            }
            if self.fill()? == 0 {
                return Err(Failure::Io(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

/// Looks on from `searched` for the empty line. A line that ends in a bare LF is refused: others
/// on the way may not have taken it for a line's end (RFC 9112 §2.2 lets us choose).
fn end_of_head(bytes: &[u8], searched: &mut usize) -> Result<Option<usize>, Failure> {
    while let Some(found) = bytes[*searched..].iter().position(|&byte| byte == b'\n') {
        let line_feed = *searched + found;
        if !bytes[..line_feed].ends_with(b"\r") {
            return Err(bare_line_feed());
        }
        *searched = line_feed + 1;
        if bytes[..*searched].ends_with(b"\r\n\r\n") {
            return Ok(Some(*searched));
        }
    }
    *searched = bytes.len();
    Ok(None)
}

fn bare_line_feed() -> Failure {
    Failure::refused(Status::BAD_REQUEST, "lines must end in CR LF")
}

fn too_large(bytes: &[u8]) -> Failure {
    match bytes.iter().position(|&byte| byte == b'\n') {
        None => Failure::refused(Status::URI_TOO_LONG, "the request line is too long"),
        Some(_) => Failure::refused(Status::HEADERS_TOO_LARGE, "the header section is too large"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its pieces one a read, then fails as a passed deadline does.
    struct Pieces(Vec<&'static [u8]>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let piece = self.0.remove(0);
            buffer[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    fn head(pieces: &[&'static [u8]]) -> Result<Option<usize>, u16> {
        // On a fiber: only there can a time limit be kept.
        timestop::run(|| match Input::new(Pieces(pieces.to_vec())).head(&Limits::default()) {
            Ok(length) => Ok(length),
            Err(Failure::Refused(response)) => Err(response.status().code()),
            Err(Failure::Io(error)) => panic!("{error}"),
        })
    }

    #[test]
    fn finds_the_empty_line_wherever_the_pieces_part() {
        assert_eq!(head(&[b"GET / HTTP/1.1\r\nA: b\r\n\r\nrest"]), Ok(Some(24)));
        assert_eq!(head(&[b"GET / HTTP/1.1\r", b"\nA: b\r\n\r", b"\n"]), Ok(Some(24)));
        assert_eq!(head(&[b"\r\n", b"\r", b"\nGET / HTTP/1.1\r\n\r\n"]), Ok(Some(18)));
    }

    #[test]
    fn refuses_bare_line_feeds() {
        assert_eq!(head(&[b"GET / HTTP/1.1\n\n"]), Err(400));
        assert_eq!(head(&[b"GET / HTTP/1.1\r\n", b"\n"]), Err(400));
        assert_eq!(head(&[b"\nGET / HTTP/1.1\r\n\r\n"]), Err(400));
    }

    #[test]
    fn a_deadline_is_silent_before_the_first_byte_and_408_after() {
        assert_eq!(head(&[]), Ok(None));
        assert_eq!(head(&[b"GET / HT"]), Err(408));
    }

    #[test]
    fn the_end_of_the_stream_is_no_request() {
        assert_eq!(head(&[b"GET / HT", b""]), Ok(None));
    }
}
