//! Who gets how much: hogs among one another, hogs beside those that wait for events, priorities. Said in CPU time and in
//! counts: how long anything takes is the machine's affair.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::time::{ClockId, clock_gettime};
use timestop::{Builder, Priority};

use super::{Hogs, alone, alone_with, assert_preempted, compute, preemptions};
use crate::support::until;

const ONE: (&str, &str) = ("TIMESTOP_WORKERS", "1");
const TWO: (&str, &str) = ("TIMESTOP_WORKERS", "2");

/// CPU time that this process has used.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn work(effort: u32) {
    std::hint::black_box(compute(1, effort));
}

/// How often a fiber that has its worker to itself goes through `work(10)` in so much CPU time.
fn rounds_in(time: Duration) -> u64 {
    let begin = cpu_time();
    let mut rounds = 0;
    while cpu_time() - begin < time {
        work(10);
        rounds += 1;
    }
    rounds
}

fn spawn(priority: Priority, body: impl FnOnce() + Send + 'static) -> timestop::JoinHandle<()> {
    Builder::new().priority(priority).spawn(body).expect("room for a fiber")
}

#[test]
fn hogs_share_by_slices() {
    // Each needs ten slices.
    alone_with(&[ONE], || {
        const HOGS: usize = 4;
        let rounds = rounds_in(Duration::from_millis(100));
        let done = Arc::new([const { AtomicU64::new(0) }; HOGS]);
        // What each had done when the first was through.
        let at_first = Arc::new(Mutex::new(None));
        let hogs: Vec<_> = (0..HOGS)
            .map(|index| {
                let (done, at_first) = (done.clone(), at_first.clone());
                timestop::spawn(move || {
                    for _ in 0..rounds {
                        work(10);
                        done[index].fetch_add(1, Ordering::Relaxed);
                    }
                    let mut first = at_first.lock().expect("nobody panics");
                    first.get_or_insert_with(|| {
                        done.each_ref().map(|done| done.load(Ordering::Relaxed))
                    });
                })
            })
            .collect();
        hogs.into_iter().for_each(|hog| hog.join().expect("no panic"));
        let shares = at_first.lock().expect("nobody panics").expect("one was the first");
        assert!(shares.iter().all(|share| 2 * share >= rounds), "{shares:?} of {rounds}");
    });
}

#[test]
fn the_length_of_a_slice() {
    for slice in ["1", "100"] {
        alone_with(&[ONE, ("TIMESTOP_SLICE", slice)], || {
            let rounds = rounds_in(Duration::from_millis(200));
            let before = preemptions();
            crate::support::fan_out(2, move |_| {
                (0..rounds).for_each(|_| work(10));
            });
            let count = preemptions() - before;
            // 400 of them, or 4, where the monitor has a CPU whenever it wants one.
            match std::env::var("TIMESTOP_SLICE").as_deref() {
                Ok("1") => assert!(count >= 40, "{count} slices of 1 ms in 400"),
                _ => assert!(count <= 20, "{count} slices of 100 ms in 400"),
            }
        });
    }
}

#[test]
fn whoever_is_due_comes_before_hogs() {
    // No slice is ever over: what interrupts the hogs is that somebody waits.
    for workers in [ONE, TWO] {
        alone_with(&[workers, ("TIMESTOP_SLICE", "1000000")], || {
            let hogs = Hogs::start(4, |_, _| work(100));
            for _ in 0..100 {
                thread::sleep(Duration::from_millis(1));
            }
            assert_preempted(20);
            assert_eq!(timestop::stats().hand_offs, 0);
            hogs.end();
        });
    }
}

