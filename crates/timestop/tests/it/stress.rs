//! Very many fibers that do a bit of everything at random, for a while, with accounts kept of all of it: nothing may be
//! lost, doubled or left waiting.
//!
//! `TIMESTOP_STRESS_FIBERS`, `TIMESTOP_STRESS_SECS` and `TIMESTOP_STRESS_SEED` say how many, for how long, and from which
//! seed (printed). One seed gives each fiber the same choices again, though not the same interleaving.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};
use std::{array, env, panic, thread};

use crate::support::{
    DEADLINE, PLACEHOLDER, echo_server, on_fiber_within, pattern, raise_descriptor_limit, splitmix,
};

const DEFAULT_FIBERS: u64 = if PLACEHOLDER { 2_000 } else { 100_000 };
const DEFAULT_SECONDS: u64 = 10;
const ACCOUNTS: usize = 64;
const STAKE: u64 = 1_000;
const CONNECTIONS: usize = 256;
const PERMITS: usize = 32;

/// What a fiber does next.
const DEEDS: usize = if PLACEHOLDER { 7 } else { 8 };
const SLEEP: usize = 0;
const ECHO: usize = 1;
const TRANSFER: usize = 2;
const PERMIT: usize = 3;
const SEND: usize = 4;
const PANIC: usize = 5;
const SPAWN: usize = 6;
const CANCEL: usize = 7;

fn setting(name: &str, default: u64) -> u64 {
    let Ok(text) = env::var(name) else {
        return default;
    };
    text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number"))
}

/// A counting semaphore that also checks itself.
#[derive(Default)]
struct Permits {
    taken: Mutex<usize>,
    returned: Condvar,
}

impl Permits {
    fn hold(&self, f: impl FnOnce()) {
        let taken = self.taken.lock().expect("nobody panics");
        let mut taken =
            self.returned.wait_while(taken, |taken| *taken == PERMITS).expect("no panic");
        *taken += 1;
        assert!(*taken <= PERMITS);
        drop(taken);
        f();
        *self.taken.lock().expect("nobody panics") -= 1;
        self.returned.notify_one();
    }
}

/// Everything that the fibers share.
struct World {
    accounts: [Mutex<u64>; ACCOUNTS],
    permits: Permits,
    connections: Mutex<mpsc::Receiver<TcpStream>>,
    give_back: mpsc::Sender<TcpStream>,
    done: [AtomicU64; DEEDS],
    sent: AtomicU64,
    end: Instant,
}

impl World {
    /// Lives until the end, and does one deed at least. Returns how many it did of each.
    fn live(&self, mut seed: u64, results: &mpsc::Sender<u64>) -> [u64; DEEDS] {
        let mut did = [0; DEEDS];
        loop {
            let choice = splitmix(&mut seed);
            let deed = choice as usize % DEEDS;
            let dice = choice >> 8;
            match deed {
                SLEEP => thread::sleep(Duration::from_micros(dice % 20_000)),
                ECHO => self.echo(dice),
                TRANSFER => self.transfer(dice),
                PERMIT => self.permits.hold(timestop::yield_now),
                SEND => {
                    self.sent.fetch_add(dice % 1_000, Ordering::Relaxed);
                    results.send(dice % 1_000).expect("the collector listens");
                }
                PANIC => {
                    let caught = panic::catch_unwind(|| {
                        timestop::yield_now();
                        panic::resume_unwind(Box::new(dice));
                    });
                    let payload = caught.expect_err("it panicked");
                    assert_eq!(payload.downcast_ref(), Some(&dice));
                }
                SPAWN => {
                    let child = timestop::spawn(move || {
                        if dice.is_multiple_of(4) {
                            panic::resume_unwind(Box::new(dice));
                        }
                        dice
                    });
                    let value =
                        child.join().unwrap_or_else(|payload| *payload.downcast().expect("ours"));
                    assert_eq!(value, dice);
                }
                CANCEL => {
                    let child = timestop::spawn(|| thread::sleep(Duration::from_secs(1_000_000)));
                    if dice.is_multiple_of(2) {
                        timestop::yield_now();
                    }
                    child.cancel();
                    child.join().expect("a sleep cannot fail");
                }
                _ => unreachable!("a deed is less than DEEDS"),
            }
            did[deed] += 1;
            self.done[deed].fetch_add(1, Ordering::Relaxed);
            if Instant::now() >= self.end {
                return did;
            }
        }
    }

