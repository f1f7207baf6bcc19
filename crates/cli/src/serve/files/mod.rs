//! Files of one directory, by name: what a request asks of a file becomes an answer that knows which
//! parts to send. Reading them is left to the writing side, piece by piece.

mod conditional;
mod listing;
mod path;
mod range;

use std::{fs, fs::File, io, path::Path};

use rustix::io::Errno;

pub(super) use self::path::Root;
use self::{
    conditional::{Validators, Verdict},
    path::Found,
    range::Ranges,
};
use super::http::{Request, Response, Segment, Status};

const INDEX: &str = "index.html";

/// Answers a GET or HEAD for a file or a directory.
pub(super) fn answer(root: &Root, request: &Request) -> Response {
    match root.find(&request.path) {
        Ok(Found::File(path)) => send(&path, request).unwrap_or_else(|error| failed(&error)),
        Ok(Found::Directory { url, slash: false, .. }) => {
            let query = request.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
            Response::empty(Status::MOVED_PERMANENTLY).with("Location", format!("{url}{query}"))
        }
        Ok(Found::Directory { url, path, slash: true }) => match root.within(&path.join(INDEX)) {
            Ok(index) if index.is_file() => send(&index, request),
            _ => listing::page(&path, &url),
        }
        .unwrap_or_else(|error| failed(&error)),
        Err(path::Refusal::Malformed(text)) => Response::plain(Status::BAD_REQUEST, text),
        Err(path::Refusal::Io(error)) => failed(&error),
    }
}

fn send(path: &Path, request: &Request) -> io::Result<Response> {
    // Looked at first: to open a FIFO would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let length = metadata.len();
    let validators = Validators::of(&metadata);
    let wanted = match validators.judge(&request.conditions) {
        Verdict::Failed => {
            return Ok(Response::plain(
                Status::PRECONDITION_FAILED,
                "the file is not the one you mean",
            ));
        }
        Verdict::NotModified => {
            return Ok(with_validators(Response::empty(Status::NOT_MODIFIED), validators));
        }
        Verdict::Send { ranges } => {
            request.conditions.range.as_deref().filter(|_| ranges && !request.is_head())
        }
    };
    let media_type = media_type(path);
    let response = match wanted.map_or(Ranges::Whole, |range| range::parse(range, length)) {
        Ranges::Whole => {
            let segments = vec![Segment::Part(0..length)];
            Response::file(Status::OK, file, segments).with("Content-Type", media_type)
        }
        Ranges::One(part) => {
            let content_range = range::content_range(&part, length);
            Response::file(Status::PARTIAL_CONTENT, file, vec![Segment::Part(part)])
                .with("Content-Type", media_type)
                .with("Content-Range", content_range)
        }
        Ranges::Several(parts) => {
            let boundary = range::boundary();
            let segments = range::multipart(parts, length, &media_type, &boundary);
            Response::file(Status::PARTIAL_CONTENT, file, segments)
                .with("Content-Type", format!("multipart/byteranges; boundary={boundary}"))
        }
        Ranges::Unsatisfiable => {
            return Ok(Response::plain(
                Status::RANGE_NOT_SATISFIABLE,
                "the file has no such bytes",
            )
            .with("Content-Range", format!("bytes */{length}")));
        }
    };
    Ok(with_validators(response, validators)
        .with("Accept-Ranges", "bytes")
        .with("X-Content-Type-Options", "nosniff"))
}

fn with_validators(response: Response, validators: Validators) -> Response {
    let response = response.with("ETag", validators.etag).with("Cache-Control", "no-cache");
    match validators.modified {
        Some(modified) => response.with("Last-Modified", modified.to_string()),
        None => response,
    }
}

/// From the name alone. Text is taken for UTF-8, as browsers would otherwise not.
fn media_type(path: &Path) -> String {
    let guess = mime_guess::from_path(path).first_or_octet_stream();
    if guess.type_() == mime_guess::mime::TEXT {
        format!("{guess}; charset=utf-8")
    } else {
        guess.to_string()
    }
}

fn failed(error: &io::Error) -> Response {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => {
            Response::plain(Status::NOT_FOUND, "not found")
        }
        io::ErrorKind::PermissionDenied => {
            Response::plain(Status::FORBIDDEN, "this file may not be read by the server")
        }
        _ if Errno::from_io_error(error) == Some(Errno::LOOP) => {
            Response::plain(Status::NOT_FOUND, "not found")
        }
        _ => Response::plain(Status::INTERNAL_ERROR, &format!("cannot read the file: {error}")),
    }
}
