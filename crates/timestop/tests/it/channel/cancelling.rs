//! A wait in a channel ends when its fiber is cancelled or past its time limit, and no message is lost.

use std::sync::Arc;
use std::time::Duration;

use timestop::channel::{
    Interrupted, RecvError, RecvTimeoutError, Select, SendError, after, bounded, never, select,
    unbounded, unbuffered,
};

use crate::support::on_fiber;

const SOON: Duration = Duration::from_millis(2);
const LATE: Duration = Duration::from_secs(100);

#[test]
fn cancel_ends_receive() {
    on_fiber(|| {
        let (_sender, receiver) = unbuffered::<()>();
        let waits = timestop::spawn(move || receiver.recv());
        waits.cancel();
        assert_eq!(waits.join().expect("no panic"), Err(RecvError::Cancelled));
    });
}

#[test]
fn cancel_ends_send_and_gives_the_message_back() {
    on_fiber(|| {
        let (sender, _receiver) = unbuffered();
        let message = Arc::new(7);
        let theirs = Arc::clone(&message);
        let waits = timestop::spawn(move || sender.send(theirs));
        waits.cancel();
        let Err(SendError::Cancelled(back)) = waits.join().expect("no panic") else {
            panic!("it was cancelled");
        };
        assert!(Arc::ptr_eq(&back, &message));
    });
}

/// A receiver that is never without a message ends; the messages stay. Sending what finds room goes on.
#[test]
fn a_cancelled_fiber_receives_nothing_and_can_say_so() {
    on_fiber(|| {
        let (sender, receiver) = unbounded();
        let (report, reports) = bounded(1);
        let theirs = receiver.clone();
        let consumer = timestop::spawn(move || {
            let mut count = 0;
            let why = loop {
                match theirs.recv() {
                    Ok(()) => count += 1,
                    Err(why) => break why,
                }
            };
            report.send((count, why)).expect("there is room");
            assert_eq!(report.send((0, why)), Err(SendError::Cancelled((0, why))));
        });
        let mut sent = 0;
        while sent < 1_000 {
            sender.send(()).expect("open");
            sent += 1;
        }
        consumer.cancel();
        consumer.join().expect("no panic");
        let (count, why) = reports.recv().expect("a report");
        assert_eq!(why, RecvError::Cancelled);
        assert_eq!(count + receiver.try_iter().count(), sent);
    });
}

#[test]
fn a_time_limit_ends_every_wait() {
    on_fiber(|| {
        let (sender, receiver) = unbuffered::<u8>();
        timestop::timeout(SOON, || {
            assert_eq!(receiver.recv(), Err(RecvError::TimedOut));
            assert_eq!(receiver.recv_timeout(LATE), Err(RecvTimeoutError::Timeout));
            assert_eq!(sender.send(1), Err(SendError::TimedOut(1)));
            assert_eq!(after(LATE).recv(), Err(RecvError::TimedOut));
            assert_eq!(never::<u8>().recv(), Err(RecvError::TimedOut));
            assert!(receiver.iter().next().is_none());
        });
    });
}

#[test]
fn select_tells_of_the_end() {
    on_fiber(|| {
        let (sender, receiver) = unbuffered::<u8>();
        timestop::timeout(SOON, || {
            select! {
                recv(receiver) -> message => assert_eq!(message, Err(RecvError::TimedOut)),
                send(sender, 2) -> _ => unreachable!("nobody receives"),
            }
            let why = select! {
                recv(receiver) -> _ => unreachable!("nobody sends"),
                send(sender, 2) -> _ => unreachable!("nobody receives"),
                cancelled(why) => why,
            };
            assert_eq!(why, Interrupted::TimedOut);
            let default = select! {
                recv(receiver) -> _ => false,
                default => true,
            };
            assert!(default);
            let mut select = Select::new();
            select.recv(&receiver);
            assert_eq!(select.wait().map(|_| ()), Err(Interrupted::TimedOut));
        });
        let cancelled = timestop::spawn(move || {
            select! {
                recv(receiver) -> _ => None,
                cancelled(why) => Some(why),
            }
        });
        cancelled.cancel();
        assert_eq!(cancelled.join().expect("no panic"), Some(Interrupted::Cancelled));
        drop(sender);
    });
}

/// Cancelled at any point, with senders at work: what was sent is received by somebody.
#[test]
fn cancelling_loses_no_message() {
    on_fiber(|| {
        const ROUNDS: u64 = 300;
        let (sender, receiver) = unbuffered();
        let producer = timestop::spawn(move || {
            let sent = (0..ROUNDS).filter(|&number| sender.send(number).is_ok()).sum::<u64>();
            assert_eq!(sent, ROUNDS * (ROUNDS - 1) / 2);
        });
        let mut received = 0;
        let mut ended = false;
        while !ended {
            let theirs = receiver.clone();
            let consumer = timestop::spawn(move || {
                let mut sum = 0;
                loop {
                    match theirs.recv() {
                        Ok(number) => sum += number,
                        Err(why) => return (sum, why),
                    }
                }
            });
            timestop::yield_now();
            consumer.cancel();
            let (sum, why) = consumer.join().expect("no panic");
            received += sum;
            ended = why == RecvError::Disconnected;
            if producer.is_finished() {
                break;
            }
        }
        producer.join().expect("no panic");
        received += receiver.try_iter().sum::<u64>();
        assert_eq!(received, ROUNDS * (ROUNDS - 1) / 2);
    });
}
