//! Spawning, joining, naming, parking: the face that `timestop` shares with `std::thread`.

use std::collections::HashSet;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use std::{panic, thread};

use crate::support::{MANY, child, fan_out, is_child, on_fiber, until};

#[test]
fn join_returns_the_value() {
    let text = String::from("treasure");
    assert_eq!(timestop::spawn(move || text + "!").join().expect("no panic"), "treasure!");
}

#[test]
fn join_returns_the_payload_of_a_panic() {
    #[derive(Debug, PartialEq)]
    struct Payload(Vec<u32>);

    // `resume_unwind` is a panic without a message on stderr.
    let fiber = timestop::spawn(|| panic::resume_unwind(Box::new(Payload(vec![1, 2, 3]))));
    let payload = fiber.join().expect_err("it panicked");
    assert_eq!(payload.downcast_ref(), Some(&Payload(vec![1, 2, 3])));

    let payload =
        timestop::spawn(|| panic!("number {}", black_box(7))).join().expect_err("it panicked");
    assert_eq!(payload.downcast_ref::<String>().map(String::as_str), Some("number 7"));
}

#[test]
fn a_panic_ends_its_fiber_only() {
    let ended = fan_out(100, |index| {
        let child = timestop::spawn(move || {
            if index % 2 == 0 {
                panic::resume_unwind(Box::new(index));
            }
            index
        });
        child.join().map_err(|payload| *payload.downcast::<usize>().expect("our payload"))
    });
    for (index, result) in ended.into_iter().enumerate() {
        assert_eq!(result, if index % 2 == 0 { Err(index) } else { Ok(index) });
    }
}

#[test]
fn a_dropped_handle_detaches() {
    let (sender, receiver) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    drop(timestop::spawn(move || {
        gate.recv().expect("the test opens the gate");
        sender.send(7).expect("the test listens");
    }));
    go.send(()).expect("the fiber waits");
    assert_eq!(receiver.recv(), Ok(7));
}

#[test]
fn builder_names_the_current_thread() {
    let name = || thread::current().name().map(str::to_owned);
    let named = timestop::Builder::new().name("wizard".into()).spawn(name).expect("spawns");
    assert_eq!(named.thread().name(), Some("wizard"));
    assert_eq!(named.join().expect("no panic").as_deref(), Some("wizard"));
    assert_eq!(timestop::spawn(name).join().expect("no panic"), None);
}

#[test]
fn the_name_is_kept_across_suspension() {
    on_fiber(|| {
        let fibers: Vec<_> = (0..50)
            .map(|index| {
                let builder = timestop::Builder::new().name(format!("wizard {index}"));
                let body = move || {
                    for _ in 0..100 {
                        timestop::yield_now();
                        assert_eq!(thread::current().name(), Some(&*format!("wizard {index}")));
                    }
                };
                builder.spawn(body).expect("spawns")
            })
            .collect();
        for fiber in fibers {
            fiber.join().expect("every name was right");
        }
    });
}

