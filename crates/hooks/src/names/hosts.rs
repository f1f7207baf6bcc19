//! The older functions: `gethostbyname`, `gethostbyaddr` and their kin.
//!
//! Those with `_r` fill a record and a buffer of the caller's, which refers to itself. The lookup fills
//! ones of our own, and what it wrote is copied with its pointers led to where the copies are. The others
//! answer with memory of libc's, shared by all threads: they are never left alone.

use std::ffi::{CStr, CString, c_char, c_int, c_void};

use libc::{hostent, socklen_t};
use timestop_runtime::FiberRef;

use super::{Answer, client, complain, elsewhere, is_numeric, set_host_error};
use crate::real;

type ByName = unsafe extern "C-unwind" fn(*const c_char) -> *mut hostent;
type ByName2 = unsafe extern "C-unwind" fn(*const c_char, c_int) -> *mut hostent;
type ByAddress = unsafe extern "C-unwind" fn(*const c_void, socklen_t, c_int) -> *mut hostent;

real! {
    fn real_by_name: ByName = c"gethostbyname";
    fn real_by_name_2: ByName2 = c"gethostbyname2";
    fn real_by_address: ByAddress = c"gethostbyaddr";
    fn real_by_name_r: unsafe extern "C-unwind" fn(*const c_char, *mut hostent, *mut c_char, usize, *mut *mut hostent, *mut c_int) -> c_int = c"gethostbyname_r";
    fn real_by_name_2_r: unsafe extern "C-unwind" fn(*const c_char, c_int, *mut hostent, *mut c_char, usize, *mut *mut hostent, *mut c_int) -> c_int = c"gethostbyname2_r";
    fn real_by_address_r: unsafe extern "C-unwind" fn(*const c_void, socklen_t, c_int, *mut hostent, *mut c_char, usize, *mut *mut hostent, *mut c_int) -> c_int = c"gethostbyaddr_r";
}

/// Values of `h_errno`; the first says "see `errno`".
const NETDB_INTERNAL: c_int = -1;
const NETDB_SUCCESS: c_int = 0;
const TRY_AGAIN: c_int = 2;

/// What `h_errno` is where the fiber does not wait for an answer.
fn host_error_of(error: c_int) -> c_int {
    if error == libc::EAGAIN { TRY_AGAIN } else { NETDB_INTERNAL }
}

/// Makes a call that answers with memory of libc's own.
fn shared(fiber: FiberRef, call: impl FnOnce() -> *mut hostent + Send + 'static) -> *mut hostent {
    match elsewhere(fiber, Answer::Shared, || call() as usize) {
        Ok(found) => found as *mut hostent,
        Err(error) => {
            complain(error);
            set_host_error(host_error_of(error));
            std::ptr::null_mut()
        }
    }
}

/// See `gethostbyname(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn gethostbyname(name: *const c_char) -> *mut hostent {
    // SAFETY: as the caller vouches.
    let Some((fiber, name)) = (unsafe { named(name) }) else {
        // SAFETY: as the caller vouches.
        return unsafe { real_by_name()(name) };
    };
    // SAFETY: a C string.
    shared(fiber, move || unsafe { real_by_name()(name.as_ptr()) })
}

/// See `gethostbyname2(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn gethostbyname2(name: *const c_char, family: c_int) -> *mut hostent {
    // SAFETY: as the caller vouches.
    let Some((fiber, name)) = (unsafe { named(name) }) else {
        // SAFETY: as the caller vouches.
        return unsafe { real_by_name_2()(name, family) };
    };
    // SAFETY: a C string.
    shared(fiber, move || unsafe { real_by_name_2()(name.as_ptr(), family) })
}

/// See `gethostbyaddr(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn gethostbyaddr(
    address: *const c_void,
    length: socklen_t,
    family: c_int,
) -> *mut hostent {
    // SAFETY: as the caller vouches.
    let Some((fiber, own)) = (unsafe { addressed(address, length) }) else {
        // SAFETY: as the caller vouches.
        return unsafe { real_by_address()(address, length, family) };
    };
    // SAFETY: an address of that length.
    shared(fiber, move || unsafe { real_by_address()(own.as_ptr().cast(), length, family) })
}

