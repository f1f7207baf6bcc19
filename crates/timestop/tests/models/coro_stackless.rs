//! Tasklets and channels: cases of Stackless Python's `test_channel.py`, `test_tasklet.py` and `test_outside.py`.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use timestop::coro::tasklet::{Channel, ChannelError, Preference, Tasklet, run, schedule};
use timestop::coro::{Generator, Greenlet};

type Log = Rc<RefCell<Vec<String>>>;

fn spawn(log: &Log, body: impl FnOnce(&dyn Fn(&str)) + 'static) -> Tasklet {
    let log = Rc::clone(log);
    Tasklet::new(move || body(&|text| log.borrow_mut().push(text.to_owned())))
}

/// `test_outside.py`: tasklets take turns, in order.
#[test]
fn turns_in_order() {
    let log = Log::default();
    for name in ["a", "b", "c"] {
        spawn(&log, move |note| {
            for _ in 0..2 {
                note(name);
                schedule();
            }
        });
    }
    run();
    assert_eq!(log.borrow().concat(), "abcabc");
}

/// `testBlockingReceive`, `testBlockingSend`: the balance counts who waits.
#[test]
fn the_balance_counts_who_waits() {
    let channel = Channel::<i32>::new();
    let theirs = channel.clone();
    let receiver = Tasklet::new(move || assert_eq!(theirs.receive(), Ok(5)));
    run();
    assert_eq!((channel.balance(), receiver.is_alive()), (-1, true));
    assert_eq!(channel.send(5), Ok(()));
    assert_eq!((channel.balance(), receiver.is_alive()), (0, false), "it went on at once");
    for value in 0..3 {
        let theirs = channel.clone();
        Tasklet::new(move || theirs.send(value).expect("it is received"));
    }
    run();
    assert_eq!(channel.balance(), 3);
    let received: Vec<_> = (0..3).map(|_| channel.receive().expect("a sender waits")).collect();
    assert_eq!((received, channel.balance()), (vec![0, 1, 2], 0));
    run();
}

/// `testMainTaskletBlockingWithoutASender`: main may not wait for ever.
#[test]
fn main_that_would_wait_for_ever_is_told() {
    let channel = Channel::<i32>::new();
    assert_eq!(channel.receive(), Err(ChannelError::Deadlock));
    assert_eq!(channel.send(1), Err((1, ChannelError::Deadlock)));
    assert_eq!(channel.balance(), 0, "and has left the queue");
}

/// `test_channel.py`: main that waits runs the others.
#[test]
fn main_waits_while_others_run() {
    let (numbers, sums) = (Channel::new(), Channel::new());
    let (from, to) = (numbers.clone(), sums.clone());
    Tasklet::new(move || to.send(from.iter().sum::<i32>()).expect("main receives"));
    let from = numbers.clone();
    Tasklet::new(move || {
        (1..=10).for_each(|number| from.send(number).expect("it is received"));
        from.close();
    });
    assert_eq!(sums.receive(), Ok(55));
    assert_eq!(numbers.receive(), Err(ChannelError::Closed));
    assert_eq!(numbers.send(1), Err((1, ChannelError::Closed)));
    run();
}

/// `TestChannels`' preference tests: who goes on first.
#[test]
fn preferences() {
    for (preference, expected) in [
        (Preference::Receiver, "received sent other"),
        (Preference::Neither, "sent other received"),
        (Preference::Sender, "sent other received"),
    ] {
        let log = Log::default();
        let channel = Channel::new();
        channel.set_preference(preference);
        let theirs = channel.clone();
        spawn(&log, move |note| {
            theirs.receive().expect("it is sent");
            note("received");
        });
        spawn(&log, move |note| {
            channel.send(()).expect("it is received");
            note("sent");
        });
        // (With the receiver first, the sender is queued behind this one.)
        spawn(&log, |note| note("other"));
        run();
        let order = log.borrow().join(" ");
        let expected =
            if preference == Preference::Receiver { "received other sent" } else { expected };
        assert_eq!(order, expected, "{preference:?}");
    }
}

/// `test_tasklet.py`, kill: one that waits leaves the channel.
#[test]
fn a_killed_tasklet_leaves_the_channel() {
    let channel = Channel::<i32>::new();
    let theirs = channel.clone();
    let waits = Tasklet::new(move || assert_eq!(theirs.receive(), Ok(0)));
    run();
    assert_eq!(channel.balance(), -1);
    waits.kill().expect("it unwinds");
    assert_eq!((channel.balance(), waits.is_alive()), (0, false));
    let never = Tasklet::new(|| unreachable!("it was killed before its turn"));
    never.kill().expect("it has not begun");
    run();
}

/// `test_tasklet.py`: an error of a tasklet comes out of `run`, and the others stay.
#[test]
fn a_panic_comes_out_of_run() {
    let log = Log::default();
    let bad = spawn(&log, |_| panic!("spam"));
    spawn(&log, |note| note("other"));
    let error = panic::catch_unwind(AssertUnwindSafe(run)).expect_err("it panics");
    assert_eq!(error.downcast_ref(), Some(&"spam"));
    assert!(!bad.is_alive());
    run();
    assert_eq!(*log.borrow(), ["other"]);
}

/// A tasklet may give its turn from within a generator, and not from within a greenlet that it switched to.
#[test]
fn turns_from_within_generators_and_greenlets() {
    let log = Log::default();
    spawn(&log, |note| {
        let mut g = Generator::<i32>::new(|y| {
            schedule();
            y.yield_(1);
        });
        note("before");
        assert_eq!(g.next(), Some(1));
        note("after");
        let refused = Greenlet::new(|_| panic::catch_unwind(schedule).is_err());
        assert!(refused.switch(()).take::<bool>());
    });
    spawn(&log, |note| note("other"));
    run();
    assert_eq!(*log.borrow(), ["before", "other", "after"]);
}
