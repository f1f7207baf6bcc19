//! The lock families under fibers and OS threads at once.
#![allow(missing_docs, missing_debug_implementations, unreachable_pub, dead_code)]

mod common;

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex, Once, RwLock};
use std::time::{Duration, Instant};

use common::{Kind, Random, Shared, fiber, kinds, on_fiber, spawn, start};
use libc::{c_int, timespec};
use timestop_hooks::once::pthread_once;

/// A C call with no precondition but a valid object.
macro_rules! c {
    ($call:expr) => {
        // SAFETY: the tests pass initialised objects that outlive the call.
        unsafe { $call }
    };
}

fn from_now(clock: libc::clockid_t, milliseconds: i64) -> timespec {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    c!(libc::clock_gettime(clock, &raw mut time));
    let nanoseconds = time.tv_nsec + milliseconds * 1_000_000;
    timespec {
        tv_sec: time.tv_sec + nanoseconds.div_euclid(1_000_000_000),
        tv_nsec: nanoseconds.rem_euclid(1_000_000_000),
    }
}

fn errno() -> c_int {
    c!(*libc::__errno_location())
}

fn set_errno(number: c_int) {
    c!(*libc::__errno_location() = number);
}

fn pause(random: &mut Random) {
    match random.below(16) {
        0 => drop(c!(libc::sched_yield())),
        1 => std::thread::sleep(Duration::from_micros(random.below(50))),
        _ => {}
    }
}

unsafe extern "C" {
    fn pthread_mutexattr_setprotocol(
        attributes: *mut libc::pthread_mutexattr_t,
        protocol: c_int,
    ) -> c_int;
    fn pthread_mutexattr_setrobust(
        attributes: *mut libc::pthread_mutexattr_t,
        robust: c_int,
    ) -> c_int;
    fn pthread_mutexattr_setpshared(
        attributes: *mut libc::pthread_mutexattr_t,
        shared: c_int,
    ) -> c_int;
    fn pthread_mutex_consistent(mutex: *mut libc::pthread_mutex_t) -> c_int;
    fn pthread_mutex_clocklock(
        mutex: *mut libc::pthread_mutex_t,
        clock: c_int,
        until: *const timespec,
    ) -> c_int;
    fn pthread_cond_clockwait(
        condition: *mut libc::pthread_cond_t,
        mutex: *mut libc::pthread_mutex_t,
        clock: c_int,
        until: *const timespec,
    ) -> c_int;
    fn pthread_rwlock_timedrdlock(
        lock: *mut libc::pthread_rwlock_t,
        until: *const timespec,
    ) -> c_int;
    fn pthread_rwlock_timedwrlock(
        lock: *mut libc::pthread_rwlock_t,
        until: *const timespec,
    ) -> c_int;
    fn sem_clockwait(semaphore: *mut libc::sem_t, clock: c_int, until: *const timespec) -> c_int;
    fn mtx_init(mutex: *mut libc::pthread_mutex_t, kind: c_int) -> c_int;
    fn mtx_lock(mutex: *mut libc::pthread_mutex_t) -> c_int;
    fn mtx_unlock(mutex: *mut libc::pthread_mutex_t) -> c_int;
    fn mtx_timedlock(mutex: *mut libc::pthread_mutex_t, until: *const timespec) -> c_int;
    fn cnd_init(condition: *mut libc::pthread_cond_t) -> c_int;
    fn cnd_wait(condition: *mut libc::pthread_cond_t, mutex: *mut libc::pthread_mutex_t) -> c_int;
    fn cnd_signal(condition: *mut libc::pthread_cond_t) -> c_int;
}

struct CMutex(Shared<libc::pthread_mutex_t>);

#[derive(Clone, Copy, Default)]
struct Flavour {
    kind: c_int,
    inherit: bool,
    robust: bool,
    shared: bool,
}

impl CMutex {
    fn new(flavour: Flavour) -> Self {
        let mutex = Self(Shared::new(libc::PTHREAD_MUTEX_INITIALIZER));
        let mut attributes = std::mem::MaybeUninit::uninit();
        let attributes = attributes.as_mut_ptr();
        assert_eq!(c!(libc::pthread_mutexattr_init(attributes)), 0);
        assert_eq!(c!(libc::pthread_mutexattr_settype(attributes, flavour.kind)), 0);
        assert_eq!(c!(pthread_mutexattr_setprotocol(attributes, c_int::from(flavour.inherit))), 0);
        assert_eq!(c!(pthread_mutexattr_setrobust(attributes, c_int::from(flavour.robust))), 0);
        assert_eq!(c!(pthread_mutexattr_setpshared(attributes, c_int::from(flavour.shared))), 0);
        assert_eq!(c!(libc::pthread_mutex_init(mutex.0.get(), attributes)), 0);
        mutex
    }

    fn lock(&self) -> c_int {
        c!(libc::pthread_mutex_lock(self.0.get()))
    }

    fn try_lock(&self) -> c_int {
        c!(libc::pthread_mutex_trylock(self.0.get()))
    }

    fn timed_lock(&self, milliseconds: i64) -> c_int {
        let until = from_now(libc::CLOCK_REALTIME, milliseconds);
        c!(libc::pthread_mutex_timedlock(self.0.get(), &raw const until))
    }

    fn unlock(&self) -> c_int {
        c!(libc::pthread_mutex_unlock(self.0.get()))
    }
}

fn every_flavour() -> Vec<Flavour> {
    let mut all = Vec::new();
    for kind in [
        libc::PTHREAD_MUTEX_NORMAL,
        libc::PTHREAD_MUTEX_RECURSIVE,
        libc::PTHREAD_MUTEX_ERRORCHECK,
        3,
    ] {
        for (inherit, robust, shared) in [
            (false, false, false),
            (true, false, false),
            (false, true, false),
            (true, true, false),
            (false, false, true),
            (true, false, true),
            (false, true, true),
        ] {
            // glibc knows no adaptive mutex with priority inheritance in another process's view.
            all.push(Flavour { kind, inherit, robust, shared });
        }
    }
    all
}

/// Counts under the lock, by a read and a write that others would tear apart.
fn count_under(mutex: &Arc<CMutex>, tasks: usize, turns: usize, random: &mut Random) {
    let counter = Arc::new(Shared::new(0_usize));
    let running: Vec<_> = kinds(tasks)
        .map(|kind| {
            let (mutex, counter, mut random) = (mutex.clone(), counter.clone(), random.split());
            spawn(kind, move || {
                for _ in 0..turns {
                    match random.below(4) {
                        0 => while mutex.timed_lock(random.below(3) as i64) == libc::ETIMEDOUT {},
                        _ => assert_eq!(mutex.lock(), 0),
                    }
                    // SAFETY: the lock is held.
                    let now = unsafe { counter.get().read_volatile() };
                    pause(&mut random);
                    // SAFETY: the lock is held.
                    unsafe { counter.get().write_volatile(now + 1) };
                    assert_eq!(mutex.unlock(), 0);
                }
            })
        })
        .collect();
    running.into_iter().for_each(common::Running::join);
    // SAFETY: all have ended.
    assert_eq!(unsafe { counter.get().read() }, tasks * turns);
}

