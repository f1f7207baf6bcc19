//! What an ELF file says of itself: for whom it is, what it needs, what it defines.
//!
//! Reads headers and symbol tables only, through a cache, so that a program of hundreds of megabytes
//! costs as little as a small one. A file without section headers has fewer facts, not wrong ones.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use object::elf::{self, FileHeader32, FileHeader64};
use object::read::ReadCache;
use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader, SectionHeader, Sym};
use object::{Endianness, ReadRef};

type Cache = ReadCache<File>;
type Elf<'data> = ElfFile64<'data, Endianness, &'data Cache>;

/// What a file is.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A program, or shared object, for this machine.
    Native(Box<Image>),
    /// One for another machine, which is named.
    Foreign(String),
    /// No ELF file: a script, say.
    Other,
}

/// A program or shared object for x86-64.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) path: PathBuf,
    /// The dynamic linker that it asks for; a static program asks for none.
    pub(crate) interpreter: Option<PathBuf>,
    /// The name that it has for those that need it.
    pub(crate) soname: Option<String>,
    /// Names of its sections.
    pub(crate) sections: BTreeSet<String>,
    /// Symbols that it expects of others.
    pub(crate) imports: BTreeSet<String>,
    /// Symbols that it defines for others.
    pub(crate) exports: BTreeSet<String>,
    /// Versions of symbols that it expects, as (library, version).
    pub(crate) needs: BTreeSet<(String, String)>,
    /// Versions of symbols that it defines.
    pub(crate) defines: BTreeSet<String>,
}

fn broken(error: impl std::fmt::Display) -> String {
    format!("is a damaged ELF file: {error}")
}

/// Looks at a file.
///
/// # Errors
///
/// It cannot be read, or is damaged; in words that follow its name.
pub(crate) fn look(path: &Path) -> Result<Kind, String> {
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let cache = Cache::new(file);
    let data = &cache;
    match data.read_bytes_at(0, 5) {
        Ok([0x7f, b'E', b'L', b'F', class]) if *class == elf::ELFCLASS32 => {
            let header = FileHeader32::<Endianness>::parse(data).map_err(broken)?;
            let machine = header.e_machine(header.endian().map_err(broken)?);
            return Ok(Kind::Foreign(format!("{} (32 bits)", machine_name(machine))));
        }
        Ok([0x7f, b'E', b'L', b'F', _]) => {}
        _ => return Ok(Kind::Other),
    }
    let header = FileHeader64::<Endianness>::parse(data).map_err(broken)?;
    let machine = header.e_machine(header.endian().map_err(broken)?);
    if machine != elf::EM_X86_64 {
        return Ok(Kind::Foreign(machine_name(machine)));
    }
    let file = Elf::parse(data).map_err(broken)?;
    image(path, &file, data).map(|image| Kind::Native(Box::new(image))).map_err(broken)
}

fn machine_name(machine: u16) -> String {
    let name = match machine {
        elf::EM_386 => "x86",
        elf::EM_X86_64 => "x86-64",
        elf::EM_ARM => "ARM",
        elf::EM_AARCH64 => "AArch64",
        elf::EM_RISCV => "RISC-V",
        elf::EM_PPC64 => "PowerPC",
        elf::EM_S390 => "s390",
        elf::EM_LOONGARCH => "LoongArch",
        _ => return format!("machine number {machine}"),
    };
    name.to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn image<'data>(path: &Path, file: &Elf<'data>, data: &'data Cache) -> object::Result<Image> {
    let endian = file.endian();
    let mut image = Image {
        path: path.to_owned(),
        interpreter: None,
        soname: None,
        sections: BTreeSet::new(),
        imports: BTreeSet::new(),
        exports: BTreeSet::new(),
        needs: BTreeSet::new(),
        defines: BTreeSet::new(),
    };
    for header in file.elf_program_headers() {
        if let Some(name) = header.interpreter(endian, data)? {
            image.interpreter = Some(PathBuf::from(text(name)));
        }
    }
    let table = file.elf_section_table();
    for section in table.iter() {
        image.sections.insert(text(table.section_name(endian, section)?));
        if let Some((entries, strings)) = section.dynamic(endian, data)? {
            let strings = table.strings(endian, data, strings)?;
            let soname = entries.iter().find(|entry| entry.tag(endian) == elf::DT_SONAME);
            image.soname = match soname {
                Some(entry) => Some(text(entry.string(endian, strings)?)),
                None => None,
            };
        }
    }
    let symbols = file.elf_dynamic_symbol_table();
    for symbol in symbols.iter() {
        let name = text(symbol.name(endian, symbols.strings())?);
        if symbol.is_undefined(endian) {
            image.imports.insert(name);
        } else if symbol.st_bind() != elf::STB_LOCAL {
            image.exports.insert(name);
        }
    }
    if let Some((mut libraries, strings)) = table.gnu_verneed(endian, data)? {
        let strings = table.strings(endian, data, strings)?;
        while let Some((library, mut versions)) = libraries.next()? {
            let library = text(library.file(endian, strings)?);
            while let Some(version) = versions.next()? {
                let weak = version.vna_flags.get(endian) & elf::VER_FLG_WEAK != 0;
                if !weak {
                    let version = text(version.name(endian, strings)?);
                    image.needs.insert((library.clone(), version));
                }
            }
        }
    }
    if let Some((mut versions, strings)) = table.gnu_verdef(endian, data)? {
        let strings = table.strings(endian, data, strings)?;
        while let Some((_, mut names)) = versions.next()? {
            if let Some(name) = names.next()? {
                image.defines.insert(text(name.name(endian, strings)?));
            }
        }
    }
    Ok(image)
}