#[test]
fn a_hog_gets_its_slice_beside_those_who_never_rest() {
    alone_with(&[ONE], || {
        let rounds = rounds_in(Duration::from_millis(50));
        let stop = Arc::new(AtomicBool::new(false));
        // Always one of them can run, and each waits for the other: nobody is a hog.
        let (ping, pings) = mpsc::channel();
        let (pong, pongs) = mpsc::channel();
        let answers =
            timestop::spawn(move || pings.into_iter().try_for_each(|ball| pong.send(ball)));
        let stops = stop.clone();
        let asks = timestop::spawn(move || {
            while !stops.load(Ordering::Relaxed) {
                ping.send(()).expect("they are answered");
                pongs.recv().expect("they are answered");
            }
        });
        // They give way to hogs, again and again, and take nothing from what those are owed.
        let yielders: Vec<_> = (0..10)
            .map(|_| {
                let stop = stop.clone();
                timestop::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        timestop::yield_now();
                    }
                })
            })
            .collect();
        let hog = timestop::spawn(move || {
            (0..rounds).for_each(|_| work(10));
        });
        let begin = cpu_time();
        // Promised is a tenth of the time. What is left out of account is the monitor's.
        let limit = Duration::from_millis(50) * 10 * 3;
        until("the hog is through, or will never be", || {
            hog.is_finished() || cpu_time() - begin > limit
        });
        let (through, used) = (hog.is_finished(), cpu_time() - begin);
        stop.store(true, Ordering::Relaxed);
        asks.join().expect("no panic");
        answers.join().expect("no panic").expect("we listened");
        yielders.into_iter().for_each(|fiber| fiber.join().expect("no panic"));
        hog.join().expect("no panic");
        assert!(through, "50 ms of computing are not over after {used:?} of CPU time");
    });
}

#[test]
fn a_yield_is_no_hogs_matter() {
    // Those who yield a few times before they wait, as locks do, are in turn with the others, although hogs wait for
    // which there is hardly ever time.
    alone_with(&[ONE], || {
        let hogs = Hogs::start(2, |_, _| work(100)).run();
        let stop = Arc::new(AtomicBool::new(false));
        let restless: Vec<_> = (0..2)
            .map(|_| {
                let stop = stop.clone();
                timestop::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        timestop::spawn(|| ()).join().expect("no panic");
                    }
                })
            })
            .collect();
        let begin = cpu_time();
        let rounds = 200;
        for _ in 0..rounds {
            (0..8).for_each(|_| timestop::yield_now());
            timestop::spawn(|| ()).join().expect("no panic");
        }
        // Each waited for the hogs' next slice, a tenth of a second or more, if it was queued with them.
        let used = cpu_time() - begin;
        assert!(used < Duration::from_millis(10) * rounds, "{used:?} for {rounds} rounds");
        stop.store(true, Ordering::Relaxed);
        restless.into_iter().for_each(|fiber| fiber.join().expect("no panic"));
        hogs.end();
    });
}

/// Of fibers that all can run, on one worker, high goes before normal and normal before low: at their first run, and
/// whenever they are woken.
#[test]
fn priorities_are_an_order() {
    use Priority::{High, Low, Normal};

    /// Notes the order in which fibers of these priorities run, and run again when they are woken.
    fn order_of(mixed: [Priority; 9]) -> [Vec<Priority>; 2] {
        let order = Arc::new(Mutex::new(Vec::new()));
        // All of them can run before the first does.
        let fibers = timestop::without_preemption(|| {
            mixed.map(|priority| {
                let order = order.clone();
                let note = move || order.lock().expect("nobody panics").push(priority);
                spawn(priority, move || {
                    note();
                    thread::park();
                    note();
                })
            })
        });
        let all_noted = || {
            until("all have run", || order.lock().expect("nobody panics").len() == mixed.len());
            std::mem::take(&mut *order.lock().expect("nobody panics"))
        };
        let at_first = all_noted();
        // Each is asked for its handle, and wakes for that.
        let threads = fibers.each_ref().map(|fiber| fiber.thread().clone());
        timestop::without_preemption(|| threads.iter().for_each(thread::Thread::unpark));
        let woken = all_noted();
        fibers.into_iter().for_each(|fiber| fiber.join().expect("no panic"));
        [at_first, woken]
    }

    alone_with(&[ONE, ("TIMESTOP_SLICE", "1000000")], || {
        loop {
            let before = timestop::stats().hand_offs;
            let orders = order_of([Low, Normal, High, Low, High, Normal, Normal, High, Low]);
            // The kernel may have put us to sleep in the midst, and another carrier have begun.
            if timestop::stats().hand_offs == before {
                let expected = [High, High, High, Normal, Normal, Normal, Low, Low, Low];
                assert_eq!(orders, [expected, expected]);
                break;
            }
        }
    });
}

