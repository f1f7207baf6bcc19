//! Processes and signals, from fibers. What concerns the whole process (its signal actions, its
//! children, its end) happens in a process of its own: this program again, with one test.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use timestop_runtime::{self as runtime, FiberRef, Settings, Start};

const PATIENCE: Duration = Duration::from_secs(60);

fn start() {
    timestop_hooks::install();
    let settings = Settings { workers: 2, ..Settings::default() };
    runtime::start(settings).expect("fibers run here");
}

type Body = Box<dyn FnOnce() + Send>;

unsafe fn run(argument: usize) {
    // SAFETY: `fiber` made the box, for this one call.
    let body = unsafe { Box::from_raw(argument as *mut Body) };
    body();
}

/// A fiber that runs `body`; its result comes through the channel, or an error if it panics.
fn fiber<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> (FiberRef, Receiver<T>) {
    start();
    let (sender, receiver) = channel();
    let body: Box<Body> = Box::new(Box::new(move || {
        if let Ok(value) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
            let _ = sender.send(value);
        }
    }));
    let argument = Box::into_raw(body) as usize;
    let fiber = runtime::create(256 * 1024, Start { function: run, argument }).expect("room");
    runtime::launch(fiber);
    (fiber, receiver)
}

fn result<T>(receiver: &Receiver<T>) -> T {
    runtime::signal::lend_thread(|| receiver.recv_timeout(PATIENCE)).expect("the fiber ends well")
}

fn on_fiber<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    result(&fiber(body).1)
}

/// Runs a test of this file in a process of its own; true in that process.
fn alone(name: &str, judge: impl FnOnce(&Output)) -> bool {
    if std::env::var_os("TIMESTOP_ALONE").is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("this program");
    let output = Command::new("timeout")
        .args(["-s", "KILL", "60"])
        .arg(program)
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env("TIMESTOP_ALONE", "1")
        .output()
        .expect("this program runs again");
    judge(&output);
    false
}

fn good(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}\n{errors}", output.status);
}

/// Suspends the fiber until `done`, looking every millisecond.
fn until(done: impl Fn() -> bool) {
    while !done() {
        // SAFETY: sleeps.
        unsafe { libc::usleep(1000) };
    }
}

fn exit_code(child: i32) -> i32 {
    let mut status = 0;
    // SAFETY: room for a status.
    let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(ended, child, "{}", std::io::Error::last_os_error());
    assert!(libc::WIFEXITED(status), "status {status:#x}");
    libc::WEXITSTATUS(status)
}

fn spawn_shell(command: &str) -> i32 {
    let command = std::ffi::CString::new(command).expect("no zero byte");
    let mut arguments = [
        c"sh".as_ptr().cast_mut(),
        c"-c".as_ptr().cast_mut(),
        command.as_ptr().cast_mut(),
        std::ptr::null_mut(),
    ];
    let mut child = 0;
    // SAFETY: all of it is whole.
    let error = unsafe {
        libc::posix_spawn(
            &raw mut child,
            c"/bin/sh".as_ptr(),
            std::ptr::null(),
            std::ptr::null(),
            arguments.as_mut_ptr(),
            [std::ptr::null_mut()].as_ptr(),
        )
    };
    assert_eq!(error, 0);
    child
}

#[test]
fn commands_from_fifty_fibers() {
    let fibers: Vec<_> = (0..50)
        .map(|number| {
            fiber(move || {
                for round in 0..4 {
                    let text = format!("{number} {round}");
                    let output = Command::new("echo").arg(&text).output().expect("echo runs");
                    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), text);
                    assert!(output.status.success());
                }
            })
        })
        .collect();
    fibers.iter().for_each(|(_, receiver)| result(receiver));
}

