//! Coroutines that send each other messages. In ping-pong and ring no more than one is ever on its way, so that it makes
//! no difference there that may's channels have no bound.

use common::{Timed, fail, note, share};
use may::go;
use may::sync::{mpmc as many, mpsc};

/// There and back.
pub(crate) fn pingpong(count: u64) {
    let run = |count| {
        let (ping, pinged) = mpsc::channel();
        let (pong, ponged) = mpsc::channel();
        let answers = go!(move || {
            for message in pinged.iter() {
                pong.send(message).expect("the other waits for it");
            }
        });
        let asks = go!(move || {
            for message in 0..count {
                ping.send(message).expect("the other waits for it");
                if ponged.recv() != Ok(message) {
                    fail("another message came back");
                }
            }
        });
        asks.join().expect("it only asks");
        answers.join().expect("it only answers");
    };
    run(count / 10);
    let start = Timed::start();
    run(count);
    start.report_each(count);
}

/// The token is how many hops are left. The coroutine that it leaves none tells which one it is.
pub(crate) fn ring(tasks: u64, count: u64) {
    let (arrive, arrived) = mpsc::channel();
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..tasks).map(|_| mpsc::channel::<u64>()).unzip();
    let mut next = senders.iter().cycle().skip(1);
    for (index, receiver) in (0..tasks).zip(receivers) {
        let next = next.next().expect("a ring has no end").clone();
        let arrive = arrive.clone();
        go!(move || {
            for left in receiver.iter() {
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
        let (sender, receiver) = many::channel::<u64>();
        let receivers: Vec<_> = (0..4)
            .map(|_| {
                let receiver = receiver.clone();
                go!(move || receiver.iter().count() as u64)
            })
            .collect();
        for index in 0..4 {
            let sender = sender.clone();
            go!(move || {
                for message in 0..share(count, 4, index) {
                    sender.send(message).expect("it is received");
                }
            });
        }
        drop(sender);
        let received: u64 =
            receivers.into_iter().map(|receiver| receiver.join().expect("it only counts")).sum();
        if received != count {
            fail("a message was lost");
        }
    };
    run(count / 10);
    let start = Timed::start();
    run(count);
    start.report_each(count);
    note("may has no bounded channel: senders never wait");
}
