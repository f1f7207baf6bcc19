//! Names of hosts, looked up by libc on another OS thread. The names come from a module for nsswitch of
//! our own, so that nothing depends on the machine's, and a lookup lasts as long as is wanted. Each
//! test runs in a process of its own: which modules are asked is set for all of a process.
#![allow(missing_docs, missing_debug_implementations, unreachable_pub, dead_code)]

mod common;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{fiber, on_fiber};
use timestop_hooks::call::{errno, set_errno};
use timestop_runtime::{FiberRef, Settings, stats};

unsafe extern "C" {
    fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
    fn __h_errno_location() -> *mut c_int;
    fn __res_state() -> *mut c_void;
    fn gethostbyname(name: *const c_char) -> *mut libc::hostent;
    fn gethostbyname2(name: *const c_char, family: c_int) -> *mut libc::hostent;
    fn gethostbyaddr(address: *const c_void, length: u32, family: c_int) -> *mut libc::hostent;
    fn gethostbyname_r(
        name: *const c_char,
        entry: *mut libc::hostent,
        buffer: *mut c_char,
        bytes: usize,
        result: *mut *mut libc::hostent,
        error: *mut c_int,
    ) -> c_int;
    fn gethostbyaddr_r(
        address: *const c_void,
        length: u32,
        family: c_int,
        entry: *mut libc::hostent,
        buffer: *mut c_char,
        bytes: usize,
        result: *mut *mut libc::hostent,
        error: *mut c_int,
    ) -> c_int;
}

const TRY_AGAIN: c_int = 2;
const HOST_NOT_FOUND: c_int = 1;

/// Runs a test of this file in a process of its own that can find the module; true there.
fn alone(name: &str) -> bool {
    if std::env::var_os("TIMESTOP_ALONE").is_some() {
        return true;
    }
    let directory = std::env::temp_dir().join(format!("timestop-names-{}", std::process::id()));
    let directory = directory.join(name);
    std::fs::create_dir_all(&directory).expect("a directory of our own");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/programs/nss_module.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .arg(directory.join("libnss_timestop.so.2"))
        .arg(source)
        .status()
        .unwrap_or_else(|error| panic!("cc: {error}; install gcc and libc6-dev"));
    assert!(built.success(), "cc fails");
    let output = Command::new("timeout")
        .args(["-s", "KILL", "60"])
        .arg(std::env::current_exe().expect("this program"))
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env("TIMESTOP_ALONE", "1")
        .env("LD_LIBRARY_PATH", &directory)
        .output()
        .expect("this program runs again");
    let _ = std::fs::remove_dir_all(&directory);
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}\n{errors}", output.status);
    assert!(text.contains("1 passed"), "{name} names no test:\n{text}");
    false
}

/// The module, and the gate at which names wait.
#[derive(Clone, Copy)]
struct Module {
    handle: usize,
    gate: c_int,
}

impl Module {
    fn function(self, name: &CStr) -> *mut c_void {
        // SAFETY: an open library and a C string.
        let found = unsafe { libc::dlsym(self.handle as *mut c_void, name.as_ptr()) };
        assert!(!found.is_null(), "{name:?}");
        found
    }

    fn number(self, name: &CStr) -> usize {
        // SAFETY: the module's functions without arguments answer an int.
        let function: extern "C" fn() -> c_int =
            unsafe { std::mem::transmute(self.function(name)) };
        function() as usize
    }

    fn inside(self) -> usize {
        self.number(c"lookups_inside")
    }

    /// The name of the OS thread that made the last lookup.
    fn last_thread(self) -> String {
        // SAFETY: as the module has it.
        let function: extern "C" fn() -> *const c_char =
            unsafe { std::mem::transmute(self.function(c"last_thread")) };
        // SAFETY: 16 bytes that end with zero.
        unsafe { CStr::from_ptr(function()) }.to_string_lossy().into_owned()
    }

    fn open_gate(self) {
        let one = 1_u64;
        // SAFETY: eight bytes.
        let written = unsafe { libc::write(self.gate, (&raw const one).cast(), 8) };
        assert_eq!(written, 8);
    }
}

