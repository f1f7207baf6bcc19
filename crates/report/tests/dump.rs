//! What a dump shows: stacks of parked fibers, peers, holders of locks, groups. Each test looks for
//! fibers of its own in the whole.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use timestop::{Builder, FiberState};

/// One test at a time: equal stacks of two would be one entry.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn dump() -> String {
    let mut text = Vec::new();
    timestop::dump_to(&mut text).expect("a vector takes everything");
    String::from_utf8(text).expect("it is text")
}

/// The entry of the dump that begins with a line that holds `title`.
fn entry(dump: &str, title: &str) -> String {
    let found = dump.split("\n\n").find(|entry| entry.lines().next().unwrap().contains(title));
    found.unwrap_or_else(|| panic!("no {title} in:\n{dump}")).to_owned()
}

/// Waits until `count` fibers called `name` wait for something that `what` is part of.
fn until_waiting(name: &str, what: &str, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let fibers = timestop::fibers(usize::MAX);
        let waiting = fibers.iter().filter(|fiber| {
            let is_it = fiber.waiting_for.as_ref().is_some_and(|text| text.contains(what));
            fiber.name.as_deref() == Some(name) && fiber.state == FiberState::Waiting && is_it
        });
        if waiting.count() >= count {
            return;
        }
        assert!(Instant::now() < deadline, "{fibers:?}");
        timestop::yield_now();
    }
}

#[inline(never)]
fn outer_of_three(gate: &Receiver<()>) -> u32 {
    std::hint::black_box(middle_of_three(gate)) + 1
}

#[inline(never)]
fn middle_of_three(gate: &Receiver<()>) -> u32 {
    std::hint::black_box(inner_of_three(gate)) + 1
}

#[inline(never)]
fn inner_of_three(gate: &Receiver<()>) -> u32 {
    let _ = gate.recv();
    std::hint::black_box(1)
}

fn park(name: &str) -> (Sender<()>, timestop::JoinHandle<u32>) {
    let (sender, gate) = channel();
    let builder = Builder::new().name(name.to_owned());
    (sender, builder.spawn(move || outer_of_three(&gate)).expect("room for a fiber"))
}

#[test]
fn the_stack_of_a_parked_fiber_is_the_programs() {
    let _one = alone();
    timestop::run(|| {
        let (sender, fiber) = park("deep");
        until_waiting("deep", "futex", 1);
        let text = dump();
        let entry = entry(&text, "'deep'");
        let lines: Vec<_> = entry.lines().collect();
        assert!(lines[0].contains("'deep' [lock or condition (futex 0x"), "{entry}");
        for (line, name) in lines[1..].iter().zip(["inner", "middle", "outer"]) {
            assert!(line.contains(&format!("dump::{name}_of_three")), "{entry}");
            assert!(line.contains("tests/dump.rs:"), "{entry}");
        }
        assert!(lines.len() <= 5, "the fiber's entry is no line of the program: {entry}");
        let own = text.split("\n\n").find(|entry| entry.contains("asked for this dump"));
        assert!(own.is_some_and(|own| own.contains("dump::dump")), "{text}");
        drop(sender);
        assert_eq!(fiber.join().expect("no panic"), 3);
    });
}

#[test]
fn equal_stacks_are_one_entry() {
    let _one = alone();
    timestop::run(|| {
        let many: Vec<_> = (0..1234).map(|_| park("many")).collect();
        until_waiting("many", "futex", 1234);
        let text = dump();
        assert_eq!(text.matches("'many'").count(), 1, "{text}");
        let entry = entry(&text, "1,234 fibers 'many', ids ");
        assert!(entry.lines().next().unwrap().contains("…, all: [lock or condition"), "{entry}");
        assert_eq!(entry.matches("inner_of_three").count(), 1, "{entry}");
        assert!(text.len() < 20_000, "{text}");
        for (sender, fiber) in many {
            drop(sender);
            fiber.join().expect("no panic");
        }
    });
}

