//! Cases of Twisted's `test_defer.py`: `DeferredCancellerTests`, the cancelling of lists, `addTimeout`.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use timestop::reactor::{
    CancelledError, Deferred, DeferredList, EventLoop, Failure, Listed, TimeoutError, Trigger,
    gather_results, inline_callbacks, succeed, wait,
};

/// An error that comes from cancelling, a time limit, or neither.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    Cancelled,
    Late,
    Other,
}

impl From<CancelledError> for Why {
    fn from(_: CancelledError) -> Self {
        Self::Cancelled
    }
}

impl From<TimeoutError> for Why {
    fn from(_: TimeoutError) -> Self {
        Self::Late
    }
}

type Waiting = (Trigger<u32, Why>, Deferred<u32, Why>);

#[test]
fn no_canceller() {
    let (trigger, deferred): Waiting = Deferred::new();
    deferred.cancel();
    // Who does not know of it may fire once, in vain.
    trigger.callback(1).expect("forgiven");
    trigger.callback(2).expect_err("once");
    assert_eq!(deferred.try_result().expect("fired"), Err(Why::Cancelled));
    let (trigger, deferred): Waiting = Deferred::new();
    deferred.cancel();
    trigger.errback(Why::Other).expect("forgiven");
    trigger.errback(Why::Other).expect_err("once");
    assert_eq!(deferred.try_result().expect("fired"), Err(Why::Cancelled));
}

#[test]
fn the_canceller_is_called_once() {
    let calls = Rc::new(Cell::new(0));
    let theirs = Rc::clone(&calls);
    let (trigger, deferred) =
        Deferred::<u32, Why>::with_canceller(move |_| theirs.set(theirs.get() + 1));
    deferred.cancel();
    deferred.cancel();
    assert_eq!(calls.get(), 1);
    trigger.callback(1).expect_err("it has a canceller, which knows who fires");
    assert_eq!(deferred.try_result().expect("fired"), Err(Why::Cancelled));
}

#[test]
fn the_canceller_may_fire() {
    let (_trigger, deferred) = Deferred::<u32, Why>::with_canceller(|trigger| {
        trigger.callback(5).expect("the first time");
    });
    deferred.cancel();
    assert_eq!(deferred.try_result().expect("fired"), Ok(5));
    let (_trigger, deferred) = Deferred::<u32, Why>::with_canceller(|trigger| {
        trigger.errback(Why::Other).expect("the first time");
    });
    deferred.cancel();
    assert_eq!(deferred.try_result().expect("fired"), Err(Why::Other));
}

#[test]
fn cancel_after_firing_does_nothing() {
    let (trigger, deferred) = Deferred::<u32, Why>::with_canceller(|_| panic!("it has fired"));
    trigger.callback(1).expect("once");
    deferred.cancel();
    assert_eq!(deferred.try_result().expect("fired"), Ok(1));
}

/// From the end of a chain, through callbacks of other types.
#[test]
fn cancelling_the_end_cancels_the_beginning() {
    let (_trigger, deferred): Waiting = Deferred::new();
    let end = deferred.map(|value| value.to_string()).add_errback(|why| {
        assert_eq!(why, Why::Cancelled);
        Ok("cleaned up".to_owned())
    });
    end.cancel();
    assert_eq!(end.try_result().expect("fired"), Ok("cleaned up".to_owned()));
}

#[test]
fn cancelling_cancels_the_deferred_that_a_callback_returned() {
    let (_inner_trigger, inner): Waiting = Deferred::new();
    let end = succeed::<(), Why>(()).add_callback(move |()| inner).add_errback(|why| {
        assert_eq!(why, Why::Cancelled);
        Ok(3)
    });
    assert!(!end.is_fired());
    end.cancel();
    assert_eq!(end.try_result().expect("fired"), Ok(3));
}

#[test]
fn the_usual_errors_tell_of_cancelling() {
    let (_trigger, deferred) = Deferred::<u32>::new();
    deferred.cancel();
    let error: Failure = deferred.try_result().expect("fired").expect_err("cancelled");
    assert!(error.is::<CancelledError>());
    let (_trigger, deferred) = Deferred::<u32, std::io::Error>::new();
    deferred.cancel();
    let error = deferred.try_result().expect("fired").expect_err("cancelled");
    assert!(error.get_ref().expect("it holds one").is::<CancelledError>());
}

#[test]
fn cancelling_a_list_cancels_what_has_not_fired() {
    let (first, one): Waiting = Deferred::new();
    let (_second, two): Waiting = Deferred::new();
    let (_third, three) =
        Deferred::<u32, Why>::with_canceller(|trigger| trigger.callback(3).expect("once"));
    let list = DeferredList::new([one, two, three]).into_deferred();
    first.callback(1).expect("once");
    list.cancel();
    let all = Listed::All(vec![Ok(1), Err(Why::Cancelled), Ok(3)]);
    assert_eq!(list.try_result().expect("fired"), Ok(all));
}

#[test]
fn cancelling_gathered_results() {
    let (_first, one): Waiting = Deferred::new();
    let (_second, two): Waiting = Deferred::new();
    let all = gather_results([one, two], true);
    all.cancel();
    let first = all.try_result().expect("fired").expect_err("cancelled");
    assert_eq!((first.index, first.error), (0, Why::Cancelled));
}

#[test]
fn a_body_gets_the_error_of_what_it_waits_for() {
    let (_trigger, deferred): Waiting = Deferred::new();
    let (_other, second): Waiting = Deferred::new();
    let body = inline_callbacks(move || {
        assert_eq!(wait(deferred), Err(Why::Cancelled));
        // It may go on, and be cancelled anew.
        wait(second)
    });
    body.cancel();
    assert!(!body.is_fired());
    body.cancel();
    assert_eq!(body.try_result().expect("fired"), Err(Why::Cancelled));
}

#[test]
fn timeouts() {
    let event_loop = EventLoop::new().expect("descriptors");
    let soon = Duration::from_millis(2);
    let late = Duration::from_secs(1_000);
    // In time.
    let (trigger, deferred): Waiting = Deferred::new();
    let in_time = deferred.add_timeout(&event_loop, late);
    event_loop.call_soon(move || trigger.callback(1).expect("once"));
    assert_eq!(event_loop.run_until_complete(in_time).expect("it runs"), Ok(1));
    // Too late.
    let (_trigger, deferred): Waiting = Deferred::new();
    let too_late = deferred.add_timeout(&event_loop, soon);
    assert_eq!(event_loop.run_until_complete(too_late).expect("it runs"), Err(Why::Late));
    // Too late, but the canceller has a value.
    let (_trigger, deferred) =
        Deferred::<u32, Why>::with_canceller(|trigger| trigger.callback(7).expect("once"));
    let rescued = deferred.add_timeout(&event_loop, soon);
    assert_eq!(event_loop.run_until_complete(rescued).expect("it runs"), Ok(7));
    // Cancelled, not late.
    let (_trigger, deferred): Waiting = Deferred::new();
    let cancelled = deferred.add_timeout(&event_loop, late);
    cancelled.cancel();
    assert_eq!(event_loop.run_until_complete(cancelled).expect("it runs"), Err(Why::Cancelled));
}
