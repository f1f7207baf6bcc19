//! The locks and channels that other crates bring: they know nothing of fibers, and rest on futexes and `sched_yield`.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{self, select};

use crate::support::{Mix, on_fiber};

const TASKS: usize = 64;
const ROUNDS: usize = 200;
const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(1_000);

#[test]
fn crossbeam_channels_lose_nothing() {
    Mix::each(|mix| {
        for (sender, receiver) in
            [channel::unbounded(), channel::bounded(0), channel::bounded(1), channel::bounded(16)]
        {
            let consumers: Vec<_> = (0..8)
                .map(|index| {
                    let receiver = receiver.clone();
                    mix.spawn(index, move || receiver.into_iter().collect::<Vec<usize>>())
                })
                .collect();
            let producers: Vec<_> = (0..8)
                .map(|index| {
                    let sender = sender.clone();
                    mix.spawn(index, move || {
                        for round in 0..ROUNDS {
                            sender.send(index * ROUNDS + round).expect("consumers listen");
                        }
                    })
                })
                .collect();
            drop((sender, receiver));
            for producer in producers {
                producer.join();
            }
            let received: Vec<_> =
                consumers.into_iter().flat_map(|consumer| consumer.join()).collect();
            assert_eq!(received.len(), 8 * ROUNDS);
            assert_eq!(received.into_iter().collect::<HashSet<_>>().len(), 8 * ROUNDS);
        }
    });
}

#[test]
fn crossbeam_select_takes_what_comes() {
    Mix::each(|mix| {
        let (numbers, mut number) = channel::bounded(0);
        let (texts, mut text) = channel::unbounded::<String>();
        let tasks = [
            mix.spawn(0, move || (0..ROUNDS).for_each(|n| numbers.send(n).expect("selected"))),
            mix.spawn(1, move || {
                (0..ROUNDS).for_each(|n| texts.send(n.to_string()).expect("selected"));
            }),
        ];
        let (mut sum, mut letters, mut ended) = (0, 0, 0);
        while ended < 2 {
            select! {
                recv(number) -> n => match n {
                    Ok(n) => sum += n,
                    Err(_) => (number, ended) = (channel::never(), ended + 1),
                },
                recv(text) -> s => match s {
                    Ok(s) => letters += s.len(),
                    Err(_) => (text, ended) = (channel::never(), ended + 1),
                },
            }
        }
        assert_eq!(sum, (0..ROUNDS).sum());
        assert_eq!(letters, (0..ROUNDS).map(|n| n.to_string().len()).sum());
        for task in tasks {
            task.join();
        }
    });
}

#[test]
fn crossbeam_select_times_out() {
    on_fiber(|| {
        let (_sender, receiver) = channel::bounded::<()>(0);
        let start = Instant::now();
        select! {
            recv(receiver) -> _ => panic!("nobody sends"),
            default(SHORT) => assert!(start.elapsed() >= SHORT),
        }
        select! {
            recv(receiver) -> _ => panic!("nobody sends"),
            recv(channel::after(SHORT)) -> tick => assert!(tick.is_ok()),
        }
        select! {
            recv(receiver) -> _ => panic!("nobody sends"),
            default => {}
        }
    });
}

#[test]
fn crossbeam_select_sends_too() {
    Mix::each(|mix| {
        let (left, left_end) = channel::bounded(0);
        let (right, right_end) = channel::bounded(0);
        let counters = [left_end, right_end].map(|end| mix.spawn(1, move || end.iter().count()));
        for number in 0..ROUNDS {
            select! {
                send(left, number) -> sent => sent.expect("the counter listens"),
                send(right, number) -> sent => sent.expect("the counter listens"),
            }
        }
        drop((left, right));
        assert_eq!(counters.map(|counter| counter.join()).iter().sum::<usize>(), ROUNDS);
    });
}

#[test]
fn flume_channels_lose_nothing() {
    Mix::each(|mix| {
        for (sender, receiver) in [flume::unbounded(), flume::bounded(0), flume::bounded(4)] {
            let consumer = mix.spawn(1, move || receiver.into_iter().sum::<usize>());
            let producers: Vec<_> = (0..TASKS)
                .map(|index| {
                    let sender = sender.clone();
                    mix.spawn(index, move || {
                        for _ in 0..20 {
                            sender.send(index).expect("the consumer listens");
                        }
                    })
                })
                .collect();
            drop(sender);
            for producer in producers {
                producer.join();
            }
            assert_eq!(consumer.join(), 20 * (0..TASKS).sum::<usize>());
        }
    });
}