#[test]
fn hooks_are_in_place() {
    start();
    let ours = [
        (c"pthread_mutex_lock", timestop_hooks::mutex::pthread_mutex_lock as *const ()),
        (c"syscall", timestop_hooks::futex_call::syscall as *const ()),
        (c"pthread_cond_wait", timestop_hooks::condition::pthread_cond_wait as *const ()),
    ];
    assert_eq!(ours[0].1, libc::pthread_mutex_lock as *const ());
    assert_eq!(ours[1].1, libc::syscall as *const ());
    assert_eq!(ours[2].1, libc::pthread_cond_wait as *const ());
    // A look-up without a version finds the condition variables of glibc 2.3.2, not the older ones.
    for name in [
        c"pthread_cond_wait",
        c"pthread_cond_signal",
        c"pthread_cond_timedwait",
        c"pthread_cond_broadcast",
    ] {
        let plain = timestop_fiber::next_definition(name);
        let version = c!(libc::dlvsym(libc::RTLD_NEXT, name.as_ptr(), c"GLIBC_2.3.2".as_ptr()));
        assert_eq!(plain, std::ptr::NonNull::new(version), "{name:?}");
    }
}

#[test]
fn mutex_counts() {
    start();
    let mut random = Random::new("mutex_counts");
    let mutex = Arc::new(CMutex::new(Flavour::default()));
    count_under(&mutex, 12, 2000, &mut random);
}

#[test]
fn every_kind_of_mutex_counts() {
    start();
    let mut random = Random::new("every_kind_of_mutex_counts");
    for flavour in every_flavour() {
        let mutex = Arc::new(CMutex::new(flavour));
        count_under(&mutex, 4, 60, &mut random);
    }
}

#[test]
fn mutex_knows_its_owner() {
    start();
    for shared in [false, true] {
        let checked = Arc::new(CMutex::new(Flavour {
            kind: libc::PTHREAD_MUTEX_ERRORCHECK,
            shared,
            ..Flavour::default()
        }));
        let recursive = Arc::new(CMutex::new(Flavour {
            kind: libc::PTHREAD_MUTEX_RECURSIVE,
            shared,
            ..Flavour::default()
        }));
        let (other_checked, other_recursive) = (checked.clone(), recursive.clone());
        on_fiber(move || {
            assert_eq!(checked.lock(), 0);
            assert_eq!(checked.lock(), libc::EDEADLK);
            assert_eq!(checked.timed_lock(1000), libc::EDEADLK);
            for _ in 0..3 {
                assert_eq!(recursive.lock(), 0);
            }
            let others = [Kind::Fiber, Kind::Thread].map(|kind| {
                let (checked, recursive) = (other_checked.clone(), other_recursive.clone());
                spawn(kind, move || {
                    assert_eq!(checked.unlock(), libc::EPERM);
                    assert_eq!(recursive.unlock(), libc::EPERM);
                    assert_eq!(recursive.try_lock(), libc::EBUSY);
                    assert_eq!(recursive.timed_lock(2), libc::ETIMEDOUT);
                    assert_eq!(checked.timed_lock(-5), libc::ETIMEDOUT);
                })
            });
            others.into_iter().for_each(common::Running::join);
            for _ in 0..3 {
                assert_eq!(recursive.unlock(), 0);
            }
            assert_eq!(recursive.unlock(), libc::EPERM);
            assert_eq!(checked.unlock(), 0);
        });
    }
}

#[test]
fn robust_mutex_tells_of_its_owners_end() {
    start();
    for inherit in [false, true] {
        let mutex = Arc::new(CMutex::new(Flavour { robust: true, inherit, ..Flavour::default() }));
        for kind in [Kind::Fiber, Kind::Thread, Kind::Fiber] {
            let (locked, wait_for_lock) = channel();
            let (release, wait_for_release) = channel::<()>();
            let owner = {
                let mutex = mutex.clone();
                spawn(kind, move || {
                    assert_eq!(mutex.lock(), 0);
                    locked.send(()).unwrap();
                    let _ = wait_for_release.recv();
                })
            };
            wait_for_lock.recv().unwrap();
            let heirs: Vec<_> = kinds(3)
                .map(|kind| {
                    let mutex = mutex.clone();
                    spawn(kind, move || {
                        let answer = mutex.lock();
                        if answer == libc::EOWNERDEAD {
                            assert_eq!(c!(pthread_mutex_consistent(mutex.0.get())), 0);
                        } else {
                            assert_eq!(answer, 0);
                        }
                        assert_eq!(mutex.unlock(), 0);
                        answer
                    })
                })
                .collect();
            drop(release);
            owner.join();
            let told = heirs
                .into_iter()
                .map(common::Running::join)
                .filter(|answer| *answer == libc::EOWNERDEAD);
            let told = told.count();
            // Marking a mutex with priority inheritance is the kernel's alone, when an OS thread dies.
            assert!(told == 1 || (told == 0 && inherit && kind == Kind::Fiber), "{told}");
        }
        if inherit {
            continue;
        }
        // Not made consistent: lost for everyone. One after the other: where several wait at that
        // moment, glibc 2.36 itself may leave one asleep for ever.
        on_fiber({
            let mutex = mutex.clone();
            move || assert_eq!(mutex.lock(), 0)
        });
        for (index, kind) in kinds(4).enumerate() {
            let mutex = mutex.clone();
            let answer = spawn(kind, move || {
                let answer = mutex.lock();
                if answer == libc::EOWNERDEAD {
                    assert_eq!(mutex.unlock(), 0);
                }
                answer
            })
            .join();
            let expected = if index == 0 { libc::EOWNERDEAD } else { libc::ENOTRECOVERABLE };
            assert_eq!(answer, expected);
        }
    }
}

struct Pair {
    mutex: CMutex,
    condition: Shared<libc::pthread_cond_t>,
    value: AtomicU64,
}

