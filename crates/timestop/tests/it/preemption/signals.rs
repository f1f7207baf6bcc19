//! The signals that a program sends, blocks and handles itself, among those by which it is preempted.

use std::io::Write;
use std::mem;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::process;
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::thread;

use libc::{SIG_BLOCK, SIG_DFL, SIG_IGN, SIG_UNBLOCK, SIGURG, SIGUSR1, c_int, sigset_t};

use super::{Hogs, alone, assert_preempted, beside_hogs, compute, is_chaos, others_go_on};
use crate::support::{tcp_pair, until};

/// Calls of the handler so far.
static HANDLED: AtomicU64 = AtomicU64::new(0);
/// Calls that found something wrong: nothing can be asserted in a handler.
static WRONG: AtomicU64 = AtomicU64::new(0);
/// The signal that is expected.
static EXPECTED: AtomicI32 = AtomicI32::new(0);

extern "C" fn handler(signal: c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a record that lives through the call.
    let number = unsafe { (*info).si_signo };
    // Long enough to be preempted here, or not to be, as it may.
    let right = compute(3, 2) == compute(3, 2);
    if !right || number != signal || signal != EXPECTED.load(Ordering::Relaxed) {
        WRONG.fetch_add(1, Ordering::Relaxed);
    }
    HANDLED.fetch_add(1, Ordering::Release);
}

fn handled() -> u64 {
    assert_eq!(WRONG.load(Ordering::Relaxed), 0, "a handler was called with another's signal");
    HANDLED.load(Ordering::Acquire)
}

/// What `action` asks the kernel for: a new action for `signal`, and the one before.
fn sigaction(signal: c_int, action: Option<usize>) -> usize {
    // SAFETY: zeroes are a valid action: the default one, an empty mask, no flags.
    let mut old: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut new: libc::sigaction = unsafe { mem::zeroed() };
    let new = match action {
        None => null(),
        Some(action) => {
            new.sa_sigaction = action;
            new.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
            if action == SIG_DFL || action == SIG_IGN {
                new.sa_flags = 0;
            }
            &raw const new
        }
    };
    // SAFETY: both records live through the call, and the handler is async-signal-safe.
    assert_eq!(unsafe { libc::sigaction(signal, new, &raw mut old) }, 0);
    old.sa_sigaction
}

fn handle(signal: c_int) {
    EXPECTED.store(signal, Ordering::Relaxed);
    sigaction(signal, Some(handler as *const () as usize));
}

/// Blocks or unblocks `signal` in the calling fiber.
fn mask(how: c_int, signal: c_int) {
    // SAFETY: zeroes are a valid set, to be emptied below.
    let mut set: sigset_t = unsafe { mem::zeroed() };
    // SAFETY: a set of ours.
    assert_eq!(unsafe { libc::sigemptyset(&raw mut set) }, 0);
    // SAFETY: an initialised set.
    assert_eq!(unsafe { libc::sigaddset(&raw mut set, signal) }, 0);
    // SAFETY: the set lives through the call, and nobody wants to know the old one.
    assert_eq!(unsafe { libc::pthread_sigmask(how, &raw const set, null_mut()) }, 0);
}

/// Whether `signal` is blocked in the calling fiber.
fn is_blocked(signal: c_int) -> bool {
    // SAFETY: zeroes are a valid set.
    let mut set: sigset_t = unsafe { mem::zeroed() };
    // SAFETY: the set lives through the call, which only reads the mask.
    assert_eq!(unsafe { libc::pthread_sigmask(SIG_BLOCK, null(), &raw mut set) }, 0);
    // SAFETY: an initialised set.
    unsafe { libc::sigismember(&raw const set, signal) == 1 }
}

