//! libc's blocking symbols, defined in libc's place: the linker (or the preload) binds everybody's
//! calls to these. One file a family.
//!
//! Every hook has one shape: *is this a fiber? → try without blocking → wait → try again*. On a
//! thread that is no fiber, or while a child of `vfork` borrows the fiber's memory, a hook is the
//! call that libc would make. No hook allocates, logs, panics or unwinds into C; `errno` is set as
//! libc would set it, and otherwise kept.

pub mod barrier;
mod bound;
pub mod c11;
pub mod call;
pub mod condition;
pub mod credentials;
pub mod descriptors;
pub mod futex_call;
pub mod io;
pub mod kernel_view;
pub mod keys;
pub mod library;
pub mod mutex;
pub mod names;
pub mod once;
pub mod opened;
pub mod poll;
pub mod process;
pub mod ptrace;
pub mod real;
pub mod rwlock;
pub mod semaphore;
pub mod signal;
pub mod socket;
pub mod thread;
pub mod time;
mod waiting;

use timestop_runtime::FiberRef;

/// Keeps every hook in the program that this is linked into, and looks up libc's own definitions.
pub fn install() {
    for family in [
        barrier::LINKED,
        c11::LINKED,
        condition::LINKED,
        credentials::LINKED,
        descriptors::LINKED,
        futex_call::LINKED,
        io::LINKED,
        kernel_view::LINKED,
        keys::LINKED,
        library::LINKED,
        mutex::LINKED,
        names::LINKED,
        once::LINKED,
        opened::LINKED,
        poll::LINKED,
        process::LINKED,
        rwlock::LINKED,
        semaphore::LINKED,
        signal::LINKED,
        signal::jump::LINKED,
        socket::LINKED,
        thread::LINKED,
        time::LINKED,
        ptrace::LINKED,
    ] {
        std::hint::black_box(family);
    }
    barrier::look_up();
    condition::look_up();
    credentials::look_up();
    descriptors::look_up();
    keys::look_up();
    keys::register();
    library::look_up();
    mutex::look_up();
    names::look_up_all();
    once::look_up();
    process::look_up_all();
    rwlock::look_up();
    semaphore::look_up();
    signal::look_up_all();
    thread::look_up();
    ptrace::look_up();
    ptrace::look_around();
    signal::install();
}

static LAZY_START: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// Has `start` called when the first thread is to be adopted and the runtime does not run yet. It
/// says whether it runs then.
pub fn set_lazy_start(start: fn() -> bool) {
    LAZY_START.store(start as usize, std::sync::atomic::Ordering::Release);
}

fn start_lazily() -> bool {
    let start = LAZY_START.load(std::sync::atomic::Ordering::Acquire);
    if start == 0 {
        return false;
    }
    // SAFETY: only `set_lazy_start` writes the word.
    let start: fn() -> bool = unsafe { std::mem::transmute(start) };
    start()
}

/// What a new thread inherits from its creator.
fn thread_created(thread: FiberRef) {
    signal::inherit(thread);
}
