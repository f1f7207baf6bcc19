//! A suspended computation that is, to everything above and to libc, a thread: its own stack, its
//! own thread-local storage, its own `errno` and `pthread_self`. Knows no scheduler.
//!
//! - [`slab`]: where stacks live.
//! - [`block`]: the TLS block at the top of each, made from the [`template`]'s image.
//! - [`library`]: what a library that is loaded later adds to the blocks.
//! - [`mod@switch`]: from one computation to another.
//! - [`current`]: the thread-local word by which the running code finds its fiber.
//! - [`lock`]: a one-word mutex for runtime code, which must not use what is hooked.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")))]
compile_error!(
    "timestop runs on Linux on x86-64 with glibc only: it rests on the layout of glibc's threads"
);

pub mod block;
mod check;
pub mod current;
mod libc_private;
pub mod library;
pub mod lock;
pub mod slab;
pub mod switch;
mod sys;
mod template;
pub mod thread;

pub use check::Unsupported;

/// Checks this machine and its libc, and learns the layout of thread-local storage. Idempotent; one
/// caller at a time. Starts one OS thread that sleeps for ever.
///
/// # Errors
///
/// One line that says what was expected and what was found.
pub fn init() -> Result<(), Unsupported> {
    check::machine()?;
    block::init()?;
    check::round_trip()
}
