//! `golang.org/x/sync/singleflight`'s tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use timestop::channel::unbuffered;
use timestop::sync::{Answer, Interrupted, SingleFlight};

use super::text;
use crate::support::waits;
use crate::support::{Mix, Task, on_fiber, until};

/// `TestDo`, `TestDoErr`
#[test]
fn alone() {
    on_fiber(|| {
        let flight = SingleFlight::new();
        let answer = flight.run("key", || Ok::<_, ()>("bar"));
        assert_eq!(answer, Ok(Answer { value: Ok("bar"), shared: false }));
        let answer = flight.run("key", || Err(()));
        assert_eq!(answer, Ok(Answer { value: Err(()), shared: false }));
    });
}

/// `TestDoDupSuppress`: ten ask while one call is under way; afterwards another can be made.
#[test]
fn duplicates() {
    Mix::each(|mix| {
        const COUNT: usize = 10;
        let flight = Arc::new(SingleFlight::new());
        let (calls, asking) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (open, wait) = unbuffered::<()>();
        let tasks: Vec<_> = (0..COUNT)
            .map(|index| {
                let (flight, wait) = (Arc::clone(&flight), wait.clone());
                let (calls, asking) = (Arc::clone(&calls), Arc::clone(&asking));
                mix.spawn(index, move || {
                    asking.fetch_add(1, Ordering::SeqCst);
                    flight.run("key", || {
                        wait.recv().expect_err("it is closed");
                        calls.fetch_add(1, Ordering::SeqCst)
                    })
                })
            })
            .collect();
        until("all ask", || asking.load(Ordering::SeqCst) == COUNT);
        drop(open);
        let answers: Vec<_> =
            tasks.into_iter().map(|task| task.join().expect("none ends")).collect();
        // Some may have asked after the first call: each call has one who made it.
        let calls = calls.load(Ordering::SeqCst);
        for call in 0..calls {
            let its: Vec<_> = answers.iter().filter(|answer| answer.value == call).collect();
            assert!(!its.is_empty() && its.iter().all(|answer| answer.shared == (its.len() > 1)));
        }
        assert!(answers.iter().all(|answer| answer.value < calls));
    });
}

/// As that, with nothing left to chance: followers wait, and the leader knows.
#[test]
fn followers_share() {
    on_fiber(|| {
        let flight = Arc::new(SingleFlight::new());
        let (answer, wait) = unbuffered::<u32>();
        let theirs = Arc::clone(&flight);
        let leader = timestop::spawn(move || theirs.run(1, || wait.recv().expect("it is sent")));
        until("the leader waits", || waits(&leader));
        let followers: Vec<_> = (0..3)
            .map(|_| {
                let theirs = Arc::clone(&flight);
                let follower = timestop::spawn(move || theirs.run(1, || unreachable!("one calls")));
                until("the follower waits", || waits(&follower));
                follower
            })
            .collect();
        followers[0].cancel();
        until("it has ended", || followers[0].is_finished());
        answer.send(7).expect("the leader receives");
        let shared = Ok(Answer { value: 7, shared: true });
        assert_eq!(leader.join().expect("no panic"), shared);
        let mut answers = followers.into_iter().map(|one| one.join().expect("no panic"));
        assert_eq!(answers.next(), Some(Err(Interrupted::Cancelled)));
        assert!(answers.all(|answer| answer == shared));
        assert_eq!(flight.run(1, || 8), Ok(Answer { value: 8, shared: false }));
    });
}

