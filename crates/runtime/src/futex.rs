//! The table of address-keyed waiters: what futexes, mutexes, condition variables and semaphores
//! wait in. Fibers and OS threads stand in the same queues, first come, first served.
//!
//! A waiter queues itself under the lock of its address's bucket, after a last look (`still`) at
//! whether it should wait at all. A waker changes the word first and looks at the bucket then. So
//! either the waiter's look sees the change, or the waker finds the waiter. A waker that has nobody to
//! wake goes on without the lock, if the lock is free and the count beside it zero:
//!
//! ```text
//!   waiter                                 waker
//!   take the lock (a full fence)           change the word
//!   look at the word                       full fence
//!   queue, count + 1                       lock free, and then count zero?
//!   let the lock go (release)
//! ```
//!
//! If the waker saw the lock free because the waiter had not taken it yet, the waiter's look comes
//! after the waker's fence and sees the change; if because it had let go, the count says so.
//!
//! **Left places.** Who sleeps in the kernel (an OS thread, a pinned fiber), and who waits for a round to
//! be complete ([`meet`]), stands in its queue while signal handlers run on top. One that leaves by
//! `siglongjmp` leaves the waiter's stack with it. So these waiters are listed for their thread or fiber
//! ([`current::places`]), and whoever jumps has them taken out first ([`leave`]).
//! Other waits of fibers are over, and the waiter out, before handlers run.
//!
//! Rejected: waiters on the kernel's futex for OS threads (a fiber's unlock would have to wake both
//! tables, and order between the two kinds would be lost).

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering, compiler_fence};

use crossbeam_utils::CachePadded;
use timestop_fiber::current;
use timestop_fiber::lock::{Guard, Lock};

use crate::fiber::{FiberRef, Reason};
use crate::sync::full_fence;
use crate::{Outcome, sched, signal, sys, wait_listed, wait_until};

const BUCKETS: usize = 1024;

/// Matches every waiter.
pub const ANY: u32 = u32::MAX;

#[derive(Debug)]
struct Bucket {
    /// How many stand in the queue. Written under its lock, read without.
    waiting: AtomicU32,
    queue: Lock<Queue>,
}

#[derive(Debug)]
struct Queue {
    first: *mut Waiter,
    last: *mut Waiter,
    /// Who came last to a kept place before the end, or who stood beside that one.
    finger: *mut Waiter,
    /// Those who came have lower tickets.
    next_ticket: u64,
}

// SAFETY: waiters are on stacks that wait, and followed under the lock only.
unsafe impl Send for Queue {}

impl Bucket {
    /// Locks the queue for one who is about to look at the word that it would wait for.
    fn lock_before_look(&self) -> Guard<'_, Queue> {
        let queue = self.queue.lock();
        // On x86-64 the locked instruction by which the lock was taken is a full fence.
        compiler_fence(Ordering::SeqCst);
        queue
    }

    /// One more stands in the queue, or one less. Under the lock.
    fn count(&self, change: i32) {
        let now = self.waiting.load(Ordering::Relaxed).wrapping_add_signed(change);
        self.waiting.store(now, Ordering::Relaxed);
    }

    /// Whether anyone stands in the queue, or is about to. Certain only after a full fence.
    #[inline]
    fn is_occupied(&self) -> bool {
        // Acquire, and in this order: who has let the lock go has counted itself.
        self.queue.is_held() || self.waiting.load(Ordering::Relaxed) != 0
    }
}

static TABLE: [CachePadded<Bucket>; BUCKETS] = [const {
    CachePadded::new(Bucket { waiting: AtomicU32::new(0), queue: Lock::new(Queue::EMPTY) })
}; BUCKETS];

fn bucket(address: usize) -> &'static Bucket {
    let hash = (address as u64 >> 2).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    &TABLE[(hash >> 54) as usize % BUCKETS]
}

/// One place in a queue, on the stack of who waits.
#[derive(Debug)]
struct Waiter {
    /// `None`: an OS thread, which sleeps on `woken`.
    fiber: Option<FiberRef>,
    /// Written under the lock of the bucket that the waiter stands in.
    address: AtomicUsize,
    bits: u32,
    /// Place in the queue: by ticket, so that one who timed out and comes again keeps its place.
    ticket: Cell<u64>,
    next: Cell<*mut Waiter>,
    previous: Cell<*mut Waiter>,
    /// Whether only a round that is complete wakes it, and whether its own is. Under the bucket's lock.
    meets: bool,
    due: Cell<bool>,
    /// 0 while queued. Set by the waker that takes the waiter out, under the lock: from then on the
    /// waiter may return, and its stack be gone.
    woken: AtomicU32,
}

