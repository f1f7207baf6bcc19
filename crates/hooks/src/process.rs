//! New processes: `fork`, `vfork`, `posix_spawn`, `exec`, and what libc builds on them.
//!
//! - `fork` keeps the calling fiber and its OS thread; the runtime starts afresh around them
//!   (`timestop_runtime::fork`). libc's own `fork` runs with the carrier's thread pointer: it mends
//!   libc's list of threads, on which no fiber is. Handlers of `pthread_atfork` run on the fiber's own
//!   block ([`atfork`]). Every signal is blocked meanwhile, and nobody is at work on the slabs.
//! - A child of `vfork` borrows the fiber's memory: the record says so, and hooks called in the child
//!   are the raw calls.
//! - `posix_spawn` is libc's: its child has a stack of its own, and it touches only the caller's
//!   cancellation state and signal mask, which it puts back. It blocks the OS thread until the program
//!   is executed: a hand-off.
//! - A program that is executed inherits the kernel's signal mask, so the fiber's is put there first.
//! - `popen` and `pclose` are libc's: `pclose` waits by blocking an OS thread.
//!
//! Not covered: `execl`, `execlp`, `execle` do not carry the fiber's mask over, except in the child of
//! a fork (libc gives no way to define a function of that shape in Rust). `_Fork` allocates memory in
//! the child, so it is not safe in signal handlers. A fork by a raw system call leaves a child whose
//! hooks think that they are the parent's.

use std::arch::naked_asm;
use std::ffi::{c_char, c_int};

use libc::{pid_t, posix_spawn_file_actions_t, posix_spawnattr_t, termios, winsize};
use timestop_fiber::{current, library, slab};
use timestop_runtime::{FiberRef, fork as runtime, trace};

use crate::call::{self, Sysno};
use crate::{credentials, ptrace, real, signal, system_call};

pub mod atfork;
pub mod shell;
pub mod wait;

type Arguments = *const *const c_char;
type Spawn = unsafe extern "C" fn(
    *mut pid_t,
    *const c_char,
    *const posix_spawn_file_actions_t,
    *const posix_spawnattr_t,
    *const *mut c_char,
    *const *mut c_char,
) -> c_int;

unsafe extern "C" {
    static program_invocation_short_name: *const c_char;
}

real! {
    fn real_fork: unsafe extern "C" fn() -> pid_t = c"fork";
    fn real_spawn: Spawn = c"posix_spawn";
    fn real_spawnp: Spawn = c"posix_spawnp";
    fn real_execve: unsafe extern "C" fn(*const c_char, Arguments, Arguments) -> c_int = c"execve";
    fn real_execv: unsafe extern "C" fn(*const c_char, Arguments) -> c_int = c"execv";
    fn real_execvp: unsafe extern "C" fn(*const c_char, Arguments) -> c_int = c"execvp";
    fn real_execvpe: unsafe extern "C" fn(*const c_char, Arguments, Arguments) -> c_int = c"execvpe";
    fn real_fexecve: unsafe extern "C" fn(c_int, Arguments, Arguments) -> c_int = c"fexecve";
}

/// Forks, and makes the runtime of the child whole.
fn duplicate() -> pid_t {
    let mask = signal::close_kernel();
    // Nobody else is in the middle of what the child will need too.
    let shells = shell::quiet();
    let quiet =
        (atfork::quiet(), signal::quiet(), credentials::quiet(), library::quiet(), slab::quiet());
    let (process, error) = runtime::on_carriers_block(|| {
        // SAFETY: libc's fork, on a thread that libc knows.
        let process = unsafe { real_fork()() };
        (process, call::errno()) // of that block
    });
    drop(quiet);
    drop(shells); // the first one taken
    if process == 0 {
        // SAFETY: first of all in the child, once, on the thread that forked.
        if unsafe { runtime::after_fork_in_child() }.is_err() {
            std::process::abort(); // no descriptors or memory: nothing could go on
        }
        signal::after_fork_in_child();
        name_process();
    }
    if process == 0 && FiberRef::current().is_some() {
        signal::mirror_mask();
    } else {
        signal::open_kernel(mask);
    }
    if process < 0 {
        call::set_errno(error);
    }
    process
}

