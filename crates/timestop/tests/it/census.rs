//! Who is a fiber, how many OS threads carry them, and what `stats` and `fibers` tell of them.

use std::sync::{Arc, Barrier, mpsc};
use std::thread;

use crate::support::{child_passes, fan_out, is_child, on_fiber, os_threads, until};

/// More OS threads than this for fibers that only wait would mean that each has its own.
const FEW: usize = 32;

/// How many fibers wait at once in a test of this module.
const WAITING: usize = 1_000;

#[test]
fn is_fiber_knows_where_it_is() {
    assert!(!timestop::is_fiber(), "a test runs on an OS thread");
    assert!(on_fiber(timestop::is_fiber));
    assert!(on_fiber(|| timestop::scope(|scope| scope
        .spawn(timestop::is_fiber)
        .join()
        .expect("no panic"))));
    let thread = on_fiber(|| thread::spawn(timestop::is_fiber).join().expect("no panic"));
    assert!(!thread, "without `adopt_threads` a std thread is an OS thread");
}

#[test]
fn adopted_threads_are_fibers() {
    const NAME: &str = "census::adopted_threads_are_fibers";
    if !is_child() {
        child_passes(NAME);
        return;
    }
    timestop::adopt_threads().expect("the self-check passes");
    assert!(thread::spawn(timestop::is_fiber).join().expect("no panic"));
    thread::scope(|scope| {
        assert!(scope.spawn(timestop::is_fiber).join().expect("no panic"));
    });
    let named = thread::Builder::new().name("adopted".into()).stack_size(1 << 20);
    let name = named.spawn(|| thread::current().name().map(str::to_owned)).expect("spawns");
    assert_eq!(name.join().expect("no panic").as_deref(), Some("adopted"));

    let meeting = Arc::new(Barrier::new(WAITING + 1));
    let threads: Vec<_> = (0..WAITING)
        .map(|_| {
            let meeting = meeting.clone();
            thread::spawn(move || meeting.wait().is_leader())
        })
        .collect();
    let carriers = os_threads();
    assert!(carriers < FEW, "{carriers} OS threads for {WAITING} adopted ones");
    let mut leaders = usize::from(meeting.wait().is_leader());
    for thread in threads {
        leaders += usize::from(thread.join().expect("no panic"));
    }
    assert_eq!(leaders, 1);
}

#[test]
fn waiting_fibers_take_no_os_threads() {
    const NAME: &str = "census::waiting_fibers_take_no_os_threads";
    if !is_child() {
        child_passes(NAME);
        return;
    }
    let (go, gates): (Vec<_>, Vec<_>) = (0..WAITING).map(|_| mpsc::channel::<()>()).unzip();
    let fibers: Vec<_> =
        gates.into_iter().map(|gate| timestop::spawn(move || gate.recv().is_err())).collect();
    until("all fibers wait", || {
        let all = timestop::fibers(2 * WAITING);
        all.iter().filter(|fiber| fiber.state == timestop::FiberState::Waiting).count() >= WAITING
    });
    assert!(os_threads() < FEW, "{} OS threads for {WAITING} fibers", os_threads());
    drop(go);
    for fiber in fibers {
        assert!(fiber.join().expect("no panic"));
    }
}

#[test]
fn stats_count_what_was_spawned() {
    let before = timestop::stats();
    fan_out(100, |_| timestop::yield_now());
    let after = timestop::stats();
    assert!(after.spawned >= before.spawned + 100);
    assert!(after.switches > before.switches);
    assert!(after.workers >= 1 && after.os_threads >= 1);
}

#[test]
fn a_snapshot_shows_names_and_reasons() {
    let (go, gate) = mpsc::channel::<()>();
    let builder = timestop::Builder::new().name("under observation".into());
    let fiber = builder.spawn(move || gate.recv().is_err()).expect("spawns");
    until("the fiber waits for its channel", || {
        let all = timestop::fibers(1_000_000);
        let found = all.iter().find(|fiber| fiber.name.as_deref() == Some("under observation"));
        found.is_some_and(|fiber| {
            fiber.state == timestop::FiberState::Waiting && fiber.waiting_for.is_some()
        })
    });
    assert!(timestop::fibers(0).is_empty(), "the limit holds");
    drop(go);
    assert!(fiber.join().expect("no panic"));
}
