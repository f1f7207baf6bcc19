//! `ppoll`, `pselect`, `epoll_pwait` and `epoll_pwait2` under a signal mask: they suspend the fiber, and
//! the mask holds for the wait and no longer.
#![allow(missing_docs, missing_debug_implementations, unreachable_pub, dead_code)]

mod common;

use std::ffi::c_int;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;

use common::{alone, fiber, on_fiber, start};
use timestop_runtime::futex::{self, Wait};
use timestop_runtime::{FiberRef, Reason, Snapshot, snapshots, sys};

static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: c_int) {
    HANDLED.fetch_add(1, SeqCst);
}

fn handle(signal: c_int) {
    // SAFETY: all-zero is a valid record.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // Such calls end all the same.
    (action.sa_sigaction, action.sa_flags) = (count as *const () as usize, libc::SA_RESTART);
    // SAFETY: a valid record.
    assert_eq!(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) }, 0);
}

fn set_of(signals: &[c_int]) -> libc::sigset_t {
    // SAFETY: all-zero is an empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    for signal in signals {
        // SAFETY: ours.
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    set
}

fn block(signals: &[c_int]) {
    let set = set_of(signals);
    // SAFETY: a valid set.
    let result =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    assert_eq!(result, 0);
}

fn is_blocked(signal: c_int) -> bool {
    let mut set = set_of(&[]);
    // SAFETY: room for a set.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut set) };
    // SAFETY: ours.
    unsafe { libc::sigismember(&raw const set, signal) == 1 }
}

fn is_pending(signal: c_int) -> bool {
    let mut set = set_of(&[]);
    // SAFETY: room for a set.
    unsafe { libc::sigpending(&raw mut set) };
    // SAFETY: ours.
    unsafe { libc::sigismember(&raw const set, signal) == 1 }
}

const CALLS: [&str; 4] = ["ppoll", "pselect", "epoll_pwait", "epoll_pwait2"];

/// Waits until the descriptor is readable, by one of the calls: its result, or the error.
fn wait(
    call: &str,
    descriptor: c_int,
    seconds: Option<i64>,
    mask: &libc::sigset_t,
) -> Result<c_int, c_int> {
    let time = seconds.map(|seconds| libc::timespec { tv_sec: seconds, tv_nsec: 0 });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: makes a descriptor.
    let epoll = unsafe { libc::epoll_create1(0) };
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
    // SAFETY: one event.
    unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, descriptor, &raw mut event) };
    let milliseconds = seconds.map_or(-1, |seconds| seconds as c_int * 1000);
    let result = match call {
        "ppoll" => {
            let mut record = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
            // SAFETY: one record.
            unsafe { libc::ppoll(&raw mut record, 1, time, mask) }
        }
        "pselect" => {
            // SAFETY: all-zero is an empty set.
            let mut set: libc::fd_set = unsafe { std::mem::zeroed() };
            // SAFETY: a small number.
            unsafe { libc::FD_SET(descriptor, &raw mut set) };
            let none = std::ptr::null_mut();
            // SAFETY: all ours.
            unsafe { libc::pselect(descriptor + 1, &raw mut set, none, none, time, mask) }
        }
        "epoll_pwait" => {
            // SAFETY: room for one event.
            unsafe { libc::epoll_pwait(epoll, &raw mut event, 1, milliseconds, mask) }
        }
        _ => {
            // SAFETY: room for one event.
            unsafe { epoll_pwait2(epoll, &raw mut event, 1, time, mask) }
        }
    };
    let error = std::io::Error::last_os_error().raw_os_error().expect("a number");
    // SAFETY: ours.
    unsafe { libc::close(epoll) };
    if result < 0 { Err(error) } else { Ok(result) }
}

unsafe extern "C" {
    fn epoll_pwait2(
        epoll: c_int,
        events: *mut libc::epoll_event,
        count: c_int,
        time: *const libc::timespec,
        mask: *const libc::sigset_t,
    ) -> c_int;
}

#[test]
fn a_pending_signal_ends_the_wait_that_lets_it_through() {
    if !alone("a_pending_signal_ends_the_wait_that_lets_it_through") {
        return;
    }
    start();
    handle(libc::SIGUSR1);
    on_fiber(|| {
        block(&[libc::SIGUSR1]);
        let (mut here, there) = UnixStream::pair().expect("a pair");
        let descriptor = there.as_raw_fd();
        let (open, closed) = (set_of(&[]), set_of(&[libc::SIGUSR1]));
        for call in CALLS {
            for seconds in [Some(0), Some(60), None] {
                let before = HANDLED.load(SeqCst);
                // SAFETY: sends a signal to the caller.
                unsafe { libc::raise(libc::SIGUSR1) };
                assert_eq!(wait(call, descriptor, Some(0), &closed), Ok(0), "{call}");
                assert_eq!(HANDLED.load(SeqCst), before);
                assert_eq!(wait(call, descriptor, seconds, &open), Err(libc::EINTR), "{call}");
                assert_eq!(HANDLED.load(SeqCst), before + 1, "{call}");
                assert!(is_blocked(libc::SIGUSR1), "{call}: the mask is the fiber's again");
            }
        }
        // What is ready comes first: then the signal waits on.
        here.write_all(&[1]).expect("connected");
        let before = HANDLED.load(SeqCst);
        // SAFETY: sends a signal to the caller.
        unsafe { libc::raise(libc::SIGUSR1) };
        for call in CALLS {
            assert_eq!(wait(call, descriptor, None, &open), Ok(1), "{call}");
            assert_eq!(HANDLED.load(SeqCst), before, "{call}");
            assert!(is_pending(libc::SIGUSR1));
        }
    });
}