#[test]
fn flume_times_out() {
    on_fiber(|| {
        let (sender, receiver) = flume::bounded::<u32>(1);
        let start = Instant::now();
        assert_eq!(receiver.recv_timeout(SHORT), Err(flume::RecvTimeoutError::Timeout));
        assert!(start.elapsed() >= SHORT);
        let task = timestop::spawn(move || sender.send(7));
        assert_eq!(receiver.recv_timeout(LONG), Ok(7));
        task.join().expect("no panic").expect("somebody listened");
    });
}

#[test]
fn parking_lot_mutex_excludes() {
    Mix::each(|mix| {
        let total = Arc::new(parking_lot::Mutex::new((0, 0)));
        let tasks: Vec<_> = (0..TASKS)
            .map(|index| {
                let total = total.clone();
                mix.spawn(index, move || {
                    for round in 0..ROUNDS {
                        let mut guard = total.lock();
                        guard.0 += 1;
                        if (index + round) % 16 == 0 {
                            thread::yield_now();
                        }
                        guard.1 += 1;
                        assert_eq!(guard.0, guard.1);
                        if round % 8 == 0 {
                            // Handed straight to the longest waiter.
                            parking_lot::MutexGuard::unlock_fair(guard);
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.join();
        }
        assert_eq!(*total.lock(), (TASKS * ROUNDS, TASKS * ROUNDS));
    });
}

#[test]
fn parking_lot_try_lock_for() {
    Mix::each(|mix| {
        let lock = Arc::new(parking_lot::Mutex::new(()));
        let held = lock.lock();
        let other = lock.clone();
        let start = Instant::now();
        let refused = mix.spawn(1, move || other.try_lock_for(SHORT).is_none()).join();
        assert!(refused && start.elapsed() >= SHORT);
        let other = lock.clone();
        let patient = mix.spawn(1, move || other.try_lock_for(LONG).is_some());
        drop(held);
        assert!(patient.join());
    });
}

#[test]
fn parking_lot_condvar_passes_a_turn() {
    Mix::each(|mix| {
        let turn = Arc::new((parking_lot::Mutex::new(0), parking_lot::Condvar::new()));
        let tasks: Vec<_> = (0..TASKS)
            .map(|index| {
                let turn = turn.clone();
                mix.spawn(index, move || {
                    for round in 0..5 {
                        let mut guard = turn.0.lock();
                        turn.1.wait_while(&mut guard, |now| *now != round * TASKS + index);
                        *guard += 1;
                        turn.1.notify_all();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.join();
        }
        let mut guard = turn.0.lock();
        assert_eq!(*guard, 5 * TASKS);
        assert!(turn.1.wait_for(&mut guard, SHORT).timed_out());
    });
}

#[test]
fn parking_lot_rwlock() {
    Mix::each(|mix| {
        let pair = Arc::new(parking_lot::RwLock::new((0, 0)));
        let tasks: Vec<_> = (0..TASKS)
            .map(|index| {
                let pair = pair.clone();
                mix.spawn(index, move || {
                    for round in 0..ROUNDS {
                        match (index + round) % 8 {
                            0 => {
                                let mut pair = pair.write();
                                pair.0 += 1;
                                thread::yield_now();
                                pair.1 += 1;
                            }
                            1 => {
                                let pair = pair.upgradable_read();
                                let before = pair.0;
                                thread::yield_now();
                                let mut pair =
                                    parking_lot::RwLockUpgradableReadGuard::upgrade(pair);
                                assert_eq!(pair.0, before, "no writer between");
                                pair.0 += 1;
                                pair.1 += 1;
                            }
                            _ => {
                                let pair = pair.read();
                                assert_eq!(pair.0, pair.1);
                            }
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.join();
        }
        assert_eq!(*pair.read(), (TASKS * ROUNDS / 4, TASKS * ROUNDS / 4));
    });
}

#[test]
fn parking_lot_remembers_its_owner() {
    Mix::each(|mix| {
        // The owner is told by the thread's identity, which a fiber has of its own.
        let lock = Arc::new(parking_lot::ReentrantMutex::new(()));
        let _outer = lock.lock();
        thread::yield_now();
        let _inner = lock.try_lock().expect("this fiber owns it");
        let other = lock.clone();
        assert!(mix.spawn(0, move || other.try_lock().is_none()).join(), "another fiber does not");
    });
}
