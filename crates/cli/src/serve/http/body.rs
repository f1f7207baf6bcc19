//! Reading a body only to be rid of it: nobody here wants one, but the next request begins after it.
//!
//! The chunked coding is read strictly (RFC 9112 §7.1): what looks like the end of a body to us
//! must look so to whoever forwarded it.

use std::{io, io::Read};

use super::{Failure, Input, Status, request::Framing};

/// A chunk-size line, extensions included.
const CHUNK_LINE: usize = 256;
/// All trailer fields together.
const TRAILERS: usize = 8 << 10;

/// Refuses a body that says it is larger than `limit`.
pub(in crate::serve) fn check_length(framing: Framing, limit: u64) -> Result<(), Failure> {
    match framing {
        Framing::Length(length) if length > limit => Err(too_large()),
        _ => Ok(()),
    }
}

/// Reads up to the end of the body, of at most `limit` bytes.
pub(in crate::serve) fn discard<R: Read>(
    input: &mut Input<R>,
    framing: Framing,
    limit: u64,
) -> Result<(), Failure> {
    check_length(framing, limit)?;
    match framing {
        Framing::None => Ok(()),
        Framing::Length(length) => skip(input, length),
        Framing::Chunked => chunks(input, limit),
    }
}

fn chunks<R: Read>(input: &mut Input<R>, limit: u64) -> Result<(), Failure> {
    let mut left = limit;
    loop {
        let length = input.line(CHUNK_LINE)?;
        let size = chunk_size(&input.available()[..length])
            .ok_or_else(|| malformed("malformed chunk size"))?;
        input.consume(length + 2);
        if size == 0 {
            return trailers(input);
        }
        left = left.checked_sub(size).ok_or_else(too_large)?;
        skip(input, size)?;
        if input.line(CHUNK_LINE)? != 0 {
            return Err(malformed("a chunk is longer than its size"));
        }
        input.consume(2);
    }
}

fn trailers<R: Read>(input: &mut Input<R>) -> Result<(), Failure> {
    let mut left = TRAILERS;
    loop {
        let length = input.line(left)?;
        input.consume(length + 2);
        if length == 0 {
            return Ok(());
        }
        left = left
            .checked_sub(length + 2)
            .ok_or_else(|| malformed("the trailer section is too large"))?;
    }
}

/// Hexadecimal digits, then nothing or an extension, which is ignored.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, extension) = line.split_at(digits);
    let extension = extension.trim_ascii_start();
    if !(extension.is_empty() || extension.starts_with(b";"))
        || extension.contains(&b'\r')
        || digits.len() > 15
    {
        return None;
    }
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

fn skip<R: Read>(input: &mut Input<R>, mut count: u64) -> Result<(), Failure> {
    loop {
        let now = usize::try_from(count).unwrap_or(usize::MAX).min(input.available().len());
        input.consume(now);
        count -= now as u64;
        if count == 0 {
            return Ok(());
        }
        if input.fill()? == 0 {
            return Err(Failure::Io(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

fn too_large() -> Failure {
    Failure::refused(Status::CONTENT_TOO_LARGE, "the body is too large")
}

fn malformed(text: &str) -> Failure {
    Failure::refused(Status::BAD_REQUEST, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left after the body, or the number it was refused by (0: the stream failed).
    fn left(body: &[u8], framing: Framing) -> Result<Vec<u8>, u16> {
        let mut input = Input::new(body);
        match discard(&mut input, framing, 10) {
            Ok(()) => Ok(input.available().to_vec()),
            Err(Failure::Refused(response)) => Err(response.status().code()),
            Err(Failure::Io(_)) => Err(0),
        }
    }

    #[test]
    fn stops_at_the_end_of_the_body() {
        assert_eq!(left(b"", Framing::None), Ok(vec![]));
        assert_eq!(left(b"12345GET", Framing::Length(5)), Ok(b"GET".to_vec()));
        assert_eq!(left(b"3\r\nabc\r\n0\r\n\r\nGET", Framing::Chunked), Ok(b"GET".to_vec()));
        assert_eq!(left(b"0003 ;x=\"y\"\r\nabc\r\nA\r\n", Framing::Chunked), Err(413));
        assert_eq!(
            left(b"7;x\r\n1234567\r\n0;y\r\nT: u\r\n\r\nGET", Framing::Chunked),
            Ok(b"GET".to_vec())
        );
    }

    #[test]
    fn refuses_what_two_readers_could_read_in_two_ways() {
        for wrong in [
            &b"3\nabc\r\n0\r\n\r\n"[..],
            b"3\r\nabc\n0\r\n\r\n",
            b"3\r\nabcd\r\n0\r\n\r\n",
            b"0\r\n\n",
            b"\r\nabc\r\n0\r\n\r\n",
            b"-3\r\nabc\r\n0\r\n\r\n",
            b"0x3\r\nabc\r\n0\r\n\r\n",
            b"3 3\r\nabc\r\n0\r\n\r\n",
            b"3;a\rb\r\nabc\r\n0\r\n\r\n",
            b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        ] {
            assert_eq!(
                left(wrong, Framing::Chunked),
                Err(400),
                "{:?}",
                wrong.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn keeps_to_the_limit() {
        assert_eq!(left(b"", Framing::Length(11)), Err(413));
        assert_eq!(left(b"6\r\nabcdef\r\n5\r\nabcde\r\n0\r\n\r\n", Framing::Chunked), Err(413));
        let long = [b"0\r\nT: ", &[b'x'; TRAILERS + 1][..], b"\r\n\r\n"].concat();
        assert_eq!(left(&long, Framing::Chunked), Err(400));
    }

    #[test]
    fn a_cut_off_body_is_an_error_of_the_stream() {
        assert_eq!(left(b"123", Framing::Length(5)), Err(0));
        assert_eq!(left(b"3\r\nab", Framing::Chunked), Err(0));
    }
}
