//! Faults on request: `TIMESTOP_FAULT=NAME` has one check at start find what it does not expect, so
//! that what follows from it can be seen: by tests, and by whoever wants to know what their program
//! does where fibers cannot run.
//!
//! A fault changes *what is found*, where it is found, and never a verdict: the path to the error is
//! the one that a strange machine would take.
//!
//! Rejected: faults that are compiled for tests only (`timestop run` is to be tested as it is
//! shipped; the price is one look at the environment at start).

use std::ffi::CStr;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Unsupported;

macro_rules! faults {
    ($($(#[$meta:meta])* $fault:ident = $name:literal,)*) => {
        /// Something that is not as expected.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fault {
            $($(#[$meta])* $fault,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$fault,)*];

            /// The value of `TIMESTOP_FAULT` that asks for it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$fault => $name,)* }
            }
        }
    };
}

faults! {
    /// No instructions that set the thread pointer.
    Fsgsbase = "fsgsbase",
    /// Shadow stacks are on.
    ShadowStacks = "shadow-stacks",
    /// An old kernel.
    Kernel = "kernel",
    /// An old glibc.
    Glibc = "glibc",
    /// libc has no such symbol.
    PthreadCreate = "pthread_create",
    /// libc has no such symbol.
    TlsStaticInfo = "_dl_get_tls_static_info",
    /// libc has no such symbol.
    CtypeInit = "__ctype_init",
    /// libc has no such symbol.
    TlsDestructors = "__call_tls_dtors",
    /// No word of a condition variable that holds its attributes.
    Condition = "condition",
    /// No memory for the template thread.
    TemplateMemory = "template-memory",
    /// No template thread.
    TemplateThread = "template-thread",
    /// `struct pthread` is not as long as any that is known.
    Header = "thread-header",
    /// More static TLS than glibc says.
    StaticTls = "static-tls",
    /// Two words of the template's header that may be the thread id.
    ThreadId = "thread-id",
    /// Three words of libc's that change when a thread first allocates.
    MallocWords = "malloc-words",
    /// No memory for the stack of the first fiber.
    StackMemory = "stack-memory",
    /// A fiber that finds another's thread-locals.
    ThreadLocals = "thread-locals",
    /// A fiber whose `pthread_self` is not its thread pointer.
    PthreadSelf = "pthread_self",
    /// A fiber that shares its `errno`.
    Errno = "errno",
    /// A fiber in which `malloc` fails.
    Malloc = "malloc",
    /// No descriptor for epoll.
    Epoll = "epoll",
    /// No memory for the stack on which the main thread's carrier runs.
    MainMemory = "main-memory",
    /// No OS thread to run fibers.
    Carrier = "carrier-thread",
    /// No OS thread for the monitor.
    Monitor = "monitor-thread",
    /// No OS thread for the starter.
    Starter = "starter-thread",
}

/// The fault that is wanted: its place in [`Fault::ALL`], plus one.
static WANTED: AtomicUsize = AtomicUsize::new(0);

/// Reads the environment.
///
/// # Errors
///
/// It asks for a fault that there is not.
pub(crate) fn choose() -> Result<(), Unsupported> {
    // SAFETY: a C string.
    let value = unsafe { libc::getenv(c"TIMESTOP_FAULT".as_ptr()) };
    if value.is_null() {
        return Ok(());
    }
    // SAFETY: a C string of the environment, which nobody changes while it is read here.
    let value = unsafe { CStr::from_ptr(value) }.to_string_lossy();
    match Fault::ALL.iter().position(|fault| fault.name() == value) {
        Some(index) => WANTED.store(index + 1, Ordering::Relaxed),
        None if value.is_empty() => {}
        None => {
            let names: Vec<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
            let expected = format!("TIMESTOP_FAULT to be one of {}", names.join(", "));
            return Err(Unsupported::new(expected, format!("{value:?}")));
        }
    }
    Ok(())
}

/// Whether a fault is wanted.
#[must_use]
pub fn is(fault: Fault) -> bool {
    WANTED.load(Ordering::Relaxed) == fault as usize + 1
}

/// What was found, or what the fault has in its place.
pub(crate) fn instead<T>(fault: Fault, found: T, wrong: T) -> T {
    if is(fault) { wrong } else { found }
}

/// Whether a symbol of libc's is to be missing.
pub(crate) fn hides(symbol: &CStr) -> bool {
    let wanted = WANTED.load(Ordering::Relaxed);
    wanted != 0 && Fault::ALL[wanted - 1].name().as_bytes() == symbol.to_bytes()
}
