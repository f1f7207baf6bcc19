//! The cases of crossbeam-channel's tests (`tests/{array,zero,list,select,select_macro,after,tick}.rs`;
//! Copyright The Crossbeam Project Developers, MIT or Apache 2.0), in our words and code, where neither
//! [`golang`](super::golang), which has what its `tests/golang.rs` has, nor the other tests here have them.
//! Not here: `ready`, which we do not have.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use timestop::channel::{
    Receiver, RecvError, RecvTimeoutError, Select, after, bounded, never, select, tick, unbounded,
    unbuffered,
};

use crate::support::{Mix, on_fiber, splitmix};

const MOMENT: Duration = Duration::from_millis(2);

/// `matching`: many who both send and receive on one unbuffered channel find a partner, never themselves.
#[test]
fn matching() {
    Mix::each(|mix| {
        const TASKS: usize = 44;
        let (sender, receiver) = unbuffered();
        let tasks: Vec<_> = (0..TASKS)
            .map(|index| {
                let (sender, receiver) = (sender.clone(), receiver.clone());
                mix.spawn(index, move || {
                    select! {
                        recv(receiver) -> from => assert_ne!(from, Ok(index)),
                        send(sender, index) -> sent => sent.expect("open"),
                    }
                })
            })
            .collect();
        tasks.into_iter().for_each(|task| task.join());
        assert!(receiver.try_recv().is_err());
    });
}

/// `linearizable`: who has sent finds a message, whoever's.
#[test]
fn linearizable() {
    Mix::each(|mix| {
        for room in [4, 100] {
            let (sender, receiver) = bounded(room);
            let tasks: Vec<_> = (0..4)
                .map(|index| {
                    let (sender, receiver) = (sender.clone(), receiver.clone());
                    mix.spawn(index, move || {
                        for _ in 0..2_000 {
                            sender.send(0).expect("room");
                            receiver
                                .try_recv()
                                .expect("as many were sent as received, and one more");
                        }
                    })
                })
                .collect();
            tasks.into_iter().for_each(|task| task.join());
        }
    });
}

/// `drops`: each message is dropped once, received or not.
#[test]
fn drops() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);

    struct Counts;

    impl Drop for Counts {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::SeqCst);
        }
    }

    on_fiber(|| {
        let mut seed = 0x5eed;
        let mut total = 0;
        for round in 0..50 {
            let (steps, additional) =
                (splitmix(&mut seed) as usize % 500, splitmix(&mut seed) as usize % 50);
            let (sender, receiver) = if round % 2 == 0 { bounded(50) } else { unbounded() };
            let producer = timestop::spawn(move || {
                (0..steps).for_each(|_| sender.send(Counts).unwrap_or_default());
                sender
            });
            assert_eq!(receiver.iter().take(steps).count(), steps);
            let sender = producer.join().expect("no panic");
            (0..additional).for_each(|_| sender.send(Counts).unwrap_or_default());
            total += steps + additional;
            assert_eq!(DROPS.load(Ordering::SeqCst), total - additional);
            drop(sender);
            drop(receiver);
            assert_eq!(DROPS.load(Ordering::SeqCst), total);
        }
    });
}

/// `panic_on_drop`: a message whose destructor panics harms the channel no more than itself.
#[test]
fn panic_on_drop() {
    struct Panics(Arc<AtomicUsize>);

    impl Drop for Panics {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            panic!("as it should");
        }
    }

    let count = Arc::new(AtomicUsize::new(0));
    let (sender, receiver) = bounded(2);
    sender.send(Panics(Arc::clone(&count))).expect("room");
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(receiver)));
    assert!(dropped.is_err());
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let back = sender.send(Panics(count)).expect_err("closed");
    std::mem::forget(back);
}

