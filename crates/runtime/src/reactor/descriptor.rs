//! What is known of each descriptor: whether epoll watches it, how many edges it has had, and who
//! waits for it.
//!
//! **No edge is missed.** An edge-triggered epoll reports *changes*. So an attempt remembers the
//! number of edges seen *before* it tries ([`Attempt::begin`]); if the try would block, it waits only
//! while that number stands, which is looked at under the entry's lock, the same under which an edge
//! adds one and takes the waiters out. An edge between try and wait sends the attempt back to trying.
//!
//! **A number is not a file.** `close` makes the entry's generation move on and wakes its waiters,
//! who fail with `EBADF` and never touch the number again; an event that carries an old generation is
//! dropped. A number that was closed behind our back (a raw system call) is forgotten when a hooked call
//! gives it out again. Else three looks find it: what the file is, is asked at its registration; that it
//! is non-blocking is not believed but asked each time, which costs who gets `EAGAIN` one call more; and
//! the sweep registers the descriptor of a wait that lasts once more. Where epoll takes it as a new one, it
//! is another file: all that was known is forgotten, and whoever waits tries again.
//!
//! Rejected: level-triggered one-shot (a system call to re-arm at each wait); toggling `O_NONBLOCK`
//! (it belongs to the file, which children and others share).

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};

use syscalls::{Sysno, raw_syscall};
use timestop_fiber::current::undisturbed;
use timestop_fiber::lock::Lock;

use crate::fiber::{FiberRef, Reason};
use crate::sched::{self, Wakes};
use crate::waker::Target;
use crate::{Outcome, clock, signal, sys, wait_listed};

/// Entries of a chunk of the table.
const CHUNK: usize = 1024;
/// Descriptors above 2²⁰ wait by blocking their OS thread.
const CHUNKS: usize = 1024;

/// Which way data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Towards us: data, connections, the end of the stream.
    Read = 0,
    /// From us: room in the buffer, the end of a `connect`.
    Write = 1,
}

/// What one entry knows.
#[derive(Debug)]
struct Entry {
    lists: Lock<Lists>,
    /// Edges seen for each direction.
    edges: [AtomicU32; 2],
    /// Moves on at each `close`.
    generation: AtomicU32,
    /// Read edges at the moment the last read was short; meaningful with [`flag::DRAINED`].
    drained_at: AtomicU32,
    /// [`flag`] bits, and above them how often what is known has become void: [`Entry::remember`].
    flags: AtomicU32,
    /// Someone is between asking and `accept`.
    claimed: AtomicBool,
    /// When the last wait began, by the coarse clock; 0 once the sweep has seen it.
    waiting_since: AtomicU64,
}

mod flag {
    /// What the file is, is known: STREAM and REGULAR mean something.
    pub(super) const KNOWN: u32 = 1;
    /// A TCP connection: a short read means that nothing is left, and new data makes an edge.
    pub(super) const STREAM: u32 = 2;
    /// Urgent data, a hang-up or an error was reported, or TLS is the kernel's: short reads mean
    /// nothing any more.
    pub(super) const UNUSUAL: u32 = 4;
    /// What is forgotten of a file when another has its number. (The others of these bits only have us
    /// ask more often.)
    pub(super) const BELIEFS: u32 =
        KNOWN | STREAM | REGULAR | DRAINED | MODE_KNOWN | NONBLOCKING | TIMED;
    /// The last read was short, or found nothing, at the number of edges in `drained_at`.
    pub(super) const DRAINED: u32 = 8;
    /// A regular file or a directory: it never waits for anyone but the disk.
    pub(super) const REGULAR: u32 = 16;
    /// NONBLOCKING and TIMED mean something.
    pub(super) const MODE_KNOWN: u32 = 32;
    /// `O_NONBLOCK` is set.
    pub(super) const NONBLOCKING: u32 = 64;
    /// `SO_RCVTIMEO` or `SO_SNDTIMEO` is set.
    pub(super) const TIMED: u32 = 128;
    /// The file has, or had, another descriptor: its mode may change behind this one's back.
    pub(super) const SHARED: u32 = 256;

    /// Counts changes, in the bits from here on.
    pub(super) const CHANGE: u32 = 1 << 16;
    /// All that is known.
    pub(super) const ALL: u32 = CHANGE - 1;
}

#[derive(Debug)]
struct Lists {
    registered: bool,
    /// An epoll of the program's: it has one edge, and then none until somebody waits for it again.
    /// What comes while its reader is busy would wake whoever looks for us, each time and for nobody.
    one_shot: bool,
    /// The edge is still to come.
    armed: bool,
    waiters: [*mut Waiter; 2],
}

