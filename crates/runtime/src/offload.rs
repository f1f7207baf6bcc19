//! Work on another OS thread while the fiber that wants it is suspended: for what blocks inside libc,
//! where no hook reaches, and is done often and by many at once.
//!
//! Law 2 makes such a call right without this: it blocks its OS thread, and the worker moves on. But
//! then every call costs a hand-off. Here a *pool* of a few OS threads makes the calls instead, and
//! the fiber waits as for anything else.
//!
//! The work is *owned*, as its result is: neither refers to the fiber's stack. So the fiber need not
//! wait for the end. A deadline, a cancellation or a handler that leaves by `siglongjmp` may take it
//! away; the work then ends for nobody, and whoever comes last drops the result.
//!
//! Work is begun in order. [`AT_ONCE`] threads are made as soon as there is work for them. More are
//! made only if the work that waits would wait for long at the pace of the last [`WINDOW`]: lookups
//! that take microseconds get no thread each, lookups whose servers do not answer do not keep others
//! waiting for long. A thread that has had nothing to do for [`IDLE`] ends.
//!
//! Threads are made by the starter, which also keeps time (`pthread_create` takes locks that a
//! suspended fiber may hold, and whoever queues work must not wait for them). Where none can be made,
//! the work is given back, and the fiber does it itself.
//!
//! Rejected: work that borrows from the fiber's stack (a fiber that must not go away until a name
//! server has answered cannot be cancelled); one thread for each piece of work (that is what hand-off
//! does); `std::thread` and channels (they go through the hooks that stand on top of this crate).

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use timestop_fiber::lock::Lock;

use crate::fiber::{FiberRef, Reason};
use crate::{Outcome, fork, sched, sys, unpark, wait_until};

/// How many OS threads are made as soon as there is work.
const AT_ONCE: usize = 4;
/// How many there are at most.
const MOST: usize = 128;
/// How often the pace is looked at while work waits, in nanoseconds.
const WINDOW: u64 = 20_000_000;
/// For how many windows work may wait at the pace of the last one, before there are more threads.
const WINDOWS: u64 = 8;
/// After how much time without work a thread ends, in nanoseconds.
const IDLE: u64 = 10_000_000_000;

/// What stands in the queue: the head of a [`Job`], of which it counts as an `Arc`.
#[derive(Debug)]
struct Head {
    next: Cell<*mut Head>,
    /// Consumes the queue's `Arc`. With `false` the work is given back.
    end: unsafe fn(*mut Head, bool),
}

const WAITING: u32 = 0;
const DONE: u32 = 1;
/// There is nobody to do it.
const GIVEN_BACK: u32 = 2;

#[repr(C)]
struct Job<W, R> {
    head: Head,
    fiber: FiberRef,
    /// While it is [`WAITING`] the cells are the queue's and then the pool's, afterwards the fiber's.
    state: AtomicU32,
    work: Cell<Option<W>>,
    result: Cell<Option<R>>,
}

// SAFETY: `state` says whose the cells are, and what is in them may go from thread to thread.
unsafe impl<W: Send, R: Send> Send for Job<W, R> {}
// SAFETY: as above.
unsafe impl<W: Send, R: Send> Sync for Job<W, R> {}

impl<W: FnOnce() -> R, R> Job<W, R> {
    /// # Safety
    ///
    /// `head` is the queue's `Arc` of a job of this type.
    unsafe fn end(head: *mut Head, perform: bool) {
        // SAFETY: the head is the job's first field, and the count is the queue's.
        let job = unsafe { Arc::from_raw(head.cast::<Self>().cast_const()) };
        // Nobody waits where the fiber has gone away.
        if perform && Arc::strong_count(&job) > 1 {
            if let Some(work) = job.work.take() {
                job.result.set(Some(work()));
            }
            job.state.store(DONE, Ordering::Release);
        } else {
            job.state.store(GIVEN_BACK, Ordering::Release);
        }
        // Records are never unmapped: for a fiber that has gone away this is a spurious wake-up.
        unpark(job.fiber);
    }
}

/// Jobs in order, and how many threads there are for them.
#[derive(Debug)]
struct Queue {
    first: *mut Head,
    last: *mut Head,
    /// How many jobs wait to be begun.
    waiting: usize,
    /// How many have been begun.
    begun: u64,
    /// Threads, those included that are being started.
    threads: usize,
    /// Of these, how many sleep and have not been called.
    asleep: usize,
    /// How many have been called, and have not come yet.
    called: usize,
    /// How many are being started.
    starting: usize,
    /// How many threads there may be just now.
    allowed: usize,
    /// When the pace is to be looked at; 0 while nothing waits.
    window_ends: u64,
    /// `begun` at the window's start.
    begun_before: u64,
}

