//! The shared object that holds the hooks: where it is, and how the dynamic linker is told to load it
//! first.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::check::Refusal;

/// Its name.
const NAME: &str = "libtimestop_preload.so";
/// Where it may be, from the folder of this program: where cargo keeps the one that it built with the
/// program, beside it, and where packages install it.
const FOLDERS: [&str; 3] = ["deps", ".", "../lib/timestop"];
/// What separates the entries of `LD_PRELOAD`, and what the dynamic linker replaces in them.
const NOT_IN_A_LIST: &[u8] = b": $";

/// The shared object that belongs to this program. The place is found from the program's own, so that
/// what was unpacked anywhere works.
pub(crate) fn find() -> Result<PathBuf, Refusal> {
    let program = env::current_exe()
        .map_err(|error| Refusal::unable(format!("where is this program? {error}")))?;
    let folder = program.parent().unwrap_or(Path::new("/"));
    let places = FOLDERS.map(|name| folder.join(name).join(NAME));
    let path = places.into_iter().find_map(|path| path.canonicalize().ok()).ok_or_else(|| {
        Refusal::unable(format!(
            "{NAME} is neither beside {} nor in ../lib/timestop from there: install both together",
            program.display()
        ))
    })?;
    if path.as_os_str().as_bytes().iter().any(|byte| NOT_IN_A_LIST.contains(byte)) {
        return Err(Refusal::unable(format!(
            "{}: LD_PRELOAD cannot name a path with a space, a colon or a dollar sign in it: install \
             timestop elsewhere",
            path.display()
        )));
    }
    Ok(path)
}

/// The value of `LD_PRELOAD` with `path` first, and what was there before behind it, in its order.
pub(crate) fn list(path: &Path) -> OsString {
    before(path.as_os_str(), &env::var_os("LD_PRELOAD").unwrap_or_default())
}

fn before(path: &OsStr, others: &OsStr) -> OsString {
    let mut list = path.as_bytes().to_vec();
    let entries = others.as_bytes().split(|byte| b": ".contains(byte));
    for entry in entries.filter(|entry| !entry.is_empty() && *entry != path.as_bytes()) {
        list.push(b':');
        list.extend(entry);
    }
    OsString::from_vec(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_stays_in_its_order() {
        let before = |others: &str| before(OsStr::new("/t.so"), OsStr::new(others));
        assert_eq!(before(""), "/t.so");
        assert_eq!(before("/a.so:/b.so"), "/t.so:/a.so:/b.so");
        assert_eq!(before(" /a.so  b.so: "), "/t.so:/a.so:b.so");
        assert_eq!(before("/a.so:/t.so:/b.so"), "/t.so:/a.so:/b.so", "once, by its path");
    }
}
