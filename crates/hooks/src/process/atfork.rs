//! `pthread_atfork`: handlers around a fork, kept here and not in libc.
//!
//! libc would run them inside its `fork`, which runs with the carrier's thread pointer: they would
//! find the wrong thread-locals, and locks that the fiber holds would seem another's. Programs and
//! libraries register by `__register_atfork` (their copies of `pthread_atfork` call it), so the hook
//! sees all of them, early ones too: the dynamic linker binds the symbol before anyone runs. What a
//! library has registered goes when it is unloaded, which its `__cxa_finalize` tells.
//!
//! The table holds [`MOST`]; the rest is libc's.

use std::ffi::{c_int, c_void};

use timestop_fiber::lock::{Guard, Lock};

use crate::real;

/// Registrations that are kept here.
const MOST: usize = 64;

/// A handler, or none.
pub type Handler = Option<unsafe extern "C" fn()>;
type Register = unsafe extern "C" fn(Handler, Handler, Handler, *mut c_void) -> c_int;

real! {
    fn real_register: Register = c"__register_atfork";
    fn real_finalize: unsafe extern "C" fn(*mut c_void) = c"__cxa_finalize";
}

/// One registration.
#[derive(Debug, Clone, Copy)]
struct Entry {
    prepare: Handler,
    parent: Handler,
    child: Handler,
    /// The library, by its `__dso_handle`.
    library: usize,
}

/// The first so many are registrations, in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handlers {
    entries: [Entry; MOST],
    count: usize,
}

const NONE: Entry = Entry { prepare: None, parent: None, child: None, library: 0 };

static TABLE: Lock<Handlers> = Lock::new(Handlers { entries: [NONE; MOST], count: 0 });

/// Those of now: a fork runs the same ones before and after.
pub(super) fn registered() -> Handlers {
    *TABLE.lock()
}

/// Keeps everybody out of the table: around a fork, whose child would find it locked for ever.
pub(super) fn quiet() -> Guard<'static, Handlers> {
    TABLE.lock()
}

fn call(handler: Handler) {
    if let Some(handler) = handler {
        // SAFETY: registered for this.
        unsafe { handler() };
    }
}

impl Handlers {
    fn each(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries[..self.count].iter()
    }

    /// Before, the last one first.
    pub(super) fn prepare(&self) {
        self.each().rev().for_each(|entry| call(entry.prepare));
    }

    /// After, in the parent.
    pub(super) fn parent(&self) {
        self.each().for_each(|entry| call(entry.parent));
    }

    /// After, in the child.
    pub(super) fn child(&self) {
        self.each().for_each(|entry| call(entry.child));
    }
}

/// What `pthread_atfork` of every library calls.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __register_atfork(
    prepare: Handler,
    parent: Handler,
    child: Handler,
    library: *mut c_void,
) -> c_int {
    let mut table = TABLE.lock();
    let count = table.count;
    if count < MOST {
        table.entries[count] = Entry { prepare, parent, child, library: library as usize };
        table.count += 1;
        return 0;
    }
    drop(table);
    // SAFETY: as the caller vouches.
    unsafe { real_register()(prepare, parent, child, library) }
}

/// See `pthread_atfork(3)`; for the program that holds this code.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_atfork(
    prepare: Handler,
    parent: Handler,
    child: Handler,
) -> c_int {
    // SAFETY: as the caller vouches. The program is never unloaded.
    unsafe { __register_atfork(prepare, parent, child, std::ptr::null_mut()) }
}

/// Called by a library that is unloaded, with its handle.
///
/// # Safety
///
/// As the C++ ABI has it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __cxa_finalize(library: *mut c_void) {
    if !library.is_null() {
        let mut table = TABLE.lock();
        let mut kept = 0;
        for index in 0..table.count {
            let entry = table.entries[index];
            if entry.library != library as usize {
                table.entries[kept] = entry;
                kept += 1;
            }
        }
        table.count = kept;
    }
    // SAFETY: as the caller vouches.
    unsafe { real_finalize()(library) };
}