// SAFETY: jobs may go from thread to thread.
unsafe impl Send for Queue {}

static QUEUE: Lock<Queue> = Lock::new(Queue::new());
/// What threads without work sleep on. Grows with each call, under the queue's lock.
static BELL: AtomicU32 = AtomicU32::new(0);
/// Grows in each child of a `fork`: what was queued before is nobody's there.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// What is to be done for a job that was queued.
enum Call {
    Nobody,
    Sleeper,
    Starter,
}

/// What the starter is to do.
enum Tend {
    Start,
    LookAgain(u64),
    Rest,
}

impl Queue {
    const fn new() -> Self {
        Self {
            first: std::ptr::null_mut(),
            last: std::ptr::null_mut(),
            waiting: 0,
            begun: 0,
            threads: 0,
            asleep: 0,
            called: 0,
            starting: 0,
            allowed: AT_ONCE,
            window_ends: 0,
            begun_before: 0,
        }
    }

    fn push(&mut self, head: *mut Head) -> Call {
        // SAFETY: queued heads are whole, and the last one is the queue's.
        match unsafe { self.last.as_ref() } {
            Some(last) => last.next.set(head),
            None => self.first = head,
        }
        self.last = head;
        self.waiting += 1;
        if self.asleep > 0 {
            self.asleep -= 1;
            self.called += 1;
            BELL.fetch_add(1, Ordering::Relaxed);
            return Call::Sleeper;
        }
        // The starter looks by itself while it keeps time.
        let wanted = self.threads < self.allowed && self.waiting > self.called + self.starting;
        if wanted || self.window_ends == 0 { Call::Starter } else { Call::Nobody }
    }

    fn pop(&mut self) -> Option<*mut Head> {
        // SAFETY: queued heads are whole.
        let next = unsafe { self.first.as_ref() }?.next.get();
        let head = std::mem::replace(&mut self.first, next);
        if next.is_null() {
            self.last = next;
        }
        self.waiting -= 1;
        self.begun += 1;
        Some(head)
    }

    /// Whether there is to be one more thread; else when to look again.
    fn tend(&mut self, now: u64) -> Tend {
        if self.waiting == 0 {
            self.window_ends = 0;
            self.allowed = AT_ONCE;
            return Tend::Rest;
        }
        if self.threads >= MOST {
            self.window_ends = 0; // nothing to look at: whoever queues more says so
            return Tend::Rest;
        }
        if self.window_ends == 0 {
            self.begin_window(now);
        } else if now >= self.window_ends {
            if (self.begun - self.begun_before) * WINDOWS < self.waiting as u64 {
                self.allowed = (self.threads * 2).clamp(AT_ONCE, MOST);
            }
            self.begin_window(now);
        }
        if self.threads < self.allowed && self.waiting > self.called + self.starting {
            self.threads += 1;
            self.starting += 1;
            return Tend::Start;
        }
        Tend::LookAgain(self.window_ends)
    }

    fn begin_window(&mut self, now: u64) {
        self.window_ends = now + WINDOW;
        self.begun_before = self.begun;
    }

    /// A thread could not be made. Jobs that nobody is left to do.
    fn failed(&mut self) -> *mut Head {
        self.threads -= 1;
        self.starting -= 1;
        // Not again before the next look.
        self.allowed = self.threads;
        if self.threads > 0 {
            return std::ptr::null_mut();
        }
        self.allowed = AT_ONCE;
        self.waiting = 0;
        self.last = std::ptr::null_mut();
        std::mem::replace(&mut self.first, std::ptr::null_mut())
    }
}

/// OS threads of the pool.
pub(crate) fn threads() -> usize {
    QUEUE.lock().threads
}

/// The starter's: makes the threads that are wanted. When to look again, in monotonic nanoseconds.
pub(crate) fn tend() -> Option<u64> {
    loop {
        let next = QUEUE.lock().tend(sys::now());
        match next {
            Tend::Rest => return None,
            Tend::LookAgain(at) => return Some(at),
            // SAFETY: it takes no argument.
            Tend::Start => match unsafe { timestop_fiber::thread::start_large(main) } {
                Ok(()) => {}
                Err(_) => give_back(QUEUE.lock().failed()),
            },
        }
    }
}

