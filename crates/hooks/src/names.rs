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

use libc::{addrinfo, hostent, sockaddr, socklen_t};
use timestop_runtime::{FiberRef, Outcome, Reason, is_started, offload, signal};

use crate::thread::cancel;
use crate::{call, io, real};

type ByName = unsafe extern "C-unwind" fn(*const c_char) -> *mut hostent;
type ByName2 = unsafe extern "C-unwind" fn(*const c_char, c_int) -> *mut hostent;
type ByAddress = unsafe extern "C-unwind" fn(*const c_void, socklen_t, c_int) -> *mut hostent;

real! {
    fn real_getaddrinfo: unsafe extern "C-unwind" fn(*const c_char, *const c_char, *const addrinfo, *mut *mut addrinfo) -> c_int = c"getaddrinfo";
    fn real_getnameinfo: unsafe extern "C-unwind" fn(*const sockaddr, socklen_t, *mut c_char, socklen_t, *mut c_char, socklen_t, c_int) -> c_int = c"getnameinfo";
    fn real_by_name: ByName = c"gethostbyname";
    fn real_by_name_2: ByName2 = c"gethostbyname2";
    fn real_by_address: ByAddress = c"gethostbyaddr";
    fn real_by_name_r: unsafe extern "C-unwind" fn(*const c_char, *mut hostent, *mut c_char, usize, *mut *mut hostent, *mut c_int) -> c_int = c"gethostbyname_r";
    fn real_by_name_2_r: unsafe extern "C-unwind" fn(*const c_char, c_int, *mut hostent, *mut c_char, usize, *mut *mut hostent, *mut c_int) -> c_int = c"gethostbyname2_r";
    fn real_by_address_r: unsafe extern "C-unwind" fn(*const c_void, socklen_t, c_int, *mut hostent, *mut c_char, usize, *mut *mut hostent, *mut c_int) -> c_int = c"gethostbyaddr_r";
    fn real_res_state: unsafe extern "C" fn() -> *mut c_void = c"__res_state";
    fn real_res_init: unsafe extern "C" fn() -> c_int = c"__res_init";
}

unsafe extern "C" {
    fn __h_errno_location() -> *mut c_int;
}

/// See `errno`.
const NETDB_INTERNAL: c_int = -1;
const NETDB_SUCCESS: c_int = 0;
const TRY_AGAIN: c_int = 2;
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

/// What `h_errno` is then.
fn host_error_of(error: c_int) -> c_int {
    if error == libc::EAGAIN { TRY_AGAIN } else { NETDB_INTERNAL }
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

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[
    getaddrinfo as *const (),
    getnameinfo as *const (),
    gethostbyname as *const (),
    gethostbyname2 as *const (),
    gethostbyaddr as *const (),
    gethostbyname_r as *const (),
    gethostbyname2_r as *const (),
    gethostbyaddr_r as *const (),
    __res_state as *const (),
    __res_init as *const (),
];
