//! What is loaded with a program: its own dynamic linker is asked (`ld.so --list`, what `ldd` does),
//! since nobody else knows its rules. No code of the program's runs for that, but that of the dynamic
//! linker that it names does.
//!
//! Rejected: to look libraries up ourselves (RPATH, RUNPATH, `$ORIGIN`, the cache, hardware
//! capabilities: to be wrong in one of them is to look at another library than the one that is used).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::image::{self, Image, Kind};

/// The closure of what a program needs.
#[derive(Debug, Default)]
pub(crate) struct Libraries {
    pub(crate) loaded: Vec<Image>,
    /// What the dynamic linker complained of, versions of symbols mostly.
    pub(crate) complaints: Vec<String>,
}

/// Names of what glibc consists of: calls among those do not pass through hooks.
const GLIBC: [&str; 14] = [
    "ld-linux-x86-64.so.2",
    "libBrokenLocale.so.1",
    "libanl.so.1",
    "libc.so.6",
    "libdl.so.2",
    "libm.so.6",
    "libmvec.so.1",
    "libnsl.so.1",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libthread_db.so.1",
    "libutil.so.1",
    "libgcc_s.so.1",
];

/// Lists what is loaded for `program`, with `preload` first.
///
/// # Errors
///
/// The dynamic linker cannot be run, or cannot load the program.
pub(crate) fn list(linker: &Path, program: &Path, preload: &OsStr) -> Result<Libraries, String> {
    // What lies beside it is sought beside the file itself, not beside a link to it.
    let file = program.canonicalize().unwrap_or_else(|_| program.to_owned());
    let output = Command::new(linker)
        .arg("--list")
        .arg(file)
        .env("LD_PRELOAD", preload)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            format!("its dynamic linker {} cannot be run: {error}", linker.display())
        })?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && output.stdout.is_empty() {
        let why = complaints.lines().next().unwrap_or("its dynamic linker fails");
        let why =
            why.rsplit_once("error while loading shared libraries: ").map_or(why, |(_, why)| why);
        return Err(format!("cannot be loaded: {why}"));
    }
    let mut libraries = Libraries::default();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some(path) = path_of(line)
            && let Ok(Kind::Native(image)) = image::look(&path)
        {
            libraries.loaded.push(*image);
        }
    }
    libraries.complaints = complaints.lines().map(str::to_owned).collect();
    Ok(libraries)
}

/// Reads `name => path (0x…)` or `path (0x…)`; the vDSO has a name only.
fn path_of(line: &str) -> Option<PathBuf> {
    let line = line.trim();
    let path = line.split_once(" => ").map_or(line, |(_, path)| path);
    let path = path.rsplit_once(" (0x").map_or(path, |(path, _)| path);
    path.starts_with('/').then(|| path.into())
}

impl Libraries {
    /// The C library.
    pub(crate) fn libc(&self) -> Option<&Image> {
        self.loaded.iter().find(|image| image.soname.as_deref() == Some("libc.so.6"))
    }

    /// All but glibc's own, and the hooks.
    pub(crate) fn others<'a>(&'a self, preload: &'a Path) -> impl Iterator<Item = &'a Image> {
        let is_glibc =
            |image: &Image| image.soname.as_deref().is_some_and(|name| GLIBC.contains(&name));
        self.loaded.iter().filter(move |image| !is_glibc(image) && image.path != preload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_dynamic_linker_are_read() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(path_of("\tlibc.so.6 => /lib/libc.so.6 (0x00007f)"), path("/lib/libc.so.6"));
        assert_eq!(path_of("\t/lib64/ld-linux.so.2 (0x00007f)"), path("/lib64/ld-linux.so.2"));
        assert_eq!(path_of("\t/opt/a (b)/x.so (0x00007f)"), path("/opt/a (b)/x.so"));
        assert_eq!(path_of("\tlinux-vdso.so.1 (0x00007f)"), None);
        assert_eq!(path_of("\tstatically linked"), None);
    }
}
