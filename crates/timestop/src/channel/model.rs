//! What the channels promise, in every order of the steps of two or three threads.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr;

use loom::sync::Arc;
use loom::thread;

use super::meeting::{Arm, Slept, queue_and_sleep};
use super::shared::{NoMessage, NotSent, Shared};
use crate::wait::sync::{Interrupted, Limit};
use crate::wait::waiter::{End, Place, Waiter};

type Channel = Arc<Shared<u32>>;

const LATE: Limit = Limit { deadline: 0, breakable: true };
const TIMED_OUT: NoMessage = NoMessage::Ended(Interrupted::TimedOut);

fn channel(capacity: usize) -> Channel {
    Arc::new(Shared::new(capacity))
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(check);
}

fn spawn<T: 'static>(
    channel: &Channel,
    body: impl FnOnce(&Shared<u32>) -> T + 'static,
) -> thread::JoinHandle<T> {
    let channel = Arc::clone(channel);
    thread::spawn(move || body(&channel))
}

/// Whoever comes first waits, and both go on.
#[test]
fn loom_rendezvous() {
    model(|| {
        let channel = channel(0);
        let sender = spawn(&channel, |channel| channel.send(7, Limit::NONE));
        assert_eq!(channel.receive(Limit::NONE), Ok(7));
        assert_eq!(sender.join().expect("no panic"), Ok(()));
    });
}

/// A sender that waits for room has its message queued by whoever makes room, in order.
#[test]
fn loom_room_for_one() {
    model(|| {
        let channel = channel(1);
        let sender = spawn(&channel, |channel| {
            for message in 1..=3 {
                channel.send(message, Limit::NONE).expect("nobody closes");
            }
        });
        for message in 1..=3 {
            assert_eq!(channel.receive(Limit::NONE), Ok(message));
        }
        sender.join().expect("no panic");
    });
}

/// A block that both ends are at.
#[test]
fn loom_unbounded() {
    model(|| {
        let channel = channel(usize::MAX);
        let sender = spawn(&channel, |channel| {
            channel.send(1, Limit::NONE).expect("nobody closes");
            channel.send(2, Limit::NONE).expect("nobody closes");
        });
        assert_eq!(channel.receive(Limit::NONE), Ok(1));
        assert_eq!(channel.receive(Limit::NONE), Ok(2));
        sender.join().expect("no panic");
    });
}

/// The end reaches who waits for a message, and nobody who does waits on.
#[test]
fn loom_close_ends_receive() {
    model(|| {
        let channel = channel(1);
        let receiver = spawn(&channel, |channel| channel.receive(Limit::NONE));
        let sent = channel.try_send(3).is_ok();
        assert!(channel.close());
        assert!(sent);
        assert_eq!(receiver.join().expect("no panic"), Ok(3));
        assert_eq!(channel.receive(Limit::NONE), Err(NoMessage::Closed));
    });
}

/// A message is received or comes back; nobody waits on.
#[test]
fn loom_close_ends_send() {
    model(|| {
        let channel = channel(0);
        let sender = spawn(&channel, |channel| channel.send(5, Limit::NONE));
        let closer = spawn(&channel, Shared::close);
        let received = channel.receive(Limit::NONE);
        let sent = sender.join().expect("no panic");
        assert!(closer.join().expect("no panic"));
        match received {
            Ok(message) => assert_eq!((message, sent), (5, Ok(()))),
            Err(why) => assert_eq!((why, sent), (NoMessage::Closed, Err((5, NotSent::Closed)))),
        }
    });
}

/// A receiver that gives up, and a sender: both say that the message went over, or both that it did not.
#[test]
fn loom_time_out_of_receive() {
    model(|| {
        let channel = channel(0);
        let receiver = spawn(&channel, |channel| channel.receive(LATE));
        let sent = channel.try_send(9);
        match receiver.join().expect("no panic") {
            Ok(message) => assert_eq!((message, sent), (9, Ok(()))),
            Err(why) => assert_eq!((why, sent), (TIMED_OUT, Err((9, NotSent::Full)))),
        }
    });
}

/// Both give up.
#[test]
fn loom_time_out_of_both() {
    model(|| {
        let channel = channel(0);
        let sender = spawn(&channel, |channel| channel.send(9, LATE));
        let received = channel.receive(LATE);
        let sent = sender.join().expect("no panic");
        assert_eq!(received.is_ok(), sent.is_ok());
        assert_eq!(received.unwrap_or(9), 9);
    });
}

/// An arm, without handles and clocks.
struct TestArm<'channel> {
    channel: &'channel Shared<u32>,
    place: Place<u32>,
    sends: bool,
    /// Its channel's number: addresses differ from run to run, and loom wants each to be the same.
    number: usize,
    result: Cell<Option<Result<u32, End>>>,
}