impl Waiter {
    /// One that has no ticket and stands nowhere.
    fn new(what: &Wait) -> Self {
        // A child of `vfork` runs on the fiber's stack, but it is no fiber: it sleeps in the kernel.
        // So does a pinned one, which must keep its OS thread.
        let fiber = FiberRef::current().filter(|fiber| fiber.may_suspend());
        Self {
            fiber,
            address: AtomicUsize::new(what.address),
            bits: what.bits,
            ticket: Cell::new(what.ticket),
            next: Cell::new(ptr::null_mut()),
            previous: Cell::new(ptr::null_mut()),
            meets: false,
            due: Cell::new(false),
            woken: AtomicU32::new(0),
        }
    }

    fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire) == 1
    }
}

/// What to wait for.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    /// The key.
    pub address: usize,
    /// Which wakers match (`FUTEX_WAIT_BITSET`); [`ANY`] for all.
    pub bits: u32,
    /// Monotonic nanoseconds; `None` waits for ever.
    pub deadline: Option<u64>,
    /// Whether a signal ends the wait. Cancelling and the fiber's deadline never do: code that waits
    /// for a lock has no error path for them.
    pub breakable: bool,
    /// For reports, with what it says of the reason: the address, if nothing else is known.
    pub reason: Reason,
    /// See above.
    pub argument: u64,
    /// A place kept from an earlier wait, or 0.
    pub ticket: u64,
}

impl Wait {
    /// A wait for any waker of `address`, without a deadline.
    #[must_use]
    pub fn on(address: usize, reason: Reason) -> Self {
        Self {
            address,
            bits: ANY,
            deadline: None,
            breakable: false,
            reason,
            // The two lowest bits tell the queues of one object apart.
            argument: (address & !3) as u64,
            ticket: 0,
        }
    }
}

/// How a wait ended, and the place it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waited {
    /// `None`: the last look said not to wait.
    pub outcome: Option<Outcome>,
    /// To be given to the next wait by one who timed out and must not lose its place.
    pub ticket: u64,
    /// Nobody woke the caller: a signal ended the wait, after which it should go on, for there was no
    /// handler, or one with `SA_RESTART`. Who cannot bear to be woken for no reason waits again.
    pub goes_on: bool,
}

impl Waited {
    fn new(outcome: Outcome, ticket: u64) -> Self {
        Self { outcome: Some(outcome), ticket, goes_on: false }
    }
}

/// Waits in the queue of an address.
///
/// `still` is asked, with the bucket locked, whether to wait; it must not block. `queued` runs once
/// the caller stands in the queue, before it sleeps: where a condition variable lets its mutex go.
///
/// A signal whose handlers have run ends the wait too: as if woken for no reason, where the wait is not
/// breakable.
pub fn wait(what: Wait, still: impl FnOnce() -> bool, queued: impl FnOnce()) -> Waited {
    let bucket = bucket(what.address);
    let waiter = Waiter::new(&what);
    let place = Place::new(&waiter, |_| {});
    // On the fiber no handler runs while others know its stack: it could leave by `siglongjmp`. Where an
    // OS thread sleeps they do run.
    let shielded = waiter.fiber.is_some();
    let since = waiter.fiber.map(FiberRef::handled);
    if shielded {
        current::deepen();
    }
    let outcome = wait_in(bucket, what, &waiter, &place, still, queued);
    if shielded {
        current::rise();
    }
    let Some(outcome) = outcome else {
        return Waited { outcome: None, ticket: what.ticket, goes_on: false };
    };
    if let (Some(fiber), Some(since)) = (waiter.fiber, since) {
        // Nobody knows the waiter any more: a handler may leave by `siglongjmp`.
        let interrupted = outcome == Outcome::Interrupted;
        let timed = what.deadline.is_some();
        let goes_on = signal::goes_on(fiber, what.reason, timed, since, interrupted);
        if interrupted && (goes_on || !what.breakable) {
            return Waited { goes_on: true, ..Waited::new(Outcome::Woken, waiter.ticket.get()) };
        }
    }
    Waited::new(outcome, waiter.ticket.get())
}

