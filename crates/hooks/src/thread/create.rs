//! `pthread_create`: what the attributes ask for, and the first and last function of an adopted thread.
//!
//! Not adopted: threads on a stack that the program brings itself (`pthread_attr_setstack`): it may
//! rely on where the stack is.

use std::ffi::{c_int, c_void};
use std::sync::atomic::Ordering;

use libc::{pthread_attr_t, pthread_t};
use timestop_runtime::futex;
use timestop_runtime::{self as runtime, FiberRef, Start};

use super::{adopting, exit, on_carriers_block, stage, state, word};
use crate::real;

/// First function of a thread.
pub type Routine = extern "C-unwind" fn(*mut c_void) -> *mut c_void;

real! {
    fn real_create: unsafe extern "C" fn(*mut pthread_t, *const pthread_attr_t, Routine, *mut c_void) -> c_int = c"pthread_create";
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
    fn pthread_getattr_default_np(attributes: *mut pthread_attr_t) -> c_int;
}

/// What glibc gives a thread that asks for nothing: what `pthread_setattr_default_np` has set, else
/// RLIMIT_STACK at the program's start.
fn default_stack() -> usize {
    const USUAL: usize = 8 << 20;
    const MOST: usize = 1 << 36;
    let mut attributes = std::mem::MaybeUninit::<pthread_attr_t>::uninit();
    // SAFETY: writes the record if it answers 0.
    if unsafe { pthread_getattr_default_np(attributes.as_mut_ptr()) } != 0 {
        return USUAL;
    }
    let mut bytes = 0;
    // SAFETY: the record was written.
    unsafe { libc::pthread_attr_getstacksize(attributes.as_ptr(), &raw mut bytes) };
    // SAFETY: as above.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    if bytes == 0 { USUAL } else { bytes.min(MOST) }
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
        return on_carriers_block(|| {
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
        .store(if wanted.detached { stage::DETACHED } else { stage::JOINABLE }, Ordering::Relaxed);
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
    let argument = fiber.user_word(word::ARGUMENT).get() as *mut c_void;
    let result = exit::with_base(|| routine(argument));
    fiber.user_word(word::RESULT).set(result as usize);
}
/// Last of all on an adopted thread: whoever joins it may go on.
unsafe fn ended(_: usize) {
    let fiber = FiberRef::current().expect("a fiber ends on itself");
    let state = state(fiber);
    if state.swap(stage::ENDED, Ordering::AcqRel) == stage::DETACHED {
        runtime::release(fiber);
    } else {
        futex::wake(state.as_ptr() as usize, usize::MAX, futex::ANY);
    }
}