impl<'channel> TestArm<'channel> {
    fn receive((number, channel): (usize, &'channel Shared<u32>), index: u32) -> Self {
        let place = Place::new(ptr::null(), index, MaybeUninit::uninit());
        Self { channel, place, sends: false, number, result: Cell::new(None) }
    }

    fn send((number, channel): (usize, &'channel Shared<u32>), index: u32, message: u32) -> Self {
        let place = Place::new(ptr::null(), index, MaybeUninit::new(message));
        Self { channel, place, sends: true, number, result: Cell::new(None) }
    }

    fn message(&self) -> u32 {
        // SAFETY: only asked of one that sends, before it is done; a number stays where it is read.
        unsafe { self.place.slot.take() }
    }
}

impl Arm for TestArm<'_> {
    fn channel(&self) -> usize {
        self.number
    }

    fn sends(&self) -> bool {
        self.sends
    }

    fn seems_ready(&self) -> bool {
        if self.sends { self.channel.seems_sendable() } else { self.channel.seems_receivable() }
    }

    fn attempt(&self) -> bool {
        let done = if self.sends {
            let message = self.message();
            self.channel
                .try_send(message)
                .map(|()| message)
                .map_err(|(_, why)| why == NotSent::Full)
        } else {
            self.channel.try_receive().map_err(|why| why == NoMessage::Empty)
        };
        match done {
            Err(true) => false,
            Err(false) => {
                self.result.set(Some(Err(End::Closed)));
                true
            }
            Ok(message) => {
                self.result.set(Some(Ok(message)));
                true
            }
        }
    }

    fn enlist(&self, waiter: &Waiter) -> bool {
        if self.sends {
            self.channel.enlist_sender(&self.place, waiter)
        } else {
            self.channel.enlist_receiver(&self.place, waiter)
        }
    }

    fn delist(&self) {
        if self.sends {
            self.channel.delist_sender(&self.place);
        } else {
            self.channel.delist_receiver(&self.place);
        }
    }

    fn complete(&self, end: End) {
        self.result.set(Some(match end {
            // SAFETY: a receiver's was served; a sender's number stays where it is read.
            End::Served => Ok(unsafe { self.place.slot.take() }),
            End::Closed => Err(end),
        }));
    }

    fn fail(&self, _why: Interrupted) {}

    fn due(&self) -> u64 {
        u64::MAX
    }
}

/// As `select::run`, without the lot. The arm, and what was received or sent.
fn select(arms: &[TestArm<'_>], deadline: u64) -> Option<(usize, Result<u32, End>)> {
    let mut order: Vec<&dyn Arm> = arms.iter().map(|arm| arm as &dyn Arm).collect();
    order.sort_by_key(|arm| arm.channel());
    let waiter = Waiter::select();
    loop {
        if let Some(index) = arms.iter().position(|arm| arm.seems_ready() && arm.attempt()) {
            return Some((index, arms[index].result.take().expect("it was done")));
        }
        match queue_and_sleep(&order, &waiter, deadline) {
            Slept::Served => {
                let index = waiter.arm();
                arms[index].complete(waiter.end());
                return Some((index, arms[index].result.take().expect("it was done")));
            }
            Slept::Ended(_) => return None,
            Slept::Ready => waiter.reopen(),
        }
        thread::yield_now();
    }
}

/// Two senders, one select after the other: each message comes out once.
#[test]
fn loom_select_between_two() {
    model(|| {
        let (one, two) = (channel(0), channel(0));
        let first = spawn(&one, |channel| channel.send(1, Limit::NONE));
        let second = spawn(&two, |channel| channel.send(2, Limit::NONE));
        let mut sum = 0;
        for _ in 0..2 {
            let arms = [TestArm::receive((1, &one), 0), TestArm::receive((2, &two), 1)];
            let (arm, message) = select(&arms, u64::MAX).expect("there is no limit");
            assert_eq!(message, Ok(arm as u32 + 1));
            sum += arm + 1;
        }
        assert_eq!(sum, 3);
        assert_eq!(first.join().expect("no panic"), Ok(()));
        assert_eq!(second.join().expect("no panic"), Ok(()));
    });
}

/// Two that fire at once into a select that takes one: the other keeps its message.
#[test]
fn loom_select_takes_one() {
    model(|| {
        let (one, two) = (channel(0), channel(0));
        let first = spawn(&one, |channel| channel.try_send(1).is_ok());
        let second = spawn(&two, |channel| channel.try_send(2).is_ok());
        let arms = [TestArm::receive((1, &one), 0), TestArm::receive((2, &two), 1)];
        let chosen = select(&arms, 0).map(|(arm, _)| arm);
        let sent = [first.join().expect("no panic"), second.join().expect("no panic")];
        match chosen {
            None => assert_eq!(sent, [false, false]),
            Some(arm) => assert!(sent[arm] && !sent[1 - arm], "{chosen:?} {sent:?}"),
        }
    });
}

/// Two selects, each of which could send to the other and receive from it: they agree on one message.
#[test]
fn loom_selects_meet() {
    model(|| {
        let (one, two) = (channel(0), channel(0));
        let theirs = (Arc::clone(&one), Arc::clone(&two));
        let other = thread::spawn(move || {
            let arms = [TestArm::receive((1, &theirs.0), 0), TestArm::send((2, &theirs.1), 1, 22)];
            select(&arms, u64::MAX)
        });
        let arms = [TestArm::send((1, &one), 0, 11), TestArm::receive((2, &two), 1)];
        let ours = select(&arms, u64::MAX);
        assert_eq!(ours, other.join().expect("no panic"));
    });
}

/// Two selects over the same two channels, queued in the same order, and both give up: they agree.
#[test]
fn loom_selects_give_up() {
    model(|| {
        let (one, two) = (channel(0), channel(0));
        let theirs = (Arc::clone(&one), Arc::clone(&two));
        let other = thread::spawn(move || {
            let arms = [TestArm::receive((1, &theirs.0), 0), TestArm::send((2, &theirs.1), 1, 22)];
            select(&arms, 0)
        });
        let arms = [TestArm::send((1, &one), 0, 11), TestArm::receive((2, &two), 1)];
        let ours = select(&arms, 0);
        assert_eq!(ours, other.join().expect("no panic"));
    });
}

/// A select is told of the end by one of its channels, and by no more.
#[test]
fn loom_close_ends_select() {
    model(|| {
        let (one, two) = (channel(0), channel(0));
        let closer = spawn(&one, Shared::close);
        let arms = [TestArm::receive((1, &one), 0), TestArm::receive((2, &two), 1)];
        assert_eq!(select(&arms, u64::MAX), Some((0, Err(End::Closed))));
        assert!(closer.join().expect("no panic"));
    });
}
