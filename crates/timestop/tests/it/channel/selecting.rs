//! `select!` and `Select`.

use std::thread;
use std::time::Duration;

use timestop::channel::{
    Receiver, RecvError, Select, SendError, after, bounded, never, select, tick, unbounded,
    unbuffered,
};

use crate::support::{Mix, on_fiber};

const MOMENT: Duration = Duration::from_millis(2);

/// Of arms that are ready each has its turn; with a chance of 2⁻⁵⁰⁰ that this fails by chance.
#[test]
fn ready_arms_have_the_same_chance() {
    let channels: Vec<_> = (0..4).map(|_| unbounded()).collect();
    for (sender, _) in &channels {
        (0..4_000).for_each(|_| sender.send(()).expect("open"));
    }
    let mut counts = [0; 5];
    let (sender, _keep) = unbounded();
    for _ in 0..5_000 {
        select! {
            recv(channels[0].1) -> _ => counts[0] += 1,
            recv(channels[1].1) -> _ => counts[1] += 1,
            recv(channels[2].1) -> _ => counts[2] += 1,
            recv(channels[3].1) -> _ => counts[3] += 1,
            send(sender, 1) -> _ => counts[4] += 1,
        }
    }
    assert!(counts.iter().all(|count| (700..1_300).contains(count)), "{counts:?}");
}

#[test]
fn arms_are_expressions_and_blocks() {
    fn first(receiver: &Receiver<u8>) -> Result<u8, RecvError> {
        loop {
            select! {
                recv(receiver) -> byte => return byte,
                default => {
                    continue;
                }
            }
        }
    }
    let (sender, receiver) = bounded(1);
    sender.send(9).expect("room");
    assert_eq!(first(&receiver), Ok(9));
    drop(sender);
    assert_eq!(first(&receiver), Err(RecvError::Disconnected));
    let mut rounds = 0;
    while rounds < 10 {
        select! {
            recv(never::<()>()) -> _ => break,
            recv(after(Duration::ZERO)) -> _ => rounds += 1,
        }
    }
    assert_eq!(rounds, 10);
    // A receiver may be moved in the arm's code: no arm holds it any more.
    let (_sender, receiver) = unbuffered::<()>();
    let moved = select! {
        recv(receiver) -> _ => None,
        default(MOMENT) => Some(receiver),
    };
    assert!(moved.is_some());
}

#[test]
fn a_message_that_was_not_chosen_is_dropped() {
    let counted = std::sync::Arc::new(());
    let (full, _receiver) = bounded(0);
    let (sender, receiver) = bounded(1);
    select! {
        send(full, counted.clone()) -> _ => unreachable!("nobody receives"),
        send(sender, counted.clone()) -> sent => sent.expect("room"),
    }
    assert_eq!(std::sync::Arc::strong_count(&counted), 2);
    drop(receiver);
    assert_eq!(std::sync::Arc::strong_count(&counted), 1);
    select! {
        send(sender, counted.clone()) -> sent => assert!(matches!(sent, Err(SendError::Disconnected(_)))),
    }
    assert_eq!(std::sync::Arc::strong_count(&counted), 1);
}

#[test]
fn waits_in_every_arm() {
    Mix::each(|mix| {
        for chosen in 0..3 {
            let channels: Vec<_> = (0..3).map(|_| unbuffered::<usize>()).collect();
            let sender = channels[chosen].0.clone();
            let partner = mix.spawn(1, move || sender.send(chosen));
            let received = select! {
                recv(channels[0].1) -> message => message,
                recv(channels[1].1) -> message => message,
                recv(channels[2].1) -> message => message,
            };
            assert_eq!((received, partner.join()), (Ok(chosen), Ok(())));
            let receiver = channels[chosen].1.clone();
            let partner = mix.spawn(1, move || receiver.recv());
            let sent = select! {
                send(channels[0].0, 10) -> sent => sent.map(|()| 10),
                send(channels[1].0, 11) -> sent => sent.map(|()| 11),
                send(channels[2].0, 12) -> sent => sent.map(|()| 12),
            };
            assert_eq!((sent, partner.join()), (Ok(10 + chosen), Ok(10 + chosen)));
        }
    });
}

#[test]
fn one_channel_in_several_arms() {
    Mix::each(|mix| {
        let (sender, receiver) = unbuffered();
        // Neither the one select's own arms meet, nor does it wait for ever.
        let nothing = select! {
            recv(receiver) -> _ => false,
            send(sender, 1) -> _ => false,
            recv(receiver) -> _ => false,
            default(MOMENT) => true,
        };
        assert!(nothing);
        let (theirs, others) = (sender.clone(), receiver.clone());
        let other = mix.spawn(1, move || {
            select! {
                recv(others) -> message => (message.expect("open"), true),
                send(theirs, 2) -> sent => sent.map(|()| (2, false)).expect("open"),
            }
        });
        let ours = select! {
            recv(receiver) -> message => (message.expect("open"), true),
            send(sender, 1) -> sent => sent.map(|()| (1, false)).expect("open"),
        };
        let (message, received) = other.join();
        assert_eq!(ours, (message, !received));
    });
}

#[test]
fn close_wakes_a_select() {
    Mix::each(|mix| {
        let (sender, receiver) = unbuffered::<()>();
        let (_other, others) = unbuffered::<()>();
        let closer = mix.spawn(1, move || {
            thread::sleep(MOMENT);
            drop(sender);
        });
        select! {
            recv(others) -> _ => unreachable!("nobody sends"),
            recv(receiver) -> message => assert_eq!(message, Err(RecvError::Disconnected)),
        }
        closer.join();
    });
}

#[test]
fn clocks_among_channels() {
    on_fiber(|| {
        let (_sender, receiver) = unbuffered::<()>();
        let ticks = tick(MOMENT);
        let end = after(10 * MOMENT);
        let (mut count, mut ended) = (0, false);
        while !ended || count == 0 {
            select! {
                recv(receiver) -> _ => unreachable!("nobody sends"),
                recv(ticks) -> _ => count += 1,
                recv(end) -> time => ended = time.is_ok(),
            }
        }
    });
}

#[test]
fn builder_over_many_channels() {
    on_fiber(|| {
        let channels: Vec<_> = (0..100).map(|_| bounded(1)).collect();
        let (sender, receiver) = unbuffered();
        let mut select = Select::new();
        for (_, receiver) in &channels {
            select.recv(receiver);
        }
        assert!(select.try_wait().is_none());
        assert!(select.wait_timeout(MOMENT).expect("no limit").is_none());
        for round in 0..200 {
            let index = round * 37 % 100;
            channels[index].0.send(round).expect("room");
            let chosen = select.wait().expect("no limit");
            assert_eq!(chosen.index(), index);
            assert_eq!(chosen.recv(&channels[index].1), Ok(round));
        }
        // A message is sent once; until then the select keeps it.
        let arm = select.send(&sender, 7);
        assert!(select.try_wait().is_none());
        let partner = timestop::spawn(move || receiver.recv());
        let chosen = select.wait().expect("no limit");
        assert_eq!(chosen.index(), arm);
        assert_eq!(chosen.send(&sender), Ok(()));
        assert_eq!(partner.join().expect("no panic"), Ok(7));
    });
}

#[test]
#[should_panic(expected = "arm 0 of the select does not receive from this channel")]
fn a_chosen_arm_is_asked_for_its_own_channel() {
    let (sender, receiver) = bounded(1);
    let (_other, others) = bounded::<u8>(1);
    sender.send(1_u64).expect("room");
    let mut select = Select::new();
    select.recv(&receiver);
    let _ = select.wait().expect("no limit").recv(&others);
}