/// Ends a child without the parent's exit handlers.
fn leave(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

#[test]
fn a_forked_child_spawns_fibers() {
    for round in 0..20 {
        let code = on_fiber(move || {
            // SAFETY: the child calls what a thread's child may call here.
            match unsafe { libc::fork() } {
                0 => {
                    let sum = Arc::new(AtomicI32::new(0));
                    for number in 1..=3 {
                        let sum = Arc::clone(&sum);
                        let _ = fiber(move || {
                            // SAFETY: sleeps.
                            unsafe { libc::usleep(1000) };
                            sum.fetch_add(number, SeqCst);
                        });
                    }
                    until(|| sum.load(SeqCst) == 6);
                    leave(40 + round)
                }
                child => exit_code(child),
            }
        });
        assert_eq!(code, 40 + round);
    }
}

#[test]
fn many_fibers_fork_at_once() {
    let fibers: Vec<_> = (0..20)
        .map(|number| {
            fiber(move || {
                for _ in 0..5 {
                    // SAFETY: as above.
                    let code = match unsafe { libc::fork() } {
                        0 => {
                            until(|| true);
                            // SAFETY: sleeps, which needs the child's timers.
                            unsafe { libc::usleep(500) };
                            leave(number)
                        }
                        child => exit_code(child),
                    };
                    assert_eq!(code, number);
                }
            })
        })
        .collect();
    fibers.iter().for_each(|(_, receiver)| result(receiver));
}

#[test]
fn a_child_ends_with_its_last_fiber() {
    alone_or("a_child_ends_with_its_last_fiber", || {
        let code = on_fiber(|| {
            // SAFETY: the child only returns from its fiber.
            match unsafe { libc::fork() } {
                0 => -1,
                child => exit_code(child),
            }
        });
        assert_eq!(code, 0);
    });
}

/// Runs `body` in a process of its own, which must succeed.
fn alone_or(name: &str, body: impl FnOnce()) {
    if alone(name, good) {
        body();
    }
}

#[test]
fn a_fork_on_an_os_thread_restarts_the_runtime() {
    alone_or("a_fork_on_an_os_thread_restarts_the_runtime", || {
        start();
        on_fiber(|| ());
        for _ in 0..10 {
            // SAFETY: as above.
            let child = unsafe { libc::fork() };
            if child == 0 {
                leave(on_fiber(|| 9));
            }
            assert_eq!(exit_code(child), 9);
        }
    });
}

#[test]
fn fork_handlers_run_on_the_fiber() {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    unsafe extern "C" fn note<const DIGIT: u64>() {
        assert!(FiberRef::current().is_some());
        SEEN.store(SEEN.load(SeqCst) * 10 + DIGIT, SeqCst);
    }
    alone_or("fork_handlers_run_on_the_fiber", || {
        unsafe extern "C" {
            fn pthread_atfork(
                prepare: unsafe extern "C" fn(),
                parent: unsafe extern "C" fn(),
                child: unsafe extern "C" fn(),
            ) -> i32;
        }
        // SAFETY: handlers that live for ever.
        unsafe { pthread_atfork(note::<1>, note::<2>, note::<3>) };
        // SAFETY: as above.
        unsafe { pthread_atfork(note::<4>, note::<5>, note::<6>) };
        let child_saw = on_fiber(|| {
            // SAFETY: the child leaves at once.
            match unsafe { libc::fork() } {
                0 => leave(i32::from(SEEN.load(SeqCst) == 4136)),
                child => exit_code(child),
            }
        });
        assert_eq!((child_saw, SEEN.load(SeqCst)), (1, 4125));
    });
}

/// Rust does not know functions that return twice, so the child stays in assembly.
#[allow(deprecated, reason = "the very function under test")]
#[unsafe(naked)]
extern "C" fn call_in_vfork_child() -> i32 {
    std::arch::naked_asm!(
        "sub rsp, 8",
        "call {vfork}",
        "test eax, eax",
        "jz 2f",
        "add rsp, 8",
        "ret",
        "2:",
        "call {child}",
        "ud2",
        vfork = sym libc::vfork,
        child = sym in_vfork_child,
    )
}

/// What CPython's `subprocess` does in such a child, and a little more.
extern "C" fn in_vfork_child() -> ! {
    // SAFETY: all-zero is a valid action: the default.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = libc::SIG_IGN;
    // SAFETY: a whole record.
    unsafe { libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut()) };
    // SAFETY: closes nothing that the child needs; the parent's stays open.
    unsafe { libc::close(CLOSED_IN_CHILD.load(SeqCst)) };
    leave(7)
}

