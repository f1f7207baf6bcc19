//! `std::sync` between fibers, and between fibers and OS threads at one lock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError, TrySendError};
use std::sync::{Arc, Barrier, Condvar, LazyLock, Mutex, Once, OnceLock, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Mix, on_fiber};

const TASKS: usize = 64;
const ROUNDS: usize = 200;

/// Starts [`TASKS`] tasks and waits for them all.
fn tasks<T: Send + 'static>(mix: Mix, f: impl Fn(usize) -> T + Clone + Send + 'static) -> Vec<T> {
    let tasks: Vec<_> = (0..TASKS)
        .map(|index| {
            let f = f.clone();
            mix.spawn(index, move || f(index))
        })
        .collect();
    tasks.into_iter().map(|task| task.join()).collect()
}

#[test]
fn mutex_excludes() {
    Mix::each(|mix| {
        let total = Arc::new(Mutex::new((0, 0)));
        let shared = total.clone();
        tasks(mix, move |index| {
            for round in 0..ROUNDS {
                let mut total = shared.lock().expect("nobody panics");
                total.0 += 1;
                if (index + round) % 16 == 0 {
                    // The holder is suspended, and others come to wait.
                    thread::yield_now();
                }
                total.1 += 1;
                assert_eq!(total.0, total.1);
            }
        });
        assert_eq!(*total.lock().expect("nobody panics"), (TASKS * ROUNDS, TASKS * ROUNDS));
    });
}

#[test]
fn mutex_try_lock_while_held() {
    Mix::each(|mix| {
        let lock = Arc::new(Mutex::new(()));
        let held = lock.lock().expect("nobody panics");
        let other = lock.clone();
        assert!(mix.spawn(1, move || other.try_lock().is_err()).join());
        drop(held);
        assert!(mix.spawn(1, move || lock.try_lock().is_ok()).join());
    });
}

#[test]
fn rwlock_lets_readers_share() {
    Mix::each(|mix| {
        let meeting = Arc::new((RwLock::new(7), Barrier::new(TASKS)));
        // Nobody passes the barrier unless all hold the lock at once.
        let read = tasks(mix, move |_| {
            let value = meeting.0.read().expect("nobody panics");
            meeting.1.wait();
            *value
        });
        assert_eq!(read, [7; TASKS]);
    });
}

#[test]
fn rwlock_excludes_writers() {
    Mix::each(|mix| {
        let pair = Arc::new(RwLock::new((0, 0)));
        let shared = pair.clone();
        tasks(mix, move |index| {
            for round in 0..ROUNDS {
                if (index + round) % 4 == 0 {
                    let mut pair = shared.write().expect("nobody panics");
                    pair.0 += 1;
                    thread::yield_now();
                    pair.1 += 1;
                } else {
                    let pair = shared.read().expect("nobody panics");
                    assert_eq!(pair.0, pair.1);
                }
            }
        });
        assert_eq!(*pair.read().expect("nobody panics"), (TASKS * ROUNDS / 4, TASKS * ROUNDS / 4));
    });
}

#[test]
fn condvar_hands_over_a_bounded_buffer() {
    Mix::each(|mix| {
        const ROOM: usize = 4;
        let buffer = Arc::new((Mutex::new(VecDeque::new()), Condvar::new(), Condvar::new()));
        let shared = buffer.clone();
        let sums = tasks(mix, move |index| {
            let (queue, not_empty, not_full) = &*shared;
            let mut sum = 0;
            // Even pairs produce, odd pairs consume, so that both kinds of task do both.
            for number in 0..ROUNDS {
                let mut guard = queue.lock().expect("nobody panics");
                if (index / 2) % 2 == 0 {
                    guard =
                        not_full.wait_while(guard, |queue| queue.len() == ROOM).expect("no panic");
                    guard.push_back(number);
                    not_empty.notify_one();
                } else {
                    guard =
                        not_empty.wait_while(guard, |queue| queue.is_empty()).expect("no panic");
                    sum += guard.pop_front().expect("waited for");
                    not_full.notify_one();
                }
            }
            sum
        });
        let each: usize = (0..ROUNDS).sum();
        assert_eq!(sums.into_iter().sum::<usize>(), each * TASKS / 2);
        assert!(buffer.0.lock().expect("nobody panics").is_empty());
    });
}

