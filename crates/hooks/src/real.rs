//! libc's own definitions of what is hooked, for the cases that are libc's: looked up all at once
//! and early, for a look-up takes the dynamic linker's lock.

use std::ffi::CStr;
use std::sync::atomic::{AtomicUsize, Ordering};

use timestop_fiber::next_definition;

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
        let Some(symbol) = next_definition(self.name) else { std::process::abort() };
        let symbol = symbol.as_ptr() as usize;
        self.address.store(symbol, Ordering::Relaxed);
        symbol
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
