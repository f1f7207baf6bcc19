//! A program of std's threads that knows nothing of fibers: its output is the same on both.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, OnceLock, RwLock, mpsc};
use std::time::{Duration, Instant};
use std::{panic, thread};

const THREADS: usize = 500;

thread_local! {
    static MINE: Cell<usize> = const { Cell::new(0) };
}

/// Runs `body` on [`THREADS`] threads and returns the sum of what they return.
fn sum(body: impl Fn(usize) -> usize + Sync) -> usize {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|index| {
                let body = &body;
                let builder = thread::Builder::new().name(format!("worker {index}"));
                builder.spawn_scoped(scope, move || body(index)).expect("starts")
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    })
}

fn locks() -> usize {
    let total = Mutex::new(0);
    let pair = RwLock::new((0, 0));
    let once = OnceLock::new();
    sum(|index| {
        for round in 0..50 {
            *total.lock().expect("no panic") += 1;
            if (index + round) % 10 == 0 {
                let mut pair = pair.write().expect("no panic");
                pair.0 += 1;
                thread::yield_now();
                pair.1 += 1;
            } else {
                let pair = pair.read().expect("no panic");
                assert_eq!(pair.0, pair.1);
            }
        }
        *once.get_or_init(|| 1)
    }) + total.into_inner().expect("no panic")
}

fn meetings() -> usize {
    let barrier = Barrier::new(THREADS);
    let turn = (Mutex::new(0), Condvar::new());
    sum(|index| {
        MINE.set(index);
        assert_eq!(thread::current().name(), Some(&*format!("worker {index}")));
        let leader = barrier.wait().is_leader();
        let now = turn.0.lock().expect("no panic");
        *turn.1.wait_while(now, |now| *now != index).expect("no panic") += 1;
        turn.1.notify_all();
        assert_eq!(MINE.get(), index);
        usize::from(leader)
    })
}

fn channels() -> usize {
    let (numbers, received) = mpsc::sync_channel(3);
    let consumer = thread::spawn(move || received.into_iter().sum::<usize>());
    sum(move |index| {
        numbers.send(index).expect("the consumer listens");
        0
    }) + consumer.join().expect("no panic")
}

fn parking() -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let theirs = count.clone();
    let parked = thread::spawn(move || {
        for round in 0..1_000 {
            while theirs.load(Ordering::Acquire) <= round {
                thread::park();
            }
        }
    });
    for _ in 0..1_000 {
        count.fetch_add(1, Ordering::AcqRel);
        parked.thread().unpark();
    }
    parked.join().expect("no panic");
    count.load(Ordering::Acquire)
}

fn panics() -> usize {
    sum(|index| {
        let caught = panic::catch_unwind(|| {
            thread::yield_now();
            panic::resume_unwind(Box::new(index));
        });
        caught
            .expect_err("it panicked")
            .downcast::<usize>()
            .map_or(0, |payload| usize::from(*payload == index))
    })
}

fn sleeps() -> usize {
    sum(|_| {
        let start = Instant::now();
        thread::sleep(Duration::from_millis(20));
        usize::from(start.elapsed() >= Duration::from_millis(20))
    })
}

fn echoes() -> usize {
    const CLIENTS: usize = 100;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..CLIENTS {
                let (mut stream, _) = listener.accept().expect("a client comes");
                scope.spawn(move || {
                    let mut bytes = Vec::new();
                    stream.read_to_end(&mut bytes).expect("the client writes");
                    stream.write_all(&bytes).expect("the client reads");
                });
            }
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|index| {
                scope.spawn(move || {
                    let mut stream = TcpStream::connect(address).expect("the server listens");
                    let bytes = vec![index as u8; 100_000];
                    stream.write_all(&bytes).expect("the server reads");
                    stream.shutdown(Shutdown::Write).expect("connected");
                    let mut echoed = Vec::new();
                    stream.read_to_end(&mut echoed).expect("the server echoes");
                    usize::from(echoed == bytes)
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("no panic")).sum()
    })
}

fn children() -> usize {
    thread::scope(|scope| {
        let children: Vec<_> = (0..10)
            .map(|index| {
                let script = format!("exit {index}");
                scope.spawn(move || {
                    Command::new("sh").args(["-c", &script]).status().expect("starts").code()
                })
            })
            .collect();
        let codes = children.into_iter().map(|child| child.join().expect("no panic"));
        codes.map(|code| code.map_or(1_000, |code| code as usize)).sum()
    })
}

/// What to call a theme, and what it must return.
type Theme = (&'static str, fn() -> usize, usize);

fn main() {
    let themes: [Theme; 8] = [
        ("locks", locks, THREADS * 51),
        ("meetings", meetings, 1),
        ("channels", channels, THREADS * (THREADS - 1) / 2),
        ("parking", parking, 1_000),
        ("panics", panics, THREADS),
        ("sleeps", sleeps, THREADS),
        ("echoes", echoes, 100),
        ("children", children, 45),
    ];
    for (name, theme, expected) in themes {
        assert_eq!(theme(), expected, "{name}");
        println!("PASS {name}");
    }
}
