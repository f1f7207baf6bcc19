//! libc's own definitions of what is hooked, for the cases that are libc's: looked up all at once
//! and early, because `dlsym` may allocate.

use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

/// One symbol of libc's.
#[derive(Debug)]
pub struct Real {
    name: &'static CStr,
    address: AtomicUsize,
}

impl Real {
    /// The next definition of `name` after this object's own.
    #[must_use]
    pub const fn new(name: &'static CStr) -> Self {
        Self { name, address: AtomicUsize::new(0) }
    }

    /// Its address; aborts where libc has none.
    #[inline]
    #[must_use]
    pub fn address(&self) -> usize {
        match self.address.load(Ordering::Relaxed) {
            0 => self.look_up(),
            known => known,
        }
    }

    #[cold]
    fn look_up(&self) -> usize {
        // SAFETY: the name is a C string.
        let symbol: *mut c_void = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        if symbol.is_null() {
            std::process::abort();
        }
        self.address.store(symbol as usize, Ordering::Relaxed);
        symbol as usize
    }
}

/// Declares `fn name() -> Type`, which answers libc's own definition of a symbol, and a list of all
/// for `look_up`.
#[macro_export]
macro_rules! real {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident: $type:ty = $symbol:literal;)*) => {
        $(
            $(#[$meta])*
            #[inline]
            $vis fn $name() -> $type {
                static REAL: $crate::real::Real = $crate::real::Real::new($symbol);
                // SAFETY: libc's definition has the type that its header declares.
                unsafe { ::std::mem::transmute::<usize, $type>(REAL.address()) }
            }
        )*

        /// Looks up all symbols of this family.
        pub(crate) fn look_up() {
            $( let _ = $name(); )*
        }
    };
}
