//! The cases of Go's own tests of channels and select: `test/chan/*.go` and `runtime/chan_test.go` of the Go
//! project (Copyright The Go Authors, BSD 3-clause licence), in our words and code. Each test is named after
//! the file or function whose case it is. Not here: what the compiler checks (`perm.go`, `sendstmt.go`),
//! memory that a collector must find (`select2.go`), and `powser1.go`.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use timestop::channel::{
    Receiver, RecvError, SendError, Sender, TryRecvError, bounded, never, select, unbuffered,
};

use crate::support::{Mix, on_fiber, until, waits};

/// Whether `f`, on a fiber of its own, waits for ever; a wait is ended by cancelling it after a moment.
fn blocks(f: impl FnOnce() -> bool + Send + 'static) -> bool {
    let fiber = timestop::spawn(f);
    for _ in 0..20 {
        thread::yield_now();
    }
    thread::sleep(Duration::from_millis(1));
    fiber.cancel();
    fiber.join().expect("no panic")
}

/// `doubleselect.go`: no number comes through two arms.
#[test]
fn doubleselect() {
    Mix::each(|mix| {
        const COUNT: u32 = 5_000;
        let channels: Vec<_> = (0..4).map(|_| unbuffered()).collect();
        let (senders, receivers): (Vec<_>, Vec<_>) = channels.into_iter().unzip();
        let (merged, all) = unbuffered();
        let sender = timestop::spawn(move || {
            for number in 0..COUNT {
                select! {
                    send(senders[0], number) -> sent => sent,
                    send(senders[1], number) -> sent => sent,
                    send(senders[2], number) -> sent => sent,
                    send(senders[3], number) -> sent => sent,
                }
                .expect("somebody receives");
            }
        });
        let muxers: Vec<_> = receivers
            .into_iter()
            .enumerate()
            .map(|(index, receiver)| {
                let merged = merged.clone();
                mix.spawn(index, move || {
                    receiver.iter().for_each(|number| merged.send(number).expect("open"))
                })
            })
            .collect();
        drop(merged);
        let mut seen = HashSet::new();
        assert!(all.iter().all(|number| seen.insert(number)));
        assert_eq!(seen.len(), COUNT as usize);
        sender.join().expect("no panic");
        muxers.into_iter().for_each(|task| task.join());
    });
}

/// `fifo.go`, asynchronous and synchronous.
#[test]
fn fifo() {
    on_fiber(|| {
        let (sender, receiver) = bounded(10);
        (0..10).for_each(|number| sender.send(number).expect("room"));
        assert!((0..10).all(|number| receiver.recv() == Ok(number)));
        // A chain in which each starts when the one before has received.
        let (first, mut previous) = unbuffered::<()>();
        let (sender, receiver) = unbuffered();
        let mut links = Vec::new();
        for number in 0..10 {
            let (done, next) = unbuffered();
            let (receiver, before) = (receiver.clone(), std::mem::replace(&mut previous, next));
            links.push(timestop::spawn(move || {
                before.recv().expect("the one before");
                assert_eq!(receiver.recv(), Ok(number));
                let _ = done.send(());
            }));
        }
        first.send(()).expect("the first waits");
        (0..10).for_each(|number| sender.send(number).expect("the next waits"));
        drop(previous);
        links.into_iter().for_each(|link| link.join().expect("in order"));
    });
}

/// `goroutines.go`: a chain of ten thousand.
#[test]
fn goroutines() {
    on_fiber(|| {
        const LENGTH: u32 = 10_000;
        let (leftmost, mut right) = unbuffered();
        for _ in 0..LENGTH {
            let (left, next) = unbuffered();
            let from = std::mem::replace(&mut right, next);
            timestop::spawn(move || left.send(from.recv().expect("one more") + 1));
        }
        timestop::spawn(move || leftmost.send(0_u32));
        assert_eq!(right.recv(), Ok(LENGTH));
    });
}