#[test]
fn low_priority_is_not_starved() {
    // Neither by hogs nor by those who never rest.
    alone(1, || {
        let hogs = Hogs::start(2, |_, _| work(100)).run();
        spawn(Priority::Low, || ()).join().expect("no panic");
        hogs.end();

        let stop = Arc::new(AtomicBool::new(false));
        let restless: Vec<_> = (0..2)
            .map(|_| {
                let stop = stop.clone();
                timestop::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        // Waits for a moment, and is no hog.
                        thread::park_timeout(Duration::ZERO);
                        timestop::spawn(|| ()).join().expect("no panic");
                    }
                })
            })
            .collect();
        spawn(Priority::Low, || ()).join().expect("no panic");
        stop.store(true, Ordering::Relaxed);
        restless.into_iter().for_each(|fiber| fiber.join().expect("no panic"));
    });
}

/// Fibers of high priority that run for ever, each running `round` again and again, beside one of each other priority that
/// ends.
fn beside_high(round: impl Fn(usize) + Clone + Send + 'static) {
    let stop = Arc::new(AtomicBool::new(false));
    let highs: Vec<_> = (0..2)
        .map(|index| {
            let (stop, round) = (stop.clone(), round.clone());
            spawn(Priority::High, move || {
                while !stop.load(Ordering::Relaxed) {
                    round(index);
                }
            })
        })
        .collect();
    for priority in [Priority::Normal, Priority::Low] {
        spawn(priority, || ()).join().expect("no panic");
    }
    stop.store(true, Ordering::Relaxed);
    highs.into_iter().for_each(|high| high.join().expect("no panic"));
}

#[test]
fn high_priority_starves_nobody_by_computing() {
    alone(1, || beside_high(|_| work(10)));
}

#[test]
fn high_priority_starves_nobody_by_yielding() {
    // As whoever spins for a lock does, whose holder may be of any priority.
    alone(1, || beside_high(|_| timestop::yield_now()));
}

#[test]
fn high_priority_starves_nobody_by_waiting_for_each_other() {
    alone(1, || {
        let turn = Arc::new((Mutex::new(0_usize), Condvar::new()));
        beside_high(move |index| {
            let (turn, changed) = &*turn;
            let now = turn.lock().expect("nobody panics");
            // The other may have stopped.
            let waits =
                changed.wait_timeout_while(now, Duration::from_millis(10), |now| *now % 2 != index);
            *waits.expect("nobody panics").0 += 1;
            changed.notify_all();
        });
    });
}

/// Who is woken only to wait again for another fiber interrupts the one that computes now and then, but not each time.
#[test]
fn preemptions_that_help_nobody_are_few() {
    alone_with(&[ONE, ("TIMESTOP_SLICE", "1000000")], || {
        let rounds = rounds_in(Duration::from_millis(200));
        let stop = Arc::new(AtomicBool::new(false));
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let stop = stop.clone();
                timestop::spawn(move || {
                    let (_sender, receiver) = mpsc::channel::<()>();
                    while !stop.load(Ordering::Relaxed) {
                        let _ = receiver.recv_timeout(Duration::from_micros(500));
                    }
                })
            })
            .collect();
        let (before, begin) = (preemptions(), Instant::now());
        timestop::spawn(move || (0..rounds).for_each(|_| work(10))).join().expect("no panic");
        let (count, time) = (preemptions() - before, begin.elapsed());
        stop.store(true, Ordering::Relaxed);
        waiting.into_iter().for_each(|fiber| fiber.join().expect("no panic"));
        // One in two milliseconds is allowed, and forty in them are asked for.
        let most = time.as_millis() + 20;
        assert!(u128::from(count) <= most, "{count} preemptions in {time:?}");
    });
}