#[test]
fn condvar_notify_all_wakes_all() {
    Mix::each(|mix| {
        let gate = Arc::new((Mutex::new((0, false)), Condvar::new()));
        let waiters: Vec<_> = (0..TASKS)
            .map(|index| {
                let gate = gate.clone();
                mix.spawn(index, move || {
                    let mut state = gate.0.lock().expect("nobody panics");
                    state.0 += 1;
                    gate.1.notify_all();
                    drop(gate.1.wait_while(state, |state| !state.1));
                })
            })
            .collect();
        let state = gate.0.lock().expect("nobody panics");
        let mut state = gate.1.wait_while(state, |state| state.0 < TASKS).expect("nobody panics");
        state.1 = true;
        drop(state);
        gate.1.notify_all();
        for waiter in waiters {
            waiter.join();
        }
    });
}

#[test]
fn condvar_wait_timeout() {
    Mix::each(|mix| {
        let limit = Duration::from_millis(20);
        let pair = Arc::new((Mutex::new(false), Condvar::new()));
        let start = Instant::now();
        let guard = pair.0.lock().expect("nobody panics");
        let (guard, outcome) =
            pair.1.wait_timeout_while(guard, limit, |done| !*done).expect("nobody panics");
        assert!(outcome.timed_out() && !*guard && start.elapsed() >= limit);
        drop(guard);

        let other = pair.clone();
        let notifier = mix.spawn(1, move || {
            *other.0.lock().expect("nobody panics") = true;
            other.1.notify_one();
        });
        let guard = pair.0.lock().expect("nobody panics");
        let long = Duration::from_secs(1_000);
        let (guard, outcome) =
            pair.1.wait_timeout_while(guard, long, |done| !*done).expect("nobody panics");
        assert!(!outcome.timed_out() && *guard);
        drop(guard);
        notifier.join();
    });
}

#[test]
fn barrier_has_one_leader_a_round() {
    Mix::each(|mix| {
        let barrier = Arc::new(Barrier::new(TASKS));
        let led = tasks(mix, move |_| (0..20).filter(|_| barrier.wait().is_leader()).count());
        assert_eq!(led.into_iter().sum::<usize>(), 20);
    });
}

