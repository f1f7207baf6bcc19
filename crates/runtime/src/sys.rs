//! System calls of the runtime's own, raw: no libc symbol (they are hooked), no `errno`.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use syscalls::{Errno, Sysno, raw_syscall};

use crate::own::Own;
use crate::report::Registers;

/// Nanoseconds on the monotonic clock.
#[inline]
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // `clock_gettime` is not hooked and, in the vDSO, no system call.
    // SAFETY: writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What a raw system call returned: the value, or the error number.
pub type Outcome = Result<usize, i32>;

/// Splits a raw result.
#[inline]
pub fn outcome(result: usize) -> Outcome {
    Errno::from_ret(result).map_err(Errno::into_raw)
}

fn timespec(nanoseconds: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: (nanoseconds / 1_000_000_000) as i64,
        tv_nsec: (nanoseconds % 1_000_000_000) as i64,
    }
}

/// Sleeps in the kernel while `*word == expected`, until `deadline` (monotonic) at the latest.
pub fn futex_wait(word: &AtomicU32, expected: u32, deadline: Option<u64>) -> Outcome {
    let time = deadline.map(timespec);
    let pointer = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let operation = libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: word and time outlive the call.
    outcome(unsafe {
        raw_syscall!(
            Sysno::futex,
            word.as_ptr(),
            operation,
            expected,
            pointer,
            0,
            libc::FUTEX_BITSET_MATCH_ANY
        )
    })
}

/// Wakes up to `count` that sleep in the kernel on `address`.
pub fn futex_wake(address: usize, count: i32) -> usize {
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: only the address is used.
    outcome(unsafe { raw_syscall!(Sysno::futex, address, operation, count) }).unwrap_or(0)
}

static MEMBARRIER: AtomicBool = AtomicBool::new(false);
const MEMBARRIER_REGISTER: i32 = 1 << 4;
const MEMBARRIER_PRIVATE_EXPEDITED: i32 = 1 << 3;

/// Whether [`membarrier`] is one; decided by [`register_membarrier`].
#[inline(always)]
pub(crate) fn has_membarrier() -> bool {
    MEMBARRIER.load(Ordering::Relaxed)
}

/// Announces that this process will use `membarrier(2)`. Before the first carrier starts.
pub(crate) fn register_membarrier() {
    // SAFETY: touches no memory.
    let registered = unsafe { raw_syscall!(Sysno::membarrier, MEMBARRIER_REGISTER, 0, 0) };
    MEMBARRIER.store(outcome(registered).is_ok(), Ordering::Relaxed);
}

/// A full memory barrier on every running thread of the process.
pub(crate) fn membarrier() {
    if has_membarrier() {
        // SAFETY: touches no memory.
        let _ = unsafe { raw_syscall!(Sysno::membarrier, MEMBARRIER_PRIVATE_EXPEDITED, 0, 0) };
    }
}

/// The kernel's id of the calling OS thread.
pub fn thread_id() -> u32 {
    // SAFETY: reads one number.
    unsafe { raw_syscall!(Sysno::gettid) as u32 }
}

/// The kernel's id of the process.
pub fn process_id() -> u32 {
    // SAFETY: reads one number.
    unsafe { raw_syscall!(Sysno::getpid) as u32 }
}

/// `siginfo_t` as far as we write it: number, code, sender, value.
#[derive(Debug)]
#[repr(C)]
struct SignalInfo {
    signal: i32,
    error: i32,
    code: i32,
    _gap: i32,
    process: u32,
    user: u32,
    value: usize,
    rest: [u64; 12],
}

const _: () = assert!(size_of::<SignalInfo>() == size_of::<libc::siginfo_t>());

/// What comes with a signal that this process sends to itself.
#[must_use]
pub fn signal_info(signal: i32, code: i32, user: u32, value: usize) -> libc::siginfo_t {
    let process = process_id();
    let info =
        SignalInfo { signal, error: 0, code, _gap: 0, process, user, value, rest: [0; 12] };
    // SAFETY: the same size, and any bytes are valid.
    unsafe { std::mem::transmute::<SignalInfo, libc::siginfo_t>(info) }
}

/// Whether a signal is one that [`signal_thread`] has sent with this value.
#[must_use]
pub fn carries(info: &libc::siginfo_t, value: usize) -> bool {
    // SAFETY: the record is as long, and any bytes are valid.
    let info = unsafe { &*std::ptr::from_ref(info).cast::<SignalInfo>() };
    info.code == libc::SI_QUEUE && info.value == value
}

/// Sends a signal with a value to a thread of this process.
pub fn signal_thread(thread: u32, signal: i32, value: usize) {
    // The sender's user is of no interest to who looks for the value: no system call for it.
    let info = signal_info(signal, libc::SI_QUEUE, 0, value);
    let process = process_id();
    // SAFETY: the kernel reads one record. The thread may be gone: then nothing happens.
    let _ = unsafe {
        raw_syscall!(Sysno::rt_tgsigqueueinfo, process, thread, signal, &raw const info)
    };
}

