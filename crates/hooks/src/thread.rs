//! Threads that become fibers: `pthread_create` and what belongs to it.
//!
//! A created thread is *adopted* as a fiber if the program has asked for that (everywhere, or within
//! a call); else it is libc's. A `pthread_t` is the thread pointer in both cases, so each function
//! asks whose it is. An adopted thread's slot is held until it has ended *and* been joined or
//! detached, so that its `pthread_t` stays its own as long as POSIX says.
//!
//! Not adopted: threads on a stack that the program brings itself (`pthread_attr_setstack`): it may
//! rely on where the stack is. `pthread_exit` ends the fiber at once: cleanup handlers and C++
//! destructors on its stack do not run yet.

use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use libc::{clockid_t, pthread_attr_t, pthread_t, timespec};
use timestop_fiber::block;
use timestop_fiber::current;
use timestop_fiber::slab::Slot;
use timestop_runtime::futex::{self, Wait};
use timestop_runtime::{self as runtime, FiberRef, Outcome, Reason, Start};
use timestop_runtime::{fork, signal};

use crate::call::{self, monotonic, nanoseconds};
use crate::real;

type Routine = extern "C" fn(*mut c_void) -> *mut c_void;

real! {
    fn real_create: unsafe extern "C" fn(*mut pthread_t, *const pthread_attr_t, Routine, *mut c_void) -> c_int = c"pthread_create";
    fn real_join: unsafe extern "C" fn(pthread_t, *mut *mut c_void) -> c_int = c"pthread_join";
    fn real_tryjoin: unsafe extern "C" fn(pthread_t, *mut *mut c_void) -> c_int = c"pthread_tryjoin_np";
    fn real_timedjoin: unsafe extern "C" fn(pthread_t, *mut *mut c_void, *const timespec) -> c_int = c"pthread_timedjoin_np";
    fn real_clockjoin: unsafe extern "C" fn(pthread_t, *mut *mut c_void, clockid_t, *const timespec) -> c_int = c"pthread_clockjoin_np";
    fn real_detach: unsafe extern "C" fn(pthread_t) -> c_int = c"pthread_detach";
    fn real_exit: unsafe extern "C" fn(*mut c_void) -> ! = c"pthread_exit";
    fn real_cancel: unsafe extern "C" fn(pthread_t) -> c_int = c"pthread_cancel";
    fn real_getattr: unsafe extern "C" fn(pthread_t, *mut pthread_attr_t) -> c_int = c"pthread_getattr_np";
    fn real_setname: unsafe extern "C" fn(pthread_t, *const c_char) -> c_int = c"pthread_setname_np";
    fn real_getname: unsafe extern "C" fn(pthread_t, *mut c_char, usize) -> c_int = c"pthread_getname_np";
}

/// Words of a fiber's record that this file keeps. Word 0 is the crate `timestop`'s.
mod word {
    pub(super) const ROUTINE: usize = 1;
    pub(super) const ARGUMENT: usize = 2;
    pub(super) const RESULT: usize = 3;
    /// A [`super::join`] state, as an atomic.
    pub(super) const JOIN: usize = 4;
}

/// States of an adopted thread, in word JOIN.
mod join {
    /// Not adopted: nobody joins it by its `pthread_t`.
    pub(super) const NONE: u32 = 0;
    pub(super) const JOINABLE: u32 = 1;
    pub(super) const DETACHED: u32 = 2;
    pub(super) const ENDED: u32 = 3;
    /// Someone has joined it.
    pub(super) const TAKEN: u32 = 4;
}

static ADOPT_ALL: AtomicBool = AtomicBool::new(false);

/// Whether every thread created from here on becomes a fiber.
pub fn adopt_all(adopt: bool) {
    ADOPT_ALL.store(adopt, Ordering::SeqCst);
}

/// Threads that `body` creates, on this thread, become fibers.
pub fn adopt_within<R>(body: impl FnOnce() -> R) -> R {
    let before = current::replace_flag(true);
    let result = body();
    current::replace_flag(before);
    result
}

fn adopting() -> bool {
    (ADOPT_ALL.load(Ordering::Relaxed) || current::flag()) && prepare()
}

/// Starts what adopting needs. False where fibers cannot run: then threads stay libc's.
fn prepare() -> bool {
    runtime::is_started() || crate::start_lazily()
}

fn state(fiber: FiberRef) -> &'static AtomicU32 {
    let word = fiber.user_word(word::JOIN).as_ptr();
    // SAFETY: the word is 8-aligned, lives for ever, and is used as this atomic only.
    unsafe { AtomicU32::from_ptr(word.cast()) }
}

/// The fiber of an adopted thread.
fn adopted(thread: pthread_t) -> Option<FiberRef> {
    if !runtime::is_started() {
        return None;
    }
    FiberRef::from_pthread(thread as usize)
}

/// What a thread's attributes ask for.
struct Wanted {
    stack: usize,
    detached: bool,
    own_stack: bool,
}

