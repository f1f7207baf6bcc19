//! What the facts about a program come to: whether it can work on fibers, and what it costs.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::calls::{self, Calls};
use super::image::{self, Image, Kind};
use super::libraries::{self, Libraries};
use super::program::Program;
use super::{Refusal, code, privileges};

/// The name that glibc's dynamic linker gives itself.
const LINKER: &str = "ld-linux-x86-64.so.2";
/// Releases of glibc on which the test suite has been run.
const TESTED: RangeInclusive<(u32, u32)> = (2, 31)..=(2, 43);

/// Why the hooks could not be loaded into a program, or would break it, as far as its own file tells.
pub(crate) fn refuse(program: &Program, preload: &Path) -> Result<(), Refusal> {
    let image = &program.image;
    why_not(program, preload)
        .map_or(Ok(()), |why| Err(Refusal::unable(format!("{}: {why}", image.path.display()))))
}

fn why_not(program: &Program, preload: &Path) -> Option<String> {
    let image = &program.image;
    if image.is_go() {
        return Some(
            "is written in Go, whose runtime makes threads, stacks and system calls of its own, past \
             libc: there is nothing to hook. Its goroutines are green threads already"
                .to_owned(),
        );
    }
    let Some(linker) = &image.interpreter else {
        return Some(
            "is a static program: it has no dynamic linker that could load the hooks. Link it \
             dynamically"
                .to_owned(),
        );
    };
    if let Some(gains) = privileges::gains(&image.path, &program.metadata) {
        return Some(format!(
            "{gains}: its dynamic linker ignores what is to be loaded first. Run it as the user that \
             it would become"
        ));
    }
    if let Some(why) = not_glibc(linker) {
        return Some(why);
    }
    if let Some(name) = image.sanitizer().filter(|_| !image.holds_hooks()) {
        return Some(format!(
            "is built with {name}, which wants to be loaded first and keeps books of threads and \
             stacks itself. Build it without"
        ));
    }
    is_another_libc(linker).then(|| too_old(program, linker, preload)).flatten()
}

/// What a dynamic linker is, if not glibc's.
fn not_glibc(linker: &Path) -> Option<String> {
    let shown = linker.display();
    if linker.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-musl")) {
        return Some(format!(
            "is linked with musl ({shown}): fibers rest on the layout of glibc's threads. Build it for \
             glibc"
        ));
    }
    match image::look(linker) {
        _ if !linker.exists() => Some(format!("its dynamic linker {shown} is not there")),
        Ok(Kind::Native(image)) if image.soname.as_deref() == Some(LINKER) => None,
        _ => Some(format!(
            "its dynamic linker {shown} is not glibc's: fibers rest on the layout of glibc's threads"
        )),
    }
}

/// Whether a program is loaded by another dynamic linker than this one, and so with another libc.
fn is_another_libc(linker: &Path) -> bool {
    let own = match image::look(Path::new("/proc/self/exe")) {
        Ok(Kind::Native(image)) => image.interpreter,
        _ => None,
    };
    let real = |path: PathBuf| path.canonicalize().ok();
    own.and_then(real) != real(linker.to_owned())
}

/// The hooks need a libc that has the versions of symbols that they were linked with: else the dynamic
/// linker would end the program.
fn too_old(program: &Program, linker: &Path, preload: &Path) -> Option<String> {
    let libraries = libraries::list(linker, &program.image.path, OsStr::new("")).ok()?;
    let Ok(Kind::Native(hooks)) = image::look(preload) else { return None };
    missing_versions(&hooks, &libraries).map(|versions| {
        format!("is loaded with a libc that is too old for the hooks: it has no {versions}")
    })
}

/// Versions of libc's symbols that an object needs and that its libc does not have.
fn missing_versions(image: &Image, libraries: &Libraries) -> Option<String> {
    let libc = libraries.libc()?;
    let needed = image.needs.iter().filter(|(library, _)| library == "libc.so.6");
    let missing: Vec<&str> = needed
        .filter(|(_, version)| !libc.defines.contains(version))
        .map(|(_, version)| version.as_str())
        .collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

/// All that is to be said of a program.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Why it cannot work.
    pub(crate) refusal: Option<String>,
    /// What may go wrong, or has not been tried.
    pub(crate) reservations: Vec<String>,
    /// What is worth knowing.
    pub(crate) notes: Vec<String>,
    pub(crate) calls: Calls,
    /// glibc's release, if that is known.
    pub(crate) glibc: Option<String>,
    /// How many libraries are loaded with it.
    pub(crate) libraries: usize,
}

/// Looks at everything.
pub(crate) fn judge(program: &Program, preload: &Path, list: &OsStr) -> Verdict {
    let mut verdict = Verdict::default();
    if let Err(refusal) = refuse(program, preload) {
        verdict.refusal = Some(refusal.text);
        return verdict;
    }
    let linker = program.image.interpreter.as_deref().unwrap_or(Path::new(LINKER));
    let libraries = match libraries::list(linker, &program.image.path, list) {
        Ok(libraries) => libraries,
        Err(why) => {
            verdict.refusal = Some(format!("{}: {why}", program.image.path.display()));
            return verdict;
        }
    };
    if let Some(versions) = missing_versions(&program.image, &libraries) {
        verdict.refusal = Some(format!(
            "{}: it needs a newer libc, with fibers or without: there is no {versions}",
            program.image.path.display()
        ));
        return verdict;
    }
    verdict.reservations.extend(libraries.complaints.iter().cloned());
    let others: Vec<&Image> = libraries.others(preload).collect();
    verdict.libraries = libraries.loaded.iter().filter(|image| image.path != preload).count();
    let all: Vec<&Image> = [&program.image].into_iter().chain(others.iter().copied()).collect();
    verdict.about_glibc(&libraries);
    verdict.about_runtimes(&program.image, &all);
    verdict.about_direct_calls(&program.image, &others);
    verdict.about_environment(preload);
    if let Ok(Kind::Native(hooks)) = image::look(preload) {
        let called: BTreeSet<String> =
            all.iter().flat_map(|image| image.imports.iter().cloned()).collect();
        verdict.calls = calls::sort(&called, &hooks.exports);
        if !called.contains("pthread_create") && !called.contains("thrd_create") {
            verdict.notes.push(
                "makes no threads itself: what it loads later, or the programs that it starts, may"
                    .to_owned(),
            );
        }
    }
    verdict
}