/// Gives a child that a fiber has made the program's name: the OS thread that goes on had the
/// runtime's.
fn name_process() {
    if FiberRef::current().is_some() {
        // SAFETY: libc sets the pointer before any code of ours runs.
        let name = unsafe { program_invocation_short_name };
        // SAFETY: the kernel reads 16 bytes at most of a C string.
        let _ = unsafe { system_call!(Sysno::prctl, libc::PR_SET_NAME, name, 0, 0, 0) };
    }
}

/// See `fork(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn fork() -> pid_t {
    if call::is_in_vfork_child() {
        // SAFETY: plain libc.
        return unsafe { real_fork()() };
    }
    ptrace::before_fork();
    let handlers = atfork::registered();
    handlers.prepare();
    let process = duplicate();
    if process == 0 {
        handlers.child()
    } else {
        handlers.parent()
    }
    process
}

/// See `_Fork(3)`: without handlers.
#[unsafe(no_mangle)]
pub extern "C" fn _Fork() -> pid_t {
    duplicate()
}

/// See `vfork(2)`. The child returns first, on the same stack, so the way back is kept in a register.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub extern "C" fn vfork() -> pid_t {
    naked_asm!(
        "sub rsp, 8",
        "call {begin}",
        "add rsp, 8",
        "pop rdi", // the kernel keeps it, for child and parent
        "mov eax, {number}",
        "syscall",
        "push rdi",
        "test rax, rax",
        "jz 2f",
        "mov rdi, rax", // the parent, or an error
        "jmp {end}",
        "2:",
        "ret",
        begin = sym begin_vfork,
        end = sym end_vfork,
        number = const libc::SYS_vfork,
    )
}

extern "C" fn begin_vfork() {
    ptrace::before_fork();
    let wears = call::fiber();
    current::set_lent(true);
    if let Some(fiber) = call::fiber_of_any_kind() {
        // Nor is it preempted from here on: the mask is that of this OS thread.
        fiber.set_borrowed(true);
    }
    if let Some(fiber) = wears {
        signal::wear_mask(fiber);
    }
}

/// In the parent, when the child has executed a program or ended: what `vfork` returns.
extern "C" fn end_vfork(result: isize) -> pid_t {
    // The child of a child of vfork has borrowed the same memory; its parent still does.
    if !call::is_in_vfork_child() {
        if let Some(fiber) = FiberRef::current() {
            fiber.set_borrowed(false);
        }
        current::set_lent(false);
        if let Some(fiber) = call::fiber() {
            signal::unwear_mask(fiber);
        }
    }
    if result < 0 { call::fail(-result as c_int) } else { result as pid_t }
}

/// See `daemon(3)`, which inside libc would fork past us.
#[unsafe(no_mangle)]
pub extern "C" fn daemon(stay: c_int, keep: c_int) -> c_int {
    match fork() {
        -1 => return -1,
        0 => {}
        // SAFETY: ends the parent without its exit handlers.
        _ => unsafe { libc::_exit(0) },
    }
    // SAFETY: touches no memory.
    if unsafe { libc::setsid() } == -1 {
        return -1;
    }
    if stay == 0 {
        // SAFETY: a C string.
        unsafe { libc::chdir(c"/".as_ptr()) };
    }
    if keep == 0 {
        // SAFETY: a C string.
        let null = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        if null == -1 {
            return -1;
        }
        for standard in 0..3 {
            // SAFETY: touches no memory.
            unsafe { libc::dup2(null, standard) };
        }
        if null > 2 {
            // SAFETY: opened above.
            unsafe { libc::close(null) };
        }
    }
    0
}