/// Starts a runtime with one worker that can spare one OS thread, no more: what blocks one more than
/// that holds up everything.
fn start() -> Module {
    timestop_hooks::install();
    // SAFETY: C strings, which live for ever.
    let status = unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"timestop".as_ptr()) };
    assert_eq!(status, 0);
    // SAFETY: a C string.
    let handle = unsafe { libc::dlopen(c"libnss_timestop.so.2".as_ptr(), libc::RTLD_NOW) };
    assert!(!handle.is_null(), "the module is in LD_LIBRARY_PATH");
    // SAFETY: touches no memory.
    let gate = unsafe { libc::eventfd(0, 0) };
    let module = Module { handle: handle as usize, gate };
    // SAFETY: as the module has it.
    let set_gate: extern "C" fn(c_int) =
        unsafe { std::mem::transmute(module.function(c"set_gate")) };
    set_gate(gate);
    timestop_runtime::start(Settings { workers: 1, carriers: 2, ..Settings::default() })
        .expect("the runtime starts on the machines that we test on");
    module
}

/// Suspends the fiber until `done`, looking every millisecond.
fn until(done: impl Fn() -> bool) {
    while !done() {
        // SAFETY: sleeps.
        unsafe { libc::usleep(1000) };
    }
}

fn host_error() -> c_int {
    // SAFETY: answers an address.
    let place = unsafe { __h_errno_location() };
    // SAFETY: the calling thread's.
    unsafe { place.read() }
}

/// The addresses of a name as text, or the error and `errno`.
fn look_up_with(name: &str, flags: c_int) -> Result<Vec<String>, (c_int, c_int)> {
    let name = CString::new(name).expect("no zero");
    // SAFETY: all-zero asks for nothing in particular.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_family = libc::AF_INET;
    hints.ai_socktype = libc::SOCK_STREAM;
    hints.ai_flags = flags;
    let mut list = std::ptr::null_mut();
    set_errno(0);
    // SAFETY: C strings, a whole record and room for a pointer.
    let code = unsafe {
        libc::getaddrinfo(name.as_ptr(), c"80".as_ptr(), &raw const hints, &raw mut list)
    };
    if code != 0 {
        return Err((code, errno()));
    }
    let (mut found, mut at) = (Vec::new(), list);
    // SAFETY: libc's list.
    while let Some(one) = unsafe { at.as_ref() } {
        // SAFETY: an Internet address was asked for.
        let address = unsafe { &*one.ai_addr.cast::<libc::sockaddr_in>() };
        assert_eq!(address.sin_port, 80_u16.to_be());
        let bytes = address.sin_addr.s_addr.to_ne_bytes();
        found.push(bytes.map(|byte| byte.to_string()).join("."));
        at = one.ai_next;
    }
    // SAFETY: libc's list.
    unsafe { libc::freeaddrinfo(list) };
    Ok(found)
}

fn look_up(name: &str) -> Result<Vec<String>, (c_int, c_int)> {
    look_up_with(name, 0)
}

fn addresses(number: usize) -> Vec<String> {
    let (high, low) = (number / 256, number % 256);
    vec![format!("10.0.{high}.{low}"), format!("10.1.{high}.{low}")]
}

fn threads_named(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("there is /proc");
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|comm| comm.trim() == name)
        .count()
}

#[test]
fn a_thousand_fibers_look_up_names() {
    if !alone("a_thousand_fibers_look_up_names") {
        return;
    }
    start();
    let fibers: Vec<_> = (0..1000)
        .map(|number| (number, fiber(move || look_up(&format!("plain-{number}.test")))))
        .collect();
    for (number, running) in fibers {
        let mut found = running.join().expect("the module knows it");
        found.sort();
        assert_eq!(found, addresses(number));
    }
    assert!(threads_named("timestop-pool") > 0, "the calls were made elsewhere");
}

