//! Names of hosts and their addresses: `getaddrinfo`, `getnameinfo`, `gethostbyname` and kin.
//!
//! How a name is looked up is libc's business and the machine's (`nsswitch.conf`): files, servers,
//! daemons, modules of anybody's. So libc's own function is called, with all of that, but on another OS
//! thread ([`offload`]), and the fiber is suspended meanwhile. What the function leaves in variables of
//! its thread, `errno` and `h_errno`, is carried over.
//!
//! The lookup works on copies of what it is given, and its answer is copied too. So a fiber that is
//! cancelled, past its deadline, or taken away by `pthread_cancel` or a `siglongjmp` need not wait: the
//! lookup ends for nobody. Those functions that answer with memory of libc's own are the exception: the
//! lookup would write there later, when somebody else reads. They go on to their end.
//!
//! Made where they are called: lookups that need nobody (numeric hosts, and no host at all), those that
//! depend on the thread's locale (`AI_IDN`), and all of a fiber that has laid hands on its own
//! resolver's state (`_res`), which is its thread's and must be obeyed. So are `res_query` and its
//! kin, which work on that state. They block the OS thread where they block: a hand-off.
//!
//! Rejected: a resolver of our own (it would know neither the modules nor what is to come); running
//! libc's function on the fiber's thread-locals from another OS thread (a handler that runs in the fiber
//! meanwhile would have the same ones, and hooks that a module calls would take it for the fiber).

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{addrinfo, sockaddr, socklen_t};
use timestop_runtime::{FiberRef, Outcome, Reason, is_started, offload, signal};

use crate::thread::cancel;
use crate::{call, io, real};

pub mod hosts;

real! {
    fn real_getaddrinfo: unsafe extern "C-unwind" fn(*const c_char, *const c_char, *const addrinfo, *mut *mut addrinfo) -> c_int = c"getaddrinfo";
    fn real_getnameinfo: unsafe extern "C-unwind" fn(*const sockaddr, socklen_t, *mut c_char, socklen_t, *mut c_char, socklen_t, c_int) -> c_int = c"getnameinfo";
    fn real_res_state: unsafe extern "C" fn() -> *mut c_void = c"__res_state";
    fn real_res_init: unsafe extern "C" fn() -> c_int = c"__res_init";
}

unsafe extern "C" {
    fn __h_errno_location() -> *mut c_int;
}

/// The host's name in the encoding of the thread's locale.
const AI_IDN_ALL: c_int = 0x03c0;
const NI_IDN_ALL: c_int = 0x00e0;

fn host_error() -> c_int {
    // SAFETY: answers an address.
    let place = unsafe { __h_errno_location() };
    // SAFETY: libc gives each thread, and so each fiber, its own; valid while it lives.
    unsafe { place.read() }
}

fn set_host_error(number: c_int) {
    // SAFETY: answers an address.
    let place = unsafe { __h_errno_location() };
    // SAFETY: as above.
    unsafe { place.write(number) };
}

/// A word of a fiber's record: 1 if the fiber works on its resolver's state itself.
const OWN_RESOLVER: usize = 9;
/// The same for the thread that becomes the main fiber.
static MAINS_RESOLVER: AtomicBool = AtomicBool::new(false);

/// The caller gets its thread's resolver's state into its hands.
fn takes_resolver() {
    if let Some(fiber) = call::fiber_of_any_kind() {
        fiber.user_word(OWN_RESOLVER).set(1);
    } else if !is_started() {
        MAINS_RESOLVER.store(true, Ordering::Relaxed);
    }
}

/// The calling fiber, if another OS thread may look up names for it.
fn client() -> Option<FiberRef> {
    call::fiber().filter(|fiber| {
        let mains = MAINS_RESOLVER.load(Ordering::Relaxed) && signal::main_fiber() == Some(*fiber);
        !mains && fiber.user_word(OWN_RESOLVER).get() == 0
    })
}

/// Whether a lookup that nobody wants any more may go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It writes to memory of its own.
    Owned,
    /// It writes to memory of libc's.
    Shared,
}

