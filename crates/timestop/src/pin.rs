//! Staying on one OS thread for a while.

use std::marker::PhantomData;

use timestop_runtime::FiberRef;

/// Keeps the running fiber on its OS thread, from [`pin`] until it is dropped.
///
/// Not [`Send`]: it is dropped on the fiber that was pinned.
#[derive(Debug)]
#[must_use = "the fiber may move again when this is dropped"]
pub struct Pin {
    /// `None` on an OS thread.
    fiber: Option<FiberRef>,
    _stays_here: PhantomData<*const ()>,
}

/// Keeps the running fiber on its OS thread, and that thread to the fiber, until the returned guard is
/// dropped. May be nested.
///
/// For code that changes what the kernel keeps *for each OS thread* and no library can swap: namespaces
/// (`setns`, `unshare`), capabilities (`capset`), the file system's user (`setfsuid`), affinity, scheduling
/// class. Without a pin such a change would hold for whichever fibers run on that thread later, and
/// would be lost when the fiber is resumed on another. Undo the change *before* the guard is dropped:
/// the thread goes on to run others. Where such a call is made through libc, the fiber is bound to its
/// OS thread for good by the call itself, and the thread ends with it. For raw system calls pin first;
/// what they cannot undo belongs on a [`std::thread`] of its own, spawned by an OS thread.
///
/// While pinned, a call that blocks, blocks the OS thread, as it would without fibers. The other
/// fibers of its worker are handed to another OS thread at once and do not wait. Deadlines and
/// cancellation do not end such calls, as nothing watches them.
///
/// Cost: two additions; for each call that blocks for long, the hand-off, some microseconds. On an
/// OS thread it does nothing.
///
/// Source: Go's `runtime.LockOSThread`, as a guard.
///
/// # Example
///
/// ```
/// let pinned = timestop::pin();
/// // … enter a namespace, work in it, come back …
/// drop(pinned);
/// ```
pub fn pin() -> Pin {
    let fiber = FiberRef::current();
    if let Some(fiber) = fiber {
        fiber.pin();
    }
    Pin { fiber, _stays_here: PhantomData }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Some(fiber) = self.fiber {
            fiber.unpin();
        }
    }
}