/// See `forkpty(3)`, which inside libc would fork past us.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn forkpty(
    main: *mut c_int,
    name: *mut c_char,
    settings: *const termios,
    size: *const winsize,
) -> c_int {
    let (mut own, mut other) = (-1, -1);
    // SAFETY: as the caller vouches.
    if unsafe { libc::openpty(&raw mut own, &raw mut other, name, settings, size) } == -1 {
        return -1;
    }
    match fork() {
        -1 => {
            let number = call::errno();
            // SAFETY: opened above.
            unsafe { libc::close(own) };
            // SAFETY: opened above.
            unsafe { libc::close(other) };
            call::fail(number)
        }
        0 => {
            // SAFETY: opened above.
            unsafe { libc::close(own) };
            // SAFETY: opened above.
            if unsafe { libc::login_tty(other) } != 0 {
                // SAFETY: what libc does then.
                unsafe { libc::_exit(1) };
            }
            0
        }
        child => {
            // SAFETY: the caller passes room for a descriptor.
            unsafe { main.write(own) };
            // SAFETY: opened above.
            unsafe { libc::close(other) };
            child
        }
    }
}

/// See `posix_spawn(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawn(
    process: *mut pid_t,
    path: *const c_char,
    actions: *const posix_spawn_file_actions_t,
    attributes: *const posix_spawnattr_t,
    arguments: *const *mut c_char,
    environment: *const *mut c_char,
) -> c_int {
    signal::with_kernel_mask(|| {
        // SAFETY: as the caller vouches.
        unsafe { real_spawn()(process, path, actions, attributes, arguments, environment) }
    })
}

/// See `posix_spawnp(3)`.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawnp(
    process: *mut pid_t,
    file: *const c_char,
    actions: *const posix_spawn_file_actions_t,
    attributes: *const posix_spawnattr_t,
    arguments: *const *mut c_char,
    environment: *const *mut c_char,
) -> c_int {
    signal::with_kernel_mask(|| {
        // SAFETY: as the caller vouches.
        unsafe { real_spawnp()(process, file, actions, attributes, arguments, environment) }
    })
}

/// Defines `exec` functions that carry the fiber's signal mask over.
macro_rules! exec {
    ($($(#[$meta:meta])* fn $name:ident($($argument:ident: $type:ty),*) = $real:ident;)*) => {$(
        $(#[$meta])*
        ///
        /// # Safety
        ///
        /// As libc's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> c_int {
            if !call::is_in_vfork_child() {
                trace::before_exec();
            }
            signal::with_kernel_mask(|| {
                // SAFETY: as the caller vouches.
                unsafe { $real()($($argument),*) }
            })
        }
    )*};
}

exec! {
    /// See `execve(2)`.
    fn execve(path: *const c_char, arguments: Arguments, environment: Arguments) = real_execve;
    /// See `execv(3)`.
    fn execv(path: *const c_char, arguments: Arguments) = real_execv;
    /// See `execvp(3)`.
    fn execvp(file: *const c_char, arguments: Arguments) = real_execvp;
    /// See `execvpe(3)`.
    fn execvpe(file: *const c_char, arguments: Arguments, environment: Arguments) = real_execvpe;
    /// See `fexecve(3)`.
    fn fexecve(descriptor: c_int, arguments: Arguments, environment: Arguments) = real_fexecve;
}

/// Looks up libc's definitions.
pub(crate) fn look_up_all() {
    look_up();
    atfork::look_up();
    shell::look_up();
}

/// The addresses of this family, so that the linker keeps them.
pub(crate) const LINKED: &[*const ()] = &[
    fork as *const (),
    _Fork as *const (),
    vfork as *const (),
    daemon as *const (),
    forkpty as *const (),
    posix_spawn as *const (),
    posix_spawnp as *const (),
    execve as *const (),
    execv as *const (),
    execvp as *const (),
    execvpe as *const (),
    fexecve as *const (),
    atfork::pthread_atfork as *const (),
    atfork::__register_atfork as *const (),
    atfork::__cxa_finalize as *const (),
    shell::system as *const (),
    wait::wait as *const (),
    wait::wait3 as *const (),
    wait::wait4 as *const (),
    wait::waitid as *const (),
    wait::waitpid as *const (),
];