impl Pair {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            mutex: CMutex::new(Flavour::default()),
            condition: Shared::new(libc::PTHREAD_COND_INITIALIZER),
            value: AtomicU64::new(0),
        })
    }

    fn wait(&self) -> c_int {
        c!(libc::pthread_cond_wait(self.condition.get(), self.mutex.0.get()))
    }

    fn timed_wait(&self, milliseconds: i64) -> c_int {
        let until = from_now(libc::CLOCK_REALTIME, milliseconds);
        c!(libc::pthread_cond_timedwait(self.condition.get(), self.mutex.0.get(), &raw const until))
    }

    /// Read and written in two steps, under the mutex: it must exclude.
    fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }

    fn set(&self, value: u64) {
        self.value.store(value, Ordering::Relaxed);
    }
}

#[test]
fn condition_ping_pong() {
    start();
    const TURNS: u64 = 3000;
    for kinds in
        [[Kind::Fiber, Kind::Thread], [Kind::Fiber, Kind::Fiber], [Kind::Thread, Kind::Thread]]
    {
        let pair = Pair::new();
        let players = [0_u64, 1].map(|side| {
            let pair = pair.clone();
            spawn(kinds[side as usize], move || {
                for turn in 0..TURNS {
                    assert_eq!(pair.mutex.lock(), 0);
                    while pair.get() != turn * 2 + side {
                        let ended =
                            if turn % 3 == 0 { pair.timed_wait(10_000) } else { pair.wait() };
                        assert_eq!(ended, 0);
                    }
                    pair.set(pair.get() + 1);
                    assert_eq!(c!(libc::pthread_cond_signal(pair.condition.get())), 0);
                    assert_eq!(pair.mutex.unlock(), 0);
                }
            })
        });
        players.into_iter().for_each(common::Running::join);
    }
}

#[test]
fn condition_queue_with_time_outs() {
    start();
    let mut random = Random::new("condition_queue_with_time_outs");
    let pair = Pair::new();
    const EACH: u64 = 1500;
    let consumers: Vec<_> = kinds(6)
        .map(|kind| {
            let (pair, mut random) = (pair.clone(), random.split());
            spawn(kind, move || {
                let mut taken = 0;
                loop {
                    assert_eq!(pair.mutex.lock(), 0);
                    while pair.get() & 0xffff_ffff == 0 {
                        if pair.get() >> 32 == 6 {
                            assert_eq!(pair.mutex.unlock(), 0);
                            return taken;
                        }
                        let ended = match random.below(3) {
                            0 => pair.wait(),
                            // Lets the item be taken over by another one: every signal must find
                            // somebody who looks.
                            _ => pair.timed_wait(random.below(3) as i64),
                        };
                        assert!(matches!(ended, 0 | libc::ETIMEDOUT));
                    }
                    pair.set(pair.get() - 1);
                    taken += 1;
                    assert_eq!(pair.mutex.unlock(), 0);
                }
            })
        })
        .collect();
    let producers: Vec<_> = kinds(6)
        .map(|kind| {
            let (pair, mut random) = (pair.clone(), random.split());
            spawn(kind, move || {
                for _ in 0..EACH {
                    assert_eq!(pair.mutex.lock(), 0);
                    pair.set(pair.get() + 1);
                    let inside = random.below(2) == 0;
                    if inside {
                        c!(libc::pthread_cond_signal(pair.condition.get()));
                    }
                    assert_eq!(pair.mutex.unlock(), 0);
                    if !inside {
                        c!(libc::pthread_cond_signal(pair.condition.get()));
                    }
                    pause(&mut random);
                }
                assert_eq!(pair.mutex.lock(), 0);
                pair.set(pair.get() + (1 << 32));
                c!(libc::pthread_cond_broadcast(pair.condition.get()));
                assert_eq!(pair.mutex.unlock(), 0);
            })
        })
        .collect();
    producers.into_iter().for_each(common::Running::join);
    let taken: u64 = consumers.into_iter().map(common::Running::join).sum();
    assert_eq!(taken, 6 * EACH);
}

#[test]
fn time_outs_come_in_order() {
    start();
    let (sender, receiver) = channel();
    let running: Vec<_> = [90_i64, 10, 50, 130]
        .into_iter()
        .map(|milliseconds| {
            let sender = sender.clone();
            fiber(move || {
                let pair = Pair::new();
                let began = Instant::now();
                assert_eq!(pair.mutex.lock(), 0);
                assert_eq!(pair.timed_wait(milliseconds), libc::ETIMEDOUT);
                assert_eq!(pair.mutex.try_lock(), libc::EBUSY, "locked again");
                assert!(began.elapsed() >= Duration::from_millis(milliseconds as u64 - 1));
                assert_eq!(pair.mutex.unlock(), 0);
                sender.send(milliseconds).unwrap();
            })
        })
        .collect();
    running.into_iter().for_each(common::Running::join);
    drop(sender);
    assert_eq!(receiver.iter().collect::<Vec<_>>(), [10, 50, 90, 130]);
}

#[test]
fn condition_obeys_its_clock_and_refuses_nonsense() {
    start();
    on_fiber(|| {
        let pair = Pair::new();
        let mut attributes = std::mem::MaybeUninit::uninit();
        let attributes = attributes.as_mut_ptr();
        c!(libc::pthread_condattr_init(attributes));
        c!(libc::pthread_condattr_setclock(attributes, libc::CLOCK_MONOTONIC));
        c!(libc::pthread_cond_init(pair.condition.get(), attributes));
        let (condition, mutex) = (pair.condition.get(), pair.mutex.0.get());
        assert_eq!(pair.mutex.lock(), 0);
        let until = from_now(libc::CLOCK_MONOTONIC, 2);
        assert_eq!(
            c!(libc::pthread_cond_timedwait(condition, mutex, &raw const until)),
            libc::ETIMEDOUT
        );
        for clock in [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC] {
            let until = from_now(clock, 2);
            assert_eq!(
                c!(pthread_cond_clockwait(condition, mutex, clock, &raw const until)),
                libc::ETIMEDOUT
            );
            assert_eq!(
                c!(pthread_mutex_clocklock(mutex, clock, &raw const until)),
                libc::ETIMEDOUT
            );
        }
        let until = from_now(libc::CLOCK_REALTIME, 1000);
        let other = libc::CLOCK_BOOTTIME;
        assert_eq!(
            c!(pthread_cond_clockwait(condition, mutex, other, &raw const until)),
            libc::EINVAL
        );
        assert_eq!(c!(pthread_mutex_clocklock(mutex, other, &raw const until)), libc::EINVAL);
        let bad = timespec { tv_sec: 1, tv_nsec: 1_000_000_000 };
        assert_eq!(
            c!(libc::pthread_cond_timedwait(condition, mutex, &raw const bad)),
            libc::EINVAL
        );
        assert_eq!(c!(libc::pthread_mutex_timedlock(mutex, &raw const bad)), libc::EINVAL);
        let past = timespec { tv_sec: -7, tv_nsec: 0 };
        assert_eq!(
            c!(libc::pthread_cond_timedwait(condition, mutex, &raw const past)),
            libc::ETIMEDOUT
        );
        assert_eq!(pair.mutex.unlock(), 0);
        assert_eq!(c!(libc::pthread_mutex_timedlock(mutex, &raw const bad)), 0, "not looked at");
        assert_eq!(pair.mutex.unlock(), 0);

        let checked =
            CMutex::new(Flavour { kind: libc::PTHREAD_MUTEX_ERRORCHECK, ..Flavour::default() });
        assert_eq!(c!(libc::pthread_cond_wait(condition, checked.0.get())), libc::EPERM);
        assert_eq!(c!(libc::pthread_cond_destroy(condition)), 0);
    });
}