/// `nonblock.go`: sends and receives that do not wait, with and without a partner, for a room of 0 and 1.
#[test]
fn nonblock() {
    on_fiber(|| {
        for room in 0..2 {
            let (sender, receiver) = bounded(room);
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            let nothing = select! {
                recv(receiver) -> _ => false,
                default => true,
            };
            assert!(nothing);
            // A partner that waits, or is about to.
            let theirs = receiver.clone();
            let partner = timestop::spawn(move || theirs.recv());
            let mut message = 123;
            while let Err(error) = sender.try_send(message) {
                message = error.into_inner();
                thread::yield_now();
            }
            assert_eq!(partner.join().expect("no panic"), Ok(123));
            let theirs = sender.clone();
            let partner = timestop::spawn(move || theirs.send(234));
            let received = loop {
                select! {
                    recv(receiver) -> message => break message,
                    default => thread::yield_now(),
                }
            };
            assert_eq!((received, partner.join().expect("no panic")), (Ok(234), Ok(())));
            if room == 1 {
                assert!(sender.try_send(1).is_ok() && sender.try_send(2).is_err());
            }
        }
    });
}

/// `select.go`: two arms that go to one channel, until each has sent its share; an arm that is through goes nowhere.
#[test]
fn select() {
    on_fiber(|| {
        let (sender, receiver) = unbuffered();
        let (nowhere, _keep) = unbuffered();
        let producer = timestop::spawn(move || {
            let mut left = [5, 4];
            let mut shift = 0;
            while left != [0, 0] {
                let to = |index: usize| if left[index] > 0 { &sender } else { &nowhere };
                let arm = select! {
                    send(to(0), 1_u32 << shift) -> sent => sent.map(|()| 0),
                    send(to(1), 1_u32 << shift) -> sent => sent.map(|()| 1),
                };
                left[arm.expect("open")] -= 1;
                shift += 1;
            }
        });
        // Each value is a bit of its own.
        assert_eq!(receiver.iter().sum::<u32>(), (1 << 9) - 1);
        producer.join().expect("no panic");
    });
}

/// `select3.go`: what blocks for ever, and what does not.
#[test]
fn select3() {
    on_fiber(|| {
        let nil = never::<i32>();
        let theirs = nil.clone();
        assert!(blocks(move || theirs.recv() == Err(RecvError::Cancelled)));
        let (closed, ended) = bounded::<i32>(10);
        closed.close();
        assert_eq!(closed.send(7), Err(SendError::Disconnected(7)));
        assert_eq!(ended.recv(), Err(RecvError::Disconnected));
        assert!(!blocks(move || ended.recv() == Err(RecvError::Cancelled)));
        for room in [0, 10] {
            let (sender, receiver) = bounded(room);
            let theirs = receiver.clone();
            assert!(blocks(move || theirs.recv() == Err(RecvError::Cancelled)));
            (0..room).for_each(|number| sender.send(number).expect("room"));
            let theirs = sender.clone();
            assert!(blocks(move || theirs.send(99) == Err(SendError::Cancelled(99))));
            assert!(blocks(move || {
                let (unused, only) = unbuffered::<i32>();
                let ended = select! {
                    send(sender, 1) -> sent => sent.is_err(),
                    recv(only) -> _ => false,
                };
                drop((unused, receiver));
                ended
            }));
        }
        // With a default nothing blocks.
        let default = select! {
            recv(nil) -> _ => false,
            default => true,
        };
        assert!(default);
    });
}

/// `select4.go`: a closed channel beside one with a message.
#[test]
fn select4() {
    let (sender, receiver) = bounded(1);
    let (_keep, empty) = bounded::<i32>(0);
    sender.send(42).expect("room");
    select! {
        recv(empty) -> _ => panic!("nobody sends"),
        recv(receiver) -> message => assert_eq!(message, Ok(42)),
    }
}