// SAFETY: the waiters are on the stacks of fibers that wait; they are followed under the lock only.
unsafe impl Send for Lists {}

/// A place in one list, of a fiber or of a future. On the stack of the fiber, or in the future, which stay until
/// it is taken out.
#[derive(Debug)]
struct Waiter {
    target: Target,
    next: Cell<*mut Waiter>,
    /// One of several descriptors that the fiber waits for: it is told of each edge, and takes none
    /// away from others.
    shared: bool,
    /// [`told`] values; not WAITING: no longer in a list.
    told: AtomicU8,
}

impl Waiter {
    fn new(target: Target, shared: bool) -> Self {
        let told = AtomicU8::new(told::WAITING);
        Self { target, next: Cell::new(ptr::null_mut()), shared, told }
    }

    /// Says what has come; the waiter is in no list. Whom to wake, once no lock is held. The waiter's stack,
    /// or future, may go on at once.
    fn tell(&self, what: u8) -> Option<Target> {
        // SAFETY: a ring lies with its waiter.
        let summoned = unsafe { self.target.summon() };
        self.told.store(what, Ordering::Release);
        summoned
    }
}

mod told {
    pub(super) const WAITING: u8 = 0;
    pub(super) const READY: u8 = 1;
    pub(super) const CLOSED: u8 = 2;
}

static TABLE: [AtomicPtr<Entry>; CHUNKS] = [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS];

/// The entry of a number, made at first use.
fn entry(number: i32) -> Option<&'static Entry> {
    let index = usize::try_from(number).ok()?;
    let cell = TABLE.get(index / CHUNK)?;
    let mut chunk = cell.load(Ordering::Acquire);
    if chunk.is_null() {
        // All-zero is an empty entry: an open lock, no edges, no waiters.
        let fresh = sys::map(CHUNK * size_of::<Entry>())? as *mut Entry;
        match cell.compare_exchange(chunk, fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => chunk = fresh,
            Err(other) => chunk = other, // the few kilobytes of the loser stay unused
        }
    }
    // SAFETY: a whole chunk.
    Some(unsafe { nth(chunk, index % CHUNK) })
}

/// The entry of a number, if anyone has waited for a number near it.
fn existing(number: i32) -> Option<&'static Entry> {
    let index = usize::try_from(number).ok()?;
    let chunk = TABLE.get(index / CHUNK)?.load(Ordering::Acquire);
    // SAFETY: a whole chunk; null is handled.
    (!chunk.is_null()).then(|| unsafe { nth(chunk, index % CHUNK) })
}

/// # Safety
///
/// `chunk` is one of the table's.
unsafe fn nth(chunk: *mut Entry, index: usize) -> &'static Entry {
    // SAFETY: chunks have CHUNK entries …
    let entry = unsafe { chunk.add(index) };
    // SAFETY: … and are never unmapped.
    unsafe { &*entry }
}

/// How the user wants a call to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Not at all (`O_NONBLOCK`).
    Never,
    /// So many nanoseconds (`SO_RCVTIMEO`, `SO_SNDTIMEO`), or for ever.
    AtMost(Option<u64>),
}

/// How a wait for a descriptor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Try again.
    Ready,
    /// The deadline has passed.
    TimedOut,
    /// A signal waits for the fiber: `EINTR`.
    Interrupted,
    /// The fiber has been cancelled: `ECANCELED`.
    Cancelled,
    /// Someone has closed the number: `EBADF`.
    Closed,
    /// Epoll does not watch such a file (a regular one, say): block.
    Unwatchable,
}

/// A try at a call that may have to wait, begun before the call is made.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    entry: &'static Entry,
    number: i32,
    direction: Direction,
    edges: u32,
    generation: u32,
    waited: bool,
    /// It is an epoll that is waited for.
    one_shot: bool,
}

impl Attempt {
    /// Remembers how many edges the descriptor has had. `None` for numbers beyond the table.
    #[inline]
    #[must_use]
    pub fn begin(number: i32, direction: Direction) -> Option<Self> {
        let entry = entry(number)?;
        Some(Self {
            entry,
            number,
            direction,
            edges: entry.edges[direction as usize].load(Ordering::Acquire),
            generation: entry.generation.load(Ordering::Acquire),
            waited: false,
            one_shot: false,
        })
    }

