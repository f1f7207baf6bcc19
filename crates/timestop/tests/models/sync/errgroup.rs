//! `golang.org/x/sync/errgroup`'s tests.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use timestop::channel::{RecvError, bounded, unbuffered};
use timestop::sync::{Context, ContextError, Group, group, group_within};

use super::text;
use crate::support::{listen, on_fiber, until};

/// `TestZeroGroup`: the first error counts, and what is done without is no error.
#[test]
fn first_error() {
    on_fiber(|| {
        let cases: [&[Option<u32>]; 6] =
            [&[], &[None], &[Some(1)], &[Some(1), None], &[Some(1), None, Some(2)], &[None, None]];
        for results in cases {
            let first = results.iter().find_map(|result| *result);
            // One after the other, so that one is the first.
            let ended = group(|group| {
                group.set_limit(1);
                for result in results {
                    group.spawn(move || result.map_or(Ok(()), Err));
                }
                Ok(7)
            });
            assert_eq!(ended, first.map_or(Ok(7), Err));
        }
    });
}

/// `TestWithContext`: an error gives the context up, and so does the end.
#[test]
fn context() {
    on_fiber(|| {
        let mut after = None;
        let ended: Result<(), &str> = group(|group| {
            after = Some(group.context().clone());
            group.spawn(|| Err("no"));
            assert!(group.context().done().recv().is_err());
            Ok(())
        });
        assert_eq!(ended, Err("no"));
        assert_eq!(after.and_then(|context| context.err()), Some(ContextError::Cancelled));

        let mut after = None;
        let ended: Result<(), &str> = group(|group| {
            after = Some(group.context().clone());
            assert_eq!(group.context().err(), None);
            Ok(())
        });
        assert_eq!(ended, Ok(()));
        assert_eq!(after.and_then(|context| context.err()), Some(ContextError::Cancelled));
    });
}

/// `TestTryGo`
#[test]
fn try_go() {
    on_fiber(|| {
        let (release, wait) = unbuffered::<()>();
        let ended: Result<(), ()> = group(|group| {
            group.set_limit(3);
            for _ in 0..3 {
                let wait = wait.clone();
                assert!(group.try_spawn(move || {
                    assert_eq!(wait.recv(), Err(RecvError::Disconnected));
                    Ok(())
                }));
            }
            assert!(!group.try_spawn(|| Ok(())));
            release.close();
            until("there is room again", || group.try_spawn(|| Ok(())));
            Ok(())
        });
        assert_eq!(ended, Ok(()));
    });
}

/// `TestGoLimit`: never more at once.
#[test]
fn limit() {
    on_fiber(|| {
        const LIMIT: usize = 10;
        let (active, most, all) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let ended: Result<(), ()> = group(|group| {
            group.set_limit(LIMIT);
            for _ in 0..1_000 {
                group.spawn(|| {
                    let now = active.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    timestop::yield_now();
                    active.fetch_sub(1, Ordering::SeqCst);
                    all.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                });
            }
            Ok(())
        });
        assert_eq!(ended, Ok(()));
        assert_eq!(all.load(Ordering::SeqCst), 1_000);
        assert!((1..=LIMIT).contains(&most.load(Ordering::SeqCst)));
    });
}

/// `SetLimit` while fibers run, and of none.
#[test]
fn misuse() {
    on_fiber(|| {
        let (release, wait) = unbuffered::<()>();
        let ended: Result<(), ()> = group(|group| {
            assert!(text(|| group.set_limit(0)).contains("a limit of 0"));
            group.spawn(move || {
                assert!(wait.recv().is_err());
                Ok(())
            });
            assert!(text(|| group.set_limit(3)).contains("set_limit() while 1 fibers run"));
            drop(release);
            Ok(())
        });
        assert_eq!(ended, Ok(()));
    });
}

