//! A suspended computation that is, to everything above and to libc, a thread: its own stack, its
//! own thread-local storage, its own `errno` and `pthread_self`. Knows no scheduler.
//!
//! - [`slab`]: where stacks live.
//! - [`block`]: the TLS block at the top of each, made from the [`template`]'s image.
//! - [`library`]: what a library that is loaded later adds to the blocks.
//! - [`aside`]: a further stack for a computation, and the way there and back.
//! - [`mod@switch`]: from one computation to another.
//! - [`condition`]: where a condition variable keeps its attributes.
//! - [`current`]: the thread-local word by which the running code finds its fiber.
//! - [`fault`]: what is not as expected, on request.
//! - [`next_definition`]: libc's own definition of what is hooked.
//! - [`lock`]: a one-word mutex for runtime code, which must not use what is hooked.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")))]
compile_error!(
    "timestop runs on Linux on x86-64 with glibc only: it rests on the layout of glibc's threads"
);

pub mod aside;
pub mod block;
mod check;
pub mod condition;
pub mod current;
pub mod fault;
mod libc_private;
pub mod library;
pub mod lock;
mod next;
pub mod slab;
pub mod switch;
mod sys;
mod template;
pub mod thread;

pub use check::{OLDEST_GLIBC, Unsupported};
pub use next::next_definition;

/// Checks this machine and its libc, and learns the layout of thread-local storage. Idempotent; one
/// caller at a time. Starts one OS thread that sleeps for ever.
///
/// # Errors
///
/// One line that says what was expected and what was found. What cannot change is found once: each
/// attempt would leave a thread behind.
pub fn init() -> Result<(), Unsupported> {
    static REFUSED: lock::Lock<Option<Unsupported>> = lock::Lock::new(None);
    if let Some(reason) = &*REFUSED.lock() {
        return Err(reason.clone());
    }
    learn().inspect_err(|reason| {
        if !reason.may_pass() {
            *REFUSED.lock() = Some(reason.clone());
        }
    })
}

fn learn() -> Result<(), Unsupported> {
    fault::choose()?;
    check::machine()?;
    condition::learn()?;
    block::init()?;
    check::round_trip()
}