static CLOSED_IN_CHILD: AtomicI32 = AtomicI32::new(-1);

#[test]
fn a_child_of_vfork_leaves_the_parent_alone() {
    extern "C" fn handler(_: i32) {}
    alone_or("a_child_of_vfork_leaves_the_parent_alone", || {
        on_fiber(|| {
            let mut pipe = [0; 2];
            // SAFETY: room for two.
            assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
            CLOSED_IN_CHILD.store(pipe[0], SeqCst);
            // SAFETY: a handler that does nothing.
            unsafe { libc::signal(libc::SIGUSR2, handler as *const () as usize) };
            for _ in 0..100 {
                assert_eq!(exit_code(call_in_vfork_child()), 7);
                // SAFETY: a query.
                let now = unsafe { libc::signal(libc::SIGUSR2, handler as *const () as usize) };
                assert_eq!(now, handler as *const () as usize);
                // SAFETY: a byte.
                assert_eq!(unsafe { libc::write(pipe[1], [1_u8].as_ptr().cast(), 1) }, 1);
                let mut byte = [0_u8];
                // SAFETY: room for a byte.
                assert_eq!(unsafe { libc::read(pipe[0], byte.as_mut_ptr().cast(), 1) }, 1);
            }
        });
    });
}

#[test]
fn fibers_wait_for_their_children() {
    let fibers: Vec<_> = (0..20)
        .map(|number| {
            fiber(move || {
                exit_code(spawn_shell(&format!("sleep 0.0{}; exit {number}", number % 10)))
            })
        })
        .collect();
    for (number, (_, receiver)) in fibers.iter().enumerate() {
        assert_eq!(result(receiver), number as i32);
    }
}

#[test]
fn waiting_for_any_child() {
    alone_or("waiting_for_any_child", || {
        let mut codes = on_fiber(|| {
            for code in 1..=5 {
                spawn_shell(&format!("exit {code}"));
            }
            let mut codes = Vec::new();
            for _ in 0..5 {
                let mut status = 0;
                // SAFETY: room for a status.
                assert!(unsafe { libc::wait(&raw mut status) } > 0);
                codes.push(libc::WEXITSTATUS(status));
            }
            // SAFETY: as above.
            assert_eq!(unsafe { libc::wait(std::ptr::null_mut()) }, -1);
            assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ECHILD));
            codes
        });
        codes.sort_unstable();
        assert_eq!(codes, [1, 2, 3, 4, 5]);
    });
}

#[test]
fn system_and_popen() {
    alone_or("system_and_popen", || {
        let fibers: Vec<_> = (0..10)
            .map(|number| {
                fiber(move || {
                    let command = std::ffi::CString::new(format!("exit {number}")).expect("text");
                    // SAFETY: C strings.
                    let status = unsafe { libc::system(command.as_ptr()) };
                    // SAFETY: as above.
                    let pipe =
                        unsafe { libc::popen(c"echo hello; exit 5".as_ptr(), c"r".as_ptr()) };
                    let mut line = [0_u8; 32];
                    // SAFETY: room for a line.
                    unsafe { libc::fgets(line.as_mut_ptr().cast(), 32, pipe) };
                    assert_eq!(&line[..6], b"hello\n");
                    // SAFETY: opened above.
                    let closed = unsafe { libc::pclose(pipe) };
                    (libc::WEXITSTATUS(status), libc::WEXITSTATUS(closed))
                })
            })
            .collect();
        for (number, (_, receiver)) in fibers.iter().enumerate() {
            assert_eq!(result(receiver), (number as i32, 5));
        }
    });
}