/// `TestForget`: who comes afterwards starts another call; those before keep theirs.
#[test]
fn forget() {
    on_fiber(|| {
        let flight = Arc::new(SingleFlight::new());
        let (first, wait) = unbuffered::<u32>();
        let theirs = Arc::clone(&flight);
        let leader = timestop::spawn(move || theirs.run("key", || wait.recv().expect("sent")));
        until("the first call waits", || waits(&leader));
        flight.forget(&"key");

        let (second, wait) = unbuffered::<u32>();
        let theirs = Arc::clone(&flight);
        let other = timestop::spawn(move || theirs.run("key", || wait.recv().expect("sent")));
        until("the second call waits", || waits(&other));
        first.send(1).expect("the first receives");
        assert_eq!(leader.join().expect("no panic").map(|answer| answer.value), Ok(1));
        // The first has not taken the second out.
        let theirs = Arc::clone(&flight);
        let third = timestop::spawn(move || theirs.run("key", || unreachable!("it joins")));
        until("the third waits", || waits(&third));
        second.send(2).expect("the second receives");
        assert_eq!(third.join().expect("no panic"), Ok(Answer { value: 2, shared: true }));
        assert_eq!(other.join().expect("no panic"), Ok(Answer { value: 2, shared: true }));
    });
}

/// `TestPanicDo`, `TestPanicDoSharedByDoChan`: it reaches all, and the key is free again.
#[test]
fn panics() {
    on_fiber(|| {
        let flight = Arc::new(SingleFlight::new());
        let (go, wait) = unbuffered::<()>();
        let theirs = Arc::clone(&flight);
        let leader = timestop::spawn(move || {
            text(|| {
                let _ = theirs.run(1, || {
                    wait.recv().expect("sent");
                    panic!("invalid memory address")
                });
            })
        });
        until("the leader waits", || waits(&leader));
        let theirs = Arc::clone(&flight);
        let follower = timestop::spawn(move || text(|| theirs.run(1, || 2)));
        until("the follower waits", || waits(&follower));
        go.send(()).expect("the leader receives");
        assert_eq!(leader.join().expect("caught"), "invalid memory address");
        let said = follower.join().expect("caught");
        assert!(said.ends_with("waits for panicked: invalid memory address"), "{said}");
        assert_eq!(flight.run(1, || 3).map(|answer| answer.value), Ok(3));
    });
}

/// A value whose `Clone` panics is that, for all; nobody waits for ever.
#[test]
fn a_clone_that_panics() {
    struct Unclonable;

    impl Clone for Unclonable {
        fn clone(&self) -> Self {
            panic!("not this one")
        }
    }

    on_fiber(|| {
        let flight = Arc::new(SingleFlight::new());
        let (go, wait) = unbuffered::<()>();
        let theirs = Arc::clone(&flight);
        let call = move || {
            wait.recv().expect("sent");
            Unclonable
        };
        let leader = timestop::spawn(move || text(|| drop(theirs.run(1, call))));
        until("the leader waits", || waits(&leader));
        let theirs = Arc::clone(&flight);
        let follower = timestop::spawn(move || text(|| drop(theirs.run(1, || Unclonable))));
        until("the follower waits", || waits(&follower));
        go.send(()).expect("the leader receives");
        assert_eq!(leader.join().expect("caught"), "not this one");
        assert!(follower.join().expect("caught").ends_with("not this one"));
    });
}

/// A call that asks for its own key would wait for itself.
#[test]
fn within_itself() {
    on_fiber(|| {
        let flight = SingleFlight::new();
        let said = text(|| flight.run(1, || flight.run(1, || 2).map_or(0, |answer| answer.value)));
        assert_eq!(said, "timestop::sync::SingleFlight: a call asks for its own key");
        let other = flight.run(1, || flight.run(2, || 2).map_or(0, |answer| answer.value));
        assert_eq!(other.map(|answer| answer.value), Ok(2));
    });
}

/// Keys by the hundred, in any order: each answer is that of its key.
#[test]
fn many_keys() {
    Mix::each(|mix| {
        let flight = Arc::new(SingleFlight::new());
        let tasks: Vec<_> = (0..8)
            .map(|index| {
                let flight = Arc::clone(&flight);
                mix.spawn(index, move || {
                    for round in 0..500_usize {
                        let key = (round + index) % 7;
                        let answer = flight.run(key, || {
                            std::thread::yield_now();
                            key * 10
                        });
                        assert_eq!(answer.map(|answer| answer.value), Ok(key * 10));
                    }
                })
            })
            .collect();
        tasks.into_iter().for_each(Task::join);
        assert_eq!(format!("{flight:?}"), "SingleFlight(0 under way)");
    });
}
