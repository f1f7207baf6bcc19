//! What a fiber and its handle share: the closure before, the result after, and the way to find
//! each other in between. One allocation, which is also the task that stands in the run queue.
//!
//! ```text
//!   link:   IDLE ─ run ─▶ fiber's address ─ finish ─▶ ENDED     (| BUSY while `cancel` uses it)
//!             └─ cancel ─▶ CANCELLED ─ run ─▶ …
//! ```
//!
//! Who waits for the end, who drops the result and who frees the packet is said by [`Ending`].

use std::any::Any;
use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread::{Result, Thread};
use std::{io, thread};

use timestop_runtime::ending::{Ending, Last};
use timestop_runtime::waker::watched::Watched;
use timestop_runtime::{self as runtime, FiberRef, Priority, Reason, Start, Task, sys, waker};

const IDLE: usize = 0;
const BUSY: usize = 1;
const CANCELLED: usize = 2;
const ENDED: usize = 4;

/// A waiter that is no fiber.
const OS_THREAD: usize = Ending::FIRST_WAITER;

/// The word of a fiber's record that holds the address of its packet's [`Core`].
const PACKET_WORD: usize = 0;

/// The part of a packet that does not depend on types.
#[repr(C)]
struct Core {
    task: Task,
    link: AtomicUsize,
    ending: Ending,
    /// 1 when done: what an OS thread that joins sleeps on.
    done: AtomicU32,
    /// A future that waits for the end.
    watched: Watched,
    wants_thread: AtomicBool,
    thread: OnceLock<Thread>,
}

#[repr(C)]
struct Head<T> {
    core: Core,
    result: UnsafeCell<Option<Result<T>>>,
    free: unsafe fn(NonNull<Head<T>>),
}

#[repr(C)]
struct Whole<F, T> {
    head: Head<T>,
    closure: UnsafeCell<ManuallyDrop<F>>,
}

/// A handle's side of a packet.
pub(crate) struct Packet<T>(NonNull<Head<T>>);

// SAFETY: the packet hands a `T` from one thread to another, under the protocol of `ending`.
unsafe impl<T: Send> Send for Packet<T> {}
// SAFETY: through a shared handle only atomics are reached.
unsafe impl<T: Send> Sync for Packet<T> {}

impl<T> Packet<T> {
    /// A packet around `closure`, for a handle and a fiber.
    ///
    /// # Safety
    ///
    /// What closure and result borrow outlives the fiber.
    unsafe fn new<F: FnOnce() -> T>(closure: F) -> Self {
        let whole = Box::new(Whole {
            head: Head {
                core: Core {
                    task: Task::new(run::<F, T>),
                    link: AtomicUsize::new(IDLE),
                    ending: Ending::new(),
                    done: AtomicU32::new(0),
                    watched: Watched::new(),
                    wants_thread: AtomicBool::new(false),
                    thread: OnceLock::new(),
                },
                result: UnsafeCell::new(None),
                free: free::<F, T>,
            },
            closure: UnsafeCell::new(ManuallyDrop::new(closure)),
        });
        Self(NonNull::from(Box::leak(whole)).cast())
    }

    /// Spawns `closure` on a default stack.
    ///
    /// # Safety
    ///
    /// As [`new`](Self::new).
    pub(crate) unsafe fn spawn<F: FnOnce() -> T>(closure: F) -> io::Result<Self> {
        // SAFETY: as the caller vouches.
        let packet = unsafe { Self::new(closure) };
        // SAFETY: the task is the packet's head, and is not freed before the fiber's end.
        match unsafe { runtime::spawn(packet.0.cast()) } {
            Ok(()) => Ok(packet),
            Err(error) => {
                // SAFETY: the task was not queued: the closure is still there.
                unsafe { packet.abandon::<F>() };
                Err(error)
            }
        }
    }

    /// Spawns `closure` on a stack of at least `stack` bytes.
    ///
    /// # Safety
    ///
    /// As [`new`](Self::new).
    pub(crate) unsafe fn spawn_with_stack<F: FnOnce() -> T>(
        closure: F,
        stack: usize,
        priority: Priority,
    ) -> io::Result<Self> {
        // SAFETY: as the caller vouches.
        let packet = unsafe { Self::new(closure) };
        let start =
            Start { function: start_on_own_stack::<F, T>, argument: packet.0.as_ptr() as usize };
        match runtime::create(stack, start) {
            Ok(fiber) => {
                fiber.set_priority(priority);
                runtime::launch(fiber);
                Ok(packet)
            }
            Err(error) => {
                // SAFETY: no fiber has it.
                unsafe { packet.abandon::<F>() };
                Err(error)
            }
        }
    }

    /// Drops the closure of a packet that never ran, and leaves the rest to the handle.
    unsafe fn abandon<F>(&self) {
        let whole: NonNull<Whole<F, T>> = self.0.cast();
        // SAFETY: the packet is still there …
        let closure = unsafe { whole.as_ref() }.closure.get();
        // SAFETY: … nobody else has it …
        let closure = unsafe { &mut *closure };
        // SAFETY: … and the closure has not been taken.
        unsafe { ManuallyDrop::drop(closure) };
        self.core().ending.end();
    }