fn give_back(mut head: *mut Head) {
    // SAFETY: jobs that were taken off the queue are the caller's.
    while let Some(job) = unsafe { head.as_ref() } {
        let (next, end) = (job.next.get(), job.end);
        // SAFETY: the head that belongs to the function.
        unsafe { end(head, false) };
        head = next;
    }
}

extern "C" fn main(_: *mut c_void) -> *mut c_void {
    timestop_fiber::thread::begin(c"timestop-pool", false);
    QUEUE.lock().starting -= 1;
    while let Some(head) = next() {
        // SAFETY: a head that was queued is whole.
        let end = unsafe { (*head).end };
        // SAFETY: the head that belongs to the function.
        unsafe { end(head, true) };
    }
    std::ptr::null_mut()
}

/// The next job for the calling thread; `None` if it is to end.
fn next() -> Option<*mut Head> {
    let until = sys::now() + IDLE;
    loop {
        let bell = {
            let mut queue = QUEUE.lock();
            if let Some(head) = queue.pop() {
                return Some(head);
            }
            queue.asleep += 1;
            BELL.load(Ordering::Relaxed)
        };
        let slept = sys::futex_wait(&BELL, bell, Some(until));
        let mut queue = QUEUE.lock();
        // One call is as good as another: whoever comes first takes it.
        if queue.called > 0 {
            queue.called -= 1;
        } else {
            queue.asleep -= 1;
            if slept == Err(libc::ETIMEDOUT) {
                queue.threads -= 1;
                return None;
            }
        }
    }
}

/// Work that another OS thread does.
pub struct Pending<W, R> {
    job: Arc<Job<W, R>>,
    generation: u32,
}

impl<W, R> std::fmt::Debug for Pending<W, R> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Pending").field(&self.job.state).finish()
    }
}

/// Has `work` done on another OS thread, where no fiber is the running one and every signal is blocked.
/// It must not panic. For the running fiber, which may be suspended. Allocates.
///
/// In the child of a fork that has made no fiber yet there is nobody whom blocking could delay: the
/// caller does the work there and then.
pub fn offload<W, R>(fiber: FiberRef, work: W) -> Pending<W, R>
where
    W: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let job = Arc::new(Job {
        head: Head { next: Cell::new(std::ptr::null_mut()), end: Job::<W, R>::end },
        fiber,
        state: AtomicU32::new(WAITING),
        work: Cell::new(Some(work)),
        result: Cell::new(None),
    });
    let pending = Pending { job, generation: GENERATION.load(Ordering::Relaxed) };
    if fork::is_young() {
        pending.job.state.store(GIVEN_BACK, Ordering::Relaxed);
        return pending;
    }
    let head = Arc::into_raw(Arc::clone(&pending.job)).cast_mut().cast::<Head>();
    // Not in the match: the lock is let go first.
    let call = QUEUE.lock().push(head);
    match call {
        Call::Nobody => {}
        Call::Sleeper => {
            sys::futex_wake(BELL.as_ptr() as usize, 1);
        }
        Call::Starter => sched::runtime().spares.ring(),
    }
    pending
}

impl<W: FnOnce() -> R, R> Pending<W, R> {
    fn is_over(&self) -> bool {
        self.job.state.load(Ordering::Acquire) != WAITING
            || self.generation != GENERATION.load(Ordering::Relaxed)
    }

    /// Suspends the calling fiber until the work is done ([`Outcome::Woken`]); where the wait is
    /// `breakable`, also until a signal, the fiber's deadline or its cancellation. May be called again;
    /// dropped without the result, the work ends for nobody.
    pub fn wait(&self, reason: Reason, breakable: bool) -> Outcome {
        wait_until(self.job.fiber, reason, 0, None, breakable, || self.is_over())
    }

    /// The result, after [`wait`](Self::wait) has said [`Outcome::Woken`]. Work that nobody could be
    /// found for is done here and now. `None` where this is the child of a `fork` that was made while
    /// the work was going on, in the parent: a handler of a signal may do that.
    pub fn result(self) -> Option<R> {
        // Written by another thread, before `state`; in a child there is none.
        self.job.result.take().or_else(|| self.job.work.take().map(|work| work()))
    }
}

/// In the child of a `fork`: forgets the parent's threads and what was queued for them.
///
/// # Safety
///
/// The caller is the only thread of its process.
pub(crate) unsafe fn reset() {
    // SAFETY: as the caller vouches; the value is replaced at once.
    unsafe { QUEUE.reset() };
    *QUEUE.lock() = Queue::new();
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