/// Queues the waiter, unless `still` says not to (then `None`), and waits until it is taken out. If its OS
/// thread sleeps, at `place`.
fn wait_in(
    bucket: &Bucket,
    what: Wait,
    waiter: &Waiter,
    place: &Place,
    still: impl FnOnce() -> bool,
    queued: impl FnOnce(),
) -> Option<Outcome> {
    {
        let mut queue = bucket.lock_before_look();
        if !still() {
            return None;
        }
        if what.ticket == 0 {
            // Under the lock, so that the order of tickets is the order of `still`.
            waiter.ticket.set(queue.ticket());
        }
        queue.insert(waiter);
        bucket.count(1);
        if waiter.fiber.is_none() {
            place.open();
        }
    }
    queued();
    let Some(fiber) = waiter.fiber else {
        let outcome = sleep_in_kernel(waiter, what.deadline, what.breakable);
        if outcome != Outcome::Woken && !withdraw_and(waiter, |_| place.close()) {
            return Some(outcome);
        }
        place.close();
        return Some(Outcome::Woken);
    };
    let woken = || waiter.is_woken();
    let outcome = wait_listed(fiber, what.reason, what.argument, what.deadline, false, woken);
    let withdrawn = outcome != Outcome::Woken && !withdraw_and(waiter, |_| {});
    Some(if withdrawn { outcome } else { Outcome::Woken })
}

/// Waits for the others of a round, or completes it.
///
/// `arrive` is called with the bucket of `address` locked: `None` where others are still to come, else how
/// many of those that wait are woken, which are those that came first. True for who completes the round.
/// A wake-up is meant: nothing is looked at afterwards, and what lies at the address may be gone.
///
/// `left` is called, with the bucket locked too, if a caller leaves before its round is complete, by a jump
/// out of a signal's handler.
pub fn meet(
    address: usize,
    reason: Reason,
    arrive: impl FnOnce() -> Option<usize>,
    left: fn(usize),
) -> bool {
    let what = Wait::on(address, reason);
    let mut waiter = Waiter::new(&what);
    waiter.meets = true;
    let waiter = waiter;
    let place = Place::new(&waiter, left);
    let bucket = bucket(address);
    let others = {
        let mut queue = bucket.queue.lock();
        let others = arrive();
        match others {
            Some(others) => queue.call_up(address, others),
            None => {
                waiter.ticket.set(queue.ticket());
                queue.insert(&waiter);
                bucket.count(1);
                place.open();
            }
        }
        others
    };
    if let Some(others) = others {
        wake(address, others, ANY);
        return true;
    }
    match waiter.fiber {
        Some(fiber) => {
            wait_until(fiber, reason, what.argument, None, false, || waiter.is_woken());
        }
        None => {
            sleep_in_kernel(&waiter, None, false);
        }
    }
    place.close();
    false
}

/// A waiter beneath signal handlers that may jump. On the stack of who waits, like the waiter.
///
/// It is open while the waiter stands in a queue, and a little longer once it was woken: it is opened, and
/// closed by who takes its own waiter out, under the bucket's lock, where no handler runs.
#[derive(Debug)]
struct Place {
    waiter: *const Waiter,
    /// Called with the address if the place is left before the waiter was woken, or called up.
    left: fn(usize),
    /// The next one further out on the stack; 0 for none.
    outer: Cell<usize>,
}

impl Place {
    fn new(waiter: &Waiter, left: fn(usize)) -> Self {
        Self { waiter, left, outer: Cell::new(0) }
    }

    fn open(&self) {
        self.outer.set(current::places());
        current::set_places(ptr::from_ref(self) as usize);
    }

    fn close(&self) {
        current::set_places(self.outer.get());
    }
}

/// The running code is about to leave its stack up to `target`: its waiters there are taken out of their
/// queues. With `usize::MAX`, all of them.
pub fn leave(target: usize) {
    let mut innermost = current::places();
    // SAFETY: 0, or a place in a frame that is still on the stack.
    while let Some(place) = unsafe { (innermost as *const Place).as_ref() } {
        if innermost >= target {
            break;
        }
        // SAFETY: as above, and the waiter is older than its place.
        let waiter = unsafe { &*place.waiter };
        let woken = withdraw_and(waiter, |address| {
            place.close();
            if !waiter.due.get() {
                (place.left)(address);
            }
        });
        innermost = place.outer.get();
        place.close();
        // Somebody else shall have what we were woken for. (A round has woken everyone by itself.)
        if woken && !waiter.meets {
            wake(waiter.address.load(Ordering::Relaxed), 1, waiter.bits);
        }
    }
}