static CALLS: AtomicUsize = AtomicUsize::new(0);
static CALLED_ON: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: i32) {
    // SAFETY: plain libc.
    CALLED_ON.store(unsafe { libc::pthread_self() } as usize, SeqCst);
    CALLS.fetch_add(1, SeqCst);
}

fn handle(signal: i32, flags: i32) {
    // SAFETY: all-zero is a valid action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count as *const () as usize;
    action.sa_flags = flags;
    let mut old = action;
    // SAFETY: whole records.
    assert_eq!(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) }, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut old) }, 0);
    assert_eq!(old.sa_sigaction, count as *const () as usize, "the program's own handler");
    assert_eq!(old.sa_flags & libc::SA_RESTART, flags & libc::SA_RESTART);
}

fn send(fiber: FiberRef, signal: i32) {
    // SAFETY: a live fiber's id.
    assert_eq!(unsafe { libc::pthread_kill(fiber.pthread() as libc::pthread_t, signal) }, 0);
}

#[test]
fn a_signal_ends_a_sleep_and_a_read() {
    alone_or("a_signal_ends_a_sleep_and_a_read", || {
        handle(libc::SIGUSR1, 0);
        for round in 0..200 {
            let mut pipe = [0; 2];
            // SAFETY: room for two.
            unsafe { libc::pipe(pipe.as_mut_ptr()) };
            let before = CALLS.load(SeqCst);
            let (target, receiver) = fiber(move || {
                let mut byte = 0_u8;
                let status = if round % 2 == 0 {
                    let time = libc::timespec { tv_sec: 100, tv_nsec: 0 };
                    // SAFETY: sleeps.
                    unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) as isize }
                } else {
                    // SAFETY: room for a byte.
                    unsafe { libc::read(pipe[0], (&raw mut byte).cast(), 1) }
                };
                (status, std::io::Error::last_os_error().raw_os_error())
            });
            // It may not wait yet: then its handler runs before it does, and another signal is needed.
            let (_, sender) = fiber(move || {
                while receiver
                    .try_recv()
                    .map(|end| assert_eq!(end, (-1, Some(libc::EINTR))))
                    .is_err()
                {
                    send(target, libc::SIGUSR1);
                    // SAFETY: sleeps.
                    unsafe { libc::usleep(500) };
                }
            });
            result(&sender);
            assert!(CALLS.load(SeqCst) > before);
            assert_eq!(CALLED_ON.load(SeqCst), target.pthread());
            pipe.iter().for_each(|end| {
                // SAFETY: opened above.
                unsafe { libc::close(*end) };
            });
        }
    });
}

#[test]
fn a_restartable_read_goes_on() {
    alone_or("a_restartable_read_goes_on", || {
        handle(libc::SIGUSR1, libc::SA_RESTART);
        for _ in 0..50 {
            let mut pipe = [0; 2];
            // SAFETY: room for two.
            unsafe { libc::pipe(pipe.as_mut_ptr()) };
            let before = CALLS.load(SeqCst);
            let (target, receiver) = fiber(move || {
                let mut byte = 0_u8;
                // SAFETY: room for a byte.
                (unsafe { libc::read(pipe[0], (&raw mut byte).cast(), 1) }, byte)
            });
            let (_, sender) = fiber(move || {
                send(target, libc::SIGUSR1);
                until(|| CALLS.load(SeqCst) > before);
                // SAFETY: a byte.
                unsafe { libc::write(pipe[1], [42_u8].as_ptr().cast(), 1) };
            });
            result(&sender);
            assert_eq!(result(&receiver), (1, 42));
        }
    });
}

#[test]
fn a_computing_fiber_is_interrupted() {
    alone_or("a_computing_fiber_is_interrupted", || {
        handle(libc::SIGUSR1, libc::SA_RESTART);
        for _ in 0..100 {
            let before = CALLS.load(SeqCst);
            let (target, receiver) = fiber(move || {
                while CALLS.load(SeqCst) == before {
                    std::hint::spin_loop();
                }
            });
            send(target, libc::SIGUSR1);
            result(&receiver);
            assert_eq!(CALLED_ON.load(SeqCst), target.pthread());
        }
    });
}

