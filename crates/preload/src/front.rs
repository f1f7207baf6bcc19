//! Whether something in front of us makes the program's threads.
//!
//! Symbols are searched in the program first and in what is preloaded after that. So a program that
//! defines `pthread_create` itself has its threads made by that, and what *it* calls to make one is the
//! next definition: ours. Two runtimes would then be in one process, each taking the other's OS
//! threads for the program's. So ours does nothing there.
//!
//! Most of all that is a program that holds the crate `timestop`, which has a runtime of its own, made
//! for it.

use std::ffi::{CStr, c_void};

/// What makes the threads in our place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    /// Nothing.
    Nobody,
    /// The hooks of the crate `timestop`.
    Timestop,
    /// Something else.
    Other,
}

/// The object that an address lies in.
fn object(address: *const c_void) -> *mut c_void {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: writes the record; the address is only compared.
    unsafe { libc::dladdr(address, info.as_mut_ptr()) };
    // SAFETY: all-zero is a valid record too.
    unsafe { info.assume_init() }.dli_fbase
}

/// The object whose definition of a symbol is the first.
fn definer(symbol: &CStr) -> *mut c_void {
    // SAFETY: looks up a name.
    object(unsafe { libc::dlsym(libc::RTLD_DEFAULT, symbol.as_ptr()) })
}

/// Looks. Allocates nothing.
pub(crate) fn look() -> Front {
    // The address of an exported function would be that of the first definition, whosever that is.
    let ours = object(look as *const c_void);
    let first = definer(c"pthread_create");
    if first == ours {
        Front::Nobody
    } else if definer(c"thrd_create") == first {
        // Nothing else has a reason to define C11's threads.
        Front::Timestop
    } else {
        Front::Other
    }
}