    fn core(&self) -> &Core {
        // SAFETY: the packet is not freed before the handle is dropped.
        &unsafe { self.0.as_ref() }.core
    }

    pub(crate) fn id(&self) -> u64 {
        self.core().task.id()
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.core().ending.is_done()
    }

    /// Waits for the end of the fiber.
    pub(crate) fn wait(&self) {
        let core = self.core();
        let fiber = FiberRef::current();
        let me = fiber.map_or(OS_THREAD, FiberRef::address);
        if core.ending.is_done() || !core.ending.wait(me) {
            return;
        }
        match fiber {
            Some(fiber) => {
                let done = || core.ending.is_done();
                runtime::wait_until(fiber, Reason::Join, self.id(), None, false, done);
            }
            None => runtime::outside_wait(|| {
                while core.done.load(Ordering::Acquire) == 0 {
                    let _ = sys::futex_wait(&core.done, 0, None);
                }
            }),
        }
    }

    /// The result, once; after [`wait`](Self::wait).
    pub(crate) fn take(&self) -> Option<Result<T>> {
        debug_assert!(self.is_finished());
        // SAFETY: the packet is not freed before the handle is dropped.
        let place = unsafe { self.0.as_ref() }.result.get();
        // SAFETY: the fiber has stored the result before it said so; the handle, which is consumed by
        // its callers, is the only other user.
        unsafe { &mut *place }.take()
    }

    /// What comes when the fiber is about to be done: then [`wait`](Self::wait) returns within nanoseconds. Who
    /// watches looks at [`is_ending`](Self::is_ending) after that.
    pub(crate) fn watched(&self) -> &Watched {
        &self.core().watched
    }

    /// Whether the fiber is done, or does its last step.
    pub(crate) fn is_ending(&self) -> bool {
        self.core().link.load(Ordering::SeqCst) == ENDED
    }

    /// CPU time that the fiber has used, in nanoseconds; 0 before it runs, `None` after its end.
    pub(crate) fn cpu_time(&self) -> Option<u64> {
        match self.core().link.load(Ordering::Acquire) & !BUSY {
            ENDED => None,
            IDLE | CANCELLED => Some(0),
            // SAFETY: a fiber's address. If it ends now, its successor's time is read: no harm.
            fiber => Some(unsafe { FiberRef::from_address(fiber) }.cpu_time()),
        }
    }

    /// Asks the fiber to end.
    pub(crate) fn cancel(&self) {
        // Who finds the word busy spins: it must not stay so for a slice.
        runtime::undisturbed(|| self.cancel_undisturbed());
    }

    fn cancel_undisturbed(&self) {
        let link = &self.core().link;
        let mut now = link.load(Ordering::Acquire);
        loop {
            let next = match now {
                IDLE => CANCELLED,
                CANCELLED | ENDED => return,
                busy if busy & BUSY != 0 => {
                    std::hint::spin_loop();
                    now = link.load(Ordering::Acquire);
                    continue;
                }
                fiber => fiber | BUSY,
            };
            match link.compare_exchange(now, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(IDLE) => return,
                Ok(address) => {
                    // SAFETY: the word held a fiber's address; BUSY keeps the fiber from ending.
                    unsafe { FiberRef::from_address(address) }.cancel();
                    link.store(address, Ordering::Release);
                    return;
                }
                Err(other) => now = other,
            }
        }
    }

    /// The fiber's `std::thread::Thread`, which only the fiber itself can make: it does so when it
    /// next waits or ends, and this waits for it.
    pub(crate) fn thread(&self) -> &Thread {
        let core = self.core();
        if let Some(thread) = core.thread.get() {
            return thread;
        }
        core.wants_thread.store(true, Ordering::SeqCst);
        loop {
            let address = core.link.load(Ordering::SeqCst) & !BUSY;
            if address == ENDED {
                // It ended without one: nobody can ever have seen its identity.
                return core.thread.get_or_init(|| thread::spawn(|| {}).thread().clone());
            }
            if let Some(thread) = core.thread.get() {
                return thread;
            }
            if FiberRef::current().is_some_and(|fiber| fiber.address() == address) {
                core.publish_thread(); // asked by the fiber itself
                continue;
            }
            if address > ENDED {
                // SAFETY: a fiber's address; if it has ended, its successor has nothing to answer.
                unsafe { FiberRef::from_address(address) }.ask();
            }
            thread::yield_now();
        }
    }
}

impl<T> Drop for Packet<T> {
    fn drop(&mut self) {
        // SAFETY: the packet is not freed before the handle is dropped.
        let head = unsafe { self.0.as_ref() };
        let result = || {
            // SAFETY: the fiber has stored the result, and leaves it to the handle.
            drop(unsafe { &mut *head.result.get() }.take());
        };
        if head.core.ending.detach(result) {
            // SAFETY: the fiber has ended, and uses the packet no more.
            unsafe { (head.free)(self.0) };
        }
    }
}

