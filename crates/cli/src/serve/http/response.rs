//! What is answered: a status, header fields, a body. Nothing here is sent yet.

use std::{borrow::Cow, fs::File, ops::Range};

/// A status code of RFC 9110.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::serve) struct Status(u16, &'static str);

impl Status {
    pub(in crate::serve) const OK: Self = Self(200, "OK");
    pub(in crate::serve) const ACCEPTED: Self = Self(202, "Accepted");
    pub(in crate::serve) const NO_CONTENT: Self = Self(204, "No Content");
    pub(in crate::serve) const PARTIAL_CONTENT: Self = Self(206, "Partial Content");
    pub(in crate::serve) const MOVED_PERMANENTLY: Self = Self(301, "Moved Permanently");
    pub(in crate::serve) const NOT_MODIFIED: Self = Self(304, "Not Modified");
    pub(in crate::serve) const BAD_REQUEST: Self = Self(400, "Bad Request");
    pub(in crate::serve) const FORBIDDEN: Self = Self(403, "Forbidden");
    pub(in crate::serve) const NOT_FOUND: Self = Self(404, "Not Found");
    pub(in crate::serve) const METHOD_NOT_ALLOWED: Self = Self(405, "Method Not Allowed");
    pub(in crate::serve) const REQUEST_TIMEOUT: Self = Self(408, "Request Timeout");
    pub(in crate::serve) const PRECONDITION_FAILED: Self = Self(412, "Precondition Failed");
    pub(in crate::serve) const CONTENT_TOO_LARGE: Self = Self(413, "Content Too Large");
    pub(in crate::serve) const URI_TOO_LONG: Self = Self(414, "URI Too Long");
    pub(in crate::serve) const RANGE_NOT_SATISFIABLE: Self = Self(416, "Range Not Satisfiable");
    pub(in crate::serve) const EXPECTATION_FAILED: Self = Self(417, "Expectation Failed");
    pub(in crate::serve) const HEADERS_TOO_LARGE: Self =
        Self(431, "Request Header Fields Too Large");
    pub(in crate::serve) const INTERNAL_ERROR: Self = Self(500, "Internal Server Error");
    pub(in crate::serve) const NOT_IMPLEMENTED: Self = Self(501, "Not Implemented");
    pub(in crate::serve) const UNAVAILABLE: Self = Self(503, "Service Unavailable");
    pub(in crate::serve) const VERSION_NOT_SUPPORTED: Self =
        Self(505, "HTTP Version Not Supported");

    /// The number.
    pub(in crate::serve) fn code(self) -> u16 {
        self.0
    }

    /// The words after the number.
    pub(in crate::serve) fn reason(self) -> &'static str {
        self.1
    }

    /// Whether an answer of this status has no body, and says nothing of its length.
    pub(in crate::serve) fn is_bodiless(self) -> bool {
        matches!(self, Self::NO_CONTENT | Self::NOT_MODIFIED)
    }
}

/// What follows the header section.
#[derive(Debug)]
pub(in crate::serve) enum Body {
    Bytes(Cow<'static, [u8]>),
    /// Parts of a file, and what stands between them.
    File {
        file: File,
        segments: Vec<Segment>,
    },
}

/// A piece of a body that comes from a file.
#[derive(Debug)]
pub(in crate::serve) enum Segment {
    Bytes(Vec<u8>),
    /// These bytes of the file.
    Part(Range<u64>),
}

/// An answer.
#[derive(Debug)]
pub(in crate::serve) struct Response {
    status: Status,
    fields: Vec<(&'static str, Cow<'static, str>)>,
    body: Body,
}

impl Response {
    /// An answer without a body.
    pub(in crate::serve) fn empty(status: Status) -> Self {
        Self { status, fields: Vec::new(), body: Body::Bytes(Cow::Borrowed(&[])) }
    }

    /// A body that is in memory.
    pub(in crate::serve) fn new(
        status: Status,
        content_type: &'static str,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        Self { body: Body::Bytes(body.into()), ..Self::empty(status) }
            .with("Content-Type", content_type)
    }

    /// A line of plain text; a newline is put after it.
    pub(in crate::serve) fn plain(status: Status, text: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{text}\n").into_bytes())
    }

    /// Parts of `file`.
    pub(in crate::serve) fn file(status: Status, file: File, segments: Vec<Segment>) -> Self {
        Self { body: Body::File { file, segments }, ..Self::empty(status) }
    }

    /// Adds a header field. `value` must not contain CR or LF.
    pub(in crate::serve) fn with(
        mut self,
        name: &'static str,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The status.
    pub(in crate::serve) fn status(&self) -> Status {
        self.status
    }

    /// The header fields, but for those that say how the answer is sent.
    pub(in crate::serve) fn fields(&self) -> &[(&'static str, Cow<'static, str>)] {
        &self.fields
    }

    /// The body.
    pub(in crate::serve) fn body(&self) -> &Body {
        &self.body
    }
}

impl Body {
    /// Its length in bytes.
    pub(in crate::serve) fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { segments, .. } => segments
                .iter()
                .map(|segment| match segment {
                    Segment::Bytes(bytes) => bytes.len() as u64,
                    Segment::Part(range) => range.end - range.start,
                })
                .sum(),
        }
    }
}