/// Makes a call of libc's on another OS thread, with `errno` and `h_errno` as if it were made here.
///
/// # Errors
///
/// Why the fiber does not wait for it.
fn elsewhere<R: Send + 'static>(
    fiber: FiberRef,
    answer: Answer,
    call: impl FnOnce() -> R + Send + 'static,
) -> Result<R, c_int> {
    io::check(fiber)?;
    let before = (call::errno(), host_error());
    let pending = offload(fiber, move || {
        call::set_errno(before.0);
        set_host_error(before.1);
        let result = call();
        (result, call::errno(), host_error())
    });
    loop {
        match pending.wait(Reason::Lookup, answer == Answer::Owned) {
            Outcome::Woken => break,
            Outcome::Interrupted if cancel::is_due(fiber) => return Err(libc::EINTR),
            Outcome::Interrupted => {} // by a handler, which has run: libc goes on then
            outcome => return Err(call::error_of(outcome)),
        }
    }
    let (result, errno, host_error) = pending.result().ok_or(libc::EAGAIN)?;
    call::set_errno(errno);
    set_host_error(host_error);
    Ok(result)
}

/// Says by `errno` why there is no answer. A cancellation point: nothing is there to be dropped.
fn complain(error: c_int) {
    if error == libc::EINTR {
        cancel::point();
    }
    call::set_errno(error);
}

/// What `getaddrinfo` and `getnameinfo` answer then.
fn system_error(error: c_int) -> c_int {
    complain(error);
    if error == libc::EAGAIN { libc::EAI_AGAIN } else { libc::EAI_SYSTEM }
}

/// A copy of a C string that may not be there.
///
/// # Safety
///
/// Null, or a C string.
unsafe fn copy(text: *const c_char) -> Option<CString> {
    // SAFETY: as the caller vouches.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_owned())
}

fn pointer(text: &Option<CString>) -> *const c_char {
    text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr())
}

/// Whether libc takes the name for an address, and looks nothing up.
fn is_numeric(node: &CStr) -> bool {
    let hints = hints([libc::AI_NUMERICHOST, libc::AF_UNSPEC, libc::SOCK_STREAM, 0]);
    let mut found = std::ptr::null_mut();
    let errno = call::errno();
    // SAFETY: a C string, a whole record, and room for a pointer.
    let code = unsafe {
        real_getaddrinfo()(node.as_ptr(), std::ptr::null(), &raw const hints, &raw mut found)
    };
    drop(Addresses(found));
    call::set_errno(errno);
    code == 0
}

/// What `getaddrinfo` is asked for: flags, family, kind, protocol.
fn hints([flags, family, kind, protocol]: [c_int; 4]) -> addrinfo {
    addrinfo {
        ai_flags: flags,
        ai_family: family,
        ai_socktype: kind,
        ai_protocol: protocol,
        ai_addrlen: 0,
        ai_addr: std::ptr::null_mut(),
        ai_canonname: std::ptr::null_mut(),
        ai_next: std::ptr::null_mut(),
    }
}

/// A list of libc's, freed unless it is taken; null for none.
struct Addresses(*mut addrinfo);

// SAFETY: memory of `malloc`'s.
unsafe impl Send for Addresses {}

impl Addresses {
    fn take(mut self) -> *mut addrinfo {
        std::mem::replace(&mut self.0, std::ptr::null_mut())
    }
}

impl Drop for Addresses {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: libc's list, which nobody else has.
            unsafe { libc::freeaddrinfo(self.0) };
        }
    }
}

/// See `getaddrinfo(3)`. A fiber that is cancelled or past its deadline gets `EAI_SYSTEM`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    wanted: *const addrinfo,
    result: *mut *mut addrinfo,
) -> c_int {
    // SAFETY: as the caller vouches.
    let asked = unsafe { wanted.as_ref() };
    let flags = asked.map_or(0, |asked| asked.ai_flags);
    let here = node.is_null() || flags & (libc::AI_NUMERICHOST | AI_IDN_ALL) != 0;
    let fiber = client().filter(|_| !here).filter(|_| {
        // SAFETY: as the caller vouches.
        !is_numeric(unsafe { CStr::from_ptr(node) })
    });
    let Some(fiber) = fiber else {
        // SAFETY: as the caller vouches.
        return unsafe { real_getaddrinfo()(node, service, wanted, result) };
    };
    // SAFETY: as the caller vouches.
    let node = unsafe { copy(node) };
    // SAFETY: as the caller vouches.
    let service = unsafe { copy(service) };
    let asked = asked
        .map(|it| [it.ai_flags, it.ai_family, it.ai_socktype, it.ai_protocol].map(c_int::from));
    let answer = elsewhere(fiber, Answer::Owned, move || {
        let asked = asked.map(hints);
        let asked = asked.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let mut found = std::ptr::null_mut();
        let (node, service) = (pointer(&node), pointer(&service));
        // SAFETY: C strings or null, a whole record or null, and room for a pointer.
        let code = unsafe { real_getaddrinfo()(node, service, asked, &raw mut found) };
        (code, Addresses(if code == 0 { found } else { std::ptr::null_mut() }))
    });
    match answer {
        Ok((0, addresses)) => {
            // SAFETY: the caller passes room for a pointer.
            unsafe { result.write(addresses.take()) };
            0
        }
        Ok((code, _)) => code,
        Err(error) => system_error(error),
    }
}