    /// The same for an epoll, which is watched only while somebody waits for it.
    #[must_use]
    pub fn begin_epoll(number: i32) -> Option<Self> {
        Self::begin(number, Direction::Read).map(|attempt| Self { one_shot: true, ..attempt })
    }

    /// Whether a try would surely block: the last read emptied a TCP connection, and nothing has
    /// come since.
    ///
    /// Only where the user is known to want a wait. Without one nobody sees to it that edges are
    /// counted: what has come meanwhile must be found by trying.
    #[inline]
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        const ASKED: u32 = flag::DRAINED | flag::MODE_KNOWN | flag::NONBLOCKING | flag::SHARED;
        let flags = self.entry.flags.load(Ordering::Relaxed);
        flags & ASKED == flag::DRAINED | flag::MODE_KNOWN
            && self.entry.drained_at.load(Ordering::Relaxed) == self.edges
    }

    /// What the file is, asked once.
    fn kind(&self) -> u32 {
        let flags = self.entry.flags.load(Ordering::Acquire);
        if flags & flag::KNOWN != 0 {
            return flags;
        }
        let kind = flag::KNOWN | kind_of(self.number);
        self.entry.remember(flags, 0, kind)
    }

    /// Whether it is a regular file: a short read means something else there.
    #[must_use]
    pub fn is_regular(&self) -> bool {
        self.kind() & flag::REGULAR != 0
    }

    /// Asked after a call that would have waited. Who wants no wait is answered at once, so that must be
    /// true of the file that has the number now; of a wait the sweep sees to it.
    fn mode(&self) -> u32 {
        let mut flags = self.entry.flags.load(Ordering::Acquire);
        const ASKED: u32 = flag::MODE_KNOWN | flag::SHARED | flag::NONBLOCKING;
        if flags & ASKED == flag::MODE_KNOWN {
            return flags;
        }
        let ask = |flags| flag::MODE_KNOWN | mode_of(self.number, flags & flag::SHARED != 0);
        let mut mode = ask(flags);
        if flags & flag::MODE_KNOWN != 0 && (flags ^ mode) & flag::NONBLOCKING != 0 {
            // Behind our back: it may be another file, also for those who are asking now.
            self.entry.changed(flag::BELIEFS);
            flags = self.entry.flags.load(Ordering::Acquire);
            mode = ask(flags);
        }
        self.entry.remember(flags, flag::NONBLOCKING | flag::TIMED, mode)
    }

    /// Whether the user wants `EAGAIN` instead of a wait.
    #[must_use]
    pub fn is_nonblocking(&self) -> bool {
        self.mode() & flag::NONBLOCKING != 0
    }

    /// How the user wants this call to wait.
    #[must_use]
    pub fn rules(&self) -> Rules {
        let mode = self.mode();
        if mode & flag::NONBLOCKING != 0 {
            return Rules::Never;
        }
        let option = match self.direction {
            Direction::Read => libc::SO_RCVTIMEO,
            Direction::Write => libc::SO_SNDTIMEO,
        };
        let timed = mode & flag::TIMED != 0;
        Rules::AtMost(if timed { time_option(self.number, option) } else { None })
    }

    /// Keeps other acceptors away between asking and `accept`. False if one is at it.
    #[must_use]
    pub fn claim(&self) -> bool {
        !self.entry.claimed.swap(true, Ordering::Acquire)
    }

    /// After [`claim`](Self::claim).
    pub fn unclaim(&self) {
        self.entry.claimed.store(false, Ordering::Release);
    }

    /// Says that a read returned less than was asked for.
    #[inline]
    pub fn was_short(&self) {
        let flags = self.entry.flags.load(Ordering::Relaxed);
        if flags & (flag::STREAM | flag::UNUSUAL) == flag::STREAM {
            // Two readers at once may mix these up: the price is a wait that an edge ends, which
            // comes for whatever the other has left.
            self.entry.drained_at.store(self.edges, Ordering::Relaxed);
            if flags & flag::DRAINED == 0 {
                self.entry.flags.fetch_or(flag::DRAINED, Ordering::Relaxed);
            }
        }
    }

    /// Says that a socket, which the user does not want to wait for, had nothing to read. Of whatever kind it
    /// is, what comes after makes an edge.
    #[inline]
    pub fn was_empty(&self) {
        let flags = self.entry.flags.load(Ordering::Relaxed);
        if flags & flag::UNUSUAL == 0 {
            self.entry.drained_at.store(self.edges, Ordering::Relaxed);
            if flags & flag::DRAINED == 0 {
                self.entry.flags.fetch_or(flag::DRAINED, Ordering::Relaxed);
            }
        }
    }

    /// Whether there was nothing to read, not even a hang-up, and nothing has come since. For who waits in
    /// any case; else see [`is_hopeless`](Self::is_hopeless).
    fn is_empty(&self) -> bool {
        let flags = self.entry.flags.load(Ordering::Relaxed);
        flags & (flag::DRAINED | flag::UNUSUAL) == flag::DRAINED
            && self.entry.drained_at.load(Ordering::Relaxed) == self.edges
    }

    /// After a call that succeeded: if it waited, the next in line may try too.
    #[inline]
    pub fn succeeded(&self) {
        if self.waited {
            self.pass_on();
        }
    }

    fn pass_on(&self) {
        let next = self.entry.lists.lock().take_first(self.direction);
        if let Some(target) = next {
            target.wake();
        }
    }

    /// Waits until the descriptor may be ready. Afterwards the attempt is begun anew.
    pub fn wait(&mut self, fiber: FiberRef, deadline: Option<u64>) -> Readiness {
        let reason = match self.direction {
            Direction::Read => Reason::Read,
            Direction::Write => Reason::Write,
        };
        self.wait_as(fiber, reason, deadline)
    }

    /// As [`wait`](Self::wait), for a call that is no read or write: by the reason it is decided whether
    /// it goes on after a signal's handler.
    pub fn wait_as(
        &mut self,
        fiber: FiberRef,
        reason: Reason,
        deadline: Option<u64>,
    ) -> Readiness {
        let waiter = Waiter::new(Target::fiber(fiber), false);
        let told = || waiter.told.load(Ordering::Acquire) != told::WAITING;
        let since = fiber.handled();
        // Of an epoll the number means nothing to the reader of a report.
        let argument = if reason == Reason::Poll { 0 } else { self.number as u64 };
        let waited = undisturbed(|| {
            let enlisted = self.enlist(&waiter);
            if !matches!(enlisted, Enlisted::Waiting) {
                return Err(enlisted);
            }
            let ended = wait_listed(fiber, reason, argument, deadline, true, told);
            self.withdraw(&waiter);
            Ok(ended)
        });
        let mut ended = match waited {
            Ok(ended) => ended,
            Err(Enlisted::Closed) => return Readiness::Closed,
            Err(Enlisted::Unwatchable) => return Readiness::Unwatchable,
            Err(Enlisted::Ready | Enlisted::Waiting) => {
                self.renew();
                return Readiness::Ready;
            }
        };
        self.waited = true;
        // Nobody knows the waiter any more: a handler may leave by `siglongjmp`.
        let interrupted = ended == Outcome::Interrupted;
        if signal::goes_on(fiber, reason, deadline.is_some(), since, interrupted) {
            ended = Outcome::Woken; // the call goes on: try again
        }
        match (waiter.told.load(Ordering::Acquire), ended) {
            (told::CLOSED, _) => Readiness::Closed,
            (_, Outcome::Woken) => {
                self.renew();
                Readiness::Ready
            }
            (now, other) => {
                if now == told::READY {
                    self.pass_on(); // the edge was ours, and we do not use it
                }
                match other {
                    Outcome::TimedOut => Readiness::TimedOut,
                    Outcome::Interrupted => Readiness::Interrupted,
                    _ => Readiness::Cancelled,
                }
            }
        }
    }

    fn renew(&mut self) {
        self.edges = self.entry.edges[self.direction as usize].load(Ordering::Acquire);
    }

    /// Puts the waiter in line unless an edge has come since the attempt began.
    fn enlist(&self, waiter: &Waiter) -> Enlisted {
        let mut lists = self.entry.lists.lock();
        if self.entry.generation.load(Ordering::Relaxed) != self.generation {
            return Enlisted::Closed;
        }
        if !lists.registered {
            if register(self.number, self.generation, self.one_shot).is_err() {
                return Enlisted::Unwatchable;
            }
            lists.registered = true;
            lists.one_shot = self.one_shot;
            lists.armed = true;
            // Not what may be known of an older file.
            const KIND: u32 = flag::KNOWN | flag::STREAM | flag::REGULAR | flag::DRAINED;
            self.entry.changed(KIND);
            self.kind();
        }
        if self.entry.edges[self.direction as usize].load(Ordering::Relaxed) != self.edges {
            return Enlisted::Ready;
        }
        if lists.one_shot && !lists.armed {
            // What has come since is told of at once.
            match arm(self.number, self.generation) {
                Ok(still_epoll) => lists.one_shot = still_epoll,
                Err(_) => return Enlisted::Unwatchable,
            }
            lists.armed = true;
        }
        lists.append(self.direction, waiter);
        self.entry.waiting_since.store(clock::coarse(), Ordering::Relaxed);
        if !UNSWEPT.load(Ordering::Relaxed) {
            UNSWEPT.store(true, Ordering::Relaxed);
        }
        Enlisted::Waiting
    }

    fn withdraw(&self, waiter: &Waiter) {
        if waiter.told.load(Ordering::Acquire) == told::WAITING {
            let mut lists = self.entry.lists.lock();
            if waiter.told.load(Ordering::Relaxed) == told::WAITING {
                lists.remove(self.direction, waiter);
            }
        }
    }
}

