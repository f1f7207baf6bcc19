//! Fibers and OS threads at random, with and without preemption in the middle of anything.
//!
//! Each run prints its seed; `TIMESTOP_SEED` repeats it.

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use timestop::channel::{
    Receiver, RecvError, RecvTimeoutError, Select, Sender, bounded, select, unbounded,
};

use crate::support::{DEADLINE, Mix, child, is_child, on_fiber, splitmix};

/// The seed of this run.
fn seed() -> u64 {
    let seed = env::var("TIMESTOP_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(rand::random);
    println!("TIMESTOP_SEED={seed}");
    seed
}

/// Runs `test` in processes of its own, on one worker and on two, with a preemption every 50 µs.
fn under_chaos(name: &str, test: fn()) {
    if is_child() {
        on_fiber(test);
        return;
    }
    for workers in ["1", "2"] {
        let mut command = child(name);
        command.env("TIMESTOP_CHAOS", "50").env("TIMESTOP_WORKERS", workers);
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || sender.send(command.output()));
        // Its own watchdog barks first.
        let output =
            receiver.recv_timeout(DEADLINE * 2).expect("it ends").expect("this binary starts");
        let [stdout, stderr] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(
            output.status.success(),
            "{workers} workers: {}\n{stdout}\n{stderr}",
            output.status
        );
        assert!(stdout.contains("1 passed"), "{stdout}");
    }
}

/// What has gone in and come out, by number and by sum.
#[derive(Default)]
struct Ledger {
    sent: AtomicU64,
    sent_sum: AtomicU64,
    received: AtomicU64,
    received_sum: AtomicU64,
}

impl Ledger {
    fn sent(&self, message: u64) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.sent_sum.fetch_add(message, Ordering::Relaxed);
    }

    fn received(&self, message: u64) {
        self.received.fetch_add(1, Ordering::Relaxed);
        self.received_sum.fetch_add(message, Ordering::Relaxed);
    }

    fn assert_balanced(&self) {
        let read = |word: &AtomicU64| word.load(Ordering::SeqCst);
        assert_eq!(read(&self.sent), read(&self.received), "messages");
        assert_eq!(read(&self.sent_sum), read(&self.received_sum), "their sum");
    }
}

const PAUSE: Duration = Duration::from_micros(100);

/// Sends `count` messages in all the ways that there are.
fn produce(seed: u64, count: usize, to: &[Sender<u64>], ledger: &Ledger) {
    let mut random = seed;
    for _ in 0..count {
        let message = splitmix(&mut random) >> 8;
        let (one, other) =
            (&to[message as usize % to.len()], &to[(message >> 8) as usize % to.len()]);
        let sent = match splitmix(&mut random) % 5 {
            0 => one.send(message).is_ok(),
            1 => one.try_send(message).is_ok(),
            2 => one.send_timeout(message, PAUSE).is_ok(),
            3 => select! {
                send(one, message) -> sent => sent.is_ok(),
                send(other, message) -> sent => sent.is_ok(),
            },
            _ => select! {
                send(one, message) -> sent => sent.is_ok(),
                send(other, message) -> sent => sent.is_ok(),
                default(PAUSE) => false,
            },
        };
        if sent {
            ledger.sent(message);
        }
        if message.is_multiple_of(64) {
            thread::yield_now();
        }
    }
}

/// Receives until all are closed and empty, in all the ways that there are.
fn consume(seed: u64, from: &[Receiver<u64>], ledger: &Ledger) {
    let mut random = seed;
    let mut open: Vec<&Receiver<u64>> = from.iter().collect();
    while !open.is_empty() {
        let lot = splitmix(&mut random);
        let index = (lot >> 8) as usize % open.len();
        let one = open[index];
        // Which one, and its message; nothing where none came in time.
        let received = match lot % 4 {
            // Not for ever: all could wait at one channel for those who wait at another.
            0 => match one.recv_timeout(PAUSE) {
                Ok(message) => Some((index, Ok(message))),
                Err(RecvTimeoutError::Timeout) => None,
                Err(_) => Some((index, Err(RecvError::Disconnected))),
            },
            1 => one.try_recv().ok().map(|message| (index, Ok(message))),
            2 => select! {
                recv(one) -> message => Some((index, message)),
                recv(open[0]) -> message => Some((0, message)),
                default(PAUSE) => None,
            },
            _ => {
                let mut select = Select::new();
                for receiver in &open {
                    select.recv(receiver);
                }
                let chosen = select.wait().expect("nobody cancels");
                let index = chosen.index();
                Some((index, chosen.recv(open[index])))
            }
        };
        match received {
            Some((_, Ok(message))) => ledger.received(message),
            Some((index, Err(_))) => drop(open.swap_remove(index)),
            None => {}
        }
    }
}