/// By hand-off this would stand still: there is one OS thread to spare.
#[test]
fn lookups_that_last_hold_up_nobody() {
    if !alone("lookups_that_last_hold_up_nobody") {
        return;
    }
    let module = start();
    let before = stats().hand_offs;
    let stuck: Vec<_> = (0..100)
        .map(|number| (number, fiber(move || look_up(&format!("stuck-{number}.test")))))
        .collect();
    on_fiber(move || until(|| module.inside() >= 4));
    // Others run, and names that are found at once are.
    let others: Vec<_> = (0..20)
        .map(|number| {
            fiber(move || {
                for _ in 0..10 {
                    // SAFETY: sleeps.
                    unsafe { libc::usleep(100) };
                }
                look_up(&format!("plain-{number}.test"))
            })
        })
        .collect();
    for other in others {
        other.join().expect("the module knows it");
    }
    on_fiber(move || until(|| module.inside() == 100));
    assert_eq!(stats().hand_offs, before, "fibers waited, OS threads did not");
    assert!(threads_named("timestop-pool") <= 128);
    module.open_gate();
    for (number, running) in stuck {
        let mut found = running.join().expect("the gate is open");
        found.sort();
        assert_eq!(found, addresses(number));
    }
}

#[test]
fn what_cannot_wait_any_longer_goes_away() {
    if !alone("what_cannot_wait_any_longer_goes_away") {
        return;
    }
    let module = start();
    let (sender, receiver) = std::sync::mpsc::channel();
    let cancelled = fiber(move || {
        sender.send(FiberRef::current().expect("a fiber")).expect("it is waited for");
        let answer = look_up("stuck-2.test");
        // A number needs nobody, and is no I/O.
        assert_eq!(look_up("127.0.0.1"), Ok(vec!["127.0.0.1".to_owned()]));
        assert_eq!(look_up("plain-2.test"), Err((libc::EAI_SYSTEM, libc::ECANCELED)));
        answer
    });
    let waiting = receiver.recv().expect("it begins");
    on_fiber(move || until(|| module.inside() == 1));
    waiting.cancel();
    assert_eq!(cancelled.join(), Err((libc::EAI_SYSTEM, libc::ECANCELED)));

    let in_time = fiber(|| {
        let fiber = FiberRef::current().expect("a fiber");
        fiber.replace_deadline(timestop_runtime::sys::now() + 20_000_000);
        look_up("stuck-1.test")
    });
    assert_eq!(in_time.join(), Err((libc::EAI_SYSTEM, libc::ETIMEDOUT)));

    // Nobody waits for these any more; when they end, nothing happens.
    assert_ne!(module.inside(), 0);
    module.open_gate();
    on_fiber(move || until(|| module.inside() == 0));
    assert_eq!(on_fiber(|| look_up("stuck-3.test")), Ok(addresses(3)));
}

extern "C" fn look_up_stuck(_: *mut c_void) -> *mut c_void {
    let _ = look_up("stuck-1.test");
    std::ptr::null_mut()
}

#[test]
fn a_thread_in_a_lookup_is_cancelled() {
    if !alone("a_thread_in_a_lookup_is_cancelled") {
        return;
    }
    let module = start();
    let mut thread = 0;
    timestop_hooks::thread::adopt_within(|| {
        // SAFETY: room for the thread's id, and a function that ignores its argument.
        let status = unsafe {
            libc::pthread_create(
                &raw mut thread,
                std::ptr::null(),
                look_up_stuck,
                std::ptr::null_mut(),
            )
        };
        assert_eq!(status, 0);
    });
    on_fiber(move || {
        until(|| module.inside() == 1);
        // SAFETY: a thread that nobody has joined.
        assert_eq!(unsafe { libc::pthread_cancel(thread) }, 0);
        let mut result = std::ptr::null_mut();
        // SAFETY: as above.
        assert_eq!(unsafe { libc::pthread_join(thread, &raw mut result) }, 0);
        assert_eq!(result as isize, -1, "PTHREAD_CANCELED");
    });
    module.open_gate();
    on_fiber(move || until(|| module.inside() == 0));
}