impl Entry {
    /// Remembers what the kernel was asked after `before` was read, in place of the bits `old`; but not if
    /// the file or its mode has changed since: then the answer may be of before. The flags for this call.
    fn remember(&self, before: u32, old: u32, answer: u32) -> u32 {
        let told = (before & !old) | answer;
        let mut now = before;
        loop {
            if (now ^ before) & !flag::ALL != 0 {
                return told;
            }
            let next = (now & !old) | answer;
            match self.flags.compare_exchange_weak(now, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return told,
                Err(other) => now = other,
            }
        }
    }

    /// What is known of the bits `void` is so no more, nor is an answer that is under way.
    fn changed(&self, void: u32) {
        let next = |now: u32| Some((now & !void).wrapping_add(flag::CHANGE));
        let _ = self.flags.fetch_update(Ordering::AcqRel, Ordering::Relaxed, next);
    }
}

enum Enlisted {
    Waiting,
    Ready,
    Closed,
    Unwatchable,
}

impl Lists {
    fn append(&mut self, direction: Direction, waiter: &Waiter) {
        let pointer = ptr::from_ref(waiter).cast_mut();
        let mut last = self.waiters[direction as usize];
        if last.is_null() {
            self.waiters[direction as usize] = pointer;
            return;
        }
        loop {
            // SAFETY: listed waiters are on stacks that wait; we hold the lock.
            let next = unsafe { &(*last).next };
            if next.get().is_null() {
                next.set(pointer);
                return;
            }
            last = next.get();
        }
    }

