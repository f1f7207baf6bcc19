//! Which bytes of a file are asked for (RFC 9110 §14).
//!
//! A header field that is malformed, or asks for more than the whole file in pieces (the attack of
//! a thousand overlapping ranges), is passed over: the answer is then the whole file, once.

use std::{
    ops::Range,
    time::{SystemTime, UNIX_EPOCH},
};

use super::Segment;

/// More pieces than this nobody needs.
const MOST: usize = 16;

/// What to send.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ranges {
    Whole,
    One(Range<u64>),
    Several(Vec<Range<u64>>),
    /// None of what is asked for exists.
    Unsatisfiable,
}

/// Reads a `Range` for a file of `length` bytes.
pub(super) fn parse(field: &str, length: u64) -> Ranges {
    let Some((unit, list)) = field.split_once('=') else {
        return Ranges::Whole;
    };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Ranges::Whole;
    }
    let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
    let Some(asked) = items.map(|item| parse_one(item, length)).collect::<Option<Vec<_>>>() else {
        return Ranges::Whole;
    };
    if asked.is_empty() || asked.len() > MOST {
        return Ranges::Whole;
    }
    let mut parts: Vec<Range<u64>> = asked.into_iter().filter(|part| !part.is_empty()).collect();
    match parts.len() {
        0 => Ranges::Unsatisfiable,
        1 => Ranges::One(parts.remove(0)),
        _ if parts.iter().map(|part| part.end - part.start).fold(0, u64::saturating_add)
            > length =>
        {
            Ranges::Whole
        }
        _ => Ranges::Several(parts),
    }
}

/// `first-last`, `first-` or `-count`. `None` if it is none of them; an empty range if it lies
/// beyond the end.
fn parse_one(item: &str, length: u64) -> Option<Range<u64>> {
    let (first, last) = item.split_once('-')?;
    match (first, last) {
        ("", count) => Some(length.saturating_sub(number(count)?)..length),
        (first, "") => {
            let first = number(first)?;
            Some(first..length.max(first))
        }
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            let end = last.saturating_add(1).min(length);
            (first <= last).then_some(first..end.max(first))
        }
    }
}

/// Digits only; what is larger than any file counts as the largest.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// The value of `Content-Range` for one part.
pub(super) fn content_range(part: &Range<u64>, length: u64) -> String {
    format!("bytes {}-{}/{length}", part.start, part.end - 1)
}

/// The pieces of a `multipart/byteranges` body.
pub(super) fn multipart(
    parts: Vec<Range<u64>>,
    length: u64,
    media_type: &str,
    boundary: &str,
) -> Vec<Segment> {
    let mut segments = Vec::with_capacity(2 * parts.len() + 1);
    for part in parts {
        let content_range = content_range(&part, length);
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {content_range}\r\n\r\n"
        );
        segments.push(Segment::Bytes(head.into_bytes()));
        segments.push(Segment::Part(part));
    }
    segments.push(Segment::Bytes(format!("\r\n--{boundary}--\r\n").into_bytes()));
    segments
}

/// A line no file is likely to contain.
pub(super) fn boundary() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!(
        "timestop-{:032x}",
        now.as_nanos().wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range() {
        for (field, part) in [
            ("bytes=0-0", 0..1),
            ("bytes=2-5", 2..6),
            ("Bytes=2-", 2..10),
            ("bytes=-3", 7..10),
            ("bytes=-30", 0..10),
            ("bytes=5-99999999999999999999999", 5..10),
            ("bytes= 1-2 ", 1..3),
            ("bytes=20-30, 1-2", 1..3),
        ] {
            assert_eq!(parse(field, 10), Ranges::One(part), "{field}");
        }
    }

    #[test]
    fn several_ranges() {
        assert_eq!(parse("bytes=0-1, 4-5,-1", 10), Ranges::Several(vec![0..2, 4..6, 9..10]));
    }

    #[test]
    fn nothing_there() {
        for field in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99-,50-60"] {
            assert_eq!(parse(field, 10), Ranges::Unsatisfiable, "{field}");
        }
        assert_eq!(parse("bytes=0-", 0), Ranges::Unsatisfiable);
    }

    #[test]
    fn passed_over() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "lines=1-2",
            "bytes=2-1",
            "bytes=a-b",
            "bytes=1",
            "bytes=-",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes=0-9,0-9",
            "bytes=0-1,x",
        ] {
            assert_eq!(parse(field, 10), Ranges::Whole, "{field}");
        }
        assert_eq!(parse(&format!("bytes={}", "0-0,".repeat(MOST + 1)), 100), Ranges::Whole);
    }
}