/// `select6.go`: one who is served by another arm leaves the queues that it stood in, between others.
#[test]
fn select6() {
    on_fiber(|| {
        let (first, firsts) = unbuffered::<bool>();
        let (second, seconds) = unbuffered::<bool>();
        let (third, thirds) = unbuffered::<bool>();
        let theirs = firsts.clone();
        let one = timestop::spawn(move || theirs.recv());
        let others = firsts.clone();
        let two = timestop::spawn(move || {
            select! {
                recv(others) -> _ => panic!("the other arm has a message"),
                recv(seconds) -> message => third.send(message.expect("open")).expect("open"),
            }
        });
        second.send(true).expect("somebody selects");
        assert_eq!(thirds.recv(), Ok(true));
        let theirs = firsts.clone();
        let three = timestop::spawn(move || theirs.recv());
        first.send(true).expect("one waits");
        first.send(true).expect("three waits");
        assert_eq!(
            (one.join().expect("no panic"), three.join().expect("no panic")),
            (Ok(true), Ok(true))
        );
        two.join().expect("no panic");
    });
}

/// `select7.go`: a partner of every kind for a select that waits.
#[test]
fn select7() {
    fn receivers() -> [fn(Receiver<u8>) -> u8; 3] {
        [
            |from| from.recv().expect("open"),
            |from| {
                select! { recv(from) -> message => message.expect("open") }
            },
            |from| {
                let (_keep, other) = unbuffered::<u8>();
                select! {
                    recv(other) -> _ => 0,
                    recv(from) -> message => message.expect("open"),
                }
            },
        ]
    }
    fn senders() -> [fn(Sender<u8>); 3] {
        [
            |to| to.send(8).expect("open"),
            |to| {
                select! { send(to, 8) -> sent => sent.expect("open") }
            },
            |to| {
                let (other, _keep) = unbuffered::<u8>();
                select! {
                    send(other, 0) -> _ => panic!("nobody receives"),
                    send(to, 8) -> sent => sent.expect("open"),
                }
            },
        ]
    }
    Mix::each(|mix| {
        for receive in receivers() {
            for send in senders() {
                let (sender, receiver) = unbuffered();
                let receiving = mix.spawn(0, move || receive(receiver));
                let sending = mix.spawn(1, move || send(sender));
                assert_eq!(receiving.join(), 8);
                sending.join();
            }
        }
    });
}

/// `sieve1.go`: a chain of filters, one for each prime.
#[test]
fn sieve() {
    on_fiber(|| {
        let (numbers, mut stream) = unbuffered();
        timestop::spawn(move || {
            (2_u32..).take_while(|&number| numbers.send(number).is_ok()).count()
        });
        let mut primes = Vec::new();
        while primes.len() < 60 {
            let prime = stream.recv().expect("numbers go on");
            primes.push(prime);
            let (through, filtered) = unbuffered();
            let from = std::mem::replace(&mut stream, filtered);
            timestop::spawn(move || {
                let others = from.iter().filter(|number| number % prime != 0);
                others.take_while(|&number| through.send(number).is_ok()).count()
            });
        }
        assert_eq!(primes[..8], [2, 3, 5, 7, 11, 13, 17, 19]);
        assert_eq!(primes[59], 281);
    });
}

/// `zerosize.go`.
#[test]
fn zerosize() {
    let (sender, receiver) = bounded::<[u64; 0]>(0);
    assert_eq!((sender.len(), receiver.capacity()), (0, Some(0)));
    let (sender, receiver) = bounded::<()>(1_000_000);
    (0..1_000_000).for_each(|_| sender.send(()).expect("room"));
    assert!(sender.is_full());
    assert_eq!(receiver.try_iter().count(), 1_000_000);
}