/// The calling fiber and a copy of the name, where the name is to be looked up elsewhere.
///
/// # Safety
///
/// A C string.
unsafe fn named(name: *const c_char) -> Option<(FiberRef, CString)> {
    let fiber = client()?;
    // SAFETY: as the caller vouches.
    let name = unsafe { CStr::from_ptr(name) };
    (!is_numeric(name)).then(|| (fiber, name.to_owned()))
}

/// The calling fiber and a copy of the address, where that is to be looked up elsewhere.
///
/// # Safety
///
/// `address` has `length` bytes.
unsafe fn addressed(address: *const c_void, length: socklen_t) -> Option<(FiberRef, [u8; 16])> {
    let fiber = client()?;
    let mut own = [0; 16];
    let part = own.get_mut(..length as usize)?;
    // SAFETY: as the caller vouches.
    unsafe { std::ptr::copy_nonoverlapping(address.cast(), part.as_mut_ptr(), part.len()) };
    Some((fiber, own))
}

/// Where one of the reentrant functions is to put its answer.
#[derive(Clone, Copy)]
struct Place {
    entry: *mut hostent,
    buffer: *mut c_char,
    bytes: usize,
    result: *mut *mut hostent,
    error: *mut c_int,
}

/// An entry with what it points at in a buffer of our own, aligned as the caller's.
struct Entry {
    entry: hostent,
    memory: Vec<u8>,
    skipped: usize,
    bytes: usize,
}

// SAFETY: the pointers lead into the buffer, or to constants of libc's.
unsafe impl Send for Entry {}

/// Larger than any alignment that libc asks of the buffer.
const ALIGNMENT: usize = 16;

impl Entry {
    fn new(place: Place) -> Self {
        let memory = vec![0; place.bytes + ALIGNMENT];
        let skipped = (place.buffer as usize).wrapping_sub(memory.as_ptr() as usize) % ALIGNMENT;
        // SAFETY: all-zero is a valid record.
        let entry = unsafe { std::mem::zeroed() };
        Self { entry, memory, skipped, bytes: place.bytes }
    }

    fn buffer(&mut self) -> *mut c_char {
        self.memory.as_mut_ptr().wrapping_add(self.skipped).cast()
    }

    /// Copies all to the caller, with the pointers led to where the copies are.
    ///
    /// # Safety
    ///
    /// The place has room for the entry and for as many bytes.
    unsafe fn hand_over(mut self, place: Place) {
        let own = self.buffer();
        // SAFETY: as the caller vouches.
        unsafe { std::ptr::copy_nonoverlapping(own, place.buffer, self.bytes) };
        let lead = |pointer: usize| match pointer.wrapping_sub(own as usize) {
            offset if offset < self.bytes => place.buffer as usize + offset,
            _ => pointer,
        };
        let lead_list = |list: *mut *mut c_char| {
            let list = lead(list as usize) as *mut *mut c_char;
            let mut at = list;
            // SAFETY: null, or a list that ends with null: libc's, which is in the buffer.
            while let Some(one) = unsafe { at.as_mut() }.filter(|one| !one.is_null()) {
                *one = lead(*one as usize) as *mut c_char;
                at = at.wrapping_add(1);
            }
            list
        };
        let entry = hostent {
            h_name: lead(self.entry.h_name as usize) as *mut c_char,
            h_aliases: lead_list(self.entry.h_aliases),
            h_addr_list: lead_list(self.entry.h_addr_list),
            ..self.entry
        };
        // SAFETY: as the caller vouches.
        unsafe { place.entry.write(entry) };
    }
}

