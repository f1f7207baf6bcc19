//! From the path of a request to a file that lies within the directory served.
//!
//! Two nets, either of which would do against most: segments are decoded one by one and none may
//! be `..` or hold a slash; and what the kernel then resolves the path to, symbolic links and all,
//! must still lie below the root. Whoever can rename within the directory *while* it is looked at
//! could lead a request out of it; but they could as well put a copy there.

use std::{
    ffi::OsStr,
    fmt::Write,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// What stays itself in a segment of a path: RFC 3986's unreserved characters.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The directory served, without symbolic links.
#[derive(Debug)]
pub(in crate::serve) struct Root(PathBuf);

/// What lies at a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    File(PathBuf),
    /// `url` is its proper path, with a slash at the end; `slash` whether the request had one.
    Directory {
        path: PathBuf,
        url: String,
        slash: bool,
    },
}

/// Why nothing was found.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The path is no path.
    Malformed(&'static str),
    Io(io::Error),
}

impl Root {
    /// Fails if `directory` is not one that can be entered; the text says so.
    pub(in crate::serve) fn open(directory: &Path) -> Result<Self, String> {
        let problem = |error: io::Error| format!("cannot serve {}: {error}", directory.display());
        let path = directory.canonicalize().map_err(problem)?;
        fs::read_dir(&path).map_err(problem)?;
        Ok(Self(path))
    }

    /// Looks up the path of a request, as sent.
    pub(super) fn find(&self, path: &str) -> Result<Found, Refusal> {
        let mut relative = PathBuf::new();
        let mut url = String::from("/");
        for segment in path.split('/').filter(|segment| !matches!(*segment, "" | ".")) {
            let name = decode(segment)?;
            relative.push(OsStr::from_bytes(&name));
            write!(url, "{}/", percent_encode(&name, SEGMENT))
                .expect("a String takes whatever is written to it");
        }
        let path_slash = path.ends_with('/');
        let path = self.within(&self.0.join(relative)).map_err(Refusal::Io)?;
        let metadata = fs::metadata(&path).map_err(Refusal::Io)?;
        if metadata.is_dir() {
            Ok(Found::Directory { path, url, slash: path_slash })
        } else if metadata.is_file() && !path_slash {
            Ok(Found::File(path))
        } else {
            Err(Refusal::Io(io::ErrorKind::NotFound.into()))
        }
    }

    /// `path` without symbolic links, if it exists below the root; else it is as if it did not.
    pub(super) fn within(&self, path: &Path) -> io::Result<PathBuf> {
        let path = path.canonicalize()?;
        if path.starts_with(&self.0) { Ok(path) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

/// The percent-encoding of a name, for a link.
pub(super) fn encode(name: &[u8]) -> String {
    percent_encode(name, SEGMENT).to_string()
}

fn decode(segment: &str) -> Result<Vec<u8>, Refusal> {
    let mut rest = segment;
    while let Some((_, after)) = rest.split_once('%') {
        if !after.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        {
            return Err(Refusal::Malformed(
                "a % in the path must be followed by two hexadecimal digits",
            ));
        }
        rest = after;
    }
    let name: Vec<u8> = percent_decode_str(segment).collect();
    match name.as_slice() {
        b"." | b".." => Err(Refusal::Malformed("the path must not contain .. or an encoded .")),
        name if name.contains(&b'/') => {
            Err(Refusal::Malformed("the path must not contain an encoded /"))
        }
        name if name.contains(&0) => Err(Refusal::Malformed("the path must not contain NUL")),
        _ => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// `root/{file,a b,sub/deep}` beside `secret`, with links in and out.
    fn tree() -> io::Result<(tempfile::TempDir, Root)> {
        let top = tempfile::tempdir()?;
        let root = top.path().join("root");
        fs::create_dir_all(root.join("sub"))?;
        fs::write(top.path().join("secret"), "")?;
        for name in ["file", "a b", "sub/deep"] {
            fs::write(root.join(name), "")?;
        }
        symlink("../secret", root.join("out"))?;
        symlink("..", root.join("up"))?;
        symlink("sub/deep", root.join("in"))?;
        symlink("loop", root.join("loop"))?;
        // A sibling whose name begins like the root's.
        fs::create_dir(top.path().join("root-2"))?;
        symlink("../root-2", root.join("sibling"))?;
        let root = Root::open(&root).expect("it was just made");
        Ok((top, root))
    }

    #[test]
    fn finds_files_and_directories() -> io::Result<()> {
        let (_top, root) = tree()?;
        let file = |name: &str| Found::File(root.0.join(name));
        let directory = |name: &str, url: &str, slash| Found::Directory {
            path: root.0.join(name),
            url: url.to_owned(),
            slash,
        };
        for (path, found) in [
            ("/file", file("file")),
            ("//./file", file("file")),
            ("/a%20b", file("a b")),
            ("/%66ile", file("file")),
            ("/sub/deep", file("sub/deep")),
            ("/in", file("sub/deep")),
            ("/", directory("", "/", true)),
            ("/sub", directory("sub", "/sub/", false)),
            ("//sub/", directory("sub", "/sub/", true)),
        ] {
            assert_eq!(root.find(path).expect(path), found, "{path}");
        }
        Ok(())
    }

    #[test]
    fn nothing_outside_is_found() -> io::Result<()> {
        let (_top, root) = tree()?;
        for path in ["/out", "/up", "/up/secret", "/sibling", "/loop", "/none", "/file/", "/file/x"]
        {
            assert!(matches!(root.find(path), Err(Refusal::Io(_))), "{path}");
        }
        for path in [
            "/..",
            "/../secret",
            "/sub/../file",
            "/%2e%2e/secret",
            "/.%2E/secret",
            "/%2e/file",
            "/..%2fsecret",
            "/sub%2fdeep",
            "/file%00",
            "/%",
            "/%2",
            "/%zz",
            "/%%32e",
        ] {
            assert!(matches!(root.find(path), Err(Refusal::Malformed(_))), "{path}");
        }
        Ok(())
    }
}