#[test]
fn a_panic_message_has_the_name() {
    if is_child() {
        let fiber = timestop::Builder::new().name("wizard".into()).spawn(|| panic!("no mana"));
        fiber.expect("spawns").join().expect_err("it panicked");
        return;
    }
    let output = child("api::a_panic_message_has_the_name").output().expect("starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("thread 'wizard'") && stderr.contains("no mana"), "{stderr}");
}

#[test]
fn every_fiber_is_another_thread() {
    let ids = fan_out(200, |_| {
        let id = thread::current().id();
        timestop::yield_now();
        assert_eq!(thread::current().id(), id);
        id
    });
    assert_eq!(ids.into_iter().collect::<HashSet<_>>().len(), 200);
}

#[test]
fn is_finished_tells_the_end() {
    let (go, gate) = mpsc::channel::<()>();
    let fiber = timestop::spawn(move || gate.recv().expect("the test opens the gate"));
    assert!(!fiber.is_finished());
    go.send(()).expect("the fiber waits");
    until("the fiber is finished", || fiber.is_finished());
    fiber.join().expect("no panic");
}

#[test]
fn unpark_through_the_handle() {
    let woken = Arc::new(AtomicBool::new(false));
    let flag = woken.clone();
    let fiber = timestop::spawn(move || {
        while !flag.load(Ordering::Acquire) {
            thread::park();
        }
    });
    woken.store(true, Ordering::Release);
    fiber.thread().unpark();
    fiber.join().expect("no panic");
}

#[test]
fn a_fiber_may_ask_its_own_handle() {
    let (sender, receiver) = mpsc::channel::<timestop::JoinHandle<()>>();
    let (answer, answers) = mpsc::channel();
    let fiber = timestop::spawn(move || {
        let own = receiver.recv().expect("it is sent");
        answer.send((own.thread().id(), thread::current().id())).expect("it listens");
    });
    sender.send(fiber).expect("it listens");
    let (told, own) = answers.recv_timeout(Duration::from_secs(20)).expect("it does not hang");
    assert_eq!(told, own);
}

#[test]
fn a_name_that_is_none_leaves_nothing_behind() {
    let thread = thread::spawn(|| {
        let builder = timestop::Builder::new().name("nul\0".to_owned());
        panic::catch_unwind(|| builder.spawn(|| {})).expect_err("as std's");
        thread::spawn(timestop::is_fiber).join().expect("no panic")
    });
    assert!(!thread.join().expect("no panic"), "threads are what they were");
}

#[test]
fn an_unpark_before_park_is_not_lost() {
    on_fiber(|| {
        for _ in 0..1_000 {
            thread::current().unpark();
            thread::park();
        }
        thread::park_timeout(Duration::ZERO);
    });
}

#[test]
fn fibers_pass_a_token_around_by_park() {
    const FIBERS: usize = 100;
    on_fiber(|| {
        let turn = Arc::new(AtomicUsize::new(usize::MAX));
        let (handles, next) = mpsc::channel::<Vec<thread::Thread>>();
        let mut fibers = Vec::new();
        let mut starters = Vec::new();
        for index in 0..FIBERS {
            let (turn, (start, all)) = (turn.clone(), mpsc::channel::<Vec<thread::Thread>>());
            starters.push(start);
            fibers.push(timestop::spawn(move || {
                let all = all.recv().expect("the test sends the handles");
                for round in 0..20 {
                    while turn.load(Ordering::Acquire) != round * FIBERS + index {
                        thread::park();
                    }
                    turn.fetch_add(1, Ordering::AcqRel);
                    all[(index + 1) % FIBERS].unpark();
                }
            }));
        }
        handles.send(fibers.iter().map(|fiber| fiber.thread().clone()).collect()).expect("ours");
        let all = next.recv().expect("sent above");
        for start in starters {
            start.send(all.clone()).expect("the fiber waits");
        }
        turn.store(0, Ordering::Release);
        all[0].unpark();
        for fiber in fibers {
            fiber.join().expect("no panic");
        }
        assert_eq!(turn.load(Ordering::Acquire), 20 * FIBERS);
    });
}

#[test]
fn yield_now_lets_others_run() {
    on_fiber(|| {
        let flag = Arc::new(AtomicBool::new(false));
        let setter = flag.clone();
        let fiber = timestop::spawn(move || setter.store(true, Ordering::Release));
        until("the other fiber ran", || {
            timestop::yield_now();
            flag.load(Ordering::Acquire)
        });
        fiber.join().expect("no panic");
    });
}

#[test]
fn a_tree_of_fibers() {
    fn leaves(depth: usize) -> usize {
        if depth == 0 {
            return 1;
        }
        let [left, right] = [(); 2].map(|()| timestop::spawn(move || leaves(depth - 1)));
        left.join().expect("no panic") + right.join().expect("no panic")
    }
    let depth = MANY.ilog2() as usize - 1;
    assert_eq!(on_fiber(move || leaves(depth)), 1 << depth);
}

#[test]
fn a_chain_of_fibers() {
    fn chain(length: usize) -> usize {
        if length == 0 { 0 } else { 1 + on_fiber(move || chain(length - 1)) }
    }
    assert_eq!(chain(200), 200);
}

#[test]
fn very_many_fibers() {
    on_fiber(|| {
        let (go, gate) = mpsc::channel::<()>();
        let gate = Arc::new(std::sync::Mutex::new(gate));
        let fibers: Vec<_> = (0..MANY)
            .map(|index| {
                let gate = gate.clone();
                timestop::spawn(move || {
                    // All of them live until the sender is dropped.
                    gate.lock().expect("nobody panics").recv().expect_err("nothing is sent");
                    index
                })
            })
            .collect();
        drop(go);
        let sum: usize = fibers.into_iter().map(|fiber| fiber.join().expect("no panic")).sum();
        assert_eq!(sum, MANY * (MANY - 1) / 2);
    });
}

#[test]
fn stack_size_is_what_was_asked_for() {
    const KIBIBYTES: usize = 8 << 10;

    /// Takes a kibibyte of stack and more for each level.
    fn descend(levels: usize) -> usize {
        let frame = black_box([levels as u8; 1024]);
        if levels == 0 {
            return 0;
        }
        descend(levels - 1) + 1 + usize::from(black_box(frame)[1023] != levels as u8)
    }
    let builder = timestop::Builder::new().stack_size(4 * (KIBIBYTES << 10));
    let fiber = builder.spawn(|| {
        let deep = descend(KIBIBYTES);
        timestop::yield_now();
        deep + descend(KIBIBYTES)
    });
    assert_eq!(fiber.expect("spawns").join().expect("no panic"), 2 * KIBIBYTES);
}

#[test]
fn the_default_stack_takes_what_threads_usually_do() {
    fn descend(levels: usize) -> usize {
        let frame = black_box([0_u8; 1024]);
        if levels == 0 { 0 } else { descend(levels - 1) + 1 + usize::from(black_box(frame)[0]) }
    }
    assert_eq!(on_fiber(|| descend(100)), 100);
}

#[test]
fn run_returns_the_value_of_the_first_fiber() {
    if is_child() {
        let text = String::from("first");
        assert_eq!(timestop::run(|| text.len()), 5);
        return;
    }
    crate::support::child_passes("api::run_returns_the_value_of_the_first_fiber");
}

#[test]
fn a_configured_run_has_its_number_of_workers() {
    if is_child() {
        let sum = timestop::Config::new().workers(1).run(|| fan_out(100, |index| index).len());
        assert_eq!(sum, 100);
        return;
    }
    crate::support::child_passes("api::a_configured_run_has_its_number_of_workers");
}
