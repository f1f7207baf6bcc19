//! Where the code of certain libraries lies: a fiber is not preempted in the middle of it.
//!
//! Looked up once, at start: all of them are there then (the runtime itself is linked with them), and
//! none is ever unloaded.

use std::ffi::{CStr, c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A library, by the beginning of its file's name, and why its code is left alone.
#[derive(Debug)]
struct Library {
    name: &'static [u8],
    /// For the reader: the table is the place where the reasons are kept.
    #[allow(dead_code)]
    why: &'static str,
}

const LIBRARIES: &[Library] = &[
    Library {
        name: b"libc.so",
        why: "malloc works on caches that are the OS thread's, under locks that are nobody's to \
              keep; stdio and others hold locks that waiters spin or block on",
    },
    Library { name: b"libpthread", why: "part of libc before 2.34" },
    Library {
        name: b"ld-linux",
        why: "the loader's locks: whoever wants one meanwhile blocks an OS thread; \
              __tls_get_addr allocates",
    },
    Library {
        name: b"libgcc_s",
        why: "the unwinder may hold the lock of its table of objects",
    },
    Library {
        name: b"linux-vdso",
        why: "loops on a sequence counter, has no unwind tables on some kernels, and is short",
    },
];

/// Executable pieces of all of them; more than there are.
const PIECES: usize = 16;

#[derive(Debug)]
struct Piece {
    start: AtomicUsize,
    end: AtomicUsize,
}

static TABLE: [Piece; PIECES] =
    [const { Piece { start: AtomicUsize::new(0), end: AtomicUsize::new(0) } }; PIECES];
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Whether the code at `address` is one of these libraries'. Safe in a signal handler.
pub(super) fn contain(address: usize) -> bool {
    TABLE[..COUNT.load(Ordering::Acquire)].iter().any(|piece| {
        (piece.start.load(Ordering::Relaxed)..piece.end.load(Ordering::Relaxed)).contains(&address)
    })
}

/// Finds them. False if not even libc was found, or there are more pieces than expected.
pub(super) fn look_up() -> bool {
    if COUNT.load(Ordering::Acquire) != 0 {
        return true;
    }
    let mut pieces: Vec<(usize, usize)> = Vec::new();
    // SAFETY: `collect` is of the type that is expected, and its argument outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(collect), (&raw mut pieces).cast()) };
    if pieces.is_empty() || pieces.len() > PIECES {
        return false;
    }
    for (piece, (start, end)) in TABLE.iter().zip(&pieces) {
        piece.start.store(*start, Ordering::Relaxed);
        piece.end.store(*end, Ordering::Relaxed);
    }
    COUNT.store(pieces.len(), Ordering::Release);
    true
}

unsafe extern "C" fn collect(
    info: *mut libc::dl_phdr_info,
    _: usize,
    pieces: *mut c_void,
) -> c_int {
    // SAFETY: the loader passes a record.
    let info = unsafe { &*info };
    // SAFETY: what `look_up` passes.
    let pieces = unsafe { &mut *pieces.cast::<Vec<(usize, usize)>>() };
    if info.dlpi_name.is_null() || info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: a C string of the loader's.
    let path = unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes();
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    if !LIBRARIES.iter().any(|library| name.starts_with(library.name)) {
        return 0;
    }
    // SAFETY: the loader's table of as many headers.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    for header in headers {
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0 {
            let start = info.dlpi_addr as usize + header.p_vaddr as usize;
            pieces.push((start, start + header.p_memsz as usize));
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" {
        fn __tls_get_addr();
        fn _Unwind_Backtrace();
    }

    #[test]
    fn they_are_found_and_we_are_not_in_them() {
        assert!(look_up());
        assert!(contain(libc::malloc as *const () as usize), "libc");
        assert!(contain(__tls_get_addr as *const () as usize), "the loader");
        assert!(contain(_Unwind_Backtrace as *const () as usize), "the unwinder");
        // SAFETY: answers a number: where the kernel has put it.
        let vdso = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
        assert!(vdso == 0 || contain(vdso as usize), "the vDSO");
        assert!(!contain(they_are_found_and_we_are_not_in_them as *const () as usize), "we");
    }
}