    fn remove(&mut self, direction: Direction, waiter: &Waiter) {
        let target = ptr::from_ref(waiter).cast_mut();
        let mut current = self.waiters[direction as usize];
        if current == target {
            self.waiters[direction as usize] = waiter.next.get();
            return;
        }
        while !current.is_null() {
            // SAFETY: listed waiters are on stacks that wait; we hold the lock.
            let next = unsafe { &(*current).next };
            if next.get() == target {
                next.set(waiter.next.get());
                return;
            }
            current = next.get();
        }
    }

    /// Takes the first that waits for itself alone out of the line.
    fn take_first(&mut self, direction: Direction) -> Option<Target> {
        let mut current = self.waiters[direction as usize];
        while !current.is_null() {
            // SAFETY: as above.
            let waiter = unsafe { &*current };
            if !waiter.shared {
                self.remove(direction, waiter);
                return waiter.tell(told::READY);
            }
            current = waiter.next.get();
        }
        None
    }

    /// Takes all out, or all shared ones, up to `batch.len()`; more may be left if it was filled.
    fn take_many(
        &mut self,
        direction: Direction,
        shared_only: bool,
        tell: u8,
        batch: &mut [Option<Target>],
    ) -> usize {
        let mut count = 0;
        let mut current = self.waiters[direction as usize];
        while !current.is_null() && count < batch.len() {
            // SAFETY: as above.
            let waiter = unsafe { &*current };
            current = waiter.next.get();
            if !shared_only || waiter.shared {
                self.remove(direction, waiter);
                if let Some(fiber) = waiter.tell(tell) {
                    batch[count] = Some(fiber);
                    count += 1;
                }
            }
        }
        count
    }
}

const IN: u32 = (libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLRDHUP) as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const ENDED: u32 = (libc::EPOLLHUP | libc::EPOLLERR) as u32;
const UNUSUAL: u32 = (libc::EPOLLHUP | libc::EPOLLERR | libc::EPOLLPRI | libc::EPOLLRDHUP) as u32;