/// More than any name is long.
const LONGEST_NAME: usize = 1 << 16;

/// Room for text of which the caller has `bytes`.
fn room(place: *mut c_char, bytes: socklen_t) -> Vec<u8> {
    if place.is_null() { Vec::new() } else { vec![0; (bytes as usize).min(LONGEST_NAME)] }
}

/// Copies a C string to the caller.
///
/// # Safety
///
/// `place` has as much room as `text` is long, or is null where that is empty.
unsafe fn hand_over(text: &[u8], place: *mut c_char) {
    if let Ok(text) = CStr::from_bytes_until_nul(text) {
        let bytes = text.to_bytes_with_nul();
        // SAFETY: as the caller vouches.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), place, bytes.len()) };
    }
}

/// See `getnameinfo(3)`. A fiber that is cancelled or past its deadline gets `EAI_SYSTEM`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn getnameinfo(
    address: *const sockaddr,
    length: socklen_t,
    host: *mut c_char,
    host_bytes: socklen_t,
    service: *mut c_char,
    service_bytes: socklen_t,
    flags: c_int,
) -> c_int {
    // `sockaddr_storage`, for alignment too.
    const MOST: usize = size_of::<libc::sockaddr_storage>();
    let no_host = host.is_null() || host_bytes == 0 || flags & libc::NI_NUMERICHOST != 0;
    let here = no_host || flags & NI_IDN_ALL != 0 || length as usize > MOST || address.is_null();
    let Some(fiber) = client().filter(|_| !here) else {
        // SAFETY: as the caller vouches.
        return unsafe {
            real_getnameinfo()(address, length, host, host_bytes, service, service_bytes, flags)
        };
    };
    // SAFETY: all-zero is a valid address.
    let mut own: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let place = (&raw mut own).cast::<u8>();
    // SAFETY: the caller vouches for `length` bytes, and there is room for them.
    unsafe { std::ptr::copy_nonoverlapping(address.cast(), place, length as usize) };
    let (mut own_host, mut own_service) = (room(host, host_bytes), room(service, service_bytes));
    let answer = elsewhere(fiber, Answer::Owned, move || {
        let service = if own_service.is_empty() {
            std::ptr::null_mut()
        } else {
            own_service.as_mut_ptr().cast()
        };
        // SAFETY: an address of that length, and room for both names.
        let code = unsafe {
            real_getnameinfo()(
                (&raw const own).cast(),
                length,
                own_host.as_mut_ptr().cast(),
                own_host.len() as socklen_t,
                service,
                own_service.len() as socklen_t,
                flags,
            )
        };
        (code, own_host, own_service)
    });
    match answer {
        Ok((0, own_host, own_service)) => {
            // SAFETY: no longer than the caller's room.
            unsafe { hand_over(&own_host, host) };
            // SAFETY: as above.
            unsafe { hand_over(&own_service, service) };
            0
        }
        Ok((code, ..)) => code,
        Err(error) => system_error(error),
    }
}

/// What `_res` stands for: the resolver's state of the calling thread.
#[unsafe(no_mangle)]
pub extern "C" fn __res_state() -> *mut c_void {
    takes_resolver();
    // SAFETY: answers an address.
    unsafe { real_res_state()() }
}

/// See `res_init(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn __res_init() -> c_int {
    takes_resolver();
    // SAFETY: works on the calling thread's own state.
    unsafe { real_res_init()() }
}

/// Looks up libc's definitions.
pub(crate) fn look_up_all() {
    look_up();
    hosts::look_up();
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[
    getaddrinfo as *const (),
    getnameinfo as *const (),
    hosts::gethostbyname as *const (),
    hosts::gethostbyname2 as *const (),
    hosts::gethostbyaddr as *const (),
    hosts::gethostbyname_r as *const (),
    hosts::gethostbyname2_r as *const (),
    hosts::gethostbyaddr_r as *const (),
    __res_state as *const (),
    __res_init as *const (),
];