/// `recursive`: a select in an arm of a select; a channel sent through itself's kind.
#[test]
fn recursive() {
    let (outer, outers) = bounded::<Receiver<u8>>(1);
    let (inner, inners) = bounded(1);
    inner.send(3).expect("room");
    outer.send(inners).expect("room");
    let number = select! {
        recv(outers) -> inners => {
            let inners = inners.expect("open");
            select! {
                recv(inners) -> number => number.expect("open"),
                default => 0,
            }
        }
    };
    assert_eq!(number, 3);
}

/// `both_ready`: a select on both sides of two channels; each arm is done as often as its partner comes.
#[test]
fn both_ready() {
    Mix::each(|mix| {
        let ((into, from), (back, to)) = (unbuffered(), unbuffered());
        let one =
            mix.spawn(0, move || (0..500).for_each(|number| into.send(number).expect("open")));
        let keeps_open = to.clone();
        let other =
            mix.spawn(1, move || (0..500).for_each(|number| assert_eq!(to.recv(), Ok(number))));
        let (mut sent, mut received) = (0, 0);
        for _ in 0..1_000 {
            select! {
                recv(from) -> number => {
                    assert_eq!(number, Ok(received));
                    received += 1;
                }
                send(back, sent) -> done => {
                    done.expect("open");
                    sent += 1;
                }
            }
            if received == 500 {
                break;
            }
        }
        (sent..500).for_each(|number| back.send(number).expect("open"));
        one.join();
        other.join();
        drop(keeps_open);
    });
}

/// `stress_timeout_two_threads`: time-outs beside a partner that comes just then.
#[test]
fn stress_timeout() {
    Mix::each(|mix| {
        const COUNT: usize = 60;
        let (sender, receiver) = bounded(0);
        let producer = mix.spawn(1, move || {
            for number in 0..COUNT {
                if number % 2 == 0 {
                    thread::sleep(MOMENT / 2);
                }
                let mut message = number;
                while let Err(error) = sender.send_timeout(message, MOMENT / 4) {
                    message = error.into_inner();
                }
            }
        });
        for number in 0..COUNT {
            if number % 2 == 0 {
                thread::sleep(MOMENT / 2);
            }
            let received = loop {
                match receiver.recv_timeout(MOMENT / 4) {
                    Err(RecvTimeoutError::Timeout) => {}
                    other => break other,
                }
            };
            assert_eq!(received, Ok(number));
        }
        producer.join();
    });
}

/// `after.rs`: of several who wait for one clock, one gets the message.
#[test]
fn one_gets_the_time() {
    Mix::each(|mix| {
        let clock = after(MOMENT);
        let tasks: Vec<_> = (0..4)
            .map(|index| {
                let clock = clock.clone();
                mix.spawn(index, move || usize::from(clock.recv_timeout(5 * MOMENT).is_ok()))
            })
            .collect();
        assert_eq!(tasks.into_iter().map(|task| task.join()).sum::<usize>(), 1);
    });
}

/// `tick.rs`: ticks that nobody takes are left out.
#[test]
fn ticks_do_not_pile_up() {
    let ticks = tick(MOMENT);
    thread::sleep(5 * MOMENT);
    assert_eq!(ticks.len(), 1);
    let first = ticks.recv().expect("it is due");
    let second = ticks.recv().expect("soon");
    let third = ticks.recv().expect("soon");
    assert!(second >= first + MOMENT && third >= second + MOMENT);
}

/// `select.rs`, `never` and `disconnected`: arms that can never be done, and arms that always can.
#[test]
fn never_and_closed() {
    let none = never::<u8>();
    let (sender, closed) = unbuffered::<u8>();
    drop(sender);
    let mut select = Select::new();
    select.recv(&none);
    assert!(select.wait_timeout(MOMENT).expect("no fiber").is_none());
    let arm = select.recv(&closed);
    for _ in 0..3 {
        let chosen = select.wait().expect("no fiber");
        assert_eq!(chosen.index(), arm);
        assert_eq!(chosen.recv(&closed), Err(RecvError::Disconnected));
    }
    assert_eq!(Select::new().wait_timeout(MOMENT).map(|chosen| chosen.is_none()), Ok(true));
}