/// Has epoll watch a descriptor, or watch it again. True if it did not.
fn register(number: i32, generation: u32, one_shot: bool) -> Result<bool, i32> {
    let epoll = sched::runtime().reactor.epoll();
    let data = u64::from(generation) << 32 | number as u32 as u64;
    let once = if one_shot { libc::EPOLLONESHOT as u32 } else { 0 };
    let events = IN | OUT | libc::EPOLLET as u32 | once;
    match sys::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, number, events, data) {
        // The same file under the same number, left over from before a `close` of one of two.
        Err(libc::EEXIST) => {
            sys::epoll_ctl(epoll, libc::EPOLL_CTL_MOD, number, events, data).map(|_| false)
        }
        other => other.map(|_| true),
    }
}

/// Has epoll tell of a program's epoll once more. False if another file has its number by now, which is
/// watched like any other then.
fn arm(number: i32, generation: u32) -> Result<bool, i32> {
    let epoll = sched::runtime().reactor.epoll();
    let data = u64::from(generation) << 32 | number as u32 as u64;
    let events = IN | OUT | (libc::EPOLLET | libc::EPOLLONESHOT) as u32;
    match sys::epoll_ctl(epoll, libc::EPOLL_CTL_MOD, number, events, data) {
        Err(libc::ENOENT) => register(number, generation, false).map(|_| false),
        other => other.map(|_| true),
    }
}

fn integer_option(number: i32, name: i32) -> Option<i32> {
    let (mut value, mut size) = (0_i32, 4_u32);
    // SAFETY: writes one integer.
    let result = sys::outcome(unsafe {
        raw_syscall!(
            Sysno::getsockopt,
            number,
            libc::SOL_SOCKET,
            name,
            &raw mut value,
            &raw mut size
        )
    });
    result.ok().map(|_| value)
}