/// Sleeps in the kernel, where handlers run on top, until the waiter is woken.
fn sleep_in_kernel(waiter: &Waiter, deadline: Option<u64>, breakable: bool) -> Outcome {
    if deadline.is_none() {
        crate::outside_wait(|| sleep_on(waiter, None, breakable))
    } else {
        sleep_on(waiter, deadline, breakable)
    }
}

fn sleep_on(waiter: &Waiter, deadline: Option<u64>, breakable: bool) -> Outcome {
    while !waiter.is_woken() {
        match sys::futex_wait(&waiter.woken, 0, deadline) {
            Err(libc::ETIMEDOUT) => return Outcome::TimedOut,
            Err(libc::EINTR) if breakable => return Outcome::Interrupted,
            _ => {}
        }
    }
    Outcome::Woken
}

/// Takes the waiter out of whatever queue it stands in. True if a waker was faster. Else `out` is called
/// with its address once it is out, the bucket still locked.
fn withdraw_and(waiter: &Waiter, out: impl FnOnce(usize)) -> bool {
    loop {
        let address = waiter.address.load(Ordering::Relaxed);
        let bucket = bucket(address);
        let mut queue = bucket.queue.lock();
        // A requeue may have moved it to another bucket before we had this one's lock.
        if waiter.address.load(Ordering::Relaxed) != address {
            continue;
        }
        // A waker says under the lock that it has taken the waiter: so here it is known.
        if waiter.is_woken() {
            return true;
        }
        queue.remove(waiter);
        bucket.count(-1);
        out(address);
        return false;
    }
}

impl Queue {
    const EMPTY: Self = Self {
        first: ptr::null_mut(),
        last: ptr::null_mut(),
        finger: ptr::null_mut(),
        next_ticket: 1,
    };

    /// A place behind all that have come so far.
    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket - 1
    }

    fn insert(&mut self, waiter: &Waiter) {
        let pointer = ptr::from_ref(waiter).cast_mut();
        let before = self.place_of(waiter.ticket.get());
        // SAFETY: as above.
        let next = match unsafe { before.as_ref() } {
            Some(other) => other.next.replace(pointer),
            None => std::mem::replace(&mut self.first, pointer),
        };
        waiter.previous.set(before);
        waiter.next.set(next);
        // SAFETY: as above.
        match unsafe { next.as_ref() } {
            Some(other) => {
                other.previous.set(pointer);
                self.finger = pointer;
            }
            None => self.last = pointer,
        }
    }

    /// Whom one with `ticket` stands behind; null for nobody.
    ///
    /// Nearly all have a fresh ticket, and stand at the end. Of those with a kept place many come in order,
    /// each to where the one before has gone: a thousand threads that wait for one lock with the same time
    /// limit, say.
    fn place_of(&self, ticket: u64) -> *mut Waiter {
        // SAFETY: queued waiters are on stacks that wait; all that are met here are queued.
        let waiter = |pointer: *mut Waiter| unsafe { pointer.as_ref() };
        let is_behind = |other: &&Waiter| {
            #[cfg(test)]
            tests::STEPS.set(tests::STEPS.get() + 1);
            other.ticket.get() <= ticket
        };
        let mut before = self.last;
        if waiter(before).filter(is_behind).is_some() {
            return before;
        }
        if !self.finger.is_null() {
            before = self.finger;
        }
        while let Some(other) = waiter(before).filter(|other| !is_behind(other)) {
            before = other.previous.get();
        }
        while let Some(next) = waiter(before).map(|other| other.next.get())
            && waiter(next).filter(is_behind).is_some()
        {
            before = next;
        }
        before
    }

    fn remove(&mut self, waiter: &Waiter) {
        let (previous, next) = (waiter.previous.get(), waiter.next.get());
        // SAFETY: queued waiters are on stacks that wait.
        match unsafe { previous.as_ref() } {
            Some(other) => other.next.set(next),
            None => self.first = next,
        }
        // SAFETY: as above.
        match unsafe { next.as_ref() } {
            Some(other) => other.previous.set(previous),
            None => self.last = previous,
        }
        if ptr::eq(self.finger, waiter) {
            self.finger = if previous.is_null() { next } else { previous };
        }
    }

    /// Says of the first `count` that wait at `address` for a round that it is complete.
    fn call_up(&self, address: usize, count: usize) {
        let mut current = self.first;
        let mut left = count;
        // SAFETY: queued waiters are on stacks that wait.
        while let Some(waiter) = unsafe { current.as_ref() }.filter(|_| left > 0) {
            if waiter.address.load(Ordering::Relaxed) == address && !waiter.due.replace(true) {
                left -= 1;
            }
            current = waiter.next.get();
        }
    }

    /// Takes out the first waiter on `address` whose bits match and whose ticket is below `end`; of those
    /// that wait for a round, one that is called up. It is the caller's until the lock is let go or
    /// [`Sleeper::of`] has marked it.
    fn take(&mut self, address: usize, bits: u32, end: u64) -> Option<&Waiter> {
        let mut current = self.first;
        // SAFETY: queued waiters are on stacks that wait.
        while let Some(waiter) = unsafe { current.as_ref() } {
            if waiter.ticket.get() >= end {
                break; // they stand in order of tickets
            }
            let matches = waiter.address.load(Ordering::Relaxed) == address && waiter.bits & bits != 0;
            if matches && (!waiter.meets || waiter.due.get()) {
                self.remove(waiter);
                return Some(waiter);
            }
            current = waiter.next.get();
        }
        None
    }
}