/// Many wait in such calls, and the process has few OS threads; a signal or data ends each.
#[test]
fn fibers_suspend_under_a_mask() {
    const FIBERS: usize = 64;
    if !alone("fibers_suspend_under_a_mask") {
        return;
    }
    start();
    handle(libc::SIGUSR1);
    handle(libc::SIGUSR2);
    let (told, begun) = channel();
    let (mut ends, mut running) = (Vec::new(), Vec::new());
    for index in 0..FIBERS {
        let (here, there) = UnixStream::pair().expect("a pair");
        ends.push(here);
        let told = told.clone();
        running.push(fiber(move || {
            block(&[libc::SIGUSR1, libc::SIGUSR2]);
            // SAFETY: the fiber's own id.
            told.send((index, unsafe { libc::pthread_self() })).expect("the test listens");
            let mask = set_of(&[libc::SIGUSR2]);
            let result = wait(CALLS[index % 4], there.as_raw_fd(), None, &mask);
            (result, is_blocked(libc::SIGUSR1), is_pending(libc::SIGUSR2))
        }));
    }
    let mut threads: Vec<_> = begun.iter().take(FIBERS).collect();
    threads.sort_unstable();
    let in_poll = || {
        let waits = |one: &Snapshot| one.reason == Reason::Poll;
        snapshots().filter(waits).count()
    };
    on_fiber(move || {
        let start = std::time::Instant::now();
        while in_poll() < FIBERS {
            assert!(start.elapsed().as_secs() < 10, "{} wait", in_poll());
            // SAFETY: sleeps.
            unsafe { libc::usleep(1000) };
        }
    });
    let os_threads = std::fs::read_dir("/proc/self/task").expect("Linux has it").count();
    assert!(os_threads < FIBERS / 2, "{os_threads} OS threads");
    for (index, thread) in threads {
        // The mask keeps this one back.
        // SAFETY: the fiber lives.
        assert_eq!(unsafe { libc::pthread_kill(thread, libc::SIGUSR2) }, 0);
        if index / 4 % 2 == 0 {
            // SAFETY: the fiber lives: it waits for what comes now.
            assert_eq!(unsafe { libc::pthread_kill(thread, libc::SIGUSR1) }, 0);
        } else {
            ends[index].write_all(&[1]).expect("connected");
        }
    }
    for (index, fiber) in running.into_iter().enumerate() {
        let (result, blocked, pending) = fiber.join();
        let expected = if index / 4 % 2 == 0 { Err(libc::EINTR) } else { Ok(1) };
        assert_eq!(result, expected, "{}", CALLS[index % 4]);
        assert!(blocked && pending);
    }
    assert_eq!(HANDLED.load(SeqCst), FIBERS / 2);
}

/// One that left by `siglongjmp` would leave a place in a queue behind that lies on its stack.
#[test]
fn no_handler_runs_while_others_know_the_stack() {
    if !alone("no_handler_runs_while_others_know_the_stack") {
        return;
    }
    start();
    handle(libc::SIGUSR1);
    let early = on_fiber(|| {
        let place = 0_u64;
        let deadline = Some(sys::now() + 60_000_000_000);
        let wait = Wait { deadline, ..Wait::on((&raw const place) as usize, Reason::Other) };
        let mut early = None;
        let queued = || {
            let (process, thread) = (sys::process_id(), sys::thread_id());
            // SAFETY: numbers only. It comes before this returns, or when the wait is over.
            unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGUSR1) };
            early = Some(HANDLED.load(SeqCst));
        };
        assert!(futex::wait(wait, || true, queued).outcome.is_some());
        early
    });
    assert_eq!((early, HANDLED.load(SeqCst)), (Some(0), 1));
}

fn kernels_stack() -> libc::stack_t {
    // SAFETY: all-zero is a valid record.
    let mut stack: libc::stack_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes the record.
    unsafe { libc::syscall(libc::SYS_sigaltstack, 0, &raw mut stack) };
    stack
}

/// The OS thread goes on to run others, on whose behalf signals come to the stack that it has.
#[test]
fn a_pinned_fiber_leaves_the_os_threads_signal_stack_alone() {
    start();
    on_fiber(|| {
        let fiber = FiberRef::current().expect("a fiber");
        fiber.pin();
        let before = kernels_stack();
        let mut room = vec![0_u8; 64 * 1024];
        let mine =
            libc::stack_t { ss_sp: room.as_mut_ptr().cast(), ss_flags: 0, ss_size: room.len() };
        // SAFETY: valid records; the memory is ours until the stack is given up.
        assert_eq!(unsafe { libc::sigaltstack(&raw const mine, std::ptr::null_mut()) }, 0);
        let after = kernels_stack();
        // SAFETY: all-zero is a valid record.
        let mut own: libc::stack_t = unsafe { std::mem::zeroed() };
        // SAFETY: room for a record.
        assert_eq!(unsafe { libc::sigaltstack(std::ptr::null(), &raw mut own) }, 0);
        let none = libc::stack_t { ss_flags: libc::SS_DISABLE, ..mine };
        // SAFETY: a valid record.
        assert_eq!(unsafe { libc::sigaltstack(&raw const none, std::ptr::null_mut()) }, 0);
        fiber.unpin();
        assert_eq!(after.ss_sp, before.ss_sp);
        assert_eq!(own.ss_sp, mine.ss_sp);
    });
}