/// A time option of a socket in nanoseconds; `None` where it is not set, or no socket.
fn time_option(number: i32, name: i32) -> Option<u64> {
    let mut value = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let mut size = size_of::<libc::timeval>() as u32;
    // SAFETY: writes one timeval.
    let result = sys::outcome(unsafe {
        raw_syscall!(
            Sysno::getsockopt,
            number,
            libc::SOL_SOCKET,
            name,
            &raw mut value,
            &raw mut size
        )
    });
    let nanoseconds =
        (value.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(value.tv_usec as u64 * 1000);
    (result.is_ok() && nanoseconds != 0).then_some(nanoseconds)
}

/// The flags that follow from what the file is.
fn kind_of(number: i32) -> u32 {
    if integer_option(number, libc::SO_PROTOCOL) == Some(libc::IPPROTO_TCP) {
        let listens = integer_option(number, libc::SO_ACCEPTCONN) != Some(0);
        return if listens { 0 } else { flag::STREAM };
    }
    let mut status = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: writes one record.
    let _ = unsafe { raw_syscall!(Sysno::fstat, number, status.as_mut_ptr()) };
    // SAFETY: zeroes are a valid record too.
    let mode = unsafe { status.assume_init() }.st_mode & libc::S_IFMT;
    if matches!(mode, libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK) { flag::REGULAR } else { 0 }
}

/// The flags that follow from how the user wants it.
///
/// With `shared` the answer is not remembered, and the time limits are asked for at once instead.
fn mode_of(number: i32, shared: bool) -> u32 {
    // SAFETY: reads a number.
    let status = sys::outcome(unsafe { raw_syscall!(Sysno::fcntl, number, libc::F_GETFL, 0) });
    if status.is_ok_and(|status| status & libc::O_NONBLOCK as usize != 0) {
        return flag::NONBLOCKING; // its time limits mean nothing
    }
    let timed = |name| time_option(number, name).is_some();
    let timed = shared || timed(libc::SO_RCVTIMEO) || timed(libc::SO_SNDTIMEO);
    if timed { flag::TIMED } else { 0 }
}

/// The user has changed `O_NONBLOCK` or a time limit of the descriptor: ask again.
pub fn mode_changed(number: i32) {
    if let Some(entry) = existing(number) {
        entry.changed(flag::MODE_KNOWN);
    }
}

/// The file has another descriptor: what is set through one holds for the other.
pub fn shared(number: i32) {
    if let Some(entry) = entry(number) {
        entry.flags.fetch_or(flag::SHARED, Ordering::Relaxed);
    }
}

/// A protocol of the kernel's has been put on top of the connection, TLS say: reads end at its records'
/// borders, and a short one says nothing of what is left.
pub fn layered(number: i32) {
    if let Some(entry) = entry(number) {
        entry.flags.fetch_or(flag::UNUSUAL, Ordering::Relaxed);
        entry.flags.fetch_and(!flag::DRAINED, Ordering::Relaxed);
    }
}

/// Epoll reports a descriptor.
pub(crate) fn ready(data: u64, bits: u32, wakes: &mut Wakes<'_>) {
    let (number, generation) = (data as u32 as i32, (data >> 32) as u32);
    let Some(entry) = existing(number) else { return };
    if bits & UNUSUAL != 0 {
        entry.flags.fetch_or(flag::UNUSUAL, Ordering::Relaxed);
        entry.flags.fetch_and(!flag::DRAINED, Ordering::Relaxed);
    }
    edges(entry, generation, bits, bits & ENDED != 0, wakes);
}

/// Counts edges and wakes who waits for them: one of those that want to be alone, or everyone.
fn edges(entry: &Entry, generation: u32, bits: u32, everyone: bool, wakes: &mut Wakes<'_>) {
    for (direction, mask) in [(Direction::Read, IN), (Direction::Write, OUT)] {
        if bits & (mask | ENDED) == 0 {
            continue;
        }
        let mut lists = entry.lists.lock();
        if entry.generation.load(Ordering::Relaxed) != generation {
            return; // the file that this is about is closed
        }
        lists.armed = false;
        entry.edges[direction as usize].fetch_add(1, Ordering::Release);
        let mut first = if everyone { None } else { lists.take_first(direction) };
        let mut batch = [None; 32];
        let mut count = if lists.waiters[direction as usize].is_null() {
            0
        } else {
            lists.take_many(direction, !everyone, told::READY, &mut batch)
        };
        drop(lists);
        loop {
            for target in first.take().into_iter().chain(batch[..count].iter().copied().flatten()) {
                wakes.add(target);
            }
            if count < batch.len() {
                break;
            }
            let mut lists = entry.lists.lock();
            count = lists.take_many(direction, !everyone, told::READY, &mut batch);
        }
    }
}

/// A number is about to be closed, or to become another file: its waiters fail with `EBADF`.
pub fn forget(number: i32) {
    let Some(entry) = existing(number) else { return };
    let mut batch = [None; 32];
    let mut first = true;
    for direction in [Direction::Read, Direction::Write] {
        loop {
            let mut lists = entry.lists.lock();
            if std::mem::take(&mut first) {
                if !lists.registered && entry.flags.load(Ordering::Relaxed) & flag::ALL == 0 {
                    entry.changed(0); // somebody may be asking
                    return; // nobody ever waited for it
                }
                lists.registered = false;
                entry.generation.fetch_add(1, Ordering::Release);
                entry.changed(flag::ALL);
            }
            let count = lists.take_many(direction, false, told::CLOSED, &mut batch);
            drop(lists);
            batch[..count].iter().copied().flatten().for_each(Target::wake);
            if count < batch.len() {
                break;
            }
        }
    }
}

/// The kernel has just given out this number: what is known of it is of an older file, which was
/// closed behind our back.
#[inline]
pub fn fresh(number: i32) {
    if existing(number).is_some_and(|entry| entry.flags.load(Ordering::Relaxed) & flag::ALL != 0) {
        forget(number);
    }
}

/// There are waits that no sweep has looked at.
static UNSWEPT: AtomicBool = AtomicBool::new(false);

/// How long a wait lasts before the sweep looks at it, in nanoseconds.
const SWEEP_AFTER: u64 = 50_000_000;

/// Registers once more the descriptors of waits that have lasted: their numbers may have been closed
/// and given out again behind our back. Once a wait.
pub(crate) fn sweep(now: u64) {
    if !UNSWEPT.swap(false, Ordering::Relaxed) {
        return;
    }
    let mut more = false;
    for (index, chunk) in TABLE.iter().enumerate() {
        let chunk = chunk.load(Ordering::Acquire);
        if chunk.is_null() {
            continue;
        }
        for offset in 0..CHUNK {
            // SAFETY: a whole chunk.
            let entry = unsafe { nth(chunk, offset) };
            let since = entry.waiting_since.load(Ordering::Relaxed);
            if since == 0 {
                continue;
            }
            if now.saturating_sub(since) < SWEEP_AFTER {
                more = true;
                continue;
            }
            entry.waiting_since.store(0, Ordering::Relaxed);
            entry.register_again((index * CHUNK + offset) as i32);
        }
    }
    if more {
        UNSWEPT.store(true, Ordering::Relaxed);
    }
}

/// Whether there are waits that no sweep has looked at.
pub(crate) fn wants_sweep() -> bool {
    UNSWEPT.load(Ordering::Relaxed)
}

impl Entry {
    fn register_again(&self, number: i32) {
        let mut lists = self.lists.lock();
        if !lists.registered || lists.waiters.iter().all(|first| first.is_null()) {
            return;
        }
        // The same file: nothing changes. Another one: it is watched from here on. None: that is found
        // out. In both cases whoever waits tries again.
        let generation = self.generation.load(Ordering::Relaxed);
        let registered = register(number, generation, lists.one_shot);
        lists.armed = registered.is_ok();
        if registered == Ok(false) {
            return;
        }
        lists.registered = registered.is_ok();
        self.changed(flag::BELIEFS);
        drop(lists);
        edges(self, generation, IN | OUT, true, &mut Wakes::new(None));
    }
}

/// One descriptor of a wait for several.
#[derive(Debug)]
pub struct Interest {
    attempt: Option<Attempt>,
    waiter: Waiter,
}

impl Interest {
    /// Begins to watch a descriptor; do so before the look at its state. `None` where epoll cannot.
    #[must_use]
    pub fn begin(fiber: FiberRef, number: i32, direction: Direction) -> Self {
        let waiter = Waiter::new(Target::fiber(fiber), true);
        Self { attempt: Attempt::begin(number, direction), waiter }
    }

    /// Whether a look would surely find nothing to read, and no hang-up.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.attempt.is_some_and(|attempt| {
            attempt.direction == Direction::Read && attempt.is_empty()
        })
    }
}

