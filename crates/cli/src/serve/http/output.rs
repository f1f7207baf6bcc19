//! The writing side of a connection: one buffer, filled and written, so that a small answer is one
//! write and a large file needs no more memory than a small one.
//!
//! The length is announced before the first byte, so a file that shrinks meanwhile leaves nothing
//! to do but to end the connection: padding would hand out something that is not the file.

use std::{
    fmt, io,
    io::Write,
    os::unix::fs::FileExt,
    time::{Duration, SystemTime},
};

use httpdate::HttpDate;

use super::{Body, Response, Segment};

/// A file is read and written in pieces of this size.
pub(super) const CHUNK: usize = 64 << 10;
/// What a connection may keep between two answers.
const KEEP: usize = 4 << 10;

/// A stream to the client and the buffer before it.
#[derive(Debug)]
pub(in crate::serve) struct Output<W> {
    stream: W,
    buffer: Vec<u8>,
    timeout: Duration,
}

/// How an answer is sent, as far as the request decides it.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::serve) struct Reply {
    /// The connection ends after it.
    pub(in crate::serve) close: bool,
    /// Without the body.
    pub(in crate::serve) head_only: bool,
    /// The client speaks HTTP/1.0.
    pub(in crate::serve) http10: bool,
}

impl<W: Write> Output<W> {
    /// Each write may take as long as `timeout`.
    pub(in crate::serve) fn new(stream: W, timeout: Duration) -> Self {
        Self { stream, buffer: Vec::new(), timeout }
    }

    /// Tells a client that waits with its body to send it.
    pub(in crate::serve) fn send_continue(&mut self) -> io::Result<()> {
        self.buffer.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        self.write()
    }

    /// Sends an answer, all of it.
    pub(in crate::serve) fn send(&mut self, response: Response, reply: Reply) -> io::Result<()> {
        self.put_head(&response, reply);
        if !reply.head_only && !response.status().is_bodiless() {
            self.put_body(response.body())?;
        }
        self.write()?;
        if self.buffer.capacity() > KEEP {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    fn put_head(&mut self, response: &Response, reply: Reply) {
        let status = response.status();
        self.put(format_args!("HTTP/1.1 {} {}\r\n", status.code(), status.reason()));
        self.put(format_args!("Date: {}\r\n", HttpDate::from(SystemTime::now())));
        for (name, value) in response.fields() {
            debug_assert!(!value.contains(['\r', '\n']), "a field value must be one line");
            self.put(format_args!("{name}: {value}\r\n"));
        }
        if !status.is_bodiless() {
            self.put(format_args!("Content-Length: {}\r\n", response.body().length()));
        }
        match reply {
            Reply { close: true, .. } => self.put(format_args!("Connection: close\r\n")),
            Reply { http10: true, .. } => self.put(format_args!("Connection: keep-alive\r\n")),
            _ => {}
        }
        self.put(format_args!("\r\n"));
    }

    fn put(&mut self, arguments: fmt::Arguments<'_>) {
        self.buffer.write_fmt(arguments).expect("a Vec takes whatever is written to it");
    }

    fn put_body(&mut self, body: &Body) -> io::Result<()> {
        match body {
            Body::Bytes(bytes) => self.buffer.extend_from_slice(bytes),
            Body::File { file, segments } => {
                for segment in segments {
                    match segment {
                        Segment::Bytes(bytes) => self.buffer.extend_from_slice(bytes),
                        Segment::Part(range) => {
                            let mut at = range.start;
                            while at < range.end {
                                at += self.put_part(file, at, range.end)? as u64;
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads on from `at`, not beyond `end`, and writes the buffer if that filled it.
    fn put_part(&mut self, file: &impl FileExt, at: u64, end: u64) -> io::Result<usize> {
        if self.buffer.len() >= CHUNK {
            self.write()?;
        }
        let old = self.buffer.len();
        let room = usize::try_from(end - at).unwrap_or(usize::MAX).min(CHUNK - old);
        self.buffer.resize(old + room, 0);
        let read = loop {
            match file.read_at(&mut self.buffer[old..], at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(old + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            other => other,
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let Self { stream, buffer, timeout } = self;
        let written = timestop::timeout(*timeout, || stream.write_all(buffer));
        buffer.clear();
        written
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write};

    use super::{super::Status, *};

    fn sent(response: Response, reply: Reply) -> io::Result<String> {
        // On a fiber: only there can a time limit be kept.
        timestop::run(|| {
            let mut stream = Vec::new();
            Output::new(&mut stream, Duration::from_secs(1)).send(response, reply)?;
            Ok(String::from_utf8(stream).expect("text"))
        })
    }

    #[test]
    fn a_head_says_how_long_the_body_is_even_without_it() {
        let reply = Reply { head_only: true, close: true, ..Reply::default() };
        let text = sent(Response::plain(Status::OK, "hello"), reply).expect("a Vec cannot fail");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\nDate: "), "{text}");
        assert!(text.ends_with("Content-Length: 6\r\nConnection: close\r\n\r\n"), "{text}");
    }

    #[test]
    fn not_modified_says_no_length() {
        let text = sent(Response::empty(Status::NOT_MODIFIED), Reply::default())
            .expect("a Vec cannot fail");
        assert!(!text.contains("Content-Length"), "{text}");
    }

    #[test]
    fn parts_of_a_file_larger_than_the_buffer() -> io::Result<()> {
        let (file, content) = file_of(3 * CHUNK + 7)?;
        let end = content.len() as u64;
        let segments =
            vec![Segment::Part(1..end), Segment::Bytes(b"between".to_vec()), Segment::Part(0..3)];
        let text = sent(Response::file(Status::OK, file, segments), Reply::default())?;
        let (_, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(body == format!("{}between{}", &content[1..], &content[..3]));
        Ok(())
    }

    #[test]
    fn a_file_that_shrank_is_an_error() -> io::Result<()> {
        let (file, _) = file_of(10)?;
        let response = Response::file(Status::OK, file, vec![Segment::Part(0..11)]);
        let error = sent(response, Reply::default()).expect_err("the file is too short");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        Ok(())
    }

    fn file_of(length: usize) -> io::Result<(File, String)> {
        let content: String = ('a'..='z').cycle().take(length).collect();
        let mut file = tempfile::tempfile()?;
        file.write_all(content.as_bytes())?;
        Ok((file, content))
    }
}