/// What C has in an entry.
fn describe(entry: *const libc::hostent, buffer: Option<std::ops::Range<usize>>) -> String {
    // SAFETY: null, or libc's answer.
    let Some(entry) = (unsafe { entry.as_ref() }) else {
        return format!("none, h_errno {}", host_error());
    };
    let inside = |pointer: *const c_char| {
        let at = pointer as usize;
        assert!(buffer.as_ref().is_none_or(|buffer| buffer.contains(&at)), "beyond the buffer");
        pointer
    };
    // SAFETY: C strings of libc's.
    let text = |pointer| unsafe { CStr::from_ptr(inside(pointer)) }.to_string_lossy().into_owned();
    let list = |list: *mut *mut c_char| -> Vec<*const c_char> {
        let (mut all, mut at) = (Vec::new(), inside(list.cast()).cast::<*mut c_char>());
        // SAFETY: ends with null.
        while let Some(one) = unsafe { at.as_ref() }.filter(|one| !one.is_null()) {
            all.push(inside(*one));
            at = at.wrapping_add(1);
        }
        all
    };
    let aliases: Vec<_> = list(entry.h_aliases).into_iter().map(text).collect();
    let addresses: Vec<_> = list(entry.h_addr_list)
        .into_iter()
        // SAFETY: four bytes each.
        .map(|address| unsafe { address.cast::<[u8; 4]>().read_unaligned() })
        .collect();
    let (name, family) = (text(entry.h_name), entry.h_addrtype);
    format!("{name} {aliases:?} {family} {} {addresses:?}", entry.h_length)
}

/// Everything that the older functions answer, good and bad.
fn older_functions() -> Vec<String> {
    let mut seen = Vec::new();
    for name in [c"plain-300.test", c"later.test", c"nobody.test", c"127.0.0.1"] {
        // SAFETY: a C string.
        seen.push(describe(unsafe { gethostbyname(name.as_ptr()) }, None));
        // SAFETY: a C string.
        seen.push(describe(unsafe { gethostbyname2(name.as_ptr(), libc::AF_INET) }, None));
    }
    let address = [10_u8, 0, 1, 44];
    let pointer = address.as_ptr().cast::<c_void>();
    // SAFETY: four bytes.
    seen.push(describe(unsafe { gethostbyaddr(pointer, 4, libc::AF_INET) }, None));
    for (bytes, shift) in [(1024, 0), (1024, 3), (1024, 8), (40, 0)] {
        let mut memory = [0_u64; 200];
        let buffer = memory.as_mut_ptr().cast::<c_char>().wrapping_add(shift);
        let range = buffer as usize..buffer as usize + bytes;
        for name in [c"plain-300.test", c"later.test", c"nobody.test", c"10.9.8.7"] {
            // SAFETY: all-zero is a valid record.
            let mut entry: libc::hostent = unsafe { std::mem::zeroed() };
            let (mut result, mut error) = (std::ptr::null_mut(), 77);
            // SAFETY: a C string and room for everything.
            let code = unsafe {
                gethostbyname_r(
                    name.as_ptr(),
                    &raw mut entry,
                    buffer,
                    bytes,
                    &raw mut result,
                    &raw mut error,
                )
            };
            assert!(result.is_null() || std::ptr::eq(result, &raw const entry));
            seen.push(format!("{code} {error} {}", describe(result, Some(range.clone()))));
        }
        // SAFETY: all-zero is a valid record.
        let mut entry: libc::hostent = unsafe { std::mem::zeroed() };
        let (mut result, mut error) = (std::ptr::null_mut(), 77);
        // SAFETY: room for everything.
        let code = unsafe {
            gethostbyaddr_r(
                pointer,
                4,
                libc::AF_INET,
                &raw mut entry,
                buffer,
                bytes,
                &raw mut result,
                &raw mut error,
            )
        };
        seen.push(format!("{code} {error} {}", describe(result, Some(range))));
    }
    for (host_bytes, flags) in
        [(64, 0), (4, 0), (64, libc::NI_NUMERICHOST), (64, libc::NI_NAMEREQD)]
    {
        // SAFETY: all-zero is a valid address.
        let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        address.sin_family = libc::AF_INET as u16;
        address.sin_port = 80_u16.to_be();
        address.sin_addr.s_addr = u32::from_ne_bytes([10, 0, 1, 44]);
        let (mut host, mut service) = ([0_u8; 64], [0_u8; 32]);
        // SAFETY: an address, and room for both names.
        let code = unsafe {
            libc::getnameinfo(
                (&raw const address).cast(),
                size_of::<libc::sockaddr_in>() as u32,
                host.as_mut_ptr().cast(),
                host_bytes,
                service.as_mut_ptr().cast(),
                32,
                flags | libc::NI_NUMERICSERV,
            )
        };
        let host = CStr::from_bytes_until_nul(&host).expect("ends with zero");
        let service = CStr::from_bytes_until_nul(&service).expect("ends with zero");
        seen.push(if code == 0 { format!("{host:?} {service:?}") } else { format!("{code}") });
    }
    for name in ["plain-300.test", "later.test", "nobody.test", "127.0.0.1", "not a name"] {
        seen.push(format!("{:?}", look_up(name)));
        seen.push(format!("{:?}", look_up_with(name, libc::AI_NUMERICHOST)));
    }
    seen
}

