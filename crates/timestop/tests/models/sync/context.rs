//! `context/context_test.go` and `x_test.go`, but for values.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use timestop::channel::{RecvError, RecvTimeoutError, TryRecvError, select, unbuffered};
use timestop::sync::{Cancel, Context, ContextError};

use crate::support::{Mix, on_fiber, tcp_pair, until};

const SOON: Duration = Duration::from_millis(5);
const LATE: Duration = Duration::from_secs(3_600);

fn over(context: &Context) -> bool {
    context.done().try_recv() == Err(TryRecvError::Disconnected)
}

/// `TestBackground`
#[test]
fn background() {
    let context = Context::background();
    assert!(!over(&context));
    assert_eq!((context.err(), context.deadline(), context.cause().is_some()), (None, None, false));
}

/// `TestWithCancel`
#[test]
fn with_cancel() {
    on_fiber(|| {
        let (context, cancel) = Context::background().with_cancel();
        let theirs = context.clone();
        let waiter = timestop::spawn(move || theirs.done().recv());
        assert_eq!((over(&context), context.err()), (false, None));
        cancel.cancel();
        assert_eq!((over(&context), context.err()), (true, Some(ContextError::Cancelled)));
        assert_eq!(waiter.join().expect("no panic"), Err(RecvError::Disconnected));
        cancel.cancel();
        assert_eq!(context.err(), Some(ContextError::Cancelled));
    });
}

/// `TestParentFinishesChild`, `TestChildFinishesFirst`
#[test]
fn parents_and_children() {
    on_fiber(|| {
        let (parent, cancel) = Context::background().with_cancel();
        let (child, _keep) = parent.with_cancel();
        let (first, cancel_first) = parent.with_cancel();
        let (below, _keep_below) = child.with_timeout(LATE);
        cancel_first.cancel();
        assert_eq!([over(&parent), over(&child), over(&first)], [false, false, true]);
        cancel.cancel();
        for context in [&parent, &child, &below] {
            assert_eq!((over(context), context.err()), (true, Some(ContextError::Cancelled)));
        }
        // Of one that is over: over.
        let (late, _keep_late) = parent.with_cancel();
        assert_eq!((over(&late), late.err()), (true, Some(ContextError::Cancelled)));
    });
}

/// `defer cancel()`: dropping it cancels.
#[test]
fn dropping_cancels() {
    let (context, cancel) = Context::background().with_cancel();
    drop(cancel);
    assert_eq!(context.err(), Some(ContextError::Cancelled));
}

/// `TestDeadline`, `TestTimeout`
#[test]
fn deadlines() {
    on_fiber(|| {
        let (context, _cancel) = Context::background().with_timeout(SOON);
        let (below, _cancel_below) = context.with_timeout(LATE);
        assert_eq!(below.deadline(), context.deadline());
        assert_eq!(below.done().recv(), Err(RecvError::Disconnected));
        assert_eq!(below.err(), Some(ContextError::DeadlineExceeded));
        assert!(context.deadline().is_some_and(|at| at <= Instant::now()));

        let (nearer, _cancel_nearer) = Context::background().with_timeout(LATE);
        let (nearer, _cancel_nearest) = nearer.with_deadline(Instant::now() + SOON);
        assert_eq!(nearer.done().recv(), Err(RecvError::Disconnected));
        assert_eq!(nearer.err(), Some(ContextError::DeadlineExceeded));

        // `TestAlreadyExpired…`
        let (past, _cancel_past) = Context::background().with_deadline(Instant::now());
        assert_eq!(past.err(), Some(ContextError::DeadlineExceeded));
    });
}

/// `TestCanceledTimeout`: the first counts, and the fiber that waits for the time ends.
#[test]
fn cancelled_before_the_deadline() {
    on_fiber(|| {
        let (context, cancel) = Context::background().with_timeout(LATE);
        cancel.cancel();
        assert_eq!(context.err(), Some(ContextError::Cancelled));
        assert!(context.deadline().is_some());
    });
}

/// `TestCause`
#[test]
fn causes() {
    let why = |context: &Context| context.cause().map(|cause| cause.to_string());
    let (parent, cancel) = Context::background().with_cancel();
    let (child, cancel_child) = parent.with_cancel();
    let (other, cancel_other) = parent.with_cancel();
    assert_eq!(why(&parent), None);
    cancel_other.cancel_because("its own");
    cancel.cancel_because("enough");
    cancel_child.cancel_because("too late");
    assert_eq!(why(&parent).as_deref(), Some("enough"));
    assert_eq!(why(&child).as_deref(), Some("enough"));
    assert_eq!(why(&other).as_deref(), Some("its own"));
    let (plain, cancel) = Context::background().with_cancel();
    cancel.cancel();
    assert_eq!(why(&plain).as_deref(), Some("the context was cancelled"));
}