    /// Borrows a connection and sends something there and back.
    fn echo(&self, dice: u64) {
        let next = self.connections.lock().expect("nobody panics").recv();
        let mut stream = next.expect("they are given back");
        let message = pattern(dice as usize, 1 + dice as usize % 2_000);
        stream.write_all(&message).expect("the server reads");
        let mut echoed = vec![0; message.len()];
        stream.read_exact(&mut echoed).expect("the server echoes");
        assert!(echoed == message, "bytes of another fiber");
        self.give_back.send(stream).expect("the world has the receiver");
    }

    /// Moves money between two accounts, suspended while it holds both.
    fn transfer(&self, dice: u64) {
        let (low, high) = (dice as usize % ACCOUNTS, (dice >> 8) as usize % ACCOUNTS);
        let (low, high) = (low.min(high), low.max(high));
        if low == high {
            return;
        }
        let mut from = self.accounts[low].lock().expect("nobody panics");
        let mut to = self.accounts[high].lock().expect("nobody panics");
        if dice & (1 << 40) == 0 {
            std::mem::swap(&mut from, &mut to);
        }
        let amount = (*from).min(dice % 100);
        *from -= amount;
        if dice.is_multiple_of(16) {
            timestop::yield_now();
        }
        *to += amount;
    }
}

#[test]
fn everything_at_once() {
    raise_descriptor_limit();
    let fibers = setting("TIMESTOP_STRESS_FIBERS", DEFAULT_FIBERS);
    let seconds = setting("TIMESTOP_STRESS_SECS", DEFAULT_SECONDS);
    let seed = setting("TIMESTOP_STRESS_SEED", rand::random::<u32>().into());
    println!(
        "TIMESTOP_STRESS_SEED={seed} TIMESTOP_STRESS_FIBERS={fibers} TIMESTOP_STRESS_SECS={seconds}"
    );
    let limit = Duration::from_secs(seconds) + DEADLINE;
    on_fiber_within(limit, move || run(fibers, Duration::from_secs(seconds), seed));
}

fn run(fibers: u64, duration: Duration, seed: u64) {
    let (address, server) = echo_server(CONNECTIONS);
    let (give_back, connections) = mpsc::channel();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(address).expect("the server listens");
        give_back.send(stream).expect("we have the receiver");
    }
    let world = Arc::new(World {
        accounts: array::from_fn(|_| Mutex::new(STAKE)),
        permits: Permits::default(),
        connections: Mutex::new(connections),
        give_back,
        done: Default::default(),
        sent: AtomicU64::new(0),
        end: Instant::now() + duration,
    });

    let (results, collected) = mpsc::channel();
    let collector = timestop::spawn(move || collected.into_iter().sum::<u64>());
    let lives: Vec<_> = (0..fibers)
        .map(|index| {
            let (world, results) = (world.clone(), results.clone());
            timestop::spawn(move || world.live(seed.wrapping_add(index << 32), &results))
        })
        .collect();
    drop(results);
    let mut did = [0; DEEDS];
    for life in lives {
        let one = life.join().unwrap_or_else(|payload| panic::resume_unwind(payload));
        did.iter_mut().zip(one).for_each(|(all, one)| *all += one);
    }
    println!("sleep, echo, transfer, permit, send, panic, spawn, cancel: {did:?}");

    assert_eq!(did, world.done.each_ref().map(|count| count.load(Ordering::Relaxed)));
    assert!(did.iter().sum::<u64>() >= fibers);
    assert_eq!(collector.join().expect("no panic"), world.sent.load(Ordering::Relaxed));
    let money = world.accounts.iter().map(|account| *account.lock().expect("nobody panics"));
    assert_eq!(money.sum::<u64>(), STAKE * ACCOUNTS as u64);
    assert_eq!(*world.permits.taken.lock().expect("nobody panics"), 0);
    let world = Arc::into_inner(world).expect("every fiber has ended");
    let connections = world.connections.into_inner().expect("nobody panics");
    drop(world.give_back);
    assert_eq!(connections.into_iter().count(), CONNECTIONS);
    server.join().expect("no panic");
}