fn wanted(attributes: *const pthread_attr_t) -> Wanted {
    if attributes.is_null() {
        return Wanted { stack: default_stack(), detached: false, own_stack: false };
    }
    let (mut detached, mut stack, mut low, mut size) = (0, 0, std::ptr::null_mut(), 0);
    // SAFETY: the caller of `pthread_create` passes initialised attributes.
    unsafe { pthread_attr_getdetachstate(attributes, &raw mut detached) };
    // SAFETY: as above.
    unsafe { libc::pthread_attr_getstacksize(attributes, &raw mut stack) };
    // SAFETY: as above.
    unsafe { libc::pthread_attr_getstack(attributes, &raw mut low, &raw mut size) };
    Wanted {
        stack: if stack == 0 { default_stack() } else { stack },
        detached: detached == libc::PTHREAD_CREATE_DETACHED,
        // Without a stack of its own, glibc answers the top of the address space minus the size.
        own_stack: !low.is_null() && (low as usize).checked_add(size).is_some_and(|top| top != 0),
    }
}

unsafe extern "C" {
    fn pthread_attr_getdetachstate(attributes: *const pthread_attr_t, state: *mut c_int) -> c_int;
}

/// What glibc gives a thread that asks for nothing: RLIMIT_STACK, 8 MiB where that is unlimited.
fn default_stack() -> usize {
    const USUAL: usize = 8 << 20;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one rlimit; not hooked.
    unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) };
    match limit.rlim_cur {
        0 | libc::RLIM_INFINITY => USUAL,
        bytes => (bytes as usize).min(1 << 30),
    }
}

/// See `pthread_create(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_create(
    thread: *mut pthread_t,
    attributes: *const pthread_attr_t,
    routine: Routine,
    argument: *mut c_void,
) -> c_int {
    let wanted = wanted(attributes);
    if wanted.own_stack || !adopting() {
        return runtime::fork::on_carriers_block(|| {
            // SAFETY: as the caller vouches.
            unsafe { real_create()(thread, attributes, routine, argument) }
        });
    }
    let fiber = match runtime::create(wanted.stack, Start { function: run, argument: 0 }) {
        Ok(fiber) => fiber,
        Err(_) => return libc::EAGAIN,
    };
    fiber.user_word(word::ROUTINE).set(routine as usize);
    fiber.user_word(word::ARGUMENT).set(argument as usize);
    state(fiber)
        .store(if wanted.detached { join::DETACHED } else { join::JOINABLE }, Ordering::Relaxed);
    fiber.hold(); // the `pthread_t`'s
    crate::thread_created(fiber);
    // SAFETY: the caller passes room for the id. Written before the thread can run.
    unsafe { thread.write(fiber.pthread() as pthread_t) };
    runtime::launch(fiber);
    0
}

/// First function of an adopted thread.
unsafe fn run(_: usize) {
    let fiber = FiberRef::current().expect("an adopted thread runs on its fiber");
    fiber.set_finish(Start { function: ended, argument: 0 });
    let routine = fiber.user_word(word::ROUTINE).get();
    // SAFETY: stored by `pthread_create` from a value of this type.
    let routine: Routine = unsafe { std::mem::transmute(routine) };
    let result = routine(fiber.user_word(word::ARGUMENT).get() as *mut c_void);
    fiber.user_word(word::RESULT).set(result as usize);
}

/// Last of all on an adopted thread: whoever joins it may go on.
unsafe fn ended(_: usize) {
    let fiber = FiberRef::current().expect("a fiber ends on itself");
    let state = state(fiber);
    if state.swap(join::ENDED, Ordering::AcqRel) == join::DETACHED {
        runtime::release(fiber);
    } else {
        futex::wake(state.as_ptr() as usize, usize::MAX, futex::ANY);
    }
}

/// Waits for the end of an adopted thread, and takes its result.
fn join(fiber: FiberRef, result: *mut *mut c_void, deadline: Option<u64>, wait: bool) -> c_int {
    if FiberRef::current() == Some(fiber) {
        return libc::EDEADLK;
    }
    let state = state(fiber);
    loop {
        match state.load(Ordering::Acquire) {
            join::NONE | join::DETACHED | join::TAKEN => return libc::EINVAL,
            join::ENDED => break,
            _ if !wait => return libc::EBUSY,
            now => {
                let key = state.as_ptr() as usize;
                let wait = Wait { deadline, ..Wait::on(key, Reason::Join) };
                let waited = futex::wait(wait, || state.load(Ordering::Acquire) == now, || {});
                if waited.outcome == Some(Outcome::TimedOut) {
                    return libc::ETIMEDOUT;
                }
            }
        }
    }
    if state
        .compare_exchange(join::ENDED, join::TAKEN, Ordering::AcqRel, Ordering::Relaxed)
        .is_err()
    {
        return libc::EINVAL; // another was faster
    }
    if !result.is_null() {
        // SAFETY: the caller passes room for the result.
        unsafe { result.write(fiber.user_word(word::RESULT).get() as *mut c_void) };
    }
    runtime::release(fiber);
    0
}

