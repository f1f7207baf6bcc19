//! Libraries that come while fibers live: `dlopen`, `dlsym`.
//!
//! A new library's initial-exec thread-locals must have their initial values in every fiber *before*
//! any code of the library runs, its constructors included. glibc calls nobody at that moment, but
//! nearly every shared object begins with `crti.o`, whose `_init` calls [`__gmon_start__`] where that
//! is defined: before the object's constructors, and after the thread-locals of all objects that
//! come with it were set up. For one linked without `crti.o`, [`dlsym`] is the next moment: nothing
//! of the library is found without it. (Its own constructors then see zeroes on the fiber that loads.)
//!
//! Both hooks look and then *jump* to libc's definition, which answers their caller: `dlopen` searches
//! by the `RUNPATH` of its caller, which it knows by the return address, and `dlsym` knows
//! `RTLD_NEXT` by it. Nothing of ours is on the stack while constructors run, so they may block.
//! `dlmopen` and `dlclose` need no hook.
//!
//! A fiber's table of modules with thread-locals cannot grow. When it is nearly full (a thousand more
//! than there were at the start), further libraries are refused as if they were not found, and
//! `dlerror` says why.
//!
//! Rejected: to call libc's `dlopen` and copy afterwards (wrong `RUNPATH`; constructors, and the fibers
//! that they start, see zeroes; what constructors have written would be overwritten).

use std::arch::naked_asm;
use std::ffi::{c_char, c_int, c_void};

use timestop_fiber::library;

use crate::{call, real};

real! {
    fn real_dlopen: unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void = c"dlopen";
    fn real_dlsym: unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void = c"dlsym";
}

/// Room for what one `dlopen` may bring: modules of its dependencies, and what glibc adds.
const MARGIN: usize = 24;

/// What `dlopen` is to open instead when there is no more room: `dlerror` quotes it.
const REFUSED: &std::ffi::CStr =
    c"timestop: more than 1000 libraries with thread-local storage while fibers live";

/// Where to go on, and with which path.
#[repr(C)]
struct Way {
    function: usize,
    path: *const c_char,
}

extern "C" fn before_dlopen(path: *const c_char, mode: c_int) -> Way {
    let function = real_dlopen() as usize;
    if !timestop_runtime::is_started() || call::is_in_vfork_child() {
        return Way { function, path };
    }
    let errno = call::errno();
    let main = timestop_runtime::signal::main_fiber().map(timestop_runtime::FiberRef::pthread);
    timestop_runtime::fork::on_carriers_block(|| library::prepare(main));
    library::loaded();
    let brings = !path.is_null() && mode & libc::RTLD_NOLOAD == 0;
    let full = brings && library::modules_left().is_some_and(|left| left < MARGIN);
    call::set_errno(errno);
    Way { function, path: if full { REFUSED.as_ptr() } else { path } }
}

/// See `dlopen(3)`. With fibers, no more than some thousand libraries that have thread-locals.
///
/// # Safety
///
/// As libc's.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlopen(path: *const c_char, mode: c_int) -> *mut c_void {
    naked_asm!(
        ".cfi_startproc",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        "push rsi",
        ".cfi_adjust_cfa_offset 8",
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 8",
        "call {before}",
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        "pop rsi",
        ".cfi_adjust_cfa_offset -8",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        "mov rdi, rdx",
        "jmp rax",
        ".cfi_endproc",
        before = sym before_dlopen,
    )
}

extern "C" fn before_dlsym() -> usize {
    if !call::is_in_vfork_child() {
        library::loaded();
    }
    real_dlsym() as usize
}

/// See `dlsym(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void {
    naked_asm!(
        ".cfi_startproc",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        "push rsi",
        ".cfi_adjust_cfa_offset 8",
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 8",
        "call {before}",
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        "pop rsi",
        ".cfi_adjust_cfa_offset -8",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        "jmp rax",
        ".cfi_endproc",
        before = sym before_dlsym,
    )
}

/// Called by the `_init` of each shared object that is loaded, first of all of its code. (Elsewhere
/// the name belongs to profiling with `gcc -pg`, which defines it in the program.)
#[unsafe(no_mangle)]
pub extern "C" fn __gmon_start__() {
    library::loaded();
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] =
    &[dlopen as *const (), dlsym as *const (), __gmon_start__ as *const ()];
