//! Tasks that send each other messages: tokio's bounded channel, and async-channel where there are many receivers.

use common::{Timed, fail, share};
use tokio::sync::mpsc;

/// There and back.
pub(crate) async fn pingpong(count: u64) {
    async fn run(count: u64) {
        let (ping, mut pinged) = mpsc::channel(1);
        let (pong, mut ponged) = mpsc::channel(1);
        let answers = tokio::spawn(async move {
            while let Some(message) = pinged.recv().await {
                pong.send(message).await.expect("the other waits for it");
            }
        });
        let asks = tokio::spawn(async move {
            for message in 0..count {
                ping.send(message).await.expect("the other waits for it");
                if ponged.recv().await != Some(message) {
                    fail("another message came back");
                }
            }
        });
        asks.await.expect("it only asks");
        answers.await.expect("it only answers");
    }
    run(count / 10).await;
    let start = Timed::start();
    run(count).await;
    start.report_each(count);
}

/// The token is how many hops are left. The task that it leaves none tells which one it is.
pub(crate) async fn ring(tasks: u64, count: u64) {
    let (arrive, mut arrived) = mpsc::channel(1);
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..tasks).map(|_| mpsc::channel::<u64>(1)).unzip();
    let mut next = senders.iter().cycle().skip(1);
    for (index, mut receiver) in (0..tasks).zip(receivers) {
        let next = next.next().expect("a ring has no end").clone();
        let arrive = arrive.clone();
        tokio::spawn(async move {
            while let Some(left) = receiver.recv().await {
                match left {
                    0 => arrive.send(index).await.expect("somebody waits for it"),
                    _ => next.send(left - 1).await.expect("the ring goes on"),
                }
            }
        });
    }
    let mut run = async |count| {
        senders[0].send(count - 1).await.expect("the first one waits");
        if arrived.recv().await != Some((count - 1) % tasks) {
            fail("the token is where it should not be");
        }
    };
    run(count.div_ceil(10)).await;
    let start = Timed::start();
    run(count).await;
    start.report_each(count);
}

/// Four senders, four receivers.
pub(crate) async fn mpmc(count: u64) {
    async fn run(count: u64) {
        let (sender, receiver) = async_channel::bounded::<u64>(1024);
        let receivers: Vec<_> = (0..4)
            .map(|_| {
                let receiver = receiver.clone();
                tokio::spawn(async move {
                    let mut received = 0;
                    while receiver.recv().await.is_ok() {
                        received += 1;
                    }
                    received
                })
            })
            .collect();
        for index in 0..4 {
            let sender = sender.clone();
            tokio::spawn(async move {
                for message in 0..share(count, 4, index) {
                    sender.send(message).await.expect("it is received");
                }
            });
        }
        drop(sender);
        let mut received: u64 = 0;
        for receiver in receivers {
            received += receiver.await.expect("it only counts");
        }
        if received != count {
            fail("a message was lost");
        }
    }
    run(count / 10).await;
    let start = Timed::start();
    run(count).await;
    start.report_each(count);
}

/// Eight channels, of which one has a message: another one in each round.
pub(crate) async fn select_one(count: u64) {
    async fn run(count: u64, channels: &mut [(mpsc::Sender<u64>, mpsc::Receiver<u64>); 8]) {
        for message in 0..count {
            channels[(message % 8) as usize].0.try_send(message).expect("there is room");
            let [r0, r1, r2, r3, r4, r5, r6, r7] =
                channels.each_mut().map(|(_, receiver)| receiver);
            let received = tokio::select! {
                received = r0.recv() => received,
                received = r1.recv() => received,
                received = r2.recv() => received,
                received = r3.recv() => received,
                received = r4.recv() => received,
                received = r5.recv() => received,
                received = r6.recv() => received,
                received = r7.recv() => received,
            };
            if received != Some(message) {
                fail("another message was selected");
            }
        }
    }
    let mut channels = std::array::from_fn(|_| mpsc::channel(1));
    run(count / 10, &mut channels).await;
    let start = Timed::start();
    run(count, &mut channels).await;
    start.report_each(count);
}