/// One that finds something to do each time that it looks lets others run before it looks again.
#[test]
fn an_event_loop_gives_others_their_turn() {
    alone_with(&[ONE, ("TIMESTOP_SLICE", "1000000")], || {
        let (mut writer, reader) = UnixStream::pair().expect("a pair");
        writer.write_all(b"never read").expect("there is room");
        let record = |stream: &UnixStream| libc::pollfd {
            fd: stream.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let has_run = Arc::new(AtomicBool::new(false));
        let runs = has_run.clone();
        let other = timestop::spawn(move || runs.store(true, Ordering::Relaxed));
        // SAFETY: the kernel writes `revents` of the two.
        let poll = || unsafe { libc::poll([record(&reader), record(&writer)].as_mut_ptr(), 2, -1) };
        assert_eq!(poll(), 1);
        assert!(has_run.load(Ordering::Relaxed), "it was in turn");
        other.join().expect("no panic");
    });
}

/// How often the monitor has gone to sleep so far.
fn monitors_sleeps() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").expect("our threads");
    let mut paths = tasks.map(|task| task.expect("a thread").path());
    let is_monitor = |name: String| name.trim() == "timestop-monito";
    let path = paths
        .find(|path| fs::read_to_string(path.join("comm")).is_ok_and(is_monitor))
        .expect("there is a monitor");
    let status = fs::read_to_string(path.join("status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.expect("the kernel counts").trim().parse().expect("a number")
}

/// A server that has much to do, but nothing for long, is not watched more closely because some fiber once was a hog.
#[test]
fn the_monitor_lets_short_runs_alone() {
    const PAIRS: u64 = 4;
    const TURNS: u64 = 50;
    fn turn(stream: &mut UnixStream) {
        stream.read_exact(&mut [0]).expect("a byte comes");
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_micros(200) {
            std::hint::spin_loop();
        }
        let _ = stream.write_all(&[0]); // the other may have had its last turn
    }
    alone_with(&[ONE], || {
        let mut windows: Vec<u64> = (0..20)
            .map(|_| {
                // All workers are taken by a hog beside which others are due.
                let hog = timestop::spawn(|| while rounds_in(Duration::from_millis(5)) == 0 {});
                timestop::spawn(|| thread::sleep(Duration::from_millis(1)))
                    .join()
                    .expect("no panic");
                hog.join().expect("no panic");

                let before = Arc::new(AtomicU64::new(0));
                let players: Vec<_> = (0..PAIRS)
                    .flat_map(|_| {
                        let (mut one, other) = UnixStream::pair().expect("two descriptors");
                        one.write_all(&[0]).expect("room for a byte");
                        [one, other]
                    })
                    .map(|mut stream| {
                        let before = before.clone();
                        timestop::spawn(move || {
                            for number in 0..TURNS {
                                turn(&mut stream);
                                if number == TURNS / 2 {
                                    let now = monitors_sleeps();
                                    let _ = before.compare_exchange(
                                        0,
                                        now,
                                        Ordering::Relaxed,
                                        Ordering::Relaxed,
                                    );
                                }
                            }
                        })
                    })
                    .collect();
                players.into_iter().for_each(|player| player.join().expect("no panic"));
                monitors_sleeps() - before.load(Ordering::Relaxed)
            })
            .collect();
        // What else the machine does may well make a hog of a player now and then.
        windows.sort_unstable();
        let turns = PAIRS * TURNS; // of two players each, in half of the time
        assert!(windows[windows.len() / 4] < turns, "{windows:?} sleeps in {turns} turns");
    });
}
