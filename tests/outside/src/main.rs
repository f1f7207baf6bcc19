//! A user's program: very many fibers (10,000, or as many as the argument says) that talk over `std::net` and meet at
//! std's locks, without a line of `unsafe`. Prints one line, "N fibers: all right …", or panics.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Instant;
use std::{env, fs, thread};

use rand::RngExt;

thread_local! {
    /// What this fiber has sent.
    static SENT: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Lets a number of fibers through at once.
struct Gate {
    room: Mutex<usize>,
    freed: Condvar,
}

impl Gate {
    fn pass<T>(&self, f: impl FnOnce() -> T) -> T {
        let room = self.room.lock().expect("nobody panics holding it");
        let mut room = self.freed.wait_while(room, |room| *room == 0).expect("nobody panics");
        *room -= 1;
        drop(room);
        let value = f();
        *self.room.lock().expect("nobody panics holding it") += 1;
        self.freed.notify_one();
        value
    }
}

/// How many connections fit below this process's limit of open descriptors, two to each.
fn connections_at_once() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").expect("Linux has them");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let limit = line.and_then(|line| line.split_whitespace().next()).expect("it is listed");
    let limit = limit.parse().unwrap_or(usize::MAX);
    (limit.saturating_sub(64) / 2).clamp(1, 4_000)
}

/// Answers each number with its successor until the client closes.
fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut bytes = [0; 8];
    loop {
        match stream.read_exact(&mut bytes) {
            Ok(()) => stream.write_all(&u64::from_le_bytes(bytes).wrapping_add(1).to_le_bytes())?,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Clients that knock at once. Each is inside when it has its first answer, so that no more than these
/// are in the listener's backlog: where that overflows the kernel sends SYN cookies, and lets in
/// connections whose clients have long gone.
const KNOCKING: usize = 64;

/// Sends three random numbers, with a rest between, and returns them.
fn talk(address: SocketAddr, door: &Gate) -> io::Result<Vec<u64>> {
    let mut stream = door.pass(|| {
        let mut stream = TcpStream::connect(address)?;
        exchange(&mut stream)?;
        io::Result::Ok(stream)
    })?;
    for _ in 1..3 {
        exchange(&mut stream)?;
    }
    Ok(SENT.take())
}

/// Sends a random number and checks the answer.
fn exchange(stream: &mut TcpStream) -> io::Result<()> {
    let number: u64 = rand::rng().random();
    stream.write_all(&number.to_le_bytes())?;
    SENT.with_borrow_mut(|sent| sent.push(number));
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes)?;
    assert_eq!(u64::from_le_bytes(bytes), number.wrapping_add(1));
    Ok(())
}

fn main() -> io::Result<()> {
    let count =
        env::args().nth(1).map_or(10_000, |count| count.parse().expect("a number of fibers"));
    let start = Instant::now();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = timestop::spawn(move || {
        let fibers: Vec<_> = (0..count)
            .map(|_| {
                let (stream, _) = listener.accept().expect("a client comes");
                timestop::spawn(move || serve(stream))
            })
            .collect();
        for fiber in fibers {
            fiber.join().expect("no panic").expect("clients close in order");
        }
    });

    let gate = Arc::new(Gate { room: Mutex::new(connections_at_once()), freed: Condvar::new() });
    let door = Arc::new(Gate { room: Mutex::new(KNOCKING), freed: Condvar::new() });
    let released = Arc::new(AtomicBool::new(false));
    let (report, reports) = mpsc::channel();
    let clients: Vec<_> = (0..count)
        .map(|_| {
            let (gate, door) = (gate.clone(), door.clone());
            let (released, report) = (released.clone(), report.clone());
            timestop::spawn(move || {
                let sent = gate.pass(|| talk(address, &door)).expect("the server answers");
                report.send(sent).expect("main listens");
                // All live until the last has reported.
                while !released.load(Ordering::Acquire) {
                    thread::park();
                }
            })
        })
        .collect();
    drop(report);

    let numbers: Vec<u64> = reports.iter().take(count).flatten().collect();
    released.store(true, Ordering::Release);
    for client in clients {
        client.thread().unpark();
        client.join().expect("no panic");
    }
    server.join().expect("no panic");

    assert_eq!(numbers.len(), 3 * count);
    // Two of 64 random bits are never equal; a generator copied between fibers would repeat itself.
    assert_eq!(numbers.into_iter().collect::<HashSet<_>>().len(), 3 * count);
    println!("{count} fibers: all right in {:.2?}", start.elapsed());
    Ok(())
}
