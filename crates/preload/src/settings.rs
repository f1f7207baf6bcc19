//! The environment's variables for us, as they were when the program was loaded.
//!
//! They are kept because the environment does not stay as it is: programs change it, some write
//! their name over it, and with [`leave_no_trace`] we take out of it what is ours, so that the programs
//! that this one starts know nothing of us. Kept without allocating: libraries may not be initialised.

use std::cell::UnsafeCell;
use std::ffi::{CStr, OsStr, c_char};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What all names begin with.
const PREFIX: &[u8] = b"TIMESTOP_";
/// Room for all of them; what does not fit is as if it were not set.
const ROOM: usize = 16 * 1024;

/// `NAME=value`, each ended by a null byte.
struct Kept(UnsafeCell<[u8; ROOM]>);

// SAFETY: written while the program is loaded, by its only thread; read only after that.
unsafe impl Sync for Kept {}

static KEPT: Kept = Kept(UnsafeCell::new([0; ROOM]));
static LENGTH: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// The variables as `NAME=value`.
///
/// # Safety
///
/// Nobody changes the environment meanwhile.
unsafe fn entries() -> impl Iterator<Item = &'static CStr> {
    // SAFETY: a word of libc's.
    let list = unsafe { environ };
    let nth = move |index: usize| {
        // SAFETY: within the list, which ends with a null pointer.
        let place = unsafe { list.add(index) };
        // SAFETY: as above.
        let entry = unsafe { place.read() };
        // SAFETY: a C string; the strings of the environment at the start are never freed.
        (!entry.is_null()).then(|| unsafe { CStr::from_ptr(entry) })
    };
    let count = if list.is_null() { 0 } else { usize::MAX };
    (0..count).map_while(nth)
}

/// Keeps what is there.
///
/// # Safety
///
/// Once, while the program is loaded.
pub(crate) unsafe fn keep() {
    let mut length = 0;
    // SAFETY: only this thread is there.
    for entry in unsafe { entries() } {
        let bytes = entry.to_bytes_with_nul();
        if !bytes.starts_with(PREFIX) || length + bytes.len() > ROOM {
            continue;
        }
        // SAFETY: nobody reads yet.
        let kept = unsafe { &mut *KEPT.0.get() };
        kept[length..length + bytes.len()].copy_from_slice(bytes);
        length += bytes.len();
    }
    LENGTH.store(length, Ordering::Release);
}

fn kept() -> impl Iterator<Item = &'static [u8]> {
    // SAFETY: not written any more.
    let all: &'static [u8; ROOM] = unsafe { &*KEPT.0.get() };
    all[..LENGTH.load(Ordering::Acquire)].split(|byte| *byte == 0).filter(|entry| !entry.is_empty())
}

/// A variable's value.
pub(crate) fn value(name: &str) -> Option<&'static OsStr> {
    let value = |entry: &'static [u8]| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=");
    kept().find_map(value).map(OsStr::from_bytes)
}

/// Whether a variable is set to something that means yes.
pub(crate) fn is_on(name: &str) -> bool {
    value(name).is_some() && !is_off(name)
}

/// Whether a variable is set to something that means no.
pub(crate) fn is_off(name: &str) -> bool {
    value(name).is_some_and(|value| value == "0" || value == "off")
}

/// A variable as a positive number. One that is something else is told, and not used.
pub(crate) fn number(name: &str) -> Option<usize> {
    let text = value(name)?.to_string_lossy();
    let number = text.trim().parse().ok().filter(|number| *number > 0);
    if number.is_none() {
        let _ = writeln!(
            io::stderr(),
            "timestop: {name}={text}: expected a positive number; going on as if it were not set"
        );
    }
    number
}

/// What `run` has set for this program alone.
const ONCE: [&str; 8] = [
    "TIMESTOP_PRELOAD=",
    "TIMESTOP_CHILDREN=",
    "TIMESTOP_STATS=",
    "TIMESTOP_STATS_FILE=",
    "TIMESTOP_TRACE=",
    "TIMESTOP_TRACE_PROCESS=",
    "TIMESTOP_TRACE_LIMIT=",
    "TIMESTOP_HTML=",
];

/// Takes ourselves out of the environment: `path` out of `LD_PRELOAD`, where others stay as they are,
/// and what was set for this program.
///
/// # Safety
///
/// While the program is loaded. The strings are those that the kernel has put on the stack.
pub(crate) unsafe fn leave_no_trace(path: &OsStr) {
    // SAFETY: a word of libc's.
    let list = unsafe { environ };
    if list.is_null() {
        return;
    }
    let (mut from, mut to) = (0, 0);
    loop {
        // SAFETY: within the list, which ends with a null pointer.
        let source = unsafe { list.add(from) };
        // SAFETY: as above; `to` is not beyond `from`.
        let target = unsafe { list.add(to) };
        // SAFETY: as above.
        let entry = unsafe { source.read() };
        // SAFETY: as above.
        unsafe { target.write(entry) };
        if entry.is_null() {
            return;
        }
        from += 1;
        // SAFETY: a C string of the environment, which is ours to write to and nobody else reads now.
        if unsafe { stays(entry, path) } {
            to += 1;
        }
    }
}

/// Whether an entry of the environment stays; of `LD_PRELOAD` what is left.
///
/// # Safety
///
/// The entry is a C string that may be written to.
unsafe fn stays(entry: *mut c_char, path: &OsStr) -> bool {
    // SAFETY: as the caller vouches.
    let length = unsafe { CStr::from_ptr(entry) }.count_bytes();
    // SAFETY: as the caller vouches; the null byte is not part of it.
    let bytes = unsafe { std::slice::from_raw_parts_mut(entry.cast::<u8>(), length) };
    if ONCE.iter().any(|name| bytes.starts_with(name.as_bytes())) {
        return false;
    }
    const LIST: &[u8] = b"LD_PRELOAD=";
    if !bytes.starts_with(LIST) {
        return true;
    }
    let list = &mut bytes[LIST.len()..];
    let left = without(list, path.as_bytes());
    let end = LIST.len() + left;
    // SAFETY: within the string, or its null byte.
    let end = unsafe { entry.add(end) };
    // SAFETY: as above.
    unsafe { end.write(0) };
    left > 0
}

/// Takes an entry out of a list in place; how long the list is then.
fn without(list: &mut [u8], entry: &[u8]) -> usize {
    let (mut from, mut to) = (0, 0);
    while from < list.len() {
        let end = list[from..].iter().position(|byte| b": ".contains(byte));
        let end = end.map_or(list.len(), |length| from + length);
        // With what separates it from the next.
        let next = (end + 1).min(list.len());
        if &list[from..end] != entry {
            list.copy_within(from..next, to);
            to += next - from;
        }
        from = next;
    }
    // Ours was the last: what separated it goes too.
    if to > 0 && to < list.len() && b": ".contains(&list[to - 1]) {
        to -= 1;
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_entry_is_taken_out_of_a_list() {
        let left = |list: &str| {
            let mut bytes = list.as_bytes().to_vec();
            let length = without(&mut bytes, b"/t.so");
            String::from_utf8(bytes[..length].to_vec()).expect("text")
        };
        assert_eq!(left("/t.so"), "");
        assert_eq!(left("/t.so:/a.so:/b.so"), "/a.so:/b.so");
        assert_eq!(left("/a.so:/t.so:/b.so"), "/a.so:/b.so");
        assert_eq!(left("/a.so /t.so"), "/a.so");
        assert_eq!(left("/t.so2:/a.so"), "/t.so2:/a.so");
        assert_eq!(left("/t.so:/t.so"), "");
        assert_eq!(left(""), "");
    }
}