/// CPU time that a thread of this process has used, in nanoseconds; 0 for one that is gone.
pub(crate) fn cpu_time(thread: u32) -> u64 {
    /// In the number of a clock: of a thread, and by the scheduler's account.
    const OF_THREAD: i32 = 4 | 2;
    let clock = (!(thread as i32) << 3) | OF_THREAD;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec.
    let _ = unsafe { raw_syscall!(Sysno::clock_gettime, clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// CPU time that this process has used in the program, and in the kernel on its behalf, in nanoseconds.
pub(crate) fn cpu_times() -> [u64; 2] {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: writes one record.
    let _ = unsafe { raw_syscall!(Sysno::getrusage, libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    // SAFETY: all-zero is a valid record too.
    let usage = unsafe { usage.assume_init() };
    [usage.ru_utime, usage.ru_stime]
        .map(|time| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1_000)
}

/// Has the calling OS thread woken on time, to the nanosecond and not to 50 µs, and before threads
/// that compute. For one that wakes often and runs for microseconds; where the kernel refuses it is
/// woken later.
pub(crate) fn wake_promptly() {
    /// `struct sched_attr`, its first version.
    #[repr(C)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    // SAFETY: a number of the calling thread's.
    let _ = unsafe { raw_syscall!(Sysno::prctl, libc::PR_SET_TIMERSLACK, 1, 0, 0, 0) };
    let mut attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        policy: 0,
        flags: 0,
        nice: 0,
        priority: 0,
        runtime: 0,
        deadline: 0,
        period: 0,
    };
    let size = size_of::<Attributes>();
    // SAFETY: the kernel writes one record.
    let got = outcome(unsafe {
        raw_syscall!(Sysno::sched_getattr, 0, &raw mut attributes, size, 0)
    });
    if got.is_ok() && attributes.policy == libc::SCHED_OTHER as u32 {
        // A thread with short slices (Linux 6.12) gets as much CPU time, but sooner after it wakes.
        attributes.runtime = 100_000;
        // SAFETY: the kernel reads one record.
        let _ = unsafe { raw_syscall!(Sysno::sched_setattr, 0, &raw const attributes, 0) };
    }
}

/// Gives the calling OS thread the lowest priority of its kind.
pub(crate) fn be_nice() {
    // SAFETY: numbers only; 0 is the calling thread.
    let _ = unsafe { raw_syscall!(Sysno::setpriority, libc::PRIO_PROCESS, 0, 19) };
}

/// Closes a descriptor of ours.
pub(crate) fn close(descriptor: i32) {
    // SAFETY: callers pass descriptors that they own.
    let _ = unsafe { raw_syscall!(Sysno::close, descriptor) };
}

/// Duplicates a descriptor of ours out of the way of programs that count or choose numbers: to the
/// highest range that the limit allows, close-on-exec. See [`crate::own`].
pub(crate) fn duplicate_high(descriptor: i32) -> Result<i32, i32> {
    const HIGHEST: u64 = 1 << 14;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one rlimit.
    let _ = unsafe {
        raw_syscall!(Sysno::prlimit64, 0, libc::RLIMIT_NOFILE, 0, &raw mut limit)
    };
    let top = limit.rlim_cur.min(HIGHEST);
    let lowest = top - (top / 4).min(64);
    // SAFETY: duplicates a descriptor that the caller owns.
    outcome(unsafe { raw_syscall!(Sysno::fcntl, descriptor, libc::F_DUPFD_CLOEXEC, lowest) })
        .map(|moved| moved as i32)
}

/// As [`duplicate_high`], in place of the original; the original where that fails.
pub(crate) fn move_up(descriptor: i32) -> i32 {
    match duplicate_high(descriptor) {
        Ok(moved) => {
            close(descriptor);
            moved
        }
        Err(_) => descriptor,
    }
}

/// Fresh zeroed memory that is never given back.
pub(crate) fn map(bytes: usize) -> Option<usize> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a fresh anonymous mapping touches nothing that exists.
    outcome(unsafe { raw_syscall!(Sysno::mmap, 0, bytes, protection, flags, -1_isize, 0) }).ok()
}

/// The same, of which the child of a `fork` has a fresh copy.
pub(crate) fn map_wiped_on_fork(bytes: usize) -> Result<usize, i32> {
    let memory = map(bytes).ok_or(libc::ENOMEM)?;
    // SAFETY: a mapping of ours that nobody has.
    let advised = unsafe { raw_syscall!(Sysno::madvise, memory, bytes, libc::MADV_WIPEONFORK) };
    outcome(advised).map(|_| memory)
}

/// `epoll_create1(2)`, close-on-exec, numbered high.
pub(crate) fn epoll_create() -> Result<Own, i32> {
    // SAFETY: touches no memory.
    outcome(unsafe { raw_syscall!(Sysno::epoll_create1, libc::EPOLL_CLOEXEC) })
        .map(|descriptor| Own::adopt(descriptor as i32))
}

/// `epoll_ctl(2)`.
pub(crate) fn epoll_ctl(epoll: i32, operation: i32, descriptor: i32, events: u32, data: u64) -> Outcome {
    let event = libc::epoll_event { events, u64: data };
    // SAFETY: the kernel reads one event.
    outcome(unsafe { raw_syscall!(Sysno::epoll_ctl, epoll, operation, descriptor, &raw const event) })
}

/// `epoll_pwait2(2)` until `deadline` (monotonic; 0 polls, `None` waits for ever).
pub(crate) fn epoll_wait(
    epoll: i32,
    events: &mut [libc::epoll_event],
    deadline: Option<u64>,
) -> Outcome {
    let time = deadline.map(|at| timespec(if at == 0 { 0 } else { at.saturating_sub(now()) }));
    let pointer = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the kernel writes at most `events.len()` events.
    outcome(unsafe {
        raw_syscall!(Sysno::epoll_pwait2, epoll, events.as_mut_ptr(), events.len(), pointer, 0, 8)
    })
}

/// An event counter for waking a sleeper in epoll, close-on-exec, numbered high.
pub(crate) fn eventfd() -> Result<Own, i32> {
    // SAFETY: touches no memory.
    outcome(unsafe { raw_syscall!(Sysno::eventfd2, 0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
        .map(|descriptor| Own::adopt(descriptor as i32))
}

/// Adds one to an event counter.
pub(crate) fn eventfd_signal(descriptor: i32) {
    let one = 1_u64;
    // SAFETY: the kernel reads eight bytes.
    let _ = unsafe { raw_syscall!(Sysno::write, descriptor, &raw const one, 8) };
}

/// Lets the OS thread's rest of its time slice go.
pub fn yield_thread() {
    // SAFETY: touches no memory.
    let _ = unsafe { raw_syscall!(Sysno::sched_yield) };
}

/// Whether a thread of this process sleeps in the kernel (state S or D), by its opened `stat`.
pub(crate) fn is_blocked(stat: Own) -> Option<bool> {
    let mut text = [0_u8; 128];
    // SAFETY: the kernel writes at most that many bytes.
    let read = outcome(unsafe {
        raw_syscall!(Sysno::pread64, stat.number(), text.as_mut_ptr(), text.len(), 0)
    });
    let text = &text[..read.ok()?];
    // "TID (name) S …", and the name may hold anything but comes first.
    let close = text.iter().rposition(|byte| *byte == b')')?;
    text.get(close + 2).map(|state| matches!(state, b'S' | b'D'))
}

/// The system call that a thread of this process is blocked in, by number, and its registers; `None`
/// while it runs.
pub fn blocked_in(thread: u32) -> Option<(i64, Registers)> {
    let mut path = *b"/proc/self/task/0000000000/syscall\0";
    let mut rest = thread;
    for digit in path[16..26].iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    // No name of a task begins with a zero.
    let zeros = path[16..25].iter().take_while(|digit| **digit == b'0').count();
    path.copy_within(16 + zeros.., 16);
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: a C string.
    let opened = outcome(unsafe { raw_syscall!(Sysno::openat, libc::AT_FDCWD, path.as_ptr(), flags, 0) });
    let file = opened.ok()? as i32;
    let mut text = [0_u8; 256];
    // SAFETY: the kernel writes at most that many bytes.
    let read = outcome(unsafe { raw_syscall!(Sysno::read, file, text.as_mut_ptr(), text.len()) });
    close(file);
    // "NUMBER six arguments SP PC", "-1 SP PC", or "running".
    let text = std::str::from_utf8(&text[..read.ok()?]).ok()?;
    let mut words = text.split_ascii_whitespace();
    let call = words.next()?.parse().ok()?;
    let mut from_end =
        words.rev().map(|word| usize::from_str_radix(word.strip_prefix("0x").unwrap_or(word), 16));
    let ip = from_end.next()?.ok()?;
    let sp = from_end.next()?.ok()?;
    // The kernel does not tell `rbp`: where libc's wrapper needs it a walk ends early.
    Some((call, Registers { ip, sp, bp: 0 }))
}

/// Opens `/proc/self/task/TID/stat` of the calling thread.
pub(crate) fn open_own_stat() -> Own {
    let path = c"/proc/thread-self/stat";
    // SAFETY: a C string.
    let opened = outcome(unsafe {
        raw_syscall!(Sysno::openat, libc::AT_FDCWD, path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC, 0)
    });
    opened.map_or(Own::NONE, |descriptor| Own::adopt(descriptor as i32))
}