/// Who must be told that it was woken: all that is needed once its stack may be gone.
#[derive(Debug, Clone, Copy)]
enum Sleeper {
    Fiber(FiberRef),
    /// The word that an OS thread sleeps on.
    Thread(usize),
}

impl Sleeper {
    /// Marks a waiter that was taken out as woken. Under the bucket's lock.
    fn of(waiter: &Waiter) -> Self {
        let sleeper = match waiter.fiber {
            Some(fiber) => Self::Fiber(fiber),
            None => Self::Thread(waiter.woken.as_ptr() as usize),
        };
        waiter.woken.store(1, Ordering::Release);
        sleeper
    }

    fn call(self) {
        match self {
            Self::Fiber(fiber) => sched::unpark(fiber),
            // The word may be gone; the kernel then wakes nobody, or somebody for no reason, which
            // every waiter of a futex must bear.
            Self::Thread(word) => {
                sys::futex_wake(word, 1);
            }
        }
    }
}

/// Whether anyone may wait on the bucket of `address`. After the change that a waiter looks at.
#[inline]
#[must_use]
pub fn has_waiters(address: usize) -> bool {
    let bucket = bucket(address);
    // The fence only for a no: it costs as much as a lock.
    bucket.is_occupied() || {
        full_fence();
        bucket.is_occupied()
    }
}

/// The same for a caller whose change was an instruction with a `lock` prefix or an exchange: on
/// x86-64 a full fence already.
#[inline]
#[must_use]
pub fn has_waiters_after_exchange(address: usize) -> bool {
    compiler_fence(Ordering::SeqCst);
    bucket(address).is_occupied()
}

/// Wakes up to `count` waiters of `address` whose bits match, in order. Returns how many.
pub fn wake(address: usize, count: usize, bits: u32) -> usize {
    if !has_waiters(address) {
        return 0;
    }
    let bucket = bucket(address);
    let mut woken = 0;
    // Who is to wake all need not wake those who come after its first look, and have seen the change:
    // they could keep it here for ever by coming back each time. Who is to wake so many must: another
    // waker may have taken the earlier ones meanwhile.
    let all = count >= i32::MAX as usize;
    let mut end = u64::MAX;
    while woken < count {
        // One at a time, the lock let go between: a woken fiber may want it at once.
        let Some(sleeper) = ({
            let mut queue = bucket.queue.lock();
            if all {
                end = end.min(queue.next_ticket);
            }
            let taken = queue.take(address, bits, end).map(Sleeper::of);
            if taken.is_some() {
                bucket.count(-1);
            }
            taken
        }) else {
            break;
        };
        sleeper.call();
        woken += 1;
    }
    woken
}