/// What CPython's GIL does: whoever wants it waits with a time limit, again and again, and whoever
/// gives it up under pressure waits until somebody else has had it. Two fibers that compute must not
/// hand it to each other for ever while a third one's waits time out: it must keep its place.
#[test]
fn who_times_out_and_comes_again_is_not_starved() {
    start();
    struct Gil {
        pair: Arc<Pair>,
        switched: Shared<libc::pthread_cond_t>,
        last: AtomicUsize,
        stop: AtomicUsize,
    }
    impl Gil {
        fn take(&self, who: usize, milliseconds: i64) {
            assert_eq!(self.pair.mutex.lock(), 0);
            while self.pair.get() != 0 {
                self.pair.timed_wait(milliseconds);
            }
            self.pair.set(1);
            self.last.store(who, Ordering::Relaxed);
            c!(libc::pthread_cond_signal(self.switched.get()));
            assert_eq!(self.pair.mutex.unlock(), 0);
        }

        fn give(&self, who: usize) {
            assert_eq!(self.pair.mutex.lock(), 0);
            self.pair.set(0);
            c!(libc::pthread_cond_signal(self.pair.condition.get()));
            let (condition, mutex) = (self.switched.get(), self.pair.mutex.0.get());
            while self.last.load(Ordering::Relaxed) == who && self.stop.load(Ordering::Relaxed) == 0
            {
                let until = from_now(libc::CLOCK_REALTIME, 20);
                c!(libc::pthread_cond_timedwait(condition, mutex, &raw const until));
            }
            assert_eq!(self.pair.mutex.unlock(), 0);
        }
    }
    let gil = Arc::new(Gil {
        pair: Pair::new(),
        switched: Shared::new(libc::PTHREAD_COND_INITIALIZER),
        last: AtomicUsize::new(0),
        stop: AtomicUsize::new(0),
    });
    let hogs: Vec<_> = (1..=2)
        .map(|who| {
            let gil = gil.clone();
            fiber(move || {
                let mut turns = 0;
                while gil.stop.load(Ordering::Relaxed) == 0 {
                    turns += 1;
                    gil.take(who, 1000);
                    let began = Instant::now();
                    while began.elapsed() < Duration::from_millis(4) {
                        std::hint::spin_loop();
                    }
                    gil.give(who);
                }
                turns
            })
        })
        .collect();
    let guest = fiber(move || {
        for _ in 0..20 {
            gil.take(3, 1);
            gil.give(3);
        }
        gil.stop.store(1, Ordering::Relaxed);
    });
    guest.join();
    // Sent to the end of the queue at each time-out, the guest lets thousands pass.
    let turns: usize = hogs.into_iter().map(common::Running::join).sum();
    assert!(turns < 20 * 20, "{turns} turns of others for 20 of the guest's");
}

struct Semaphore(Shared<libc::sem_t>);

impl Semaphore {
    fn new(shared: bool, value: u32) -> Arc<Self> {
        // SAFETY: all zeroes is a valid value of the C type.
        let semaphore = Self(Shared::new(unsafe { std::mem::zeroed() }));
        assert_eq!(c!(libc::sem_init(semaphore.0.get(), c_int::from(shared), value)), 0);
        Arc::new(semaphore)
    }

    fn wait(&self) -> c_int {
        c!(libc::sem_wait(self.0.get()))
    }

    fn timed_wait(&self, milliseconds: i64) -> c_int {
        let until = from_now(libc::CLOCK_REALTIME, milliseconds);
        c!(libc::sem_timedwait(self.0.get(), &raw const until))
    }

    fn post(&self) {
        assert_eq!(c!(libc::sem_post(self.0.get())), 0);
    }

    fn value(&self) -> c_int {
        let mut value = 0;
        c!(libc::sem_getvalue(self.0.get(), &raw mut value));
        value
    }
}

/// Another test here sends a signal to the process, which may come to any thread: it would end a timed wait,
/// and restart one that was requeued at its first word.
fn block_signals() {
    // SAFETY: all-zero is an empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    assert_eq!(c!(libc::sigaddset(&raw mut set, libc::SIGUSR2)), 0);
    assert_eq!(c!(libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut())), 0);
}

#[test]
fn semaphores_count() {
    start();
    let mut random = Random::new("semaphores_count");
    for shared in [false, true] {
        let (full, empty) = (Semaphore::new(shared, 0), Semaphore::new(shared, 3));
        let turns = if shared { 100 } else { 2000 };
        let running: Vec<_> = kinds(12)
            .enumerate()
            .map(|(index, kind)| {
                let (take, give) = if index % 2 == 0 { (&full, &empty) } else { (&empty, &full) };
                let (take, give, mut random) = (take.clone(), give.clone(), random.split());
                spawn(kind, move || {
                    block_signals();
                    for _ in 0..turns {
                        set_errno(77);
                        if random.below(3) == 0 {
                            while take.timed_wait(random.below(3) as i64) != 0 {
                                assert_eq!(errno(), libc::ETIMEDOUT);
                            }
                        } else {
                            assert_eq!(take.wait(), 0);
                            assert_eq!(errno(), 77, "errno is kept");
                        }
                        pause(&mut random);
                        give.post();
                    }
                })
            })
            .collect();
        running.into_iter().for_each(common::Running::join);
        assert_eq!((full.value(), empty.value()), (0, 3));
    }
}

#[test]
fn semaphore_refuses_what_libc_refuses() {
    start();
    on_fiber(|| {
        let semaphore = Semaphore::new(false, 1);
        let bad = timespec { tv_sec: 1, tv_nsec: -1 };
        assert_eq!(c!(libc::sem_timedwait(semaphore.0.get(), &raw const bad)), -1);
        assert_eq!(errno(), libc::EINVAL);
        let fine = from_now(libc::CLOCK_REALTIME, 1000);
        assert_eq!(c!(sem_clockwait(semaphore.0.get(), libc::CLOCK_BOOTTIME, &raw const fine)), -1);
        assert_eq!(errno(), libc::EINVAL);
        assert_eq!(c!(sem_clockwait(semaphore.0.get(), libc::CLOCK_MONOTONIC, &raw const fine)), 0);
    });
}

