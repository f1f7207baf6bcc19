//! Whether the client has the file already, or means another one (RFC 9110 §13).

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    time::{SystemTime, UNIX_EPOCH},
};

use httpdate::HttpDate;

use crate::serve::http::request::Conditions;

/// What tells one state of a file from another.
#[derive(Debug)]
pub(super) struct Validators {
    /// From inode, length and modification time to the nanosecond.
    pub(super) etag: String,
    /// To the second; never in the future. `None` before 1970.
    pub(super) modified: Option<HttpDate>,
}

/// What the conditions of a request come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// 412.
    Failed,
    /// 304.
    NotModified,
    /// Send it; only parts of it if `ranges`, and the request names some.
    Send { ranges: bool },
}

impl Validators {
    /// Those of an open file.
    pub(super) fn of(metadata: &Metadata) -> Self {
        let (inode, length) = (metadata.ino(), metadata.len());
        let etag =
            format!("\"{inode:x}-{length:x}-{:x}.{:x}\"", metadata.mtime(), metadata.mtime_nsec());
        let modified = metadata.modified().ok().filter(|&time| time >= UNIX_EPOCH);
        Self { etag, modified: modified.map(|time| HttpDate::from(time.min(SystemTime::now()))) }
    }

    /// In the order of §13.2.2: an entity tag outranks a date.
    pub(super) fn judge(&self, conditions: &Conditions) -> Verdict {
        let is_meant = match (&conditions.if_match, &conditions.if_unmodified_since) {
            (Some(tags), _) => self.listed(tags, false),
            (None, Some(date)) => !self.is_newer_than(date).unwrap_or(false),
            (None, None) => true,
        };
        if !is_meant {
            return Verdict::Failed;
        }
        let is_known = match (&conditions.if_none_match, &conditions.if_modified_since) {
            (Some(tags), _) => self.listed(tags, true),
            (None, Some(date)) => self.is_newer_than(date) == Some(false),
            (None, None) => false,
        };
        if is_known {
            return Verdict::NotModified;
        }
        let ranges = conditions.if_range.as_ref().is_none_or(|validator| {
            *validator == self.etag
                || (self.modified.is_some() && validator.parse().ok() == self.modified)
        });
        Verdict::Send { ranges }
    }

    /// Whether our tag is in a list of them, or the list is `*`. Ours has no comma in it.
    fn listed(&self, tags: &str, weakly: bool) -> bool {
        tags.trim() == "*"
            || tags.split(',').map(str::trim).any(|tag| {
                let weak = tag.strip_prefix("W/");
                tag == self.etag || (weakly && weak == Some(&self.etag))
            })
    }

    /// `None` if either date is none.
    fn is_newer_than(&self, date: &str) -> Option<bool> {
        let date: HttpDate = date.parse().ok()?;
        Some(self.modified? > date)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn judge(set: impl FnOnce(&mut Conditions)) -> Verdict {
        let mut conditions = Conditions::default();
        set(&mut conditions);
        let modified = DATE.parse().ok();
        Validators { etag: "\"a\"".to_owned(), modified }.judge(&conditions)
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn known_already() {
        for tags in ["\"a\"", "*", "\"b\", W/\"a\""] {
            assert_eq!(judge(|it| it.if_none_match = some(tags)), Verdict::NotModified, "{tags}");
        }
        assert_eq!(judge(|it| it.if_modified_since = some(DATE)), Verdict::NotModified);
        assert_eq!(
            judge(|it| it.if_modified_since = some(EARLIER)),
            Verdict::Send { ranges: true }
        );
        assert_eq!(
            judge(|it| it.if_modified_since = some("yesterday")),
            Verdict::Send { ranges: true }
        );
    }

    #[test]
    fn a_tag_outranks_a_date() {
        let verdict = judge(|it| {
            it.if_none_match = some("\"b\"");
            it.if_modified_since = some(DATE);
        });
        assert_eq!(verdict, Verdict::Send { ranges: true });
    }

    #[test]
    fn another_file_is_meant() {
        assert_eq!(judge(|it| it.if_match = some("\"b\", W/\"a\"")), Verdict::Failed);
        assert_eq!(judge(|it| it.if_match = some("\"b\", \"a\"")), Verdict::Send { ranges: true });
        assert_eq!(judge(|it| it.if_unmodified_since = some(EARLIER)), Verdict::Failed);
        assert_eq!(judge(|it| it.if_unmodified_since = some(DATE)), Verdict::Send { ranges: true });
    }

    #[test]
    fn parts_only_of_the_same_state() {
        for (validator, ranges) in
            [("\"a\"", true), (DATE, true), ("W/\"a\"", false), ("\"b\"", false), (EARLIER, false)]
        {
            assert_eq!(
                judge(|it| it.if_range = some(validator)),
                Verdict::Send { ranges },
                "{validator}"
            );
        }
    }
}
