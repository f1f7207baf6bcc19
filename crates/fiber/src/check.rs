//! What the design relies on, checked at start. A fiber that runs on a wrong guess corrupts memory
//! at some later moment; a refusal is one line.

use std::fmt;

use crate::fault::{self, Fault};
use crate::switch::{Context, DEFAULT_CONTROL_WORDS, switch, thread_pointer};
use crate::{block, current, sys};

/// Why fibers cannot run here.
#[derive(Debug, Clone)]
pub struct Unsupported {
    expected: String,
    found: String,
    may_pass: bool,
}

impl Unsupported {
    /// `expected` and `found` complete the sentence "expected …, found …".
    #[must_use]
    pub const fn new(expected: String, found: String) -> Self {
        Self { expected, found, may_pass: false }
    }

    /// As [`new`](Self::new), for what is missing now and may be there later: memory, a thread.
    pub(crate) const fn for_now(expected: String, found: String) -> Self {
        Self { expected, found, may_pass: true }
    }

    pub(crate) const fn may_pass(&self) -> bool {
        self.may_pass
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fibers cannot run here: expected {}, found {}", self.expected, self.found)
    }
}

impl std::error::Error for Unsupported {}

fn unless(holds: bool, expected: &str, found: impl Into<String>) -> Result<(), Unsupported> {
    if holds { Ok(()) } else { Err(Unsupported::new(expected.to_owned(), found.into())) }
}

/// Bit 1 of `AT_HWCAP2`: the kernel lets user code set the thread pointer.
const HWCAP2_FSGSBASE: u64 = 2;

/// The oldest release of glibc on which fibers run.
pub const OLDEST_GLIBC: (u32, u32) = (2, 31);

/// The processor, the kernel and glibc.
pub(crate) fn machine() -> Result<(), Unsupported> {
    // SAFETY: reads the auxiliary vector.
    let capabilities = unsafe { libc::getauxval(libc::AT_HWCAP2) };
    let capabilities = fault::instead(Fault::Fsgsbase, capabilities, 0);
    unless(
        capabilities & HWCAP2_FSGSBASE != 0,
        "instructions that set the thread pointer (FSGSBASE: Linux 5.9 on any x86-64 since 2012)",
        "none",
    )?;
    let shadow = fault::instead(Fault::ShadowStacks, sys::shadow_stack_features(), 1);
    unless(
        shadow == 0,
        "no shadow stacks (set GLIBC_TUNABLES=glibc.cpu.hwcaps=-SHSTK)",
        "them on",
    )?;
    let release = fault::instead(Fault::Kernel, sys::kernel_release(), "5.4.0".to_owned());
    unless(numbers(&release) >= (5, 11), "Linux 5.11 or later (epoll_pwait2)", release.as_str())?;
    // SAFETY: returns a constant.
    let version = unsafe { libc::gnu_get_libc_version() };
    // SAFETY: which is a C string.
    let version = unsafe { std::ffi::CStr::from_ptr(version) };
    let version = fault::instead(Fault::Glibc, version.to_string_lossy(), "2.30".into());
    let (major, minor) = OLDEST_GLIBC;
    let expected = format!("glibc {major}.{minor} or later");
    unless(numbers(&version) >= OLDEST_GLIBC, &expected, version)
}

/// The first two numbers of a version.
fn numbers(version: &str) -> (u32, u32) {
    let mut numbers = version.split(|byte: char| !byte.is_ascii_digit()).map(str::parse);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    (next(), next())
}

/// What the fiber of the round trip found, and the way back.
struct Trip {
    fiber: Context,
    home: Context,
    current: usize,
    pointer: usize,
    thread: usize,
    errno: i32,
    allocated: bool,
}