/// `TestChan`: blocking, not blocking, closing and order, for several sizes.
#[test]
fn test_chan() {
    Mix::each(|mix| {
        for room in [0, 1, 10, 100] {
            let (sender, receiver) = bounded::<usize>(room);
            assert!(receiver.try_recv().is_err());
            (0..room).for_each(|number| sender.try_send(number).expect("room"));
            assert!(sender.try_send(0).is_err());
            assert!((0..room).all(|number| receiver.try_recv() == Ok(number)));
            let producer = mix
                .spawn(1, move || (0..100).for_each(|number| sender.send(number).expect("open")));
            assert!(receiver.iter().eq(0..100));
            assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
            producer.join();
            // Many of each kind: each message once.
            let (sender, receiver) = bounded::<usize>(room);
            let (counts, counted) = bounded(4);
            let producers: Vec<_> = (0..4)
                .map(|index| {
                    let sender = sender.clone();
                    mix.spawn(index, move || {
                        (0..500).for_each(|number| sender.send(number).expect("open"))
                    })
                })
                .collect();
            let consumers: Vec<_> = (0..4)
                .map(|index| {
                    let (receiver, counts) = (receiver.clone(), counts.clone());
                    mix.spawn(index + 1, move || {
                        let mut seen = [0_u8; 500];
                        receiver.iter().for_each(|number| seen[number] += 1);
                        counts.send(seen).expect("room");
                    })
                })
                .collect();
            drop((sender, counts));
            producers.into_iter().chain(consumers).for_each(|task| task.join());
            let mut sums = [0_u8; 500];
            counted
                .iter()
                .for_each(|seen| sums.iter_mut().zip(seen).for_each(|(sum, seen)| *sum += seen));
            assert_eq!(sums, [4; 500]);
        }
    });
}

/// `TestNonblockRecvRace`: a receive that does not wait finds the message, or the end after it, of one who has sent.
#[test]
fn test_nonblock_recv_race() {
    Mix::each(|mix| {
        for _ in 0..200 {
            let (sender, receiver) = bounded(1);
            sender.send(1).expect("room");
            let other = mix.spawn(1, move || receiver.try_recv());
            sender.close();
            assert_eq!(other.join(), Ok(1));
        }
    });
}

/// `TestNonblockSelectRace`: of two channels, one has a message at any time; a select must not say that none has.
#[test]
fn test_nonblock_select_race() {
    Mix::each(|mix| {
        for _ in 0..500 {
            let ((first, firsts), (second, seconds)) = (bounded(1), bounded(1));
            first.send(1).expect("room");
            let theirs = (firsts.clone(), seconds.clone());
            let other = mix.spawn(1, move || {
                select! {
                    recv(theirs.0) -> _ => true,
                    recv(theirs.1) -> _ => true,
                    default => false,
                }
            });
            second.send(1).expect("room");
            let _ = firsts.try_recv();
            assert!(other.join() || seconds.try_recv().is_err());
        }
    });
}

/// `TestSelfSelect`: a select that both sends to and receives from one channel does not meet itself.
#[test]
fn test_self_select() {
    Mix::each(|mix| {
        for room in [0, 10] {
            let (sender, receiver) = bounded(room);
            let tasks: Vec<_> = (0..2)
                .map(|index| {
                    let (sender, receiver) = (sender.clone(), receiver.clone());
                    mix.spawn(index, move || {
                        for _ in 0..1_000 {
                            select! {
                                send(sender, index) -> _ => {}
                                recv(receiver) -> from => assert!(room > 0 || from != Ok(index)),
                            }
                        }
                        // The other is left without a partner, and goes on with what a closed channel gives.
                        sender.close();
                    })
                })
                .collect();
            tasks.into_iter().for_each(|task| task.join());
        }
    });
}