#[test]
fn kill_to_oneself_runs_the_handler_first() {
    alone_or("kill_to_oneself_runs_the_handler_first", || {
        handle(libc::SIGUSR1, 0);
        on_fiber(|| {
            for round in 1..1000 {
                let own = std::process::id() as i32;
                // SAFETY: a handler is there.
                unsafe { libc::kill(own, libc::SIGUSR1) };
                assert_eq!(CALLS.load(SeqCst), 2 * round - 1);
                // SAFETY: as above.
                unsafe { libc::raise(libc::SIGUSR1) };
                assert_eq!(CALLS.load(SeqCst), 2 * round);
            }
        });
    });
}

fn set_of(signal: i32) -> libc::sigset_t {
    // SAFETY: all-zero is the empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: a whole set.
    unsafe { libc::sigaddset(&raw mut set, signal) };
    set
}

fn mask(how: i32, signal: i32) {
    // SAFETY: a whole set.
    let status = unsafe { libc::pthread_sigmask(how, &set_of(signal), std::ptr::null_mut()) };
    assert_eq!(status, 0);
}

#[test]
fn a_blocked_signal_waits() {
    alone_or("a_blocked_signal_waits", || {
        handle(libc::SIGUSR1, 0);
        on_fiber(|| {
            for round in 0..100 {
                mask(libc::SIG_BLOCK, libc::SIGUSR1);
                // SAFETY: a handler is there.
                unsafe { libc::raise(libc::SIGUSR1) };
                assert_eq!(CALLS.load(SeqCst), round);
                // SAFETY: all-zero is the empty set.
                let mut pending: libc::sigset_t = unsafe { std::mem::zeroed() };
                // SAFETY: a whole set.
                unsafe { libc::sigpending(&raw mut pending) };
                // SAFETY: a whole set.
                assert_eq!(unsafe { libc::sigismember(&raw const pending, libc::SIGUSR1) }, 1);
                mask(libc::SIG_UNBLOCK, libc::SIGUSR1);
                assert_eq!(CALLS.load(SeqCst), round + 1);
            }
        });
    });
}

#[test]
fn sigwait_takes_signals_from_outside() {
    alone_or("sigwait_takes_signals_from_outside", || {
        // The harness has a thread that blocks nothing; a child has none.
        let code = on_fiber(|| {
            // SAFETY: the child calls what a thread's child may call here.
            match unsafe { libc::fork() } {
                0 => leave(wait_for_three_signals()),
                child => exit_code(child),
            }
        });
        assert_eq!(code, 3);
    });
}

fn wait_for_three_signals() -> i32 {
    mask(libc::SIG_BLOCK, libc::SIGTERM);
    let mut waiting = Vec::new();
    let (blocks, blocked) = channel();
    for _ in 0..3 {
        let blocks = blocks.clone();
        let (_, receiver) = fiber(move || {
            mask(libc::SIG_BLOCK, libc::SIGTERM);
            blocks.send(()).expect("it is awaited");
            let mut signal = 0;
            // SAFETY: room for a number.
            let status = unsafe { libc::sigwait(&set_of(libc::SIGTERM), &raw mut signal) };
            (status, signal)
        });
        waiting.push(receiver);
    }
    // A fiber that was made without a hook begins with nothing blocked, and would be ended.
    for _ in 0..3 {
        blocked.recv().expect("each blocks it");
    }
    let mut seen = 0;
    for _ in 0..3 {
        // SAFETY: reads a number.
        let own = unsafe { libc::getpid() };
        assert_eq!(exit_code(spawn_shell(&format!("kill -TERM {own}"))), 0);
        let mut end = None;
        while end.is_none() {
            end = waiting.iter().find_map(|receiver| receiver.try_recv().ok());
            // SAFETY: sleeps.
            unsafe { libc::usleep(1000) };
        }
        seen += i32::from(end == Some((0, libc::SIGTERM)));
    }
    seen
}

