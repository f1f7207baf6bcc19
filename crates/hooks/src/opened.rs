//! Numbers that the kernel gives out: `socket`, `pipe`, `open` …
//!
//! Each is the raw call. Afterwards what is known of the number is forgotten: it would be of an older
//! file that was closed behind our back, by a raw system call or inside libc. That costs one look at a
//! word. Not covered are numbers that come by calls which are not hooked (`__open_2`, `mq_open`,
//! `fopen` …), and those that libc makes for itself.

use std::ffi::{c_char, c_int, c_uint};

use libc::{msghdr, sigset_t};
use timestop_runtime::reactor::descriptor::fresh;

use crate::call::{Sysno, answer};
use crate::descriptors::ours;
use crate::system_call;

type Outcome = Result<usize, c_int>;

/// Answers a new number.
pub(crate) fn opened(outcome: Outcome) -> c_int {
    if let Ok(number) = outcome
        && ours()
    {
        fresh(number as c_int);
    }
    answer(outcome)
}

/// Answers for a call that has written two new numbers.
///
/// # Safety
///
/// On success `numbers` addresses both.
unsafe fn opened_two(outcome: Outcome, numbers: *const c_int) -> c_int {
    if outcome.is_ok() && ours() {
        for index in 0..2 {
            let number = numbers.wrapping_add(index);
            // SAFETY: as the caller vouches.
            fresh(unsafe { number.read() });
        }
    }
    answer(outcome)
}

/// Whether descriptors came with a message.
pub(crate) fn brings_descriptors(message: &msghdr) -> bool {
    // SAFETY: the kernel has written the control data and its length.
    let header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: null, or within the control data.
    let first = unsafe { header.as_ref() };
    first.is_some_and(|first| {
        (first.cmsg_level, first.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS)
    })
}

/// Descriptors that came with a message.
pub(crate) fn arrived(message: &msghdr) {
    if message.msg_controllen == 0 || !ours() {
        return;
    }
    // SAFETY: the kernel has written the control data and its length.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: null, or within the control data.
    while let Some(record) = unsafe { header.as_ref() } {
        if (record.cmsg_level, record.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: a record begins with its header.
            let numbers = unsafe { libc::CMSG_DATA(header) }.cast::<c_int>();
            let from = numbers as usize - header as usize;
            for index in 0..record.cmsg_len.saturating_sub(from) / size_of::<c_int>() {
                let number = numbers.wrapping_add(index);
                // SAFETY: within the record's length.
                fresh(unsafe { number.read_unaligned() });
            }
        }
        // SAFETY: as above.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
}

/// Calls that answer a new number and pass their arguments on as they are.
macro_rules! opens {
    ($($(#[$meta:meta])* fn $name:ident($($argument:ident: $type:ty),*) = $number:ident($($value:expr),*);)*) => {
        $(
            $(#[$meta])*
            ///
            /// # Safety
            ///
            /// As libc's.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($argument: $type),*) -> c_int {
                // SAFETY: as the caller vouches.
                opened(unsafe { system_call!(Sysno::$number, $($value),*) })
            }
        )*
        /// The addresses of this family, so that the linker keeps them.
        pub(crate) const LINKED: &[*const ()] = &[
            $($name as *const (),)*
            socketpair as *const (),
            pipe as *const (),
            pipe2 as *const (),
        ];
    };
}

opens! {
    /// See `socket(2)`.
    fn socket(domain: c_int, kind: c_int, protocol: c_int) = socket(domain, kind, protocol);
    /// See `open(2)`. Variadic in C, with one more argument at most.
    fn open(path: *const c_char, flags: c_int, mode: c_uint)
        = openat(libc::AT_FDCWD, path, flags, mode_for(flags, mode));
    /// See `open(2)`: the name that programs with large files use.
    fn open64(path: *const c_char, flags: c_int, mode: c_uint)
        = openat(libc::AT_FDCWD, path, flags, mode_for(flags, mode));
    /// See `openat(2)`. Variadic in C, with one more argument at most.
    fn openat(directory: c_int, path: *const c_char, flags: c_int, mode: c_uint)
        = openat(directory, path, flags, mode_for(flags, mode));
    /// See `openat(2)`: the name that programs with large files use.
    fn openat64(directory: c_int, path: *const c_char, flags: c_int, mode: c_uint)
        = openat(directory, path, flags, mode_for(flags, mode));
    /// See `creat(2)`.
    fn creat(path: *const c_char, mode: c_uint) = creat(path, mode);
    /// See `creat(2)`: the name that programs with large files use.
    fn creat64(path: *const c_char, mode: c_uint) = creat(path, mode);
    /// See `eventfd(2)`.
    fn eventfd(count: c_uint, flags: c_int) = eventfd2(count, flags);
    /// See `timerfd_create(2)`.
    fn timerfd_create(clock: c_int, flags: c_int) = timerfd_create(clock, flags);
    /// See `epoll_create(2)`.
    fn epoll_create(size: c_int) = epoll_create(size);
    /// See `epoll_create1(2)`.
    fn epoll_create1(flags: c_int) = epoll_create1(flags);
    /// See `inotify_init(2)`.
    fn inotify_init() = inotify_init();
    /// See `inotify_init1(2)`.
    fn inotify_init1(flags: c_int) = inotify_init1(flags);
    /// See `memfd_create(2)`.
    fn memfd_create(name: *const c_char, flags: c_uint) = memfd_create(name, flags);
    /// See `signalfd(2)`.
    fn signalfd(descriptor: c_int, mask: *const sigset_t, flags: c_int)
        = signalfd4(descriptor, mask, 8, flags);
}

/// Without these flags the caller passes no mode, and the register holds anything.
fn mode_for(flags: c_int, mode: c_uint) -> c_uint {
    let creates = flags & libc::O_CREAT != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE;
    if creates { mode } else { 0 }
}

/// See `socketpair(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn socketpair(
    domain: c_int,
    kind: c_int,
    protocol: c_int,
    numbers: *mut c_int,
) -> c_int {
    // SAFETY: as the caller vouches.
    let outcome = unsafe { system_call!(Sysno::socketpair, domain, kind, protocol, numbers) };
    // SAFETY: the kernel has written both.
    unsafe { opened_two(outcome, numbers) }
}

/// See `pipe2(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipe2(numbers: *mut c_int, flags: c_int) -> c_int {
    // SAFETY: as the caller vouches.
    let outcome = unsafe { system_call!(Sysno::pipe2, numbers, flags) };
    // SAFETY: the kernel has written both.
    unsafe { opened_two(outcome, numbers) }
}

/// See `pipe(2)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipe(numbers: *mut c_int) -> c_int {
    // SAFETY: as the caller vouches.
    unsafe { pipe2(numbers, 0) }
}