unsafe extern "C" fn visit(argument: usize) -> ! {
    // SAFETY: `round_trip` passes its record and waits.
    let trip = unsafe { &mut *(argument as *mut Trip) };
    block::begin();
    trip.current = current::get() as usize;
    trip.pointer = thread_pointer();
    // SAFETY: plain libc calls.
    trip.thread = unsafe { libc::pthread_self() } as usize;
    // SAFETY: a thread-local of libc's.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: valid as long as the block.
    trip.errno = unsafe { errno.read() };
    // SAFETY: valid as long as the block.
    unsafe { errno.write(77) };
    // SAFETY: plain C.
    let memory = std::hint::black_box(unsafe { libc::malloc(1000) });
    trip.allocated = !memory.is_null();
    // SAFETY: allocated above.
    unsafe { libc::free(memory) };
    // SAFETY: `home` was saved by the switch that brought us here.
    unsafe { switch(&raw mut trip.fiber, &raw const trip.home) };
    unreachable!("a finished fiber was resumed")
}

/// Makes a fiber, visits it and comes back.
pub(crate) fn round_trip() -> Result<(), Unsupported> {
    let no_memory = |error: std::io::Error| {
        Unsupported::for_now("memory for a stack".to_owned(), error.to_string())
    };
    if fault::is(Fault::StackMemory) {
        return Err(no_memory(std::io::ErrorKind::OutOfMemory.into()));
    }
    let too_much =
        || Unsupported::new("less than 64 GiB of thread-locals".to_owned(), "more".to_owned());
    let class = block::class_for(0).ok_or_else(too_much)?;
    class.reserve(1).map_err(no_memory)?;
    let slot = class.take().inspect_err(|_| class.release(1)).map_err(no_memory)?;
    let owner = slot.as_ptr().cast::<()>();
    // SAFETY: the slot is ours and fresh.
    unsafe { block::build(slot, owner) };
    let (home, fs) = (thread_pointer(), block::thread_pointer(slot));
    let mut trip = Trip {
        fiber: Context::empty(fs),
        home: Context::empty(home),
        current: 0,
        pointer: 0,
        thread: 0,
        errno: -1,
        allocated: false,
    };
    let argument = &raw mut trip;
    let (away, back) = (&raw const trip.fiber, &raw mut trip.home);
    // SAFETY: the stack is fresh; `visit` does not return.
    trip.fiber = unsafe {
        let (top, words) = (block::stack_top(slot), DEFAULT_CONTROL_WORDS);
        Context::fresh(top, fs, visit, argument as usize, words)
    };
    let before = std::io::Error::last_os_error().raw_os_error();
    // SAFETY: both blocks are whole, and we are about to go from one to the other.
    unsafe { block::carry_malloc(home, fs) };
    // SAFETY: the context was just made.
    unsafe { switch(back, away) };
    // SAFETY: the way back.
    unsafe { block::carry_malloc(fs, home) };
    let after = std::io::Error::last_os_error().raw_os_error();
    block::finish(slot);
    class.give(slot);
    class.release(1);
    trip.current = fault::instead(Fault::ThreadLocals, trip.current, 0);
    trip.thread = fault::instead(Fault::PthreadSelf, trip.thread, home);
    trip.errno = fault::instead(Fault::Errno, trip.errno, 77);
    trip.allocated = fault::instead(Fault::Malloc, trip.allocated, false);
    unless(trip.current == owner as usize, "a fiber's own thread-locals", "another's")?;
    unless(
        trip.pointer == fs && trip.thread == fs,
        "pthread_self() to be the thread pointer",
        "another address",
    )?;
    unless(trip.errno == 0 && before == after, "an errno for each fiber", "one shared")?;
    unless(trip.allocated, "malloc to work in a fiber", "a null pointer")
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!(super::numbers("6.18.44-fc"), (6, 18));
        assert_eq!(super::numbers("2.36"), (2, 36));
        assert!(super::numbers("5.4.0-generic") < (5, 11));
    }

    #[test]
    fn this_machine_is_supported() {
        crate::init().expect("fibers run on the machines that we test on");
    }
}