#[test]
fn a_signal_from_outside_is_for_main() {
    alone_or("a_signal_from_outside_is_for_main", || {
        handle(libc::SIGHUP, 0);
        let (main, receiver) = fiber(|| {
            let mut pauses = 0;
            let mut child = 0;
            for _ in 0..20 {
                // SAFETY: reads a number.
                let own = unsafe { libc::getpid() };
                child = spawn_shell(&format!("sleep 0.02; kill -HUP {own}"));
                // SAFETY: waits for a signal.
                assert_eq!(unsafe { libc::pause() }, -1);
                assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EINTR));
                pauses += 1;
                assert_eq!(exit_code(child), 0);
            }
            (pauses, child)
        });
        runtime::signal::set_main_fiber(Some(main));
        assert_eq!(result(&receiver).0, 20);
        assert_eq!(CALLED_ON.load(SeqCst), main.pthread());
    });
}

#[test]
fn a_storm_of_signals() {
    alone_or("a_storm_of_signals", || {
        handle(libc::SIGUSR1, libc::SA_RESTART);
        handle(libc::SIGUSR2, 0);
        static RUNNING: AtomicUsize = AtomicUsize::new(4);
        let workers: Vec<_> = (0..4)
            .map(|number| {
                fiber(move || {
                    for round in 0..2000 {
                        let text = vec![number; 10 + round % 1000];
                        std::hint::black_box(&text);
                        match round % 4 {
                            0 => runtime::yield_now(),
                            // SAFETY: sleeps.
                            1 => drop(unsafe { libc::usleep(20) }),
                            2 => drop(std::fs::metadata("/")),
                            _ => {}
                        }
                    }
                    RUNNING.fetch_sub(1, SeqCst);
                })
            })
            .collect();
        let targets: Vec<_> = workers.iter().map(|(fiber, _)| fiber.pthread()).collect();
        let (_, sender) = fiber(move || {
            let mut sent = 0;
            while RUNNING.load(SeqCst) == 4 {
                sent += 1;
                let signal = if sent % 2 == 0 { libc::SIGUSR1 } else { libc::SIGUSR2 };
                // SAFETY: fibers that live, or whose slots nobody else uses here.
                unsafe { libc::pthread_kill(targets[sent % 4] as libc::pthread_t, signal) };
                if sent % 50 == 0 {
                    // SAFETY: sleeps.
                    unsafe { libc::usleep(100) };
                }
            }
        });
        result(&sender);
        workers.iter().for_each(|(_, receiver)| result(receiver));
        assert!(CALLS.load(SeqCst) > 10);
    });
}

#[inline(never)]
fn dig(depth: usize) -> usize {
    let room = std::hint::black_box([depth; 64]);
    if depth == usize::MAX { room[0] } else { dig(depth + 1) + std::hint::black_box(room[1]) }
}

#[test]
fn an_overflow_is_told() {
    let judge = |output: &Output| {
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(errors, "fiber '<unnamed>' has overflowed its stack\n");
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{}", output.status);
    };
    if alone("an_overflow_is_told", judge) {
        on_fiber(|| dig(0));
    }
}

#[test]
fn an_overflow_is_told_by_name() {
    let judge = |output: &Output| {
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(errors, "fiber 'deep' has overflowed its stack\n");
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{}", output.status);
    };
    if alone("an_overflow_is_told_by_name", judge) {
        start();
        timestop_hooks::thread::adopt_within(|| {
            let builder = std::thread::Builder::new().name("deep".to_owned());
            let thread = builder.spawn(move || dig(0)).expect("a thread");
            let _ = thread.join();
        });
    }
}

#[test]
fn other_faults_are_what_they_were() {
    let judge = |output: &Output| {
        assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{}", output.status);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("overflowed"));
    };
    if alone("other_faults_are_what_they_were", judge) {
        on_fiber(|| {
            // SAFETY: none; it is what the test is about.
            unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
        });
    }
}