/// `TestSelectStress`: each of four channels between two, by plain operations and by selects.
#[test]
fn test_select_stress() {
    Mix::each(|mix| {
        const COUNT: usize = 2_000;
        let channels: Vec<_> = [0, 0, 2, 3].map(bounded::<usize>).into_iter().collect();
        let (senders, receivers): (Vec<_>, Vec<_>) = channels.into_iter().unzip();
        let mut tasks = Vec::new();
        for (index, sender) in senders.iter().enumerate() {
            let sender = sender.clone();
            tasks.push(
                mix.spawn(index, move || (0..COUNT).for_each(|_| sender.send(0).expect("open"))),
            );
        }
        for (index, receiver) in receivers.iter().enumerate() {
            let receiver = receiver.clone();
            tasks.push(mix.spawn(index + 1, move || {
                (0..COUNT).for_each(|_| assert!(receiver.recv().is_ok()))
            }));
        }
        tasks.push(mix.spawn(0, move || {
            let (none, _keep) = bounded(0);
            let mut left = [COUNT; 4];
            let to = |left: &[usize; 4], index: usize| {
                if left[index] > 0 { senders[index].clone() } else { none.clone() }
            };
            while left != [0; 4] {
                select! {
                    send(to(&left, 0), 0) -> sent => { sent.expect("open"); left[0] -= 1; }
                    send(to(&left, 1), 0) -> sent => { sent.expect("open"); left[1] -= 1; }
                    send(to(&left, 2), 0) -> sent => { sent.expect("open"); left[2] -= 1; }
                    send(to(&left, 3), 0) -> sent => { sent.expect("open"); left[3] -= 1; }
                }
            }
        }));
        tasks.push(mix.spawn(1, move || {
            let none = never();
            let mut left = [COUNT; 4];
            let from = |left: &[usize; 4], index: usize| {
                if left[index] > 0 { receivers[index].clone() } else { none.clone() }
            };
            while left != [0; 4] {
                select! {
                    recv(from(&left, 0)) -> message => { message.expect("open"); left[0] -= 1; }
                    recv(from(&left, 1)) -> message => { message.expect("open"); left[1] -= 1; }
                    recv(from(&left, 2)) -> message => { message.expect("open"); left[2] -= 1; }
                    recv(from(&left, 3)) -> message => { message.expect("open"); left[3] -= 1; }
                }
            }
        }));
        tasks.into_iter().for_each(|task| task.join());
    });
}

/// `TestSelectDuplicateChannel`: a select with one channel twice leaves its queue as it should, and others stand on.
#[test]
fn test_select_duplicate_channel() {
    on_fiber(|| {
        let (sender, receiver) = unbuffered();
        let (other, others) = unbuffered();
        let (done, told) = unbuffered();
        let theirs = receiver.clone();
        let first = timestop::spawn(move || {
            select! {
                recv(theirs) -> _ => panic!("nobody has sent yet"),
                recv(theirs) -> _ => panic!("nobody has sent yet"),
                recv(others) -> message => done.send(message.expect("open")).expect("somebody waits"),
            }
        });
        until("the first waits", || waits(&first));
        let second = timestop::spawn(move || receiver.recv());
        until("the second waits", || waits(&second));
        other.send(7).expect("the first selects");
        assert_eq!(told.recv(), Ok(7));
        sender.send(8).expect("the second waits");
        first.join().expect("no panic");
        assert_eq!(second.join().expect("no panic"), Ok(8));
    });
}

/// `TestMultiConsumer`: many workers between two channels.
#[test]
fn test_multi_consumer() {
    Mix::each(|mix| {
        const WORKERS: usize = 23;
        const COUNT: usize = 20_000;
        let (questions, asked) = bounded(WORKERS * 3);
        let (answers, answered) = bounded(WORKERS * 3);
        let workers: Vec<_> = (0..WORKERS)
            .map(|index| {
                let (asked, answers) = (asked.clone(), answers.clone());
                mix.spawn(index, move || {
                    for number in asked {
                        if number % 7 == index {
                            thread::yield_now();
                        }
                        answers.send(number).expect("open");
                    }
                })
            })
            .collect();
        drop(answers);
        let feeder = mix.spawn(1, move || {
            (0..COUNT).for_each(|number| questions.send(number % 29).expect("open"))
        });
        let expected: usize = (0..COUNT).map(|number| number % 29).sum();
        assert_eq!(answered.iter().sum::<usize>(), expected);
        feeder.join();
        workers.into_iter().for_each(|task| task.join());
    });
}