/// The first error ends siblings in whatever they wait, here a socket and a channel.
#[test]
fn an_error_cancels_the_others() {
    on_fiber(|| {
        let (listener, address) = listen();
        let (fail, told) = bounded::<()>(1);
        let (_nobody, never) = unbuffered::<()>();
        let ended = group(|group| {
            group.spawn(|| {
                let mut stream = TcpStream::connect(address)?;
                fail.send(()).expect("there is room");
                stream.read(&mut [0]).map(|_count| ())
            });
            group.spawn(|| match never.recv() {
                Err(RecvError::Cancelled) => Ok(()),
                other => panic!("{other:?}"),
            });
            group.spawn(|| {
                told.recv().expect("it is told");
                Err(std::io::Error::other("the first"))
            });
            Ok(())
        });
        drop(listener);
        assert_eq!(ended.expect_err("there was an error").to_string(), "the first");
    });
}

/// An error of the body counts as any other. What is spawned afterwards starts cancelled.
#[test]
fn the_body_fails() {
    on_fiber(|| {
        let ended: Result<(), u32> = group(|group: &Group<'_, '_, u32>| {
            group.spawn(|| {
                std::thread::sleep(Duration::from_secs(3_600)); // ended by cancelling
                Err(2)
            });
            Err(1)
        });
        assert_eq!(ended, Err(1));

        let saw = AtomicUsize::new(0);
        let ended: Result<(), u32> = group(|group| {
            group.spawn(|| Err(3));
            assert!(group.context().done().recv().is_err());
            group.spawn(|| {
                let (_sender, receiver) = unbuffered::<()>();
                saw.fetch_add(
                    usize::from(receiver.recv() == Err(RecvError::Cancelled)),
                    Ordering::SeqCst,
                );
                Ok(())
            });
            Ok(())
        });
        assert_eq!((ended, saw.into_inner()), (Err(3), 1));
    });
}

/// `TestPanic`: a panic ends the others and comes out, with its own payload, even after an error.
#[test]
fn panics() {
    on_fiber(|| {
        let payload = std::panic::catch_unwind(|| {
            let _: Result<(), ()> = group(|group| {
                group.spawn(|| {
                    std::thread::sleep(Duration::from_secs(3_600));
                    Err(())
                });
                group.spawn(|| std::panic::panic_any(42_u64));
                Ok(())
            });
        });
        assert_eq!(payload.expect_err("it panicked").downcast_ref(), Some(&42_u64));

        let said = text(|| {
            let _: Result<(), ()> = group(|group| {
                group.spawn(|| Err(()));
                assert!(group.context().done().recv().is_err());
                group.spawn(|| panic!("a fiber"));
                Ok(())
            });
        });
        assert_eq!(said, "a fiber");

        let said = text(|| {
            let _: Result<(), ()> = group(|group| {
                group.spawn(|| {
                    std::thread::sleep(Duration::from_secs(3_600));
                    Ok(())
                });
                panic!("the body");
            });
        });
        assert_eq!(said, "the body");
    });
}

/// Fibers spawn others, and a context above reaches all of them.
#[test]
fn nested_below_a_context() {
    on_fiber(|| {
        let (parent, cancel) = Context::background().with_cancel();
        let ready = Arc::new(AtomicUsize::new(0));
        let ended: Result<(), RecvError> = group_within(&parent, |group| {
            let (theirs, outer) = (group.clone(), Arc::clone(&ready));
            group.spawn(move || {
                let (_sender, receiver) = unbuffered::<()>();
                theirs.spawn(move || {
                    let (_sender, receiver) = unbuffered::<()>();
                    outer.fetch_add(1, Ordering::SeqCst);
                    receiver.recv()
                });
                receiver.recv()
            });
            until("the inner one runs", || ready.load(Ordering::SeqCst) == 1);
            cancel.cancel();
            Ok(())
        });
        assert_eq!(ended, Err(RecvError::Cancelled));
    });
}

/// Fibers and the values that they borrow end before the group does; errors may borrow as well.
#[test]
fn borrows() {
    on_fiber(|| {
        let words = ["one".to_owned(), "two".to_owned()];
        let count = AtomicUsize::new(0);
        let ended: Result<usize, &str> = group(|group| {
            for word in &words {
                let count = &count;
                group.spawn(move || {
                    count.fetch_add(word.len(), Ordering::SeqCst);
                    if word == "two" { Err(word.as_str()) } else { Ok(()) }
                });
            }
            Ok(1)
        });
        assert_eq!((ended, count.into_inner()), (Err("two"), 6));
    });
}
