//! A request as the rest of the server sees it: what it asks for, and how its body is framed.
//!
//! Owned and small (the header fields somebody looks at, no others), so that the buffer it came
//! from is free for the body. Two parties that disagree on where a request ends are what request
//! smuggling needs; hence both framings at once, two lengths, or a `Transfer-Encoding` in
//! HTTP/1.0 are refused, never repaired (RFC 9112 §6).

use httparse::{Error, Header};

use super::{Failure, Status};

/// More fields than this are refused.
const MAX_FIELDS: usize = 100;

/// What is asked for, and under which conditions.
#[derive(Debug, Default)]
pub(in crate::serve) struct Request {
    pub(in crate::serve) method: Method,
    /// The path, as sent (percent-encoded); `*` in `OPTIONS *`.
    pub(in crate::serve) path: String,
    /// What follows the `?`.
    pub(in crate::serve) query: Option<String>,
    pub(in crate::serve) http10: bool,
    pub(in crate::serve) keep_alive: bool,
    pub(in crate::serve) expects_continue: bool,
    pub(in crate::serve) body: Framing,
    /// Whom the client believes to talk to.
    pub(in crate::serve) host: Option<String>,
    /// Whose page asks, where a page does.
    pub(in crate::serve) origin: Option<String>,
    pub(in crate::serve) conditions: Conditions,
}

/// The header fields that make an answer depend on the state of a file.
#[derive(Debug, Default)]
pub(in crate::serve) struct Conditions {
    pub(in crate::serve) range: Option<String>,
    pub(in crate::serve) if_range: Option<String>,
    pub(in crate::serve) if_match: Option<String>,
    pub(in crate::serve) if_none_match: Option<String>,
    pub(in crate::serve) if_modified_since: Option<String>,
    pub(in crate::serve) if_unmodified_since: Option<String>,
}

/// The methods somebody answers; the others only to refuse them by the right number.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::serve) enum Method {
    #[default]
    Get,
    Head,
    Post,
    Options,
    /// One of RFC 9110's that nothing here allows.
    Other,
    /// One we never heard of.
    Unknown,
}

/// Where the body ends.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::serve) enum Framing {
    #[default]
    None,
    /// After that many bytes.
    Length(u64),
    Chunked,
}

impl Framing {
    /// Whether there is nothing to read.
    pub(in crate::serve) fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

impl Request {
    /// Whether the answer must come without its body.
    pub(in crate::serve) fn is_head(&self) -> bool {
        self.method == Method::Head
    }
}

/// Parses a whole header section.
pub(in crate::serve) fn parse(head: &[u8]) -> Result<Request, Failure> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(bad("the header section is malformed")),
        Err(Error::TooManyHeaders) => {
            return Err(Failure::refused(Status::HEADERS_TOO_LARGE, "too many header fields"));
        }
        Err(Error::Version) => {
            return Err(Failure::refused(
                Status::VERSION_NOT_SUPPORTED,
                "this server speaks HTTP/1.1 and HTTP/1.0",
            ));
        }
        Err(error) => return Err(bad(&format!("malformed request: {error}"))),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(bad("the request line is malformed"));
    };

    let mut request =
        Request { method: method_named(method), http10: minor == 0, ..Request::default() };
    (request.path, request.query) = split_target(target, request.method)?;
    let mut seen = Seen::default();
    for field in parsed.headers.iter() {
        read_field(field, &mut request, &mut seen)?;
    }
    if seen.hosts > 1 || (seen.hosts == 0 && !request.http10) {
        return Err(bad("a request carries exactly one Host"));
    }
    request.keep_alive = !seen.close && (seen.keep_alive || !request.http10);
    request.body = seen.framing.decide(request.http10)?;
    Ok(request)
}

/// What is decided only when all fields are known.
#[derive(Debug, Default)]
struct Seen {
    hosts: usize,
    close: bool,
    keep_alive: bool,
    framing: FramingFields,
}

