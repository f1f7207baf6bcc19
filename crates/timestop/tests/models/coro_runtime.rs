//! Generators among fibers: they block, are preempted and stolen with their fiber, overflow, and are seen in dumps.

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use timestop::coro::{Builder, Generator, Greenlet, Yielder, scoped};

use crate::support::{child, child_passes, is_child, on_fiber, splitmix, tcp_pair, until};

thread_local! {
    static MINE: Cell<u64> = const { Cell::new(0) };
}

/// A generator that waits has its fiber wait, and no other; and shares the thread-locals of its fiber.
#[test]
fn who_resumes_waits() {
    on_fiber(|| {
        let (sender, receiver) = mpsc::channel::<u32>();
        let waits = timestop::spawn(move || {
            MINE.set(7);
            let g = Generator::<u32>::new(move |y| {
                assert_eq!(MINE.get(), 7, "the thread-locals of who resumes it");
                MINE.set(8);
                receiver.iter().for_each(|number| y.yield_(number));
            });
            let got: Vec<_> = g.collect();
            (got, MINE.get())
        });
        for number in 0..5 {
            thread::sleep(Duration::from_millis(1));
            sender.send(number).expect("the generator receives");
        }
        drop(sender);
        assert_eq!(waits.join().expect("it does not panic"), (vec![0, 1, 2, 3, 4], 8));
    });
}

/// The dump of a fiber that waits within generators shows their frames and those of who resumed them.
/// (Where debug information has lines only, names lack their modules: the runtime's own frames are not cut off then,
/// and fill the lines of a dump.)
#[test]
#[cfg_attr(not(debug_assertions), ignore = "needs the full names of functions")]
fn a_dump_shows_the_frames_of_generators_and_of_who_resumed_them() {
    #[inline(never)]
    fn waits_in_the_generator(y: &Yielder<u32>, receiver: &mpsc::Receiver<u32>) {
        while let Ok(number) = receiver.recv() {
            y.yield_(std::hint::black_box(number));
        }
    }
    #[inline(never)]
    fn resumes_the_generator(receiver: mpsc::Receiver<u32>) -> u32 {
        let outer = Generator::<u32>::new(move |y| {
            y.yield_from(Generator::<u32>::new(move |y| waits_in_the_generator(y, &receiver)));
        });
        std::hint::black_box(outer.sum())
    }
    on_fiber(|| {
        let (sender, receiver) = mpsc::channel();
        let fiber = timestop::Builder::new().name("with generators".to_owned());
        let fiber = fiber.spawn(move || resumes_the_generator(receiver)).expect("there is room");
        let mut text = String::new();
        until("the fiber's frames are seen", || {
            let mut bytes = Vec::new();
            timestop::dump_to(&mut bytes).expect("memory takes it");
            text = String::from_utf8_lossy(&bytes).into_owned();
            text.contains("waits_in_the_generator")
        });
        let own = text.split("\n\n").find(|part| part.contains("waits_in_the_generator"));
        let own = own.expect("it was found");
        assert!(own.contains("'with generators'"), "{own}");
        let [inner, outer] = ["waits_in_the_generator", "resumes_the_generator"]
            .map(|name| own.find(name).unwrap_or_else(|| panic!("no {name}:\n{own}")));
        assert!(inner < outer, "{own}");
        sender.send(5).expect("it receives");
        drop(sender);
        assert_eq!(fiber.join().expect("it does not panic"), 5);
    });
}

fn overflow(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    if frame[3] == u64::MAX { 0 } else { overflow(depth + 1) + frame[7] }
}

/// An overflow within a generator is told by its name, on a fiber and on an OS thread without a runtime.
#[test]
fn an_overflow_is_told_by_name() {
    fn overflows() {
        let greedy = Builder::new().name("greedy").generator(|y: &Yielder<u64>| {
            y.yield_(1);
            y.yield_(overflow(0));
        });
        let mut greedy = greedy.expect("there is room");
        assert_eq!(greedy.next(), Some(1));
        greedy.next();
    }
    if is_child() {
        match std::env::var("ON").as_deref() {
            Ok("fiber") => on_fiber(overflows),
            _ => overflows(),
        }
        return;
    }
    for on in ["fiber", "thread"] {
        let mut child = child("coro_runtime::an_overflow_is_told_by_name");
        let output = child.env("ON", on).output().expect("this binary starts again");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("generator 'greedy' has overflowed its stack"), "{on}: {text}");
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{on}");
    }
}

/// One that cannot be ended at the end of its scope is told, and ends the process.
#[test]
fn a_scoped_one_that_ignores_its_close_aborts() {
    if is_child() {
        let number = 5;
        scoped(
            |y: &Yielder<i32>| {
                let _ = y.try_yield(number).is_err();
                y.yield_(number);
            },
            |mut numbers| numbers.next(),
        );
        return;
    }
    let mut child = child("coro_runtime::a_scoped_one_that_ignores_its_close_aborts");
    let output = child.output().expect("this binary starts again");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("it borrows and cannot be left behind"), "{text}");
    assert_eq!(output.status.signal(), Some(libc::SIGABRT));
}