impl Image {
    /// Whether it is written in Go, whose runtime makes its own threads, stacks and system calls.
    pub(crate) fn is_go(&self) -> bool {
        let sections = [".go.buildinfo", ".note.go.buildid", ".gopclntab"];
        sections.into_iter().any(|section| self.sections.contains(section))
    }

    /// Whether it holds hooks like ours: the crate `timestop`. Nothing else defines C11's threads
    /// beside POSIX's, but libc.
    pub(crate) fn holds_hooks(&self) -> bool {
        !self.is_libc()
            && ["pthread_create", "thrd_create"].iter().all(|name| self.exports.contains(*name))
    }

    /// The sanitizer that it was built with, or is.
    pub(crate) fn sanitizer(&self) -> Option<&'static str> {
        let marks = [
            ("__asan_init", "AddressSanitizer"),
            ("__tsan_init", "ThreadSanitizer"),
            ("__msan_init", "MemorySanitizer"),
        ];
        let has = |name: &str| self.exports.contains(name) || self.imports.contains(name);
        marks.into_iter().find(|(mark, _)| has(mark)).map(|(_, name)| name)
    }

    fn is_libc(&self) -> bool {
        self.soname
            .as_deref()
            .is_some_and(|name| name == "libc.so.6" || name.starts_with("libpthread"))
    }

    /// The names of all its symbols, those that are no one else's matter too.
    pub(crate) fn all_symbols(&self) -> BTreeSet<String> {
        let local = || {
            let cache = Cache::new(File::open(&self.path).ok()?);
            let data = &cache;
            let file = Elf::parse(data).ok()?;
            let (endian, symbols) = (file.endian(), file.elf_symbol_table());
            let name = |symbol: &elf::Sym64<_>| symbol.name(endian, symbols.strings()).ok();
            Some(symbols.iter().filter_map(|symbol| name(symbol).map(text)).collect())
        };
        let mut all: BTreeSet<String> = local().unwrap_or_default();
        all.extend(self.exports.iter().cloned());
        all
    }

    /// The instructions in it: where each piece lies, and its bytes.
    pub(crate) fn code(&self) -> Vec<(u64, Vec<u8>)> {
        let pieces = || {
            let cache = Cache::new(File::open(&self.path).ok()?);
            let data = &cache;
            let file = Elf::parse(data).ok()?;
            let endian = file.endian();
            let executable = |section: &&elf::SectionHeader64<_>| {
                section.sh_flags(endian) & u64::from(elf::SHF_EXECINSTR) != 0
            };
            let bytes = |section: &elf::SectionHeader64<_>| {
                let bytes = section.data(endian, data).ok()?;
                Some((section.sh_addr(endian), bytes.to_vec()))
            };
            Some(file.elf_section_table().iter().filter(executable).filter_map(bytes).collect())
        };
        pieces().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_a_dynamic_program() {
        let Ok(Kind::Native(image)) = look(Path::new("/proc/self/exe")) else { panic!("it runs") };
        let interpreter = image.interpreter.as_ref().expect("tests are dynamic");
        assert_eq!(interpreter.file_name().expect("a file"), "ld-linux-x86-64.so.2");
        assert!(
            image.imports.contains("malloc")
                && image.needs.iter().any(|(library, _)| library == "libc.so.6")
        );
        assert!(image.code().iter().any(|(_, bytes)| bytes.len() > 1000));
        assert!(image.holds_hooks(), "it is linked with the crate");
        assert!(!image.is_go());
    }

    #[test]
    fn what_is_no_program_is_told() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("file");
        let look_at = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("ours");
            look(&path)
        };
        assert!(matches!(look_at(b"#!/bin/sh\n"), Ok(Kind::Other)));
        assert!(matches!(look_at(b""), Ok(Kind::Other)));
        assert!(look_at(b"\x7fELF\x02\x01").is_err_and(|error| error.contains("damaged")));
        let mut header = [0_u8; 64];
        header[..6].copy_from_slice(b"\x7fELF\x02\x01");
        header[6] = 1;
        header[18] = 183;
        assert!(matches!(look_at(&header), Ok(Kind::Foreign(name)) if name == "AArch64"));
        (header[4], header[18]) = (1, 3);
        assert!(matches!(look_at(&header), Ok(Kind::Foreign(name)) if name == "x86 (32 bits)"));
    }
}
