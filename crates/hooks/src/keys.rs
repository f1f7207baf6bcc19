//! `pthread_key_create`, `pthread_key_delete`: remembers destructors, and runs them when a fiber ends.
//!
//! Values stay where libc keeps them, in each fiber's own block, read and written by the real
//! `pthread_getspecific` and `pthread_setspecific`. Only what libc does when a thread ends must be done
//! here, because the function that does it is not exported: up to four rounds of destructors, in order
//! of keys, then the tables of values beyond the first 32 are freed.
//!
//! Destructors stand in a fixed array of as many words as there can be keys, from the program's first
//! instruction on, so keys made before the runtime has started count too. No lock, no allocation.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use libc::pthread_key_t;
use timestop_fiber::switch;

use crate::{bound, real};

/// `PTHREAD_KEYS_MAX`, `PTHREAD_DESTRUCTOR_ITERATIONS` and the length of a table in glibc.
const KEYS: usize = 1024;
const ROUNDS: usize = 4;
const IN_TABLE: usize = 32;

type Destructor = unsafe extern "C" fn(*mut c_void);

real! {
    fn real_create: unsafe extern "C" fn(*mut pthread_key_t, Option<Destructor>) -> c_int = c"pthread_key_create";
    fn real_delete: unsafe extern "C" fn(pthread_key_t) -> c_int = c"pthread_key_delete";
}

/// By key: the destructor, 0 if it has none.
static DESTRUCTORS: [AtomicUsize; KEYS] = [const { AtomicUsize::new(0) }; KEYS];
/// No key with a destructor is as high as this.
static END: AtomicUsize = AtomicUsize::new(0);

/// From the thread pointer to libc's pointers to the tables of values, the first of which lies in
/// `struct pthread` itself; 0 while unknown, 1 if it could not be found.
static TABLES: AtomicUsize = AtomicUsize::new(0);
const NOT_FOUND: usize = 1;

fn created(key: pthread_key_t, destructor: Option<Destructor>) {
    let index = key as usize;
    let address = destructor.map_or(0, |destructor| destructor as usize);
    if let Some(entry) = DESTRUCTORS.get(index) {
        entry.store(address, Ordering::Release);
    }
    if address != 0 {
        END.fetch_max(index + 1, Ordering::AcqRel);
    }
    if index >= IN_TABLE && TABLES.load(Ordering::Relaxed) == 0 {
        TABLES.store(find_tables(), Ordering::Relaxed);
    }
    register();
}

/// Has the runtime tell this file of each fiber's end.
pub(crate) fn register() {
    timestop_runtime::set_key_destructors(fiber_ends);
}

/// Learns where the pointers to the tables lie: sets a value of a key of ours and looks for it.
fn find_tables() -> usize {
    /// `struct pthread` is longer in every glibc that is supported.
    const HEADER: usize = 2048;
    const MARK: usize = 0x7469_6d65_7374_6f70;
    let mut key = 0;
    // SAFETY: writes the key.
    if unsafe { real_create()(&raw mut key, None) } != 0 {
        return NOT_FOUND;
    }
    let fs = switch::thread_pointer();
    // SAFETY: within the caller's own `struct pthread`.
    let word = |offset: usize| unsafe { ((fs + offset) as *const usize).read() };
    let mut found = NOT_FOUND;
    // Only a value in the first table lies in `struct pthread`. A key as low may not be left: then
    // the first table's address is looked for by its pointer alone.
    // SAFETY: the key was just created.
    unsafe { libc::pthread_setspecific(key, MARK as *const c_void) };
    for offset in (8..HEADER).step_by(8) {
        // The pointer is followed by 31 more, and preceded by the table: 32 pairs of words.
        let table = IN_TABLE * 16;
        if offset >= table && word(offset) == fs + offset - table {
            let value = (key as usize) < IN_TABLE;
            if !value || word(offset - table + key as usize * 16 + 8) == MARK {
                found = offset;
                break;
            }
        }
    }
    // SAFETY: the key exists.
    unsafe { libc::pthread_setspecific(key, std::ptr::null()) };
    // SAFETY: nobody else has the key.
    unsafe { real_delete()(key) };
    found
}

/// Runs on each fiber at its end.
fn fiber_ends() {
    run_destructors();
    free_tables();
    bound::fiber_ends();
}

fn run_destructors() {
    for _ in 0..ROUNDS {
        let mut again = false;
        for (key, entry) in DESTRUCTORS.iter().enumerate().take(END.load(Ordering::Acquire)) {
            let address = entry.load(Ordering::Acquire);
            if address == 0 {
                continue;
            }
            let key = key as pthread_key_t;
            // SAFETY: libc answers null for a key that does not exist.
            let value = unsafe { libc::pthread_getspecific(key) };
            if value.is_null() {
                continue;
            }
            again = true;
            // SAFETY: the key has a value.
            unsafe { libc::pthread_setspecific(key, std::ptr::null()) };
            // SAFETY: only `created` writes the array, from destructors.
            let destructor = unsafe { std::mem::transmute::<usize, Destructor>(address) };
            // SAFETY: the program gave it for values of this key.
            unsafe { destructor(value) };
        }
        if !again {
            return;
        }
    }
}

/// Frees the tables that `pthread_setspecific` has allocated for the running fiber.
fn free_tables() {
    let offset = TABLES.load(Ordering::Relaxed);
    if offset <= NOT_FOUND {
        return;
    }
    let first = (switch::thread_pointer() + offset) as *mut *mut c_void;
    for index in 1..KEYS / IN_TABLE {
        let entry = first.wrapping_add(index);
        // SAFETY: within this fiber's own `struct pthread`, at the place that was found.
        let table = unsafe { entry.read() };
        if !table.is_null() {
            // SAFETY: as above.
            unsafe { entry.write(std::ptr::null_mut()) };
            // SAFETY: libc allocated it by `calloc` for this thread alone.
            unsafe { libc::free(table) };
        }
    }
}

/// See `pthread_key_create(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_key_create(
    key: *mut pthread_key_t,
    destructor: Option<Destructor>,
) -> c_int {
    // SAFETY: as the caller vouches.
    let answer = unsafe { real_create()(key, destructor) };
    if answer == 0 {
        // SAFETY: libc has just written it.
        created(unsafe { key.read() }, destructor);
    }
    answer
}

/// The same, by the name that libgcc and libstdc++ may use.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __pthread_key_create(
    key: *mut pthread_key_t,
    destructor: Option<Destructor>,
) -> c_int {
    // SAFETY: as the caller vouches.
    unsafe { pthread_key_create(key, destructor) }
}

/// See `pthread_key_delete(3p)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_key_delete(key: pthread_key_t) -> c_int {
    // Before the key can be given out again.
    if let Some(entry) = DESTRUCTORS.get(key as usize) {
        entry.store(0, Ordering::Release);
    }
    // SAFETY: as the caller vouches.
    unsafe { real_delete()(key) }
}

/// See `tss_create(3)`: 0, or 2 (`thrd_error`).
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tss_create(
    key: *mut pthread_key_t,
    destructor: Option<Destructor>,
) -> c_int {
    // SAFETY: as the caller vouches.
    crate::c11::answer(unsafe { pthread_key_create(key, destructor) })
}

/// See `tss_delete(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tss_delete(key: pthread_key_t) {
    // SAFETY: as the caller vouches.
    unsafe { pthread_key_delete(key) };
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[
    pthread_key_create as *const (),
    __pthread_key_create as *const (),
    pthread_key_delete as *const (),
    tss_create as *const (),
    tss_delete as *const (),
];