/// Waits until one of several descriptors may have changed since its [`Interest::begin`].
///
/// The interests must stay where they are until this returns, which it ensures by borrowing them.
pub fn wait_any(
    fiber: FiberRef,
    interests: &[Option<Interest>],
    deadline: Option<u64>,
) -> Readiness {
    let since = fiber.handled();
    let verdict = undisturbed(|| wait_any_undisturbed(fiber, interests, deadline));
    let interrupted = verdict == Readiness::Interrupted;
    if signal::goes_on(fiber, Reason::Poll, deadline.is_some(), since, interrupted) {
        return Readiness::Ready; // no handler has run: look again
    }
    verdict
}

fn wait_any_undisturbed(
    fiber: FiberRef,
    interests: &[Option<Interest>],
    deadline: Option<u64>,
) -> Readiness {
    let mut verdict = None;
    let mut listed = 0;
    for interest in interests.iter().flatten() {
        let Some(attempt) = interest.attempt else {
            verdict = Some(Readiness::Unwatchable);
            break;
        };
        match attempt.enlist(&interest.waiter) {
            Enlisted::Waiting => listed += 1,
            Enlisted::Ready => verdict = Some(Readiness::Ready),
            Enlisted::Closed => verdict = Some(Readiness::Closed),
            Enlisted::Unwatchable => verdict = Some(Readiness::Unwatchable),
        }
        if verdict.is_some() {
            break;
        }
    }
    let told = || {
        interests
            .iter()
            .flatten()
            .take(listed)
            .any(|interest| interest.waiter.told.load(Ordering::Acquire) != told::WAITING)
    };
    let verdict = verdict.unwrap_or_else(|| {
        match wait_listed(fiber, Reason::Poll, listed as u64, deadline, true, told) {
            Outcome::Woken => Readiness::Ready,
            Outcome::TimedOut => Readiness::TimedOut,
            Outcome::Interrupted => Readiness::Interrupted,
            Outcome::Cancelled => Readiness::Cancelled,
        }
    });
    for interest in interests.iter().flatten().take(listed) {
        if let Some(attempt) = &interest.attempt {
            attempt.withdraw(&interest.waiter);
        }
    }
    verdict
}

/// Forgets everything, in the child of a `fork`.
///
/// # Safety
///
/// The caller is the only thread of its process.
pub(crate) unsafe fn reset() {
    for (index, chunk) in TABLE.iter().enumerate() {
        if chunk.load(Ordering::Acquire).is_null() {
            continue;
        }
        for number in index * CHUNK..(index + 1) * CHUNK {
            let Some(entry) = existing(number as i32) else { continue };
            // SAFETY: as the caller says.
            unsafe { entry.lists.reset() };
            let mut lists = entry.lists.lock();
            lists.registered = false;
            lists.waiters = [ptr::null_mut(); 2];
            entry.claimed.store(false, Ordering::Relaxed);
        }
    }
}

pub mod watch;

#[cfg(test)]
mod tests;