#[test]
fn a_read_names_its_peer_and_a_sleep_the_time_left() {
    let _one = alone();
    timestop::run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let own = listener.local_addr().expect("bound");
        let mut client = TcpStream::connect(own).expect("it listens");
        let (mut server, peer) = listener.accept().expect("it connects");
        let reader = Builder::new().name("reader".to_owned()).spawn(move || {
            let mut byte = [0];
            server.read(&mut byte).expect("a byte comes")
        });
        let sleeper = Builder::new().name("sleeper".to_owned());
        let sleeper = sleeper.spawn(|| std::thread::sleep(Duration::from_secs(600)));
        until_waiting("reader", "read of descriptor", 1);
        until_waiting("sleeper", "point in time", 1);
        let text = dump();
        let reader_entry = entry(&text, "'reader'");
        assert!(reader_entry.contains(&format!("(tcp {own} <- {peer})")), "{reader_entry}");
        let title = entry(&text, "'sleeper'");
        assert!(title.contains("'sleeper' [sleep, 10 min left, "), "{title}");
        client.write_all(&[1]).expect("connected");
        reader.expect("room").join().expect("no panic");
        sleeper.expect("room").cancel();
    });
}

#[test]
fn a_mutex_names_its_holder() {
    struct Lock(std::cell::UnsafeCell<libc::pthread_mutex_t>);
    // SAFETY: it is a lock.
    unsafe impl Sync for Lock {}
    static MUTEX: Lock = Lock(std::cell::UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));

    let _one = alone();
    timestop::run(|| {
        let gates = Arc::new((Barrier::new(2), Barrier::new(2)));
        let held = Arc::clone(&gates);
        let holder = Builder::new().name("holder".to_owned()).spawn(move || {
            // SAFETY: a static mutex.
            unsafe { libc::pthread_mutex_lock(MUTEX.0.get()) };
            held.0.wait();
            held.1.wait();
            // SAFETY: as above.
            unsafe { libc::pthread_mutex_unlock(MUTEX.0.get()) };
        });
        gates.0.wait();
        let waiter = Builder::new().name("waiter".to_owned()).spawn(|| {
            // SAFETY: a static mutex.
            unsafe { libc::pthread_mutex_lock(MUTEX.0.get()) };
            // SAFETY: as above.
            unsafe { libc::pthread_mutex_unlock(MUTEX.0.get()) };
        });
        until_waiting("waiter", "mutex", 1);
        let holder = holder.expect("room");
        let text = dump();
        let title = entry(&text, "'waiter'");
        assert!(title.contains("(held by fiber ") && title.contains(" 'holder')"), "{title}");
        gates.1.wait();
        holder.join().expect("no panic");
        waiter.expect("room").join().expect("no panic");
    });
}

/// Stacks that move while they are read: no fault, and what is shown is the fiber's.
#[test]
fn a_dump_amid_switches_is_whole() {
    use std::sync::atomic::{AtomicBool, Ordering};
    static STOP: AtomicBool = AtomicBool::new(false);

    let _one = alone();
    timestop::run(|| {
        let busy: Vec<_> = (0..50)
            .map(|_| {
                let (there, gate) = channel::<u32>();
                let (back, answers) = channel::<u32>();
                let echo = timestop::spawn(move || {
                    for number in gate {
                        let _ = back.send(number);
                    }
                });
                let asker = Builder::new().name("busy".to_owned()).spawn(move || {
                    while !STOP.load(Ordering::Relaxed) {
                        there.send(7).expect("it answers");
                        assert_eq!(answers.recv(), Ok(7));
                    }
                });
                (echo, asker.expect("room"))
            })
            .collect();
        for _ in 0..10 {
            let text = dump();
            assert!(text.contains("asked for this dump"), "{text}");
        }
        STOP.store(true, Ordering::Relaxed);
        for (echo, asker) in busy {
            asker.join().expect("no panic");
            echo.join().expect("no panic");
        }
    });
}