fn raise(signal: c_int) {
    // SAFETY: the signal's action is the test's own.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

#[test]
fn handlers_that_compute() {
    alone(1, || {
        handle(SIGUSR1);
        beside_hogs(|index, _| {
            let expected = compute(index as u64, 5);
            // Handled before it returns, whoever else raises it meanwhile.
            let before = handled();
            raise(SIGUSR1);
            assert!(handled() > before, "raise returned before its handler");
            assert_eq!(compute(index as u64, 5), expected);
        });
        assert_preempted(1);
    });
}

#[test]
fn handlers_that_interrupt_others() {
    // A signal to a fiber that computes, or is suspended as it computed; one at a time, since equal ones merge.
    alone(2, || {
        handle(SIGUSR1);
        let ids = Arc::new([const { AtomicU64::new(0) }; 3]);
        let known = ids.clone();
        let hogs = Hogs::start(3, move |index, _| {
            // SAFETY: it only tells who calls.
            known[index].store(unsafe { libc::pthread_self() }, Ordering::Relaxed);
            assert_eq!(compute(index as u64, 10), compute(index as u64, 10));
        });
        until("all hogs run", || ids.iter().all(|id| id.load(Ordering::Relaxed) != 0));
        for round in 0..60 {
            let target = ids[round % 3].load(Ordering::Relaxed);
            let before = handled();
            // SAFETY: the fiber has not ended, so the id is its.
            assert_eq!(unsafe { libc::pthread_kill(target, SIGUSR1) }, 0);
            until("the handler ran", || handled() > before);
            assert_eq!(handled(), before + 1);
        }
        others_go_on();
        hogs.end();
    });
}

#[test]
fn hogs_that_block_the_signal() {
    alone(1, || {
        beside_hogs(|index, round| {
            if round == 0 {
                mask(SIG_BLOCK, SIGURG);
            }
            assert!(is_blocked(SIGURG), "a mask is the fiber's own");
            assert_eq!(compute(index as u64, 20), compute(index as u64, 20));
        });
        assert!(!is_blocked(SIGURG), "a mask is the fiber's own");
        // Blocked by everyone, ours included.
        mask(SIG_BLOCK, SIGURG);
        beside_hogs(|index, _| assert!(compute(index as u64, 20) == compute(index as u64, 20)));
        // The mask is the fibers' own: it keeps the program's signals from them, and nobody else's.
        assert_preempted(2);
        mask(SIG_UNBLOCK, SIGURG);
    });
}

#[test]
fn a_program_that_ignores_the_signal() {
    alone(1, || {
        assert_eq!(sigaction(SIGURG, None), SIG_DFL, "the runtime's own action shows");
        assert_eq!(sigaction(SIGURG, Some(SIG_IGN)), SIG_DFL);
        beside_hogs(|index, _| {
            raise(SIGURG);
            assert_eq!(compute(index as u64, 20), compute(index as u64, 20));
        });
        assert_preempted(if is_chaos() { 200 } else { 1 });
        assert_eq!(sigaction(SIGURG, Some(SIG_DFL)), SIG_IGN);
        beside_hogs(|_, _| raise(SIGURG));
    });
}

/// A fiber that only ever yields is hardly ever found running, and in no wait: its handlers run as it goes on.
#[test]
fn handlers_of_one_that_yields() {
    alone(1, || {
        handle(SIGUSR1);
        // SAFETY: it only tells who calls.
        let own = unsafe { libc::pthread_self() };
        let sent = Arc::new(AtomicU64::new(0));
        let known = sent.clone();
        let hogs = Hogs::start(1, move |_, _| {
            // SAFETY: the fiber waits for this one's end, so the id is its.
            assert_eq!(unsafe { libc::pthread_kill(own, SIGUSR1) }, 0);
            let seen = known.fetch_add(1, Ordering::Relaxed) + 1;
            // Nobody else is asked to see to it: the other has the next turn.
            assert_eq!(compute(seen, 20), compute(seen, 20));
            thread::yield_now();
        });
        for _ in 0..50 {
            let (before, sent_before) = (handled(), sent.load(Ordering::Relaxed));
            thread::yield_now();
            let since = sent.load(Ordering::Relaxed) - sent_before;
            assert!(since == 0 || handled() > before, "it went on before its handler ran");
        }
        hogs.end();
    });
}

#[test]
fn a_handler_of_the_programs_own_for_the_signal() {
    alone(1, || {
        let own = process::id() as libc::pid_t;
        handle(SIGURG);
        let hogs = Hogs::start(2, |index, _| {
            assert_eq!(compute(index as u64, 20), compute(index as u64, 20));
        });
        let mut sent = 0;
        for _ in 0..20 {
            // To this fiber, handled before it returns.
            raise(SIGURG);
            sent += 1;
            assert_eq!(handled(), sent, "its own signals, and no others");

            // To the process: whichever fiber has it unblocked.
            // SAFETY: the signal's action is the test's own.
            assert_eq!(unsafe { libc::kill(own, SIGURG) }, 0);
            sent += 1;
            until("the handler ran", || handled() >= sent);
            assert_eq!(handled(), sent, "its own signals, and no others");
        }

        // What the signal is for: urgent data on a socket that has an owner.
        let (client, server) = tcp_pair();
        // SAFETY: a descriptor of ours, and an argument that is a process.
        let owned = unsafe { libc::fcntl(server.as_raw_fd(), libc::F_SETOWN, own) };
        assert_eq!(owned, 0);
        for _ in 0..10 {
            send_urgent(&client);
            sent += 1;
            until("the handler ran", || handled() >= sent);
            assert_eq!(handled(), sent, "its own signals, and no others");
        }
        (&client).write_all(b"x").expect("room");

        others_go_on();
        hogs.end();
        assert_eq!(handled(), sent, "preemptions are not the program's signals");
    });
}

fn send_urgent(stream: &TcpStream) {
    let byte = b"!";
    // SAFETY: the buffer lives through the call and is as long as said.
    let sent =
        unsafe { libc::send(stream.as_raw_fd(), byte.as_ptr().cast(), byte.len(), libc::MSG_OOB) };
    assert_eq!(sent, 1);
}

#[test]
fn the_signal_blocked_and_then_taken() {
    alone(1, || {
        handle(SIGURG);
        let hogs = Hogs::start(2, |index, _| {
            if !is_blocked(SIGURG) {
                mask(SIG_BLOCK, SIGURG);
            }
            assert_eq!(compute(index as u64, 20), compute(index as u64, 20));
        });
        mask(SIG_BLOCK, SIGURG);
        for round in 1..20 {
            raise(SIGURG);
            others_go_on_a_little();
            assert_eq!(handled(), round - 1, "handled though it is blocked");
            mask(SIG_UNBLOCK, SIGURG);
            assert_eq!(handled(), round, "pending, and then unblocked");
            mask(SIG_BLOCK, SIGURG);
        }
        hogs.end();
    });
}

fn others_go_on_a_little() {
    timestop::spawn(|| std::thread::sleep(std::time::Duration::from_millis(1)))
        .join()
        .expect("a sleep cannot fail");
}