/// Makes a call that answers with memory of the caller's.
///
/// # Safety
///
/// The place is what libc's function wants.
unsafe fn reentrant(
    fiber: FiberRef,
    place: Place,
    call: impl FnOnce(Place) -> c_int + Send + 'static,
) -> c_int {
    let mut own = Entry::new(place);
    let answer = elsewhere(fiber, Answer::Owned, move || {
        let (mut found, mut error) = (std::ptr::null_mut(), NETDB_SUCCESS);
        let code = call(Place {
            entry: &raw mut own.entry,
            buffer: own.buffer(),
            bytes: own.bytes,
            result: &raw mut found,
            error: &raw mut error,
        });
        let found = !found.is_null();
        (code, found, error, own)
    });
    let (code, found, error) = match answer {
        Ok((code, false, error, _)) => (code, std::ptr::null_mut(), error),
        Ok((code, true, error, own)) => {
            // SAFETY: as the caller vouches.
            unsafe { own.hand_over(place) };
            (code, place.entry, error)
        }
        Err(error) => {
            complain(error);
            (error, std::ptr::null_mut(), host_error_of(error))
        }
    };
    // SAFETY: as the caller vouches.
    unsafe { place.result.write(found) };
    // SAFETY: as the caller vouches.
    unsafe { place.error.write(error) };
    code
}

/// See `gethostbyname_r(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn gethostbyname_r(
    name: *const c_char,
    entry: *mut hostent,
    buffer: *mut c_char,
    bytes: usize,
    result: *mut *mut hostent,
    error: *mut c_int,
) -> c_int {
    // SAFETY: as the caller vouches.
    let Some((fiber, name)) = (unsafe { named(name) }) else {
        // SAFETY: as the caller vouches.
        return unsafe { real_by_name_r()(name, entry, buffer, bytes, result, error) };
    };
    let call = move |it: Place| {
        // SAFETY: a C string, and a whole place.
        unsafe {
            real_by_name_r()(name.as_ptr(), it.entry, it.buffer, it.bytes, it.result, it.error)
        }
    };
    // SAFETY: as the caller vouches.
    unsafe { reentrant(fiber, Place { entry, buffer, bytes, result, error }, call) }
}

/// See `gethostbyname2_r(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn gethostbyname2_r(
    name: *const c_char,
    family: c_int,
    entry: *mut hostent,
    buffer: *mut c_char,
    bytes: usize,
    result: *mut *mut hostent,
    error: *mut c_int,
) -> c_int {
    // SAFETY: as the caller vouches.
    let Some((fiber, name)) = (unsafe { named(name) }) else {
        // SAFETY: as the caller vouches.
        return unsafe { real_by_name_2_r()(name, family, entry, buffer, bytes, result, error) };
    };
    let call = move |it: Place| {
        let name = name.as_ptr();
        // SAFETY: a C string, and a whole place.
        unsafe {
            real_by_name_2_r()(name, family, it.entry, it.buffer, it.bytes, it.result, it.error)
        }
    };
    // SAFETY: as the caller vouches.
    unsafe { reentrant(fiber, Place { entry, buffer, bytes, result, error }, call) }
}

/// See `gethostbyaddr_r(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn gethostbyaddr_r(
    address: *const c_void,
    length: socklen_t,
    family: c_int,
    entry: *mut hostent,
    buffer: *mut c_char,
    bytes: usize,
    result: *mut *mut hostent,
    error: *mut c_int,
) -> c_int {
    // SAFETY: as the caller vouches.
    let Some((fiber, own)) = (unsafe { addressed(address, length) }) else {
        // SAFETY: as the caller vouches.
        return unsafe {
            real_by_address_r()(address, length, family, entry, buffer, bytes, result, error)
        };
    };
    let call = move |it: Place| {
        let own = own.as_ptr().cast();
        // SAFETY: an address of that length, and a whole place.
        unsafe {
            real_by_address_r()(
                own, length, family, it.entry, it.buffer, it.bytes, it.result, it.error,
            )
        }
    };
    // SAFETY: as the caller vouches.
    unsafe { reentrant(fiber, Place { entry, buffer, bytes, result, error }, call) }
}