/// A handler may post, whatever it interrupts: here fibers and threads that use the very semaphore.
#[test]
fn handlers_may_post() {
    start();
    static POSTED: AtomicUsize = AtomicUsize::new(0);
    static SEMAPHORE: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn handler(_: c_int) {
        POSTED.fetch_add(1, Ordering::SeqCst);
        c!(libc::sem_post(SEMAPHORE.load(Ordering::SeqCst) as *mut libc::sem_t));
    }
    let (semaphore, other) = (Semaphore::new(false, 0), Semaphore::new(false, 0));
    SEMAPHORE.store(semaphore.0.get() as usize, Ordering::SeqCst);
    let handler = handler as extern "C" fn(c_int) as libc::sighandler_t;
    assert_ne!(c!(libc::signal(libc::SIGUSR2, handler)), libc::SIG_ERR);
    let stop = Arc::new(AtomicUsize::new(0));
    let busy: Vec<_> = kinds(3)
        .map(|kind| {
            let (stop, other) = (stop.clone(), other.clone());
            spawn(kind, move || {
                while stop.load(Ordering::SeqCst) == 0 {
                    other.post();
                    while other.wait() != 0 {
                        assert_eq!(errno(), libc::EINTR);
                    }
                }
            })
        })
        .collect();
    let taken = Arc::new(AtomicUsize::new(0));
    let taker = {
        let (stop, taken) = (stop.clone(), taken.clone());
        fiber(move || {
            while stop.load(Ordering::SeqCst) == 0 {
                if semaphore.wait() == 0 {
                    taken.fetch_add(1, Ordering::SeqCst);
                } else {
                    assert_eq!(errno(), libc::EINTR);
                }
            }
            semaphore // lives as long as handlers may post
        })
    };
    let process = std::process::id() as libc::pid_t;
    let patience = Instant::now() + Duration::from_secs(30);
    while POSTED.load(Ordering::SeqCst) < 300 {
        assert!(Instant::now() < patience, "handlers run");
        assert_eq!(c!(libc::kill(process, libc::SIGUSR2)), 0);
        std::thread::yield_now();
    }
    while taken.load(Ordering::SeqCst) != POSTED.load(Ordering::SeqCst) {
        assert!(Instant::now() < patience, "every post lets one wait end");
        std::thread::yield_now();
    }
    stop.store(1, Ordering::SeqCst);
    assert_eq!(c!(libc::kill(process, libc::SIGUSR2)), 0);
    let semaphore = taker.join();
    busy.into_iter().for_each(common::Running::join);
    assert_ne!(c!(libc::signal(libc::SIGUSR2, libc::SIG_IGN)), libc::SIG_ERR);
    drop(semaphore);
}

struct CRwLock(Shared<libc::pthread_rwlock_t>);

impl CRwLock {
    fn new(kind: c_int, shared: bool) -> Arc<Self> {
        let lock = Self(Shared::new(libc::PTHREAD_RWLOCK_INITIALIZER));
        let mut attributes = std::mem::MaybeUninit::uninit();
        let attributes = attributes.as_mut_ptr();
        unsafe extern "C" {
            fn pthread_rwlockattr_setkind_np(
                attributes: *mut libc::pthread_rwlockattr_t,
                kind: c_int,
            ) -> c_int;
        }
        assert_eq!(c!(libc::pthread_rwlockattr_init(attributes)), 0);
        assert_eq!(c!(pthread_rwlockattr_setkind_np(attributes, kind)), 0);
        assert_eq!(c!(libc::pthread_rwlockattr_setpshared(attributes, c_int::from(shared))), 0);
        assert_eq!(c!(libc::pthread_rwlock_init(lock.0.get(), attributes)), 0);
        Arc::new(lock)
    }

    fn read(&self) -> c_int {
        c!(libc::pthread_rwlock_rdlock(self.0.get()))
    }

    fn write(&self) -> c_int {
        c!(libc::pthread_rwlock_wrlock(self.0.get()))
    }

    fn timed_read(&self, milliseconds: i64) -> c_int {
        let until = from_now(libc::CLOCK_REALTIME, milliseconds);
        c!(pthread_rwlock_timedrdlock(self.0.get(), &raw const until))
    }

    fn timed_write(&self, milliseconds: i64) -> c_int {
        let until = from_now(libc::CLOCK_REALTIME, milliseconds);
        c!(pthread_rwlock_timedwrlock(self.0.get(), &raw const until))
    }

    fn unlock(&self) {
        assert_eq!(c!(libc::pthread_rwlock_unlock(self.0.get())), 0);
    }
}

#[test]
fn read_write_locks_exclude() {
    start();
    let mut random = Random::new("read_write_locks_exclude");
    for (kind, shared) in [(0, false), (1, false), (2, false), (0, true)] {
        let lock = CRwLock::new(kind, shared);
        // Writers in the high half, readers in the low one.
        let inside = Arc::new(AtomicU32::new(0));
        let turns = if shared { 50 } else { 800 };
        let running: Vec<_> = kinds(12)
            .enumerate()
            .map(|(index, kind)| {
                let (lock, inside, mut random) = (lock.clone(), inside.clone(), random.split());
                spawn(kind, move || {
                    for _ in 0..turns {
                        let timed = random.below(3) == 0;
                        let patience = random.below(3) as i64;
                        let writes = random.below(if index % 4 == 0 { 2 } else { 8 }) == 0;
                        let answer = match (writes, timed) {
                            (true, true) => lock.timed_write(patience),
                            (true, false) => lock.write(),
                            (false, true) => lock.timed_read(patience),
                            (false, false) => lock.read(),
                        };
                        if answer != 0 {
                            assert_eq!(answer, libc::ETIMEDOUT);
                            continue;
                        }
                        let mark = if writes { 1 << 16 } else { 1 };
                        let before = inside.fetch_add(mark, Ordering::SeqCst);
                        assert_eq!(before >> 16, 0, "a writer is alone");
                        assert!(!writes || before == 0, "no writer among readers");
                        pause(&mut random);
                        inside.fetch_sub(mark, Ordering::SeqCst);
                        lock.unlock();
                    }
                })
            })
            .collect();
        running.into_iter().for_each(common::Running::join);
        assert_eq!(lock.write(), 0);
        lock.unlock();
    }
}