unsafe fn free<F, T>(head: NonNull<Head<T>>) {
    // SAFETY: made by `Packet::new` as this type; the closure inside was taken or dropped before.
    drop(unsafe { Box::from_raw(head.cast::<Whole<F, T>>().as_ptr()) });
}

unsafe fn start_on_own_stack<F: FnOnce() -> T, T>(argument: usize) {
    let task = NonNull::new(argument as *mut Task).expect("a packet's address");
    // SAFETY: the argument is what `spawn_with_stack` passed.
    unsafe { run::<F, T>(task) };
}

/// The fiber's side: runs the closure and stores what became of it.
unsafe fn run<F: FnOnce() -> T, T>(task: NonNull<Task>) {
    let head: NonNull<Head<T>> = task.cast();
    let fiber = FiberRef::current().expect("a task runs on a fiber");
    // SAFETY: the packet is not freed before `finish`.
    let core = &unsafe { head.as_ref() }.core;
    fiber.user_word(PACKET_WORD).set(std::ptr::from_ref(core) as usize);
    if core.link.swap(fiber.address(), Ordering::AcqRel) == CANCELLED {
        fiber.cancel();
    }
    core.publish_thread();
    // Before the closure runs: it may end the fiber by `pthread_exit`.
    let finish = Start { function: finish::<T>, argument: head.as_ptr() as usize };
    fiber.set_finish(finish);
    let whole: NonNull<Whole<F, T>> = task.cast();
    // SAFETY: as above.
    let place = unsafe { whole.as_ref() }.closure.get();
    // SAFETY: only the fiber touches the closure once it runs …
    let place = unsafe { &mut *place };
    // SAFETY: … and the task runs once, so the closure is taken once.
    let closure = unsafe { ManuallyDrop::take(place) };
    let result = catch_unwind(AssertUnwindSafe(closure));
    // SAFETY: as above.
    let place = unsafe { head.as_ref() }.result.get();
    // SAFETY: the handle does not look before `store`; what was there is `None`.
    unsafe { place.write(Some(result)) };
    if !core.ending.store() {
        // SAFETY: the handle is gone.
        drop_quietly(unsafe { &mut *place }.take()); // here, where thread-locals still live
    }
    core.publish_thread();
}

/// Drops a result whose destructor may panic: nobody is there to hear of it.
fn drop_quietly<T>(result: Option<Result<T>>) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(result))) {
        let _: &(dyn Any + Send) = &*panic;
        std::mem::forget(panic);
    }
}

/// Last of all on the fiber: its thread-locals are gone.
unsafe fn finish<T>(argument: usize) {
    let head = NonNull::new(argument as *mut Head<T>).expect("a packet's address");
    // SAFETY: the packet is not freed before `end`.
    let core = &unsafe { head.as_ref() }.core;
    let mut link = core.link.load(Ordering::Acquire) & !BUSY;
    while let Err(now) =
        core.link.compare_exchange_weak(link, ENDED, Ordering::SeqCst, Ordering::Acquire)
    {
        std::hint::spin_loop(); // `cancel` is at work with this fiber
        link = now & !BUSY;
    }
    // Who watches looks at `link` afterwards: one of the two sees the other.
    if !core.watched.is_unwatched() {
        runtime::undisturbed(|| waker::come(&core.watched));
    }
    match core.ending.end() {
        Last::Nothing => {}
        Last::Free => {
            // SAFETY: the handle is gone, and so is the result: the packet is ours.
            let free = unsafe { head.as_ref() }.free;
            // SAFETY: as above.
            unsafe { free(head) };
        }
        Last::Wake(OS_THREAD) => {
            // The joiner relies on this word alone; afterwards the packet may be gone, and the kernel
            // wakes nobody, or somebody for no reason, which every waiter of a futex must bear.
            let word = core.done.as_ptr() as usize;
            core.done.store(1, Ordering::Release);
            sys::futex_wake(word, 1);
        }
        Last::Wake(joiner) => {
            // SAFETY: the joiner's own address.
            runtime::unpark(unsafe { FiberRef::from_address(joiner) });
        }
    }
}

impl Core {
    /// Makes the fiber's `Thread` for whoever has asked. On the fiber itself.
    fn publish_thread(&self) {
        if self.wants_thread.load(Ordering::SeqCst) {
            self.thread.get_or_init(thread::current);
        }
    }
}

/// What a fiber does when it was asked while it waited; set with `set_asked`.
pub(crate) fn answer(fiber: FiberRef) {
    let core = fiber.user_word(PACKET_WORD).get() as *const Core;
    // SAFETY: set by `run`, on this fiber, to a packet that the fiber keeps until its end; zero on
    // fibers without one.
    if let Some(core) = unsafe { core.as_ref() } {
        core.publish_thread();
    }
}