/// How many waiters are taken out for waking while two queues are locked.
const BATCH: usize = 16;

/// Wakes up to `count` waiters of `from` and moves up to `more` others to `to`, if `still` holds
/// with the queues locked. Returns how many were woken and moved; `None` if `still` did not hold.
pub fn requeue(
    from: usize,
    to: usize,
    count: usize,
    more: usize,
    still: impl FnOnce() -> bool,
) -> Option<(usize, usize)> {
    let mut still = Some(still);
    let mut woken = 0;
    loop {
        let mut batch = [None; BATCH];
        let wanted = (count - woken).min(BATCH);
        let mut taken = 0;
        let moved = {
            let mut queues = Both::lock(from, to);
            if still.take().is_some_and(|still| !still()) {
                return None;
            }
            while taken < wanted {
                let Some(sleeper) = queues.take() else { break };
                batch[taken] = Some(sleeper);
                taken += 1;
            }
            // Those beyond the batch are to be woken too, before any is moved.
            if woken + taken < count && taken == BATCH { None } else { Some(queues.shift(more)) }
        };
        batch.into_iter().flatten().for_each(Sleeper::call);
        woken += taken;
        if let Some(moved) = moved {
            return Some((woken, moved));
        }
    }
}

/// The queues of two addresses, locked; one queue where they share a bucket.
struct Both {
    from: usize,
    to: usize,
    source: Guard<'static, Queue>,
    target: Option<Guard<'static, Queue>>,
}

impl Both {
    fn lock(from: usize, to: usize) -> Self {
        let (source, target) = (bucket(from), bucket(to));
        // Buckets are locked in order of address.
        let early = (ptr::from_ref(target) < ptr::from_ref(source)).then(|| target.queue.lock());
        let locked = source.queue.lock();
        let same = ptr::eq(source, target);
        let target = if same { None } else { early.or_else(|| Some(target.queue.lock())) };
        Self { from, to, source: locked, target }
    }

    fn take(&mut self) -> Option<Sleeper> {
        let sleeper = Sleeper::of(self.source.take(self.from, ANY, u64::MAX)?);
        bucket(self.from).count(-1);
        Some(sleeper)
    }

    /// Moves up to `count` waiters from the one address to the other.
    fn shift(&mut self, count: usize) -> usize {
        if self.from == self.to {
            return 0; // they are there already
        }
        let mut moved = 0;
        while moved < count {
            let Some(waiter) = self.source.take(self.from, ANY, u64::MAX) else { break };
            let waiter = ptr::from_ref(waiter);
            // SAFETY: taken out and not marked as woken: it waits.
            let waiter = unsafe { &*waiter };
            waiter.address.store(self.to, Ordering::Relaxed);
            match &mut self.target {
                Some(target) => {
                    // Tickets of two queues do not compare: it goes behind those who are there.
                    waiter.ticket.set(target.ticket());
                    target.insert(waiter);
                    bucket(self.to).count(1);
                    bucket(self.from).count(-1);
                }
                None => {
                    waiter.ticket.set(self.source.ticket());
                    self.source.insert(waiter);
                }
            }
            moved += 1;
        }
        moved
    }
}

/// Forgets all waiters, in the child of a `fork`; but for the caller's own, beneath a handler that forks.
///
/// # Safety
///
/// The caller is the only thread of its process.
pub(crate) unsafe fn reset() {
    for bucket in &TABLE {
        // SAFETY: as the caller says.
        unsafe { bucket.queue.reset() };
        *bucket.queue.lock() = Queue::EMPTY;
        bucket.waiting.store(0, Ordering::Relaxed);
    }
    let mut innermost = current::places();
    // SAFETY: 0, or a place in a frame that is still on the stack.
    while let Some(place) = unsafe { (innermost as *const Place).as_ref() } {
        // SAFETY: as above, and the waiter is older than its place.
        let waiter = unsafe { &*place.waiter };
        let bucket = bucket(waiter.address.load(Ordering::Relaxed));
        let mut queue = bucket.queue.lock();
        if !waiter.is_woken() {
            queue.next_ticket = queue.next_ticket.max(waiter.ticket.get() + 1);
            queue.insert(waiter);
            bucket.count(1);
        }
        innermost = place.outer.get();
    }
}

#[cfg(test)]
mod tests;