fn read_field(field: &Header<'_>, request: &mut Request, seen: &mut Seen) -> Result<(), Failure> {
    let is = |name: &str| field.name.eq_ignore_ascii_case(name);
    // Each field is looked at by its length first: most are none of these.
    match field.name.len() {
        4 if is("Host") => {
            seen.hosts += 1;
            if !field
                .value
                .iter()
                .all(|&byte| byte.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,;=".contains(&byte))
            {
                return Err(bad("malformed Host"));
            }
            request.host = text(field)?;
        }
        5 if is("Range") => request.conditions.range = text(field)?,
        6 if is("Origin") => request.origin = text(field)?,
        6 if is("Expect") => {
            if !text(field)?.is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
                return Err(Failure::refused(
                    Status::EXPECTATION_FAILED,
                    "only 100-continue can be expected",
                ));
            }
            request.expects_continue = !request.http10;
        }
        8 if is("If-Range") => request.conditions.if_range = text(field)?,
        8 if is("If-Match") => join(&mut request.conditions.if_match, field)?,
        10 if is("Connection") => {
            for option in field.value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                seen.close |= option.eq_ignore_ascii_case(b"close");
                seen.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        }
        13 if is("If-None-Match") => join(&mut request.conditions.if_none_match, field)?,
        14 if is("Content-Length") => seen.framing.add_lengths(field.value)?,
        17 if is("Transfer-Encoding") => seen.framing.add_codings(field.value),
        17 if is("If-Modified-Since") => request.conditions.if_modified_since = text(field)?,
        19 if is("If-Unmodified-Since") => request.conditions.if_unmodified_since = text(field)?,
        _ => {}
    }
    Ok(())
}

/// What the fields about framing said, all of them.
#[derive(Debug, Default)]
struct FramingFields {
    length: Option<u64>,
    codings: usize,
    chunked: usize,
    chunked_last: bool,
}

impl FramingFields {
    fn add_lengths(&mut self, value: &[u8]) -> Result<(), Failure> {
        for item in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if item.is_empty() || !item.iter().all(u8::is_ascii_digit) {
                return Err(bad("malformed Content-Length"));
            }
            let length = item.iter().fold(0_u64, |length, digit| {
                length.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
            });
            if self.length.is_some_and(|other| other != length) {
                return Err(bad("conflicting lengths in Content-Length"));
            }
            self.length = Some(length);
        }
        Ok(())
    }

    fn add_codings(&mut self, value: &[u8]) {
        for coding in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            self.codings += 1;
            self.chunked_last = coding.eq_ignore_ascii_case(b"chunked");
            self.chunked += usize::from(self.chunked_last);
        }
    }

    fn decide(self, http10: bool) -> Result<Framing, Failure> {
        match self {
            Self { codings: 0, length: None, .. } => Ok(Framing::None),
            Self { codings: 0, length: Some(length), .. } => Ok(Framing::Length(length)),
            Self { length: Some(_), .. } => {
                Err(bad("Content-Length and Transfer-Encoding exclude each other"))
            }
            _ if http10 => Err(bad("HTTP/1.0 has no Transfer-Encoding")),
            Self { codings: 1, chunked: 1, .. } => Ok(Framing::Chunked),
            Self { chunked: 1, chunked_last: true, .. } => Err(Failure::refused(
                Status::NOT_IMPLEMENTED,
                "the only transfer coding understood is chunked",
            )),
            _ => Err(bad("the last transfer coding must be chunked, once")),
        }
    }
}

fn method_named(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "OPTIONS" => Method::Options,
        "PUT" | "DELETE" | "PATCH" | "TRACE" | "CONNECT" => Method::Other,
        _ => Method::Unknown,
    }
}

/// Path and query of a target in origin, absolute, asterisk or (never allowed) authority form.
fn split_target(target: &str, method: Method) -> Result<(String, Option<String>), Failure> {
    let after_scheme =
        ["http://", "https://"].iter().find_map(|scheme| match target.get(..scheme.len()) {
            Some(start) if start.eq_ignore_ascii_case(scheme) => Some(&target[scheme.len()..]),
            _ => None,
        });
    let origin = match after_scheme {
        Some(rest) => rest.find(['/', '?']).map_or("", |at| &rest[at..]),
        None if target.starts_with('/') => target,
        None if target == "*" && method == Method::Options => target,
        None if method == Method::Other || method == Method::Unknown => "/",
        None => return Err(bad("the request target must be a path")),
    };
    if origin.contains('#') {
        return Err(bad("the request target must not contain a fragment"));
    }
    let (path, query) = match origin.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (origin, None),
    };
    Ok((if path.is_empty() { "/" } else { path }.to_owned(), query))
}

fn text(field: &Header<'_>) -> Result<Option<String>, Failure> {
    match str::from_utf8(field.value) {
        Ok(value) => Ok(Some(value.trim().to_owned())),
        Err(_) => Err(bad(&format!("{} is not text", field.name))),
    }
}

/// A field that is a list may come in several lines.
fn join(list: &mut Option<String>, field: &Header<'_>) -> Result<(), Failure> {
    let value = text(field)?.unwrap_or_default();
    *list = Some(match list.take() {
        Some(before) => format!("{before}, {value}"),
        None => value,
    });
    Ok(())
}

fn bad(text: &str) -> Failure {
    Failure::refused(Status::BAD_REQUEST, text)
}

#[cfg(test)]
mod tests;
