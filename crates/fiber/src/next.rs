//! The next definition of a symbol after this object's own: what `dlsym(RTLD_NEXT, …)` answers, from the
//! symbol tables of what is loaded.
//!
//! Not by `dlsym`, because that is code of others where nothing but ours may run: it may allocate, and
//! before glibc 2.34 it makes a key of `pthread_key_create` the first time that it is called, and so comes
//! back to the very hook that is looking for its real one, and waits for itself.
//!
//! And where a function has several versions it answers the oldest before glibc 2.36: the wrong condition
//! variables.
//!
//! Rejected: linking with a second name of each function (there is none for most, and libstdc++ calls the
//! second name of this one, so that it is hooked as well).

use std::ffi::{CStr, c_int, c_void};
use std::ptr::NonNull;

/// `DT_GNU_HASH` and `DT_VERSYM`.
const GNU_HASH: i64 = 0x6fff_fef5;
const VERSIONS: i64 = 0x6fff_fff0;
const STRINGS: i64 = 5;
const SYMBOLS: i64 = 6;
/// In the number of a symbol's version: not the default one.
const HIDDEN: u16 = 0x8000;

/// The symbol tables of a loaded object, as addresses.
#[derive(Debug, Default)]
struct Tables {
    hash: usize,
    symbols: usize,
    strings: usize,
    /// 0 where no symbol has a version.
    versions: usize,
}

fn read<T: Copy>(address: usize) -> T {
    // SAFETY: callers pass places within the tables of an object that is loaded, which are never written
    // to after that, aligned as the file format has them.
    unsafe { (address as *const T).read() }
}

impl Tables {
    /// Of the object at `base` whose dynamic section is at `section`. `None` if it lacks what all of
    /// glibc's objects have.
    fn of(base: usize, section: usize) -> Option<Self> {
        let mut tables = Self::default();
        for index in 0.. {
            let [tag, value]: [i64; 2] = read(section + index * 16);
            // The dynamic linker has added the base, unless the section is read-only.
            let value = value as usize;
            let address = if value < base { base + value } else { value };
            match tag {
                0 => break,
                GNU_HASH => tables.hash = address,
                STRINGS => tables.strings = address,
                SYMBOLS => tables.symbols = address,
                VERSIONS => tables.versions = address,
                _ => {}
            }
        }
        let whole = tables.hash != 0 && tables.symbols != 0 && tables.strings != 0;
        whole.then_some(tables)
    }

    /// Where a function or variable is defined, from the object's base; of several versions the default.
    fn definition(&self, name: &CStr) -> Option<usize> {
        let hash = gnu_hash(name);
        let [buckets, first, words, _]: [u32; 4] = read(self.hash);
        let bucket_table = self.hash + 16 + words as usize * 8;
        let chains = bucket_table + buckets as usize * 4;
        if buckets == 0 {
            return None;
        }
        let mut index: u32 = read(bucket_table + (hash % buckets) as usize * 4);
        while index >= first {
            let entry: u32 = read(chains + (index - first) as usize * 4);
            if entry | 1 == hash | 1
                && let Some(value) = self.defined(index as usize, name)
            {
                return Some(value);
            }
            if entry & 1 != 0 {
                break;
            }
            index += 1;
        }
        None
    }

    /// The value of a symbol, if it has this name and is what the dynamic linker would take.
    fn defined(&self, index: usize, name: &CStr) -> Option<usize> {
        let symbol: libc::Elf64_Sym = read(self.symbols + index * size_of::<libc::Elf64_Sym>());
        let its_name = (self.strings + symbol.st_name as usize) as *const std::ffi::c_char;
        // SAFETY: the table's strings end with null bytes, and live as long as the object.
        let same = unsafe { CStr::from_ptr(its_name) } == name;
        let is_hidden = self.versions != 0 && read::<u16>(self.versions + index * 2) & HIDDEN != 0;
        // No type, variable, function; neither thread-locals nor functions that choose a function.
        let is_plain = matches!(symbol.st_info & 15, 0..=2);
        let is_here = symbol.st_shndx != 0 && symbol.st_value != 0;
        (same && !is_hidden && is_plain && is_here).then_some(symbol.st_value as usize)
    }
}

fn gnu_hash(name: &CStr) -> u32 {
    let add = |hash: u32, &byte: &u8| hash.wrapping_mul(33).wrapping_add(byte.into());
    name.to_bytes().iter().fold(5381, add)
}

struct Search<'name> {
    name: &'name CStr,
    /// An address in this object.
    here: usize,
    /// Where the kernel's own functions are: nobody is linked with those.
    vdso: usize,
    passed: bool,
    found: usize,
}

/// Whether a loaded object, of which these are the headers, holds what lies at `address`.
pub(crate) fn holds(
    info: &libc::dl_phdr_info,
    headers: &[libc::Elf64_Phdr],
    address: usize,
) -> bool {
    headers.iter().any(|header| {
        let start = info.dlpi_addr as usize + header.p_vaddr as usize;
        header.p_type == libc::PT_LOAD
            && (start..start + header.p_memsz as usize).contains(&address)
    })
}

extern "C" fn visit(info: *mut libc::dl_phdr_info, _: usize, data: *mut c_void) -> c_int {
    // SAFETY: `dl_iterate_phdr` passes a valid record …
    let info = unsafe { &*info };
    // SAFETY: … and our own argument.
    let search = unsafe { &mut *data.cast::<Search<'_>>() };
    // SAFETY: the record's headers are `dlpi_phnum` long, and live as long as the object.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let base = info.dlpi_addr as usize;
    let holds = |address| holds(info, headers, address);
    if holds(search.here) {
        search.passed = true;
        return 0;
    }
    if search.vdso != 0 && holds(search.vdso) {
        return 0;
    }
    let dynamic = headers.iter().find(|header| header.p_type == libc::PT_DYNAMIC);
    let tables = dynamic.and_then(|header| Tables::of(base, base + header.p_vaddr as usize));
    if let Some(value) = tables.and_then(|tables| tables.definition(search.name)) {
        search.found = base + value;
        return c_int::from(search.passed);
    }
    0
}

/// The next definition of `name` after the object that holds this code, in the order in which objects were
/// loaded; where there is none (the object was loaded late, by `dlopen`), the last one before it.
/// Allocates nothing; takes the dynamic linker's lock.
#[must_use]
pub fn next_definition(name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: reads the auxiliary vector.
    let vdso = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) } as usize;
    let here = gnu_hash as *const () as usize;
    let mut search = Search { name, here, vdso, passed: false, found: 0 };
    // SAFETY: the callback gets the record whose type it expects.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    NonNull::new(search.found as *mut c_void)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_are_those_of_the_dynamic_linker() {
        let names = [
            // Of libpthread once, of libdl once, of ld.so, a variable, of the kernel, nobody's.
            c"pthread_key_create",
            c"recv",
            c"dlsym",
            c"_dl_get_tls_static_info",
            c"__call_tls_dtors",
            c"environ",
            c"__vdso_clock_gettime",
            c"timestop_is_nobodys",
        ];
        for name in names {
            // SAFETY: looks up a name.
            let expected = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
            assert_eq!(next_definition(name), NonNull::new(expected), "{name:?}");
        }
    }

    #[test]
    fn of_several_versions_it_is_the_default() {
        let name = c"pthread_cond_wait";
        // SAFETY: looks up a name.
        let expected =
            unsafe { libc::dlvsym(libc::RTLD_NEXT, name.as_ptr(), c"GLIBC_2.3.2".as_ptr()) };
        assert!(!expected.is_null());
        assert_eq!(next_definition(name), NonNull::new(expected));
    }
}
