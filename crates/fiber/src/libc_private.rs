//! The libc functions that a fiber's birth and death need and that no header declares.
//!
//! Looked up once, at start.

use std::ffi::{CStr, c_int, c_void};
use std::mem::transmute;
use std::ptr::NonNull;

use crate::{Unsupported, fault, next_definition};

/// Entry of an OS thread.
pub(crate) type ThreadStart = extern "C" fn(*mut c_void) -> *mut c_void;

type PthreadCreate = unsafe extern "C" fn(
    *mut libc::pthread_t,
    *const libc::pthread_attr_t,
    ThreadStart,
    *mut c_void,
) -> c_int;
type TlsInfo = unsafe extern "C" fn(*mut usize, *mut usize);

/// What was looked up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LibcPrivate {
    /// The real `pthread_create`, past any hook of it.
    pub(crate) pthread_create: PthreadCreate,
    /// Size and alignment of the static TLS that glibc gives each thread, surplus included.
    pub(crate) static_tls_info: TlsInfo,
    /// Points the thread's ctype tables at the locale in force.
    pub(crate) ctype_init: unsafe extern "C" fn(),
    /// Runs what `__cxa_thread_atexit_impl` has registered (C++ and Rust thread-locals).
    pub(crate) call_tls_dtors: unsafe extern "C" fn(),
    /// Where `struct rseq` lies from the thread pointer; 0 where glibc has none.
    pub(crate) rseq_offset: isize,
}

fn lookup(name: &'static CStr) -> Result<*mut c_void, Unsupported> {
    next_definition(name).filter(|_| !fault::hides(name)).map(NonNull::as_ptr).ok_or_else(|| {
        let expected = format!("libc's function {}", name.to_string_lossy());
        Unsupported::new(expected, "none".to_owned())
    })
}

impl LibcPrivate {
    pub(crate) fn resolve() -> Result<Self, Unsupported> {
        let pthread_create = lookup(c"pthread_create")?;
        let static_tls_info = lookup(c"_dl_get_tls_static_info")?;
        let ctype_init = lookup(c"__ctype_init")?;
        let call_tls_dtors = lookup(c"__call_tls_dtors")?;
        let rseq_offset = match lookup(c"__rseq_offset") {
            // SAFETY: glibc declares `const ptrdiff_t __rseq_offset`.
            Ok(symbol) => unsafe { symbol.cast::<isize>().read() },
            Err(_) => 0,
        };
        Ok(Self {
            // SAFETY: POSIX's signature.
            pthread_create: unsafe { transmute::<*mut c_void, PthreadCreate>(pthread_create) },
            // SAFETY: glibc's signature, unchanged since 2.0.
            static_tls_info: unsafe { transmute::<*mut c_void, TlsInfo>(static_tls_info) },
            // SAFETY: glibc's signature.
            ctype_init: unsafe { transmute::<*mut c_void, unsafe extern "C" fn()>(ctype_init) },
            // SAFETY: glibc's signature.
            call_tls_dtors: unsafe {
                transmute::<*mut c_void, unsafe extern "C" fn()>(call_tls_dtors)
            },
            rseq_offset,
        })
    }
}
