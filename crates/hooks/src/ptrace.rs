//! `ptrace`: the kernel obeys only the OS thread that traces, and who that is was decided when it attached
//! or, if the traced process asked for it (`PTRACE_TRACEME`), when it was forked.
//!
//! So a fiber is bound ([`bind`]) before it attaches to a process, and, where anything that is loaded
//! calls `ptrace` at all, before it forks. From then on it traces as a thread does.
//!
//! Rejected: to have the requests made by the OS thread that may (it may be stuck in a call for as long
//! as it likes). Not covered: a program that holds the crate forks first and is asked for afterwards;
//! there its calls of `ptrace` are not to be seen in any table.

use std::ffi::{CStr, c_int, c_long, c_uint, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use libc::pid_t;

use crate::call::{self, fail};
use crate::kernel_view::bind;
use crate::real;

real! {
    fn real_ptrace: unsafe extern "C" fn(c_uint, pid_t, *mut c_void, *mut c_void) -> c_long = c"ptrace";
}

/// Something that is loaded calls `ptrace`.
static CALLED: AtomicBool = AtomicBool::new(false);

/// Looks whether anything that is loaded calls `ptrace`.
pub(crate) fn look_around() {
    // SAFETY: the callback fits, and is given no data.
    unsafe { libc::dl_iterate_phdr(Some(visit_object), std::ptr::null_mut()) };
}

/// To be called before a fork: the child may ask to be traced by whoever has made it.
pub(crate) fn before_fork() {
    if CALLED.load(Ordering::Relaxed) && !call::is_in_vfork_child() {
        // Without an OS thread to spare the child is made all the same.
        let _ = bind();
    }
}

/// Whether a request is one of a tracer's: all but that of a child to be traced.
pub(crate) fn is_by_tracer(request: usize) -> bool {
    request as c_uint != libc::PTRACE_TRACEME
}

/// See `ptrace(2)`. Variadic in C, with numbers and addresses.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ptrace(
    request: c_uint,
    process: pid_t,
    address: *mut c_void,
    data: *mut c_void,
) -> c_long {
    if is_by_tracer(request as usize)
        && !call::is_in_vfork_child()
        && let Err(error) = bind()
    {
        return fail(error);
    }
    // SAFETY: as the caller vouches.
    unsafe { real_ptrace()(request, process, address, data) }
}

/// The tables of an object that name the functions which it calls.
#[derive(Default)]
struct Tables {
    symbols: usize,
    names: usize,
    /// How many symbols there are, or at least all that others define.
    count: usize,
}

/// Entries of the dynamic section.
const END: i64 = 0;
const HASH: i64 = 4;
const NAMES: i64 = 5;
const SYMBOLS: i64 = 6;
const GNU_HASH: i64 = 0x6fff_fef5;

impl Tables {
    /// Reads a dynamic section.
    ///
    /// # Safety
    ///
    /// `section` is that of an object which is loaded at `base`.
    unsafe fn read(section: usize, base: usize) -> Self {
        let mut tables = Self::default();
        let mut at = section as *const [i64; 2];
        loop {
            // SAFETY: the section ends with an entry that says so.
            let [tag, value] = unsafe { at.read() };
            // The dynamic linker has made them addresses, but for the vDSO's.
            let value = value as usize;
            let address = if value < base { value + base } else { value };
            match tag {
                END => return tables,
                NAMES => tables.names = address,
                SYMBOLS => tables.symbols = address,
                // Second of both is a number: of all symbols, or of the first that it defines itself.
                HASH | GNU_HASH => {
                    // SAFETY: within the table that the entry is about.
                    let second = unsafe { (address as *const u32).wrapping_add(1).read() };
                    tables.count = tables.count.max(second as usize);
                }
                _ => {}
            }
            at = at.wrapping_add(1);
        }
    }

    /// Whether it calls a function of another object by this name.
    ///
    /// # Safety
    ///
    /// The object is loaded.
    unsafe fn call(&self, name: &CStr) -> bool {
        if self.symbols == 0 || self.names == 0 {
            return false;
        }
        (1..self.count).any(|index| {
            let symbol = self.symbols + index * size_of::<libc::Elf64_Sym>();
            // SAFETY: there are so many.
            let symbol = unsafe { (symbol as *const libc::Elf64_Sym).read() };
            let symbol_name = (self.names + symbol.st_name as usize) as *const _;
            // SAFETY: names are C strings.
            symbol.st_shndx == 0 && unsafe { CStr::from_ptr(symbol_name) } == name
        })
    }
}

extern "C" fn visit_object(info: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
    // SAFETY: `dl_iterate_phdr` passes a valid record.
    let info = unsafe { &*info };
    // SAFETY: the record's headers are `dlpi_phnum` long, and live as long as the object.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let base = info.dlpi_addr as usize;
    let Some(dynamic) = headers.iter().find(|header| header.p_type == libc::PT_DYNAMIC) else {
        return 0;
    };
    // SAFETY: its header says where it is.
    let tables = unsafe { Tables::read(base + dynamic.p_vaddr as usize, base) };
    // SAFETY: no object goes while this runs.
    let found = unsafe { tables.call(c"ptrace") };
    if found {
        CALLED.store(true, Ordering::Relaxed);
    }
    c_int::from(found)
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[ptrace as *const ()];