fn name_of(image: &Image, program: &Image) -> String {
    if image.path == program.path {
        "it".to_owned()
    } else {
        image.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

impl Verdict {
    fn about_glibc(&mut self, libraries: &Libraries) {
        let release = libraries.libc().and_then(release);
        self.glibc = release.map(|(major, minor)| format!("{major}.{minor}"));
        let Some(release) = release else {
            self.reservations.push("the release of its glibc is not known".to_owned());
            return;
        };
        let oldest = timestop_fiber::OLDEST_GLIBC;
        if release < oldest {
            self.refusal = Some(format!(
                "glibc {}.{} is too old: fibers run from {}.{} on",
                release.0, release.1, oldest.0, oldest.1
            ));
        } else if !TESTED.contains(&release) {
            self.reservations.push(format!(
                "glibc {}.{} has not been tested (docs/run.md says which were): the checks at start \
                 decide, and it runs on plain threads if one fails",
                release.0, release.1
            ));
        }
    }

    fn about_runtimes(&mut self, program: &Image, all: &[&Image]) {
        let exports = |name: &str| all.iter().find(|image| image.exports.contains(name));
        if program.holds_hooks() {
            self.notes.push(
                "holds the crate timestop, or hooks like it: its own runtime is the one that is \
                 active, and `run` adds nothing to it but for the programs that it starts"
                    .to_owned(),
            );
        }
        // A free-threaded Python counts references in another way, and says so by its symbols.
        if exports("PyGILState_Check").is_some() && exports("_Py_MergeZeroLocalRefcount").is_none()
        {
            self.notes.push(
                "is a Python with a global interpreter lock: 1 worker, and others while C code computes \
                 without it, unless --workers says otherwise"
                    .to_owned(),
            );
        }
        if exports("rb_thread_call_without_gvl").is_some() {
            self.notes.push(
                "is a Ruby with a global lock: 1 worker, and others while C code computes without it, \
                 unless --workers says otherwise"
                    .to_owned(),
            );
        }
        for image in all {
            let who = name_of(image, program);
            let is_program = image.path == program.path;
            if !is_program && image.is_go() {
                self.reservations
                    .push(format!("{who} is written in Go: its threads stay OS threads"));
            }
            if image.exports.contains("pthread_create") && !(is_program && program.holds_hooks()) {
                let then = if is_program {
                    "its threads are made by that, and stay what it makes"
                } else {
                    "the hooks come first, and take that for libc's"
                };
                self.reservations.push(format!("{who} defines pthread_create itself: {then}"));
            }
            let symbols = image.all_symbols();
            if symbols.iter().any(|name| name.starts_with("TcmallocSlab_Internal")) {
                self.reservations.push(format!(
                    "{who} holds tcmalloc with restartable sequences: those are the OS thread's, and \
                     fibers change theirs"
                ));
            } else if symbols.contains("__rseq_abi")
                || symbols.contains("rseq_register_current_thread")
            {
                self.reservations.push(format!(
                    "{who} uses restartable sequences (rseq): those are the OS thread's, and fibers \
                     change theirs"
                ));
            }
        }
    }

    fn about_direct_calls(&mut self, program: &Image, others: &[&Image]) {
        for image in [program].into_iter().chain(others.iter().copied()) {
            // Those of the crate's runtime are its own.
            if image.path == program.path && program.holds_hooks() {
                continue;
            }
            let direct = code::direct(image);
            if direct.count == 0 {
                continue;
            }
            let who = name_of(image, program);
            let mut text = format!("{who} makes system calls past libc, which no hook sees: ");
            let _ = write!(text, "{}", direct.describe());
            if direct.waiting() > 0 {
                text.push_str(". One that waits blocks its OS thread, and nobody else");
                self.reservations.push(text);
            } else {
                text.push_str(". None of them waits");
                self.notes.push(text);
            }
        }
        if program.imports.contains("syscall") {
            self.notes.push(
                "calls syscall(): futexes suspend fibers, other calls that wait block an OS thread"
                    .to_owned(),
            );
        }
    }

    fn about_environment(&mut self, preload: &Path) {
        let Some(list) = env::var_os("LD_PRELOAD") else { return };
        let list = list.to_string_lossy();
        let others: Vec<&str> = list
            .split([':', ' '])
            .filter(|entry| !entry.is_empty() && Path::new(entry) != preload)
            .collect();
        if !others.is_empty() {
            self.notes.push(format!(
                "LD_PRELOAD is set: {} come after the hooks, in that order",
                others.join(", ")
            ));
        }
    }
}

/// The release that a libc says it is: the line that it prints when it is executed.
fn release(libc: &Image) -> Option<(u32, u32)> {
    let bytes = std::fs::read(&libc.path).ok()?;
    let marks: [&[u8]; 2] = [b"stable release version ", b"development release version "];
    let at =
        marks.iter().find_map(|mark| Some(memchr::memmem::find(&bytes, mark)? + mark.len()))?;
    let text = std::str::from_utf8(bytes.get(at..at + 8)?).ok()?;
    let mut numbers = text.split(|byte: char| !byte.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