#[test]
fn read_write_lock_knows_its_owner_and_recursion() {
    start();
    on_fiber(|| {
        let lock = CRwLock::new(0, false);
        assert_eq!(lock.write(), 0);
        assert_eq!(lock.write(), libc::EDEADLK);
        assert_eq!(lock.read(), libc::EDEADLK);
        lock.unlock();
        assert_eq!(lock.read(), 0);
        assert_eq!(lock.timed_write(2), libc::ETIMEDOUT);
        let writer = {
            let lock = lock.clone();
            fiber(move || {
                assert_eq!(lock.write(), 0);
                lock.unlock();
            })
        };
        c!(libc::sched_yield());
        // Holds it already: must not queue behind the writer.
        assert_eq!(lock.read(), 0);
        lock.unlock();
        lock.unlock();
        writer.join();
    });
}

/// Readers that come back at once do not keep a writer out.
#[test]
fn writer_is_not_starved() {
    start();
    for kind in [0, 2] {
        let lock = CRwLock::new(kind, false);
        let stop = Arc::new(AtomicUsize::new(0));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (lock, stop) = (lock.clone(), stop.clone());
                fiber(move || {
                    while stop.load(Ordering::Relaxed) == 0 {
                        assert_eq!(lock.read(), 0);
                        lock.unlock();
                    }
                })
            })
            .collect();
        for kind in [Kind::Fiber, Kind::Thread] {
            let lock = lock.clone();
            let writer = spawn(kind, move || {
                for _ in 0..50 {
                    assert_eq!(lock.write(), 0);
                    lock.unlock();
                }
            });
            writer.join();
        }
        stop.store(1, Ordering::Relaxed);
        readers.into_iter().for_each(common::Running::join);
    }
}

#[test]
fn barrier_lets_all_go_and_names_one() {
    start();
    let mut random = Random::new("barrier");
    const ROUNDS: usize = 400;
    for (tasks, shared) in [(5_u32, false), (2, false), (1, false), (3, true)] {
        // SAFETY: all zeroes is a valid value of the C type.
        let barrier =
            Arc::new(Shared::new(unsafe { std::mem::zeroed::<libc::pthread_barrier_t>() }));
        let mut attributes = std::mem::MaybeUninit::uninit();
        c!(libc::pthread_barrierattr_init(attributes.as_mut_ptr()));
        c!(libc::pthread_barrierattr_setpshared(attributes.as_mut_ptr(), c_int::from(shared)));
        assert_eq!(c!(libc::pthread_barrier_init(barrier.get(), attributes.as_ptr(), tasks)), 0);
        let arrived = Arc::new(AtomicUsize::new(0));
        let rounds = if shared { 30 } else { ROUNDS };
        let running: Vec<_> = kinds(tasks as usize)
            .map(|kind| {
                let (barrier, arrived, mut random) =
                    (barrier.clone(), arrived.clone(), random.split());
                spawn(kind, move || {
                    let mut serial = 0;
                    for round in 1..=rounds {
                        pause(&mut random);
                        arrived.fetch_add(1, Ordering::SeqCst);
                        match c!(libc::pthread_barrier_wait(barrier.get())) {
                            libc::PTHREAD_BARRIER_SERIAL_THREAD => serial += 1,
                            answer => assert_eq!(answer, 0),
                        }
                        let now = arrived.load(Ordering::SeqCst);
                        assert!(now >= round * tasks as usize, "nobody goes before all are there");
                        assert!(now <= (round + 1) * tasks as usize);
                    }
                    serial
                })
            })
            .collect();
        let serial: usize = running.into_iter().map(common::Running::join).sum();
        assert_eq!(serial, rounds);
        assert_eq!(c!(libc::pthread_barrier_destroy(barrier.get())), 0);
    }
}

/// More come than a round needs: each complete round lets exactly its own go.
#[test]
fn barrier_with_more_tasks_than_places() {
    start();
    // SAFETY: all zeroes is a valid value of the C type.
    let barrier = Arc::new(Shared::new(unsafe { std::mem::zeroed::<libc::pthread_barrier_t>() }));
    assert_eq!(c!(libc::pthread_barrier_init(barrier.get(), std::ptr::null(), 3)), 0);
    const ARRIVALS: usize = 3600;
    let arrivals = Arc::new(AtomicUsize::new(0));
    let running: Vec<_> = kinds(12)
        .map(|kind| {
            let (barrier, arrivals) = (barrier.clone(), arrivals.clone());
            spawn(kind, move || {
                let mut serial = 0;
                while arrivals.fetch_add(1, Ordering::SeqCst) < ARRIVALS {
                    serial += usize::from(c!(libc::pthread_barrier_wait(barrier.get())) != 0);
                }
                serial
            })
        })
        .collect();
    let serial: usize = running.into_iter().map(common::Running::join).sum();
    assert_eq!(serial, ARRIVALS / 3);
}

#[test]
fn once_runs_once_and_may_block() {
    start();
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    extern "C-unwind" fn routine() {
        std::thread::sleep(Duration::from_millis(3));
        c!(libc::sched_yield());
        RUNS.fetch_add(1, Ordering::SeqCst);
    }
    for round in 1..=20 {
        let control = Arc::new(Shared::new(0));
        let running: Vec<_> = kinds(9)
            .map(|kind| {
                let control = control.clone();
                spawn(kind, move || {
                    assert_eq!(c!(pthread_once(control.get(), routine)), 0);
                    assert_eq!(RUNS.load(Ordering::SeqCst), round);
                })
            })
            .collect();
        running.into_iter().for_each(common::Running::join);
    }
}

#[test]
fn once_is_tried_again_after_an_exception() {
    start();
    static TRIES: AtomicUsize = AtomicUsize::new(0);
    extern "C-unwind" fn routine() {
        std::thread::sleep(Duration::from_millis(1));
        if TRIES.fetch_add(1, Ordering::SeqCst) == 0 {
            std::panic::resume_unwind(Box::new(()));
        }
    }
    let control = Arc::new(Shared::new(0));
    let running: Vec<_> = kinds(6)
        .map(|kind| {
            let control = control.clone();
            spawn(kind, move || {
                let control = std::panic::AssertUnwindSafe(control);
                std::panic::catch_unwind(|| c!(pthread_once(control.get(), routine))).is_err()
            })
        })
        .collect();
    let failed = running.into_iter().map(common::Running::join).filter(|failed| *failed).count();
    assert_eq!((failed, TRIES.load(Ordering::SeqCst)), (1, 2));
}