/// See `pthread_join(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_join(thread: pthread_t, result: *mut *mut c_void) -> c_int {
    match adopted(thread) {
        Some(fiber) => join(fiber, result, None, true),
        // SAFETY: as the caller vouches.
        None => unsafe { real_join()(thread, result) },
    }
}

/// See `pthread_tryjoin_np(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_tryjoin_np(thread: pthread_t, result: *mut *mut c_void) -> c_int {
    match adopted(thread) {
        Some(fiber) => join(fiber, result, None, false),
        // SAFETY: as the caller vouches.
        None => unsafe { real_tryjoin()(thread, result) },
    }
}

/// See `pthread_timedjoin_np(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_timedjoin_np(
    thread: pthread_t,
    result: *mut *mut c_void,
    at: *const timespec,
) -> c_int {
    match adopted(thread) {
        // SAFETY: as the caller vouches.
        Some(fiber) => unsafe { join_until(fiber, result, libc::CLOCK_REALTIME, at) },
        // SAFETY: as the caller vouches.
        None => unsafe { real_timedjoin()(thread, result, at) },
    }
}

/// See `pthread_clockjoin_np(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_clockjoin_np(
    thread: pthread_t,
    result: *mut *mut c_void,
    clock: clockid_t,
    at: *const timespec,
) -> c_int {
    match adopted(thread) {
        // SAFETY: as the caller vouches.
        Some(fiber) => unsafe { join_until(fiber, result, clock, at) },
        // SAFETY: as the caller vouches.
        None => unsafe { real_clockjoin()(thread, result, clock, at) },
    }
}

unsafe fn join_until(
    fiber: FiberRef,
    result: *mut *mut c_void,
    clock: clockid_t,
    at: *const timespec,
) -> c_int {
    // SAFETY: null, or a time that the caller passes.
    let deadline = match unsafe { at.as_ref() } {
        None => None,
        Some(at) => match nanoseconds(at) {
            Some(at) => Some(monotonic(clock, at)),
            None => return libc::EINVAL,
        },
    };
    join(fiber, result, deadline, true)
}

/// See `pthread_detach(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_detach(thread: pthread_t) -> c_int {
    let Some(fiber) = adopted(thread) else {
        // SAFETY: as the caller vouches.
        return unsafe { real_detach()(thread) };
    };
    let state = state(fiber);
    let detached =
        state.compare_exchange(join::JOINABLE, join::DETACHED, Ordering::AcqRel, Ordering::Acquire);
    match detached {
        Ok(_) => 0,
        Err(join::ENDED) => join(fiber, std::ptr::null_mut(), None, false),
        Err(_) => libc::EINVAL,
    }
}

/// See `pthread_exit(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_exit(result: *mut c_void) -> ! {
    match FiberRef::current() {
        Some(fiber) => {
            if signal::main_fiber() == Some(fiber) {
                fork::end_with_last_fiber();
            }
            fiber.user_word(word::RESULT).set(result as usize);
            // SAFETY: as the caller vouches: what is on the stack is given up.
            unsafe { runtime::exit() }
        }
        // SAFETY: as the caller vouches.
        None => unsafe { real_exit()(result) },
    }
}

/// See `pthread_cancel(3)`. Fibers cannot be cancelled this way yet: `ENOSYS`, where libc's own would
/// unwind into another thread's stack.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_cancel(thread: pthread_t) -> c_int {
    match adopted(thread) {
        Some(_) => libc::ENOSYS,
        // SAFETY: as the caller vouches.
        None => unsafe { real_cancel()(thread) },
    }
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
    if state(fiber).load(Ordering::Relaxed) == join::DETACHED {
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

/// Cancels the fiber of an adopted thread that has not been joined: its blocking I/O fails.
pub fn cancel(thread: pthread_t) {
    if let Some(fiber) = adopted(thread) {
        fiber.cancel();
    }
}

/// The number of the fiber of an adopted thread; 0 for other threads.
#[must_use]
pub fn id(thread: pthread_t) -> u64 {
    adopted(thread).map_or(0, FiberRef::id)
}

/// CPU time of an adopted thread in nanoseconds; `None` once it has ended.
#[must_use]
pub fn cpu_time(thread: pthread_t) -> Option<u64> {
    adopted(thread).filter(|fiber| fiber.is_live()).map(FiberRef::cpu_time)
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[
    pthread_create as *const (),
    pthread_join as *const (),
    pthread_tryjoin_np as *const (),
    pthread_timedjoin_np as *const (),
    pthread_clockjoin_np as *const (),
    pthread_detach as *const (),
    pthread_exit as *const (),
    pthread_cancel as *const (),
    pthread_getattr_np as *const (),
    pthread_setname_np as *const (),
    pthread_getname_np as *const (),
    gettid as *const (),
];