/// A yield in a destructor that runs because its generator panics is refused, with a message.
#[test]
fn a_yield_while_unwinding_is_refused() {
    struct Yields<'a>(&'a Yielder<i32>);
    impl Drop for Yields<'_> {
        fn drop(&mut self) {
            self.0.yield_(1);
        }
    }
    if is_child() {
        let mut g = Generator::<i32>::new(|y| {
            let _yields = Yields(y);
            panic!("first");
        });
        g.next();
        return;
    }
    let mut child = child("coro_runtime::a_yield_while_unwinding_is_refused");
    let output = child.output().expect("this binary starts again");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("must not yield while it unwinds"), "{text}");
    assert_eq!(output.status.signal(), Some(libc::SIGABRT));
}

/// What a fiber does in the stress: in generators within generators, it computes, waits for a mutex, a channel
/// and a socket, yields to other fibers, and fails now and then.
fn walk(seed: u64, shared: &Mutex<u64>) -> u64 {
    let (mut client, mut server) = tcp_pair();
    let (sender, receiver) = mpsc::channel::<u64>();
    let echo = timestop::spawn(move || {
        let mut byte = [0];
        while server.read(&mut byte).is_ok_and(|count| count == 1) {
            sender.send(u64::from(byte[0])).expect("the generator lives");
            server.write_all(&byte).expect("the generator reads");
        }
    });
    MINE.set(seed);
    let total = scoped(
        |y: &Yielder<u64>| {
            y.yield_from(Generator::<u64>::new(move |y| {
                let mut state = seed;
                for _ in 0..40 {
                    let number = splitmix(&mut state);
                    let byte = [number as u8];
                    client.write_all(&byte).expect("the other end reads");
                    let mut back = [0];
                    client.read_exact(&mut back).expect("it comes back");
                    assert_eq!((back, receiver.recv()), (byte, Ok(u64::from(byte[0]))));
                    // Computes: is preempted here, on this stack, with registers in use.
                    let (mut float, mut sum) = (1.0_f64, number);
                    for turn in 0..2_000_u64 {
                        float = float.mul_add(1.000_001, 0.5);
                        sum = sum.rotate_left(7) ^ turn;
                    }
                    assert!(std::hint::black_box(float) > 1_000.0);
                    assert_eq!(MINE.get(), seed, "the fiber's own thread-locals");
                    y.yield_(std::hint::black_box(sum));
                }
            }));
        },
        |numbers| {
            let mut total = 0_u64;
            for number in numbers {
                total = total.wrapping_add(number);
                *shared.lock().expect("nobody panics with it") += 1;
                if number % 5 == 0 {
                    timestop::yield_now();
                }
                if number % 7 == 0 {
                    // One that is left in the middle, and a greenlet beside it.
                    let left = Generator::<u64>::new(|y| y.yield_all(0..)).take(2).count();
                    let main = Greenlet::current();
                    let g = Greenlet::new(move |_| main.switch(1_u32));
                    assert_eq!((left, g.switch(()).take::<u32>()), (2, 1));
                }
            }
            total
        },
    );
    echo.join().expect("the echo does not panic");
    total
}

/// Two workers, preempted every 50 µs: what generators compute depends on their seed only.
#[test]
fn stress_of_generators_that_block_and_are_preempted() {
    const NAME: &str = "coro_runtime::stress_of_generators_that_block_and_are_preempted";
    const FIBERS: u64 = 24;
    if !is_child() {
        let mut command = child(NAME);
        command.env("TIMESTOP_CHAOS", "50").env("TIMESTOP_WORKERS", "2");
        let output = command.output().expect("this binary starts again");
        let [stdout, stderr] =
            [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
        return;
    }
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| clock.expect("after 1970").as_nanos() as u64);
    println!("SEED={seed}");
    let shared = Arc::new(Mutex::new(0));
    let turns = Arc::new(AtomicU64::new(0));
    // Until enough of it was preempted; the machine may be slow.
    until("fibers are preempted in generators", || {
        let (shared, turns) = (Arc::clone(&shared), Arc::clone(&turns));
        on_fiber(move || {
            let totals = |_| {
                let start = |nth| {
                    let shared = Arc::clone(&shared);
                    timestop::spawn(move || walk(seed.wrapping_add(nth), &shared))
                };
                let fibers: Vec<_> = (0..FIBERS).map(start).collect();
                let join = |fiber: timestop::JoinHandle<u64>| fiber.join().expect("no panic");
                fibers.into_iter().map(join).collect::<Vec<_>>()
            };
            assert_eq!(totals(0), totals(1));
            turns.fetch_add(2 * FIBERS * 40, Ordering::Relaxed);
        });
        timestop::stats().preemptions > 200
    });
    assert_eq!(*shared.lock().expect("no panic"), turns.load(Ordering::Relaxed));
    let stats = timestop::stats();
    assert_eq!(
        stats.refusals.foreign_stack, 0,
        "a generator's stack is the fiber's to be preempted on"
    );
    println!("{} preemptions, {} steals", stats.preemptions, stats.steals);
}

/// The same works without any runtime: in a process that has no fibers.
#[test]
fn on_os_threads_without_a_runtime() {
    if !is_child() {
        child_passes("coro_runtime::on_os_threads_without_a_runtime");
        return;
    }
    let sums = (0..4_u64).map(|nth| {
        thread::spawn(move || {
            Generator::<u64>::new(move |y| y.yield_all(nth..nth + 100)).sum::<u64>()
        })
    });
    let sums: Vec<u64> = sums.map(|thread| thread.join().expect("no panic")).collect();
    assert_eq!(sums, [4950, 5050, 5150, 5250]);
    assert_eq!(timestop::stats().workers, 0, "no runtime was started");
}