#[test]
fn c11_locks() {
    start();
    struct Both(CMutex, Shared<libc::pthread_cond_t>, Shared<u32>);
    let both = Arc::new(Both(
        CMutex::new(Flavour::default()),
        Shared::new(libc::PTHREAD_COND_INITIALIZER),
        Shared::new(0),
    ));
    assert_eq!(c!(mtx_init(both.0.0.get(), 2)), 0);
    assert_eq!(c!(cnd_init(both.1.get())), 0);
    let other = both.clone();
    let waiter = fiber(move || {
        assert_eq!(c!(mtx_lock(other.0.0.get())), 0);
        // SAFETY: the mutex is held.
        while unsafe { *other.2.get() } == 0 {
            assert_eq!(c!(cnd_wait(other.1.get(), other.0.0.get())), 0);
        }
        let until = from_now(libc::CLOCK_REALTIME, 2);
        assert_eq!(
            on_fiber({
                let other = other.clone();
                move || c!(mtx_timedlock(other.0.0.get(), &raw const until))
            }),
            4
        );
        assert_eq!(c!(mtx_unlock(other.0.0.get())), 0);
    });
    assert_eq!(c!(mtx_lock(both.0.0.get())), 0);
    // SAFETY: the mutex is held.
    unsafe { *both.2.get() = 1 };
    assert_eq!(c!(cnd_signal(both.1.get())), 0);
    assert_eq!(c!(mtx_unlock(both.0.0.get())), 0);
    waiter.join();
}

#[test]
fn key_destructors_run_at_a_fibers_end() {
    start();
    static ENDED: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    static AGAIN: AtomicU32 = AtomicU32::new(0);
    extern "C" fn note(value: *mut libc::c_void) {
        ENDED.lock().unwrap().push(value as usize);
    }
    extern "C" fn for_ever(value: *mut libc::c_void) {
        AGAIN.fetch_add(1, Ordering::SeqCst);
        let key = value as libc::pthread_key_t - 1;
        c!(libc::pthread_setspecific(key, value));
    }
    let create = |destructor| {
        let mut key = 0;
        assert_eq!(c!(libc::pthread_key_create(&raw mut key, Some(destructor))), 0);
        key
    };
    // So many that libc must allocate a second table.
    let keys: Vec<_> = (0..50).map(|_| create(note)).collect();
    let restless = create(for_ever);
    let deleted = create(note);
    let used = keys.clone();
    on_fiber(move || {
        for key in &used {
            assert_eq!(c!(libc::pthread_setspecific(*key, (*key as usize + 1) as *const _)), 0);
        }
        c!(libc::pthread_setspecific(restless, (restless as usize + 1) as *const _));
        c!(libc::pthread_setspecific(deleted, 4711 as *const _));
        c!(libc::pthread_key_delete(deleted));
    });
    let expected: Vec<_> = keys.iter().map(|key| *key as usize + 1).collect();
    // The fiber tells of its end before its destructors have run.
    let patience = Instant::now() + Duration::from_secs(30);
    while AGAIN.load(Ordering::SeqCst) < 4 && Instant::now() < patience {
        std::thread::yield_now();
    }
    assert_eq!(*ENDED.lock().unwrap(), expected);
    assert_eq!(AGAIN.load(Ordering::SeqCst), 4, "rounds");
    for key in keys.into_iter().chain([restless]) {
        c!(libc::pthread_key_delete(key));
    }
}

fn futex(
    word: &AtomicU32,
    operation: c_int,
    value: u32,
    fourth: usize,
    other: usize,
    last: u32,
) -> Result<i64, c_int> {
    let answer = c!(libc::syscall(
        libc::SYS_futex,
        word.as_ptr(),
        operation | libc::FUTEX_PRIVATE_FLAG,
        value,
        fourth,
        other,
        last
    ));
    if answer == -1 { Err(errno()) } else { Ok(answer) }
}

/// Waits until so many wait on a word: the kernel's count is not to be had, so by waking none.
fn until_waiting(count: &AtomicUsize, expected: usize) {
    let patience = Instant::now() + Duration::from_secs(30);
    while count.load(Ordering::SeqCst) != expected {
        assert!(Instant::now() < patience);
        std::thread::yield_now();
    }
}

#[test]
fn futex_errors() {
    start();
    on_fiber(|| {
        let word = AtomicU32::new(5);
        let time = |seconds, nanoseconds| timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let at = |time: &timespec| std::ptr::from_ref(time) as usize;
        assert_eq!(futex(&word, libc::FUTEX_WAIT, 4, 0, 0, 0), Err(libc::EAGAIN));
        assert_eq!(
            futex(&word, libc::FUTEX_WAIT, 5, at(&time(0, 1_000_000)), 0, 0),
            Err(libc::ETIMEDOUT)
        );
        assert_eq!(futex(&word, libc::FUTEX_WAIT, 4, at(&time(-1, 0)), 0, 0), Err(libc::EINVAL));
        assert_eq!(futex(&word, libc::FUTEX_WAIT_BITSET, 5, 0, 0, 0), Err(libc::EINVAL));
        assert_eq!(futex(&word, libc::FUTEX_WAKE_BITSET, 5, 0, 0, 0), Err(libc::EINVAL));
        let real_time = libc::FUTEX_CLOCK_REALTIME;
        assert_eq!(
            futex(&word, libc::FUTEX_WAIT | real_time, 5, at(&time(0, 1)), 0, 0),
            Err(libc::ENOSYS)
        );
        for (flag, clock) in [(0, libc::CLOCK_MONOTONIC), (real_time, libc::CLOCK_REALTIME)] {
            let until = from_now(clock, 2);
            let ended = futex(&word, libc::FUTEX_WAIT_BITSET | flag, 5, at(&until), 0, u32::MAX);
            assert_eq!(ended, Err(libc::ETIMEDOUT));
        }
        assert_eq!(futex(&word, libc::FUTEX_WAKE, 1, 0, 0, 0), Ok(0));
        let other = AtomicU32::new(0);
        let to = other.as_ptr() as usize;
        assert_eq!(futex(&word, libc::FUTEX_CMP_REQUEUE, 1, 1, to, 4), Err(libc::EAGAIN));
        assert_eq!(futex(&word, libc::FUTEX_CMP_REQUEUE, 1, 1, to, 5), Ok(0));
        assert_eq!(
            futex(&word, libc::FUTEX_REQUEUE, 0, u32::MAX as usize, to, 0),
            Err(libc::EINVAL)
        );
        set_errno(77);
        assert_eq!(c!(libc::syscall(libc::SYS_getpid)), i64::from(std::process::id() as i32));
        assert_eq!(errno(), 77);
        assert_eq!(c!(libc::syscall(100_000_i64)), -1);
        assert_eq!(errno(), libc::ENOSYS);
        assert_eq!(c!(libc::syscall(libc::SYS_sched_yield)), 0);
        let short = time(0, 1000);
        assert_eq!(c!(libc::syscall(libc::SYS_nanosleep, &raw const short, 0)), 0);
        assert_eq!(
            c!(libc::syscall(
                libc::SYS_clock_nanosleep,
                libc::CLOCK_MONOTONIC,
                0,
                &raw const short,
                0
            )),
            0
        );
        let bad = time(0, -1);
        assert_eq!(
            c!(libc::syscall(
                libc::SYS_clock_nanosleep,
                libc::CLOCK_MONOTONIC,
                0,
                &raw const bad,
                0
            )),
            -1
        );
        assert_eq!(errno(), libc::EINVAL);
    });
}