#[test]
fn once_runs_once() {
    Mix::each(|mix| {
        let runs = Arc::new((Once::new(), OnceLock::new(), AtomicUsize::new(0)));
        let shared = runs.clone();
        let seen = tasks(mix, move |index| {
            let (once, cell, count) = &*shared;
            once.call_once(|| {
                // The others come to wait for the one who is suspended here.
                for _ in 0..10 {
                    thread::yield_now();
                }
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert!(once.is_completed());
            *cell.get_or_init(|| {
                thread::yield_now();
                count.fetch_add(1, Ordering::Relaxed);
                index
            })
        });
        assert!(seen.iter().all(|index| *index == seen[0]));
        assert_eq!(runs.2.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn lazy_lock_is_forced_once() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    static LAZY: LazyLock<usize> = LazyLock::new(|| {
        for _ in 0..10 {
            thread::yield_now();
        }
        RUNS.fetch_add(1, Ordering::Relaxed) + 7
    });
    Mix::each(|mix| {
        assert_eq!(tasks(mix, |_| *LAZY), [7; TASKS]);
    });
    assert_eq!(RUNS.load(Ordering::Relaxed), 1);
}

#[test]
fn mpsc_unbounded_loses_nothing() {
    Mix::each(|mix| {
        let (sender, receiver) = mpsc::channel();
        let consumer = mix.spawn(1, move || receiver.into_iter().collect::<Vec<(usize, usize)>>());
        tasks(mix, move |index| {
            for round in 0..ROUNDS {
                sender.send((index, round)).expect("the consumer listens");
            }
        });
        let mut next = [0; TASKS];
        for (index, round) in consumer.join() {
            assert_eq!(round, next[index], "out of order from one sender");
            next[index] += 1;
        }
        assert_eq!(next, [ROUNDS; TASKS]);
    });
}

#[test]
fn mpsc_bounded_blocks_its_senders() {
    for bound in [0, 1, 8] {
        on_fiber(move || {
            for mix in [Mix::Fibers, Mix::Alternating] {
                let (sender, receiver) = mpsc::sync_channel(bound);
                let consumer = mix.spawn(1, move || receiver.into_iter().sum::<usize>());
                tasks(mix, move |index| {
                    for _ in 0..ROUNDS {
                        sender.send(index).expect("the consumer listens");
                    }
                });
                assert_eq!(consumer.join(), (0..TASKS).sum::<usize>() * ROUNDS);
            }
        });
    }
}

#[test]
fn mpsc_without_blocking() {
    on_fiber(|| {
        let (sender, receiver) = mpsc::sync_channel(1);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(sender.try_send(1), Ok(()));
        assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
        assert_eq!(receiver.recv(), Ok(1));
        drop(sender);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    });
}

#[test]
fn mpsc_recv_timeout() {
    Mix::each(|mix| {
        let limit = Duration::from_millis(20);
        let (sender, receiver) = mpsc::channel();
        let start = Instant::now();
        assert_eq!(receiver.recv_timeout(limit), Err(RecvTimeoutError::Timeout));
        assert!(start.elapsed() >= limit);
        let task = mix.spawn(1, move || sender.send(7));
        assert_eq!(receiver.recv_timeout(Duration::from_secs(1_000)), Ok(7));
        task.join().expect("somebody listened");
        let gone = receiver.recv_timeout(Duration::from_secs(1_000));
        assert_eq!(gone, Err(RecvTimeoutError::Disconnected));
    });
}

#[test]
fn mpsc_ping_pong() {
    Mix::each(|mix| {
        let (ping, pinged) = mpsc::channel();
        let (pong, ponged) = mpsc::channel();
        let task = mix.spawn(1, move || {
            for number in pinged {
                pong.send(number + 1).expect("the test listens");
            }
        });
        for number in 0..2_000 {
            ping.send(number).expect("the task listens");
            assert_eq!(ponged.recv(), Ok(number + 1));
        }
        drop(ping);
        task.join();
    });
}

#[test]
fn park_timeout_ends() {
    Mix::each(|mix| {
        let limit = Duration::from_millis(20);
        // It may wake early, for no reason, but not always.
        let slept = tasks(mix, move |_| {
            let start = Instant::now();
            while start.elapsed() < limit {
                thread::park_timeout(limit);
            }
            start.elapsed()
        });
        assert!(slept.iter().all(|slept| *slept >= limit));
    });
}

#[test]
fn park_and_unpark_across_kinds() {
    Mix::each(|mix| {
        let turn = Arc::new(AtomicUsize::new(0));
        let main = thread::current();
        let theirs = turn.clone();
        let task = mix.spawn(1, move || {
            for round in 0..ROUNDS {
                while theirs.load(Ordering::Acquire) != 2 * round + 1 {
                    thread::park();
                }
                theirs.fetch_add(1, Ordering::AcqRel);
                main.unpark();
            }
        });
        for round in 0..ROUNDS {
            turn.fetch_add(1, Ordering::AcqRel);
            task.thread().unpark();
            while turn.load(Ordering::Acquire) != 2 * round + 2 {
                thread::park_timeout(Duration::from_secs(1_000));
            }
        }
        task.join();
    });
}
