//! From addresses to names: function, file and line where there is debug information, the symbol
//! table's name or module and offset where there is none.
//!
//! Files are mapped and parsed when the first address in them is asked for; answers are kept as long
//! as the [`Symbols`]. Frames that were inlined are frames of their own.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::rc::Rc;

use addr2line::Loader;

use crate::modules::{self, Module};

/// One line of a backtrace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The function, demangled, or module and offset.
    pub name: String,
    /// File and line.
    pub place: Option<(String, u32)>,
    /// The file name of the program or shared object; empty for the program.
    pub module: String,
}

impl fmt::Display for Frame {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)?;
        match &self.place {
            Some((file, line)) => write!(out, "  {file}:{line}"),
            None if self.module.is_empty() || self.name.starts_with(&self.module) => Ok(()),
            None => write!(out, "  ({})", self.module),
        }
    }
}

/// Names of what is loaded. Keeps what it has parsed.
pub struct Symbols {
    modules: Vec<Module>,
    /// A module's file; `None` in it: cannot be read.
    files: HashMap<usize, Option<Loader>>,
    known: HashMap<usize, Rc<[Frame]>>,
}

impl fmt::Debug for Symbols {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Symbols").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

impl Default for Symbols {
    fn default() -> Self {
        Self::new()
    }
}

impl Symbols {
    /// Of what is loaded now. Takes the dynamic linker's lock.
    #[must_use]
    pub fn new() -> Self {
        Self { modules: modules::list(false), files: HashMap::new(), known: HashMap::new() }
    }

    /// The frames at an address, innermost first: more than one where functions were inlined.
    pub fn resolve(&mut self, address: usize) -> Rc<[Frame]> {
        if let Some(known) = self.known.get(&address) {
            return Rc::clone(known);
        }
        let frames: Rc<[Frame]> = self.look_up(address).into();
        self.known.insert(address, Rc::clone(&frames));
        frames
    }

    fn look_up(&mut self, address: usize) -> Vec<Frame> {
        let Some(index) = modules::find(&self.modules, address) else {
            return vec![Frame { name: format!("{address:#x}"), place: None, module: "?".into() }];
        };
        let module = &self.modules[index];
        let stated = address.wrapping_sub(module.bias) as u64;
        let path = &module.path;
        let file = self.files.entry(index).or_insert_with(|| Loader::new(path).ok());
        let module = short_name(path);
        let mut frames = Vec::new();
        if let Some(loader) = file {
            let probe = stated.wrapping_sub(loader.relative_address_base());
            inlined(loader, probe, &module, &mut frames);
            if frames.is_empty()
                && let Some(name) = loader.find_symbol(probe)
            {
                let name = addr2line::demangle_auto(name.into(), None).into_owned();
                frames.push(Frame {
                    name: without_hash(name),
                    place: None,
                    module: module.clone(),
                });
            }
        }
        if frames.is_empty() {
            let shown = if module.is_empty() { "program" } else { &module };
            frames.push(Frame { name: format!("{shown}+{stated:#x}"), place: None, module });
        }
        frames
    }
}

fn inlined(loader: &Loader, probe: u64, module: &str, frames: &mut Vec<Frame>) {
    let Ok(mut found) = loader.find_frames(probe) else { return };
    while let Ok(Some(frame)) = found.next() {
        let name =
            frame.function.as_ref().and_then(|name| Some(name.demangle().ok()?.into_owned()));
        let place =
            frame.location.and_then(|at| Some((short_path(at.file?), at.line.unwrap_or(0))));
        let name = match name {
            Some(name) => without_hash(name),
            // The outermost one is the function that the symbol table names.
            None => match loader.find_symbol(probe) {
                Some(name) => {
                    without_hash(addr2line::demangle_auto(name.into(), None).into_owned())
                }
                None => continue,
            },
        };
        frames.push(Frame { name, place, module: module.to_owned() });
    }
}

/// `name::h0123456789abcdef` without what the compiler added.
fn without_hash(mut name: String) -> String {
    if let Some((start, hash)) = name.rsplit_once("::h")
        && hash.len() == 16
        && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        name.truncate(start.len());
    }
    name
}

/// The file's name; empty for the program itself.
fn short_name(path: &Path) -> String {
    if path == Path::new("/proc/self/exe") {
        return String::new();
    }
    path.file_name().map_or_else(|| "?".into(), |name| name.to_string_lossy().into_owned())
}

/// A path as short as it can be and still be found: below the working directory relative to it, of a
/// package in cargo's registry from the package on, of the toolchain from `library` on.
fn short_path(path: &str) -> String {
    if let Some((_, rest)) = path.split_once("/registry/src/") {
        return rest.split_once('/').map_or(rest, |(_, package)| package).to_owned();
    }
    if path.starts_with("/rustc/")
        && let Some(at) = path.find("/library/")
    {
        return path[at + 1..].to_owned();
    }
    let here = std::env::current_dir().ok();
    let here = here.as_ref().and_then(|here| here.to_str());
    let below = here.and_then(|here| path.strip_prefix(here)?.strip_prefix('/'));
    below.unwrap_or(path).to_owned()
}