#[test]
fn futex_wakes_by_bits_and_moves() {
    start();
    for round in 0..20 {
        let words = Arc::new([const { AtomicU32::new(0) }; 2]);
        let woken = Arc::new(AtomicUsize::new(0));
        let waiters: Vec<_> = kinds(6)
            .enumerate()
            .map(|(index, kind)| {
                let (words, woken) = (words.clone(), woken.clone());
                spawn(kind, move || {
                    block_signals();
                    let bits = 1 << (index % 2);
                    assert_eq!(futex(&words[0], libc::FUTEX_WAIT_BITSET, 0, 0, 0, bits), Ok(0));
                    woken.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        // Moves all six to the second word, as they come.
        let to = words[1].as_ptr() as usize;
        let mut moved = 0;
        let patience = Instant::now() + Duration::from_secs(30);
        while moved < 6 {
            assert!(Instant::now() < patience);
            let operation =
                if round % 2 == 0 { libc::FUTEX_REQUEUE } else { libc::FUTEX_CMP_REQUEUE };
            moved += futex(&words[0], operation, 0, 100, to, 0).unwrap();
            std::thread::yield_now();
        }
        assert_eq!(woken.load(Ordering::SeqCst), 0);
        assert_eq!(futex(&words[0], libc::FUTEX_WAKE, 100, 0, 0, 0), Ok(0));
        assert_eq!(futex(&words[1], libc::FUTEX_WAKE_BITSET, 100, 0, 0, 4), Ok(0));
        assert_eq!(futex(&words[1], libc::FUTEX_WAKE_BITSET, 2, 0, 0, 1), Ok(2));
        until_waiting(&woken, 2);
        // FUTEX_OP(ADD, 3, EQ, 7): adds 3; the comparison with 7 holds if that was the value before.
        words[1].store(7, Ordering::SeqCst);
        let operation = (1 << 28) | (3 << 12) | 7;
        assert_eq!(futex(&words[0], libc::FUTEX_WAKE_OP, 1, 2, to, operation), Ok(2));
        assert_eq!(words[1].load(Ordering::SeqCst), 10);
        assert_eq!(
            futex(&words[0], libc::FUTEX_WAKE_OP, 1, 2, to, operation),
            Ok(0),
            "10 is not 7"
        );
        assert_eq!(futex(&words[1], libc::FUTEX_WAKE, i32::MAX as u32, 0, 0, 0), Ok(2));
        waiters.into_iter().for_each(common::Running::join);
    }
}

/// An OS thread that waits in the kernel itself is woken too.
#[test]
fn futex_wake_reaches_the_kernels_waiters() {
    start();
    let word = Arc::new(AtomicU32::new(0));
    let waiter = {
        let word = word.clone();
        std::thread::spawn(move || {
            while word.load(Ordering::SeqCst) == 0 {
                let _ = timestop_runtime::sys::futex_wait(&word, 0, None);
            }
        })
    };
    on_fiber(move || {
        std::thread::sleep(Duration::from_millis(5));
        word.store(1, Ordering::SeqCst);
        futex(&word, libc::FUTEX_WAKE, 1, 0, 0, 0).unwrap();
    });
    waiter.join().unwrap();
}

#[test]
fn std_locks() {
    start();
    let mut random = Random::new("std_locks");
    let shared = Arc::new((Mutex::new(0_u64), Condvar::new(), RwLock::new(0_u64), Once::new()));
    let running: Vec<_> = kinds(9)
        .map(|kind| {
            let (shared, mut random) = (shared.clone(), random.split());
            spawn(kind, move || {
                for _ in 0..500 {
                    shared.3.call_once(|| std::thread::sleep(Duration::from_millis(2)));
                    let mut value = shared.0.lock().unwrap();
                    *value += 1;
                    pause(&mut random);
                    drop(value);
                    shared.1.notify_one();
                    if random.below(4) == 0 {
                        *shared.2.write().unwrap() += 1;
                    } else {
                        let before = *shared.2.read().unwrap();
                        assert!(before <= 9 * 500);
                    }
                    let value = shared.0.lock().unwrap();
                    let limit = Duration::from_micros(random.below(200));
                    drop(shared.1.wait_timeout(value, limit).unwrap());
                }
                shared.1.notify_all();
            })
        })
        .collect();
    running.into_iter().for_each(common::Running::join);
    assert_eq!(*shared.0.lock().unwrap(), 9 * 500);
}

#[test]
fn std_channels() {
    start();
    for bound in [0, 1, 100] {
        let (sender, receiver) = sync_channel(bound);
        let running: Vec<_> = kinds(6)
            .map(|kind| {
                let sender = sender.clone();
                spawn(kind, move || (0..500_u64).for_each(|number| sender.send(number).unwrap()))
            })
            .collect();
        drop(sender);
        let sum: u64 = on_fiber(move || receiver.iter().sum());
        running.into_iter().for_each(common::Running::join);
        assert_eq!(sum, 6 * (0..500).sum::<u64>());
    }
    // A ring: each hands on what it gets.
    let (first, mut last) = channel::<u32>();
    for kind in kinds(30) {
        let (sender, receiver) = channel();
        drop(spawn(kind, move || {
            for number in last {
                if sender.send(number + 1).is_err() {
                    return;
                }
            }
        }));
        last = receiver;
    }
    for _ in 0..100 {
        first.send(0).unwrap();
        assert_eq!(last.recv().unwrap(), 30);
    }
}

#[test]
fn threads_park_fibers() {
    start();
    // `std::thread::park` on a fiber: its handle is in the fiber's own thread-locals.
    let (sender, receiver) = channel();
    let sleeper = fiber(move || {
        sender.send(std::thread::current()).unwrap();
        for _ in 0..3 {
            std::thread::park();
        }
    });
    let handle = receiver.recv().unwrap();
    let ended = Arc::new(AtomicUsize::new(0));
    let waker = {
        let ended = ended.clone();
        std::thread::spawn(move || {
            while ended.load(Ordering::SeqCst) == 0 {
                handle.unpark();
                std::thread::yield_now();
            }
        })
    };
    sleeper.join();
    ended.store(1, Ordering::SeqCst);
    waker.join().unwrap();
}