#[test]
fn a_fiber_is_answered_what_a_thread_is() {
    if !alone("a_fiber_is_answered_what_a_thread_is") {
        return;
    }
    let module = start();
    let on_fiber = on_fiber(older_functions);
    assert_eq!(module.last_thread(), "timestop-pool");
    let on_thread = std::thread::spawn(older_functions).join().expect("it ends well");
    assert_ne!(module.last_thread(), "timestop-pool");
    assert_eq!(on_fiber, on_thread);
    assert_eq!(
        on_fiber[0],
        "plain-300.test [\"alias-300.test\"] 2 4 [[10, 0, 1, 44], [10, 1, 1, 44]]"
    );
    assert_eq!(on_fiber[2], format!("none, h_errno {TRY_AGAIN}"));
    assert_eq!(on_fiber[4], format!("none, h_errno {HOST_NOT_FOUND}"));
}

#[test]
fn numbers_are_looked_up_by_nobody() {
    if !alone("numbers_are_looked_up_by_nobody") {
        return;
    }
    start();
    on_fiber(|| {
        for name in ["127.0.0.1", "127.1", "0x7f000001"] {
            assert_eq!(look_up(name), Ok(vec!["127.0.0.1".to_owned()]), "{name}");
        }
        assert!(look_up_with("plain-1.test", libc::AI_NUMERICHOST).is_err());
    });
    assert_eq!(threads_named("timestop-pool"), 0);
}

/// Who has `_res` in his hands has changed it for what he looks up himself.
#[test]
fn a_resolver_of_ones_own_is_obeyed() {
    if !alone("a_resolver_of_ones_own_is_obeyed") {
        return;
    }
    let module = start();
    on_fiber(move || {
        look_up("plain-1.test").expect("the module knows it");
        assert_eq!(module.last_thread(), "timestop-pool");
    });
    on_fiber(move || {
        // SAFETY: answers an address.
        assert!(!unsafe { __res_state() }.is_null());
        look_up("plain-1.test").expect("the module knows it");
        assert_eq!(module.last_thread(), "timestop");
    });
    on_fiber(move || {
        look_up("plain-1.test").expect("the module knows it");
        assert_eq!(module.last_thread(), "timestop-pool", "that was another fiber's");
    });
}

#[test]
fn children_look_up_names() {
    if !alone("children_look_up_names") {
        return;
    }
    let module = start();
    let stuck = fiber(|| look_up("stuck-1.test"));
    on_fiber(move || until(|| module.inside() == 1));
    for with_fibers in [false, true] {
        let status = on_fiber(move || {
            // SAFETY: the child calls what a thread's child may call here.
            match unsafe { libc::fork() } {
                0 => {
                    static FOUND: AtomicUsize = AtomicUsize::new(0);
                    let look = |number: usize| {
                        if look_up(&format!("plain-{number}.test")) == Ok(addresses(number)) {
                            FOUND.fetch_add(1, Ordering::SeqCst);
                        }
                    };
                    if with_fibers {
                        for number in 1..10 {
                            drop(fiber(move || look(number)));
                        }
                        until(|| FOUND.load(Ordering::SeqCst) == 9);
                    }
                    look(0);
                    let expected = if with_fibers { 10 } else { 1 };
                    let good = FOUND.load(Ordering::SeqCst) == expected;
                    // SAFETY: ends the child without the parent's exit handlers.
                    unsafe { libc::_exit(c_int::from(!good)) };
                }
                child => {
                    let mut status = 0;
                    // SAFETY: room for a status.
                    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
                    status
                }
            }
        });
        assert_eq!(status, 0, "with fibers: {with_fibers}");
    }
    module.open_gate();
    assert_eq!(stuck.join(), Ok(addresses(1)));
}