/// Everybody at once, then the end by dropping the senders: what was sent has been received.
fn everything(mix: Mix) {
    let mut random = seed();
    let channels: Vec<_> = [0, 0, 1, 3, usize::MAX]
        .into_iter()
        .map(|room| if room == usize::MAX { unbounded() } else { bounded(room) })
        .collect();
    let (senders, receivers): (Vec<_>, Vec<_>) = channels.into_iter().unzip();
    let ledger = Arc::new(Ledger::default());
    let mut tasks = Vec::new();
    for index in 0..6 {
        let (seed, senders, theirs) = (splitmix(&mut random), senders.clone(), Arc::clone(&ledger));
        tasks.push(mix.spawn(index, move || produce(seed, 2_000, &senders, &theirs)));
        let (seed, receivers, theirs) =
            (splitmix(&mut random), receivers.clone(), Arc::clone(&ledger));
        tasks.push(mix.spawn(index + 1, move || consume(seed, &receivers, &theirs)));
    }
    drop((senders, receivers));
    tasks.into_iter().for_each(|task| task.join());
    ledger.assert_balanced();
}

#[test]
fn everything_at_once() {
    Mix::each(everything);
}

#[test]
fn everything_at_once_under_chaos() {
    under_chaos("channel::stress::everything_at_once_under_chaos", || {
        everything(Mix::Fibers);
        everything(Mix::Alternating);
    });
}

/// The channel is closed while all are at work: what was sent can still be received, and is.
fn closing(mix: Mix) {
    let mut random = seed();
    for _ in 0..30 {
        let room = splitmix(&mut random) as usize % 3;
        let (sender, receiver) = bounded(room);
        let ledger = Arc::new(Ledger::default());
        let mut tasks = Vec::new();
        for index in 0..4 {
            let (sender, theirs, first) =
                (sender.clone(), Arc::clone(&ledger), splitmix(&mut random) >> 8);
            tasks.push(mix.spawn(index, move || {
                for message in first.. {
                    if sender.send(message).is_err() {
                        break;
                    }
                    theirs.sent(message);
                }
            }));
            let (receiver, theirs) = (receiver.clone(), Arc::clone(&ledger));
            tasks.push(mix.spawn(index + 1, move || {
                receiver.iter().for_each(|message| theirs.received(message))
            }));
        }
        for _ in 0..splitmix(&mut random) % 200 {
            thread::yield_now();
        }
        let closer = if room == 1 { receiver.close() } else { sender.close() };
        assert!(closer);
        tasks.into_iter().for_each(|task| task.join());
        ledger.assert_balanced();
    }
}

#[test]
fn closing_at_work() {
    Mix::each(closing);
}

#[test]
fn closing_at_work_under_chaos() {
    under_chaos("channel::stress::closing_at_work_under_chaos", || {
        closing(Mix::Fibers);
        closing(Mix::Alternating);
    });
}

/// Selects that send to and receive from the same channels: every message is received by another.
fn selects_meet(mix: Mix) {
    let seed = seed();
    let channels: Arc<Vec<_>> = Arc::new((0..3).map(|_| bounded(0)).collect());
    let ledger = Arc::new(Ledger::default());
    let left = Arc::new(AtomicU64::new(8));
    let tasks: Vec<_> = (0..8)
        .map(|index| {
            let (channels, ledger, left) =
                (Arc::clone(&channels), Arc::clone(&ledger), Arc::clone(&left));
            mix.spawn(index, move || {
                let mut random = seed ^ index as u64;
                let mut rounds = 0;
                // Who is through goes on for the others' sake.
                while rounds < 1_000 || left.load(Ordering::SeqCst) != 0 {
                    let lot = splitmix(&mut random);
                    let message = lot >> 8;
                    let [one, two] =
                        [lot % 3, (lot >> 4) % 3].map(|index| &channels[index as usize]);
                    select! {
                        send(one.0, message) -> sent => {
                            sent.expect("open");
                            ledger.sent(message);
                        }
                        recv(two.1) -> message => ledger.received(message.expect("open")),
                        default(PAUSE) => {}
                    }
                    rounds += 1;
                    if rounds == 1_000 {
                        left.fetch_sub(1, Ordering::SeqCst);
                    }
                }
            })
        })
        .collect();
    tasks.into_iter().for_each(|task| task.join());
    ledger.assert_balanced();
    assert!(ledger.sent.load(Ordering::SeqCst) > 0);
}

#[test]
fn selects_meet_each_other() {
    Mix::each(selects_meet);
}

#[test]
fn selects_meet_under_chaos() {
    under_chaos("channel::stress::selects_meet_under_chaos", || {
        selects_meet(Mix::Fibers);
        selects_meet(Mix::Alternating);
    });
}
