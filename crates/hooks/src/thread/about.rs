//! What a thread is: its attributes, name and number.

use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::Ordering;

use libc::{pthread_attr_t, pthread_t};
use timestop_fiber::block;
use timestop_fiber::slab::Slot;
use timestop_runtime::FiberRef;

use super::{adopted, stage, state};
use crate::{call, real};

real! {
    fn real_getattr: unsafe extern "C" fn(pthread_t, *mut pthread_attr_t) -> c_int = c"pthread_getattr_np";
    fn real_setname: unsafe extern "C" fn(pthread_t, *const c_char) -> c_int = c"pthread_setname_np";
    fn real_getname: unsafe extern "C" fn(pthread_t, *mut c_char, usize) -> c_int = c"pthread_getname_np";
}

/// See `pthread_getattr_np(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_getattr_np(
    thread: pthread_t,
    attributes: *mut pthread_attr_t,
) -> c_int {
    let Some(fiber) = adopted(thread) else {
        // SAFETY: as the caller vouches.
        return unsafe { real_getattr()(thread, attributes) };
    };
    let low = Slot::stack_limit(fiber.slot());
    let size = block::stack_top(fiber.slot()) - low;
    // SAFETY: the caller passes room for attributes.
    unsafe { libc::pthread_attr_init(attributes) };
    if state(fiber).load(Ordering::Relaxed) == stage::DETACHED {
        // SAFETY: initialised.
        unsafe { libc::pthread_attr_setdetachstate(attributes, libc::PTHREAD_CREATE_DETACHED) };
    }
    // SAFETY: initialised.
    unsafe { libc::pthread_attr_setstack(attributes, low as *mut c_void, size) }
}

/// The name of a fiber, cut to 31 bytes.
#[must_use]
pub fn name_of(fiber: FiberRef) -> Option<String> {
    let name = fiber.name();
    (!name.bytes().is_empty()).then(|| String::from_utf8_lossy(name.bytes()).into_owned())
}

/// See `pthread_setname_np(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_setname_np(thread: pthread_t, name: *const c_char) -> c_int {
    let Some(fiber) = adopted(thread) else {
        // SAFETY: as the caller vouches.
        return unsafe { real_setname()(thread, name) };
    };
    // SAFETY: the caller passes a C string.
    let name = unsafe { std::ffi::CStr::from_ptr(name) }.to_bytes();
    if name.len() > 15 {
        return libc::ERANGE;
    }
    fiber.set_name(name);
    0
}

/// See `pthread_getname_np(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_getname_np(
    thread: pthread_t,
    name: *mut c_char,
    size: usize,
) -> c_int {
    let Some(fiber) = adopted(thread) else {
        // SAFETY: as the caller vouches.
        return unsafe { real_getname()(thread, name, size) };
    };
    if size < 16 {
        return libc::ERANGE;
    }
    let (kept, mut bytes) = (fiber.name(), [0; 16]);
    let length = kept.bytes().len().min(15);
    bytes[..length].copy_from_slice(&kept.bytes()[..length]);
    // SAFETY: the caller passes at least 16 bytes.
    unsafe { name.cast::<[u8; 16]>().write_unaligned(bytes) };
    0
}

/// See `gettid(2)`. A fiber's own number, the one in its `struct pthread`: programs key recursive
/// locks by it, and two fibers on one OS thread must not pass for one owner. The kernel does not know
/// it: calls that take a thread's number fail with `ESRCH`, and `/proc/self/task` shows carriers.
#[unsafe(no_mangle)]
pub extern "C" fn gettid() -> libc::pid_t {
    match call::fiber_of_any_kind() {
        Some(fiber) => {
            let place = fiber.pthread() + block::thread_id_offset();
            // SAFETY: within the fiber's own `struct pthread`.
            unsafe { (place as *const libc::pid_t).read() }
        }
        None => timestop_runtime::sys::thread_id() as libc::pid_t,
    }
}
