//! Threads that send each other messages: std's bounded channel, and crossbeam's where there are many receivers.

use std::sync::mpsc::{channel, sync_channel};
use std::thread;

use common::{Timed, fail, share};
use crossbeam_channel::select;

/// There and back.
pub(crate) fn pingpong(count: u64) {
    let run = |count| {
        let (ping, pinged) = sync_channel(1);
        let (pong, ponged) = sync_channel(1);
        thread::scope(|scope| {
            scope.spawn(move || {
                for message in pinged {
                    pong.send(message).expect("the other waits for it");
                }
            });
            scope.spawn(move || {
                for message in 0..count {
                    ping.send(message).expect("the other waits for it");
                    if ponged.recv() != Ok(message) {
                        fail("another message came back");
                    }
                }
            });
        });
    };
    run(count / 10);
    let start = Timed::start();
    run(count);
    start.report_each(count);
}

/// The token is how many hops are left. The thread that it leaves none tells which one it is.
pub(crate) fn ring(tasks: u64, count: u64) {
    let (arrive, arrived) = channel();
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..tasks).map(|_| sync_channel::<u64>(1)).unzip();
    let mut next = senders.iter().cycle().skip(1);
    for (index, receiver) in (0..tasks).zip(receivers) {
        let next = next.next().expect("a ring has no end").clone();
        let arrive = arrive.clone();
        thread::spawn(move || {
            for left in receiver {
                match left {
                    0 => arrive.send(index).expect("somebody waits for it"),
                    _ => next.send(left - 1).expect("the ring goes on"),
                }
            }
        });
    }
    let run = |count| {
        senders[0].send(count - 1).expect("the first one waits");
        if arrived.recv() != Ok((count - 1) % tasks) {
            fail("the token is where it should not be");
        }
    };
    run(count.div_ceil(10));
    let start = Timed::start();
    run(count);
    start.report_each(count);
}

/// Four senders, four receivers.
pub(crate) fn mpmc(count: u64) {
    let run = |count| {
        let (sender, receiver) = crossbeam_channel::bounded::<u64>(1024);
        let received: u64 = thread::scope(|scope| {
            let receivers: Vec<_> = (0..4)
                .map(|_| {
                    let receiver = receiver.clone();
                    scope.spawn(move || receiver.iter().count() as u64)
                })
                .collect();
            for index in 0..4 {
                let sender = sender.clone();
                scope.spawn(move || {
                    for message in 0..share(count, 4, index) {
                        sender.send(message).expect("it is received");
                    }
                });
            }
            drop(sender);
            receivers.into_iter().map(|thread| thread.join().expect("it only counts")).sum()
        });
        if received != count {
            fail("a message was lost");
        }
    };
    run(count / 10);
    let start = Timed::start();
    run(count);
    start.report_each(count);
}

/// Eight channels, of which one has a message: another one in each round.
pub(crate) fn select_one(count: u64) {
    let channels: [_; 8] = std::array::from_fn(|_| crossbeam_channel::bounded::<u64>(1));
    let [r0, r1, r2, r3, r4, r5, r6, r7] = channels.each_ref().map(|(_, receiver)| receiver);
    let run = |count| {
        for message in 0..count {
            channels[(message % 8) as usize].0.send(message).expect("there is room");
            let received = select! {
                recv(r0) -> received => received,
                recv(r1) -> received => received,
                recv(r2) -> received => received,
                recv(r3) -> received => received,
                recv(r4) -> received => received,
                recv(r5) -> received => received,
                recv(r6) -> received => received,
                recv(r7) -> received => received,
            };
            if received != Ok(message) {
                fail("another message was selected");
            }
        }
    };
    run(count / 10);
    let start = Timed::start();
    run(count);
    start.report_each(count);
}