/// `ExampleWithTimeout`
#[test]
fn in_select() {
    on_fiber(|| {
        let (context, _cancel) = Context::background().with_timeout(SOON);
        let (_sender, never) = unbuffered::<()>();
        let chose = select! {
            recv(context.done()) -> _ => 1,
            recv(never) -> _ => 2,
        };
        assert_eq!(chose, 1);
    });
}

/// `TestSimultaneousCancels`, `TestLayersCancel`: a deep and a wide tree end as one.
#[test]
fn trees() {
    Mix::each(|mix| {
        let (root, cancel) = Context::background().with_cancel();
        let mut contexts = vec![(root, None::<Cancel>)];
        for index in 0..3_000 {
            // A chain and a fan.
            let above = if index % 2 == 0 { 0 } else { contexts.len() - 1 };
            let (context, cancel) = contexts[above].0.with_cancel();
            contexts.push((context, Some(cancel)));
        }
        let contexts = Arc::new(contexts);
        let theirs = Arc::clone(&contexts);
        let some = mix.spawn(1, move || {
            for (_, cancel) in theirs.iter().step_by(7) {
                cancel.iter().for_each(Cancel::cancel);
            }
        });
        cancel.cancel();
        some.join();
        assert!(contexts.iter().all(|(context, _)| over(context)));
    });
}

/// A chain far deeper than a fiber's stack.
#[test]
fn a_deep_chain() {
    on_fiber(|| {
        let (root, cancel) = Context::background().with_cancel();
        let mut chain = vec![root.with_cancel()];
        for index in 0..20_000 {
            let next = chain[index].0.with_cancel();
            chain.push(next);
        }
        cancel.cancel();
        assert!(over(&chain[20_000].0));
    });
}

/// What a fiber inherits: nothing by itself; from its context, both.
#[test]
fn fibers_under_a_context() {
    on_fiber(|| {
        let (context, cancel) = Context::background().with_cancel();
        let (ready, readies) = unbuffered();
        let reads = context.spawn(move || {
            use std::io::Read;
            let (mut ours, _theirs) = tcp_pair();
            ready.send(()).expect("it is received");
            ours.read(&mut [0]).map_err(|error| error.raw_os_error())
        });
        let (_sender, receiver) = unbuffered::<()>();
        let receives = context.spawn(move || receiver.recv());
        let own = context.spawn(|| timestop::spawn(|| unbuffered::<()>().1.len()).join().is_ok());
        readies.recv().expect("it is sent");
        cancel.cancel();
        assert_eq!(reads.join().expect("no panic"), Err(Some(libc_ecanceled())));
        assert_eq!(receives.join().expect("no panic"), Err(RecvError::Cancelled));
        assert!(own.join().expect("no panic"));
        let (_sender, receiver) = unbuffered::<()>();
        let late = context.spawn(move || receiver.recv());
        assert_eq!(late.join().expect("no panic"), Err(RecvError::Cancelled));
    });
}

fn libc_ecanceled() -> i32 {
    rustix::io::Errno::CANCELED.raw_os_error()
}

#[test]
fn fibers_under_a_deadline() {
    on_fiber(|| {
        let (context, _cancel) = Context::background().with_timeout(SOON);
        let reads = context.spawn(|| {
            use std::io::Read;
            let (mut ours, _theirs) = tcp_pair();
            let error = ours.read(&mut [0]).expect_err("it ends");
            error.kind() == ErrorKind::TimedOut || error.raw_os_error() == Some(libc_ecanceled())
        });
        assert!(reads.join().expect("no panic"));
    });
}

/// Fibers come and go while their context ends: none is missed, and none that has ended is touched.
#[test]
fn ending_at_the_same_time() {
    on_fiber(|| {
        for _ in 0..100 {
            let (context, cancel) = Context::background().with_cancel();
            let ended = Arc::new(AtomicUsize::new(0));
            let fibers: Vec<_> = (0..8)
                .map(|index| {
                    let ended = Arc::clone(&ended);
                    context.spawn(move || {
                        let (_sender, receiver) = unbuffered::<()>();
                        // Half of them end at once.
                        let result = (index % 2 == 0).then(|| receiver.recv());
                        ended.fetch_add(1, Ordering::SeqCst);
                        result
                    })
                })
                .collect();
            if fibers[0].id() % 2 == 0 {
                until("one has ended", || ended.load(Ordering::SeqCst) > 0);
            }
            cancel.cancel();
            for fiber in fibers {
                let result = fiber.join().expect("no panic");
                assert!(matches!(result, None | Some(Err(RecvError::Cancelled))));
            }
            // A fiber in the place of one of those is not cancelled.
            let (_sender, receiver) = unbuffered::<()>();
            let limit = Duration::from_micros(10);
            let next = timestop::spawn(move || receiver.recv_timeout(limit));
            let why = next.join().expect("no panic").expect_err("nobody sends");
            assert_eq!(why, RecvTimeoutError::Timeout);
        }
    });
}
