//! The child of a `fork`: one OS thread, one fiber, and a runtime that is fresh but for them.
//!
//! The thread that called goes on in the child, and with it its carrier: the carrier's loop lies
//! suspended on a stack that was copied like everything else, so the calling fiber can park as before.
//! All else is made anew rather than mended (queues, timers, an epoll of its own; the inherited one
//! is the parent's too and is only closed): what other threads were in the middle of is nobody's
//! concern then. Their fibers are gone, as threads are; the memory of their stacks stays.
//!
//! The child is *young* until it first makes a fiber: no monitor, no other carriers. Most children
//! execute a program before that. Meanwhile its one thread wears the fiber's signal mask in the
//! kernel too, because a program that it executes inherits that one.
//!
//! Rejected: to wait in the parent until every worker is at rest (a worker may be at work for as long
//! as it likes); to mend the old runtime (every structure would need a second invariant).

use std::io;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use syscalls::{Sysno, raw_syscall};
use timestop_fiber::{block, current, switch};

use crate::{FiberRef, futex, offload, own, reactor, sched, sites, sys, trace, waker};

/// In the child, before its first new fiber.
static YOUNG: AtomicBool = AtomicBool::new(false);
/// In the child of a fork that a fiber has called.
static ENDS_WITH_LAST: AtomicBool = AtomicBool::new(false);

/// Whether this is the child of a fork that has made no fiber yet.
#[must_use]
pub fn is_young() -> bool {
    YOUNG.load(Ordering::Relaxed)
}

/// Runs `body` with the thread pointer of the carrier: libc's functions that work on its list of
/// threads, or in the name of a thread that the kernel knows, must find themselves in it.
pub fn on_carriers_block<R>(body: impl FnOnce() -> R) -> R {
    let Some(fiber) = FiberRef::current() else {
        return body();
    };
    // The carrier must be the same in the end: no preemption. (On its block the code is no fiber's.)
    current::undisturbed(|| {
        let (own, carrier) = (fiber.pthread(), fiber.carrier().thread_pointer());
        if own == carrier {
            return body();
        }
        // SAFETY: from our block to the carrier's, which nobody runs on while we run on its thread.
        // A signal handler that allocates meanwhile finds its caches.
        unsafe { block::carry_malloc(own, carrier) };
        // SAFETY: the carrier's block is whole; `body` keeps no reference to thread-locals.
        unsafe { switch::set_thread_pointer(carrier) };
        let result = body();
        // SAFETY: back to our own block.
        unsafe { switch::set_thread_pointer(own) };
        // SAFETY: the way back.
        unsafe { block::carry_malloc(carrier, own) };
        result
    })
}

/// Makes the runtime whole again in the child of a `fork`. Does nothing where none was started.
///
/// # Errors
///
/// Descriptors or memory have run out. The child then has the calling fiber and must not make more.
///
/// # Safety
///
/// Called once, first of all in the child, on the thread that forked, with the slabs' locks open and
/// the thread pointer of the caller.
pub unsafe fn after_fork_in_child() -> io::Result<()> {
    let Some(old) = sched::started() else {
        return Ok(());
    };
    // SAFETY: we are the only thread.
    unsafe { futex::reset() };
    // SAFETY: as above.
    unsafe { reactor::descriptor::reset() };
    // SAFETY: as above.
    unsafe { waker::bell::reset() };
    // SAFETY: as above; the old runtime is not used again.
    unsafe { own::reset() };
    // SAFETY: as above.
    unsafe { sites::reset() };
    // SAFETY: as above.
    unsafe { offload::reset() };
    trace::after_fork();
    sys::register_membarrier();
    let caller = FiberRef::current();
    for fiber in crate::signal::live_fibers() {
        if Some(fiber) != caller {
            fiber.bury();
        }
    }
    let fresh = sched::Runtime::build(old.settings.clone())?;
    let runtime: &'static sched::Runtime = Box::leak(Box::new(fresh));
    sched::replace(runtime);
    if let Some(fiber) = caller {
        // It is the process's first thread now, and two processes share no number: locks that they
        // share are owned by it.
        // SAFETY: the caller's own block.
        unsafe { block::set_thread_id(fiber.pthread(), sys::thread_id()) };
        fiber.carrier().adopt(&runtime.workers[0]);
        runtime.carriers.count();
        runtime.counters.spawned();
        crate::signal::set_main_fiber(caller);
    }
    ENDS_WITH_LAST.store(caller.is_some(), Ordering::Relaxed);
    YOUNG.store(true, Ordering::Relaxed);
    Ok(())
}

/// The first new fiber of a child needs what the parent's had: carriers, monitor, spares.
#[inline]
pub(crate) fn grow_up() -> io::Result<()> {
    if is_young() { start_the_rest() } else { Ok(()) }
}

#[cold]
fn start_the_rest() -> io::Result<()> {
    let workers = || sched::runtime().workers.iter().filter(|worker| worker.carrier().is_none());
    let crew = on_carriers_block(|| sched::crew::Crew::gather(workers().count()))?;
    YOUNG.store(false, Ordering::Release);
    trace::grow_up();
    if FiberRef::current().is_some() {
        // From here on the fiber's mask is its own matter: carriers take every signal.
        let none = 0_u64;
        // SAFETY: the kernel reads one signal set.
        let _ = unsafe {
            raw_syscall!(
                Sysno::rt_sigprocmask,
                libc::SIG_SETMASK,
                &raw const none,
                0,
                8
            )
        };
    }
    crew.begin(workers());
    Ok(())
}

/// The main fiber ends by `pthread_exit`: the process goes on until its last fiber ends.
pub fn end_with_last_fiber() {
    ENDS_WITH_LAST.store(true, Ordering::Release);
}

/// A fiber has ended, and was counted. True in a child that has no other: the process must end then,
/// as it does with its last thread. Says so once.
#[inline]
pub(crate) fn was_last() -> bool {
    ENDS_WITH_LAST.load(Ordering::Relaxed) && nobody_is_left()
}

#[cold]
fn nobody_is_left() -> bool {
    // Of two that end at once, one sees the other's count.
    fence(Ordering::SeqCst);
    crate::stats().fibers == 0 && ENDS_WITH_LAST.swap(false, Ordering::AcqRel)
}
