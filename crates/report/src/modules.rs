//! What is loaded: program and shared objects, with the unwind tables that they bring.
//!
//! The list comes from the dynamic linker, which takes its lock: on ordinary threads only. The tables
//! are copied, a few megabytes at most in a large program, so that an unwinder that works from a list
//! that is out of date never reads what `dlclose` has unmapped.
//!
//! Rejected: tables in place with a hook of `dlclose` (libc closes its own modules unseen); holding
//! modules open (a program may count on its library being gone).

use std::ffi::{CStr, OsStr, c_int, c_void};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// How often the list has changed: modules ever added, modules ever removed.
pub(crate) type Generation = (u64, u64);

/// A program or shared object.
#[derive(Debug)]
pub(crate) struct Module {
    /// Its file.
    pub(crate) path: PathBuf,
    /// What is added to the addresses in the file.
    pub(crate) bias: usize,
    /// From its first segment to its last.
    pub(crate) range: Range<usize>,
    /// `.eh_frame_hdr` and `.eh_frame`, where it has them.
    pub(crate) tables: Option<Tables>,
}

/// A copy of a module's unwind tables, and where they lie.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) header: (usize, Vec<u8>),
    pub(crate) frames: (usize, Vec<u8>),
}

/// Asks the dynamic linker whether the list has changed.
pub(crate) fn generation() -> Generation {
    extern "C" fn first(info: *mut libc::dl_phdr_info, _: usize, data: *mut c_void) -> c_int {
        // SAFETY: the linker passes a record.
        let info = unsafe { &*info };
        // SAFETY: `generation` passes its place.
        unsafe { data.cast::<Generation>().write((info.dlpi_adds, info.dlpi_subs)) };
        1
    }
    let mut generation: Generation = (0, 0);
    // SAFETY: the callback writes the place, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(first), (&raw mut generation).cast()) };
    generation
}

/// Everything that is loaded now, in order of address. With `tables`, their unwind tables too.
pub(crate) fn list(tables: bool) -> Vec<Module> {
    struct Listing {
        tables: bool,
        modules: Vec<Module>,
    }
    extern "C" fn add(info: *mut libc::dl_phdr_info, _: usize, data: *mut c_void) -> c_int {
        // SAFETY: `list` passes its listing, which nobody else uses meanwhile.
        let listing = unsafe { &mut *data.cast::<Listing>() };
        // SAFETY: the linker passes a record.
        let module = module_of(unsafe { &*info }, listing.modules.is_empty(), listing.tables);
        listing.modules.extend(module);
        0
    }
    let mut listing = Listing { tables, modules: Vec::new() };
    // SAFETY: the callback does not unwind; the listing outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(add), (&raw mut listing).cast()) };
    listing.modules.sort_by_key(|module| module.range.start);
    listing.modules
}

fn module_of(info: &libc::dl_phdr_info, is_program: bool, tables: bool) -> Option<Module> {
    if info.dlpi_phdr.is_null() {
        return None;
    }
    // SAFETY: the linker vouches for so many headers.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let bias = info.dlpi_addr as usize;
    let range_of = |header: &libc::Elf64_Phdr| {
        let start = bias.wrapping_add(header.p_vaddr as usize);
        start..start.saturating_add(header.p_memsz as usize)
    };
    let segments: Vec<_> = headers.iter().filter(|header| header.p_type == libc::PT_LOAD).collect();
    let start = segments.iter().map(|segment| range_of(segment).start).min()?;
    let end = segments.iter().map(|segment| range_of(segment).end).max()?;
    let path = if is_program {
        PathBuf::from("/proc/self/exe")
    } else if info.dlpi_name.is_null() {
        PathBuf::new()
    } else {
        // SAFETY: the linker's C string.
        let name = unsafe { CStr::from_ptr(info.dlpi_name) };
        PathBuf::from(OsStr::from_bytes(name.to_bytes()))
    };
    let header = headers.iter().find(|header| header.p_type == libc::PT_GNU_EH_FRAME);
    let tables = header.filter(|_| tables).and_then(|header| {
        let readable = segments.iter().filter(|segment| segment.p_flags & libc::PF_R != 0);
        let readable: Vec<_> = readable.map(|segment| range_of(segment)).collect();
        tables_of(range_of(header), &readable)
    });
    Some(Module { path, bias, range: start..end, tables })
}

/// Copies the tables that a module's program headers name. (LSB core, "Exception Frames".)
fn tables_of(header: Range<usize>, readable: &[Range<usize>]) -> Option<Tables> {
    // What every linker writes: version 1, and a signed 32-bit distance to `.eh_frame`.
    const VERSION: u8 = 1;
    const RELATIVE_32_BIT: u8 = 0x1b;
    let within = |range: &Range<usize>| {
        readable.iter().find(|all| all.start <= range.start && range.end <= all.end)
    };
    within(&header)?;
    let header_bytes = copy(header.clone());
    let &[VERSION, RELATIVE_32_BIT, _, _, a, b, c, d, ..] = header_bytes.as_slice() else {
        return None;
    };
    let distance = i32::from_le_bytes([a, b, c, d]) as isize;
    let start = header.start.wrapping_add(4).wrapping_add_signed(distance);
    // How long the section is no header says; its last entry is empty, and entries tell their sizes.
    let segment = within(&(start..start.checked_add(4)?))?;
    let end = frames_end(start, segment.end)?;
    Some(Tables { header: (header.start, header_bytes), frames: (start, copy(start..end)) })
}

/// Where `.eh_frame` ends: behind its empty entry, or with its segment.
fn frames_end(start: usize, limit: usize) -> Option<usize> {
    let mut at = start;
    while at.checked_add(4)? <= limit {
        // SAFETY: within a readable segment of a module that the linker keeps from going meanwhile.
        let length = unsafe { (at as *const u32).read_unaligned() };
        match length {
            0 => return Some(at + 4),
            u32::MAX => return Some(limit), // a 64-bit entry: nobody writes them
            length => at = at.checked_add(4 + length as usize)?,
        }
    }
    Some(limit)
}

fn copy(range: Range<usize>) -> Vec<u8> {
    // SAFETY: callers pass part of a readable segment of a module that the linker keeps meanwhile;
    // unwind tables are not written after they were relocated.
    unsafe { std::slice::from_raw_parts(range.start as *const u8, range.len()) }.to_vec()
}

/// The module that an address lies in, in a sorted list.
pub(crate) fn find(modules: &[Module], address: usize) -> Option<usize> {
    let index = modules.partition_point(|module| module.range.start <= address).checked_sub(1)?;
    modules[index].range.contains(&address).then_some(index)
}
