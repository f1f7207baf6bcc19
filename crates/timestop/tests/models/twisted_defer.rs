//! Cases of Twisted's `test_defer.py`: `DeferredTests`, `FirstErrorTests`, `AlreadyCalledTests`, `LogTests`.

use std::cell::RefCell;
use std::rc::Rc;

use timestop::reactor::{
    Deferred, DeferredList, EventLoop, Failure, FirstError, Listed, Trigger, Unhandled, fail,
    gather_results, maybe_deferred, succeed,
};

type Log<T> = Rc<RefCell<Vec<T>>>;

fn log<T>() -> Log<T> {
    Rc::new(RefCell::new(Vec::new()))
}

type Ends = (Vec<Trigger<u32, Why>>, Vec<Deferred<u32, Why>>);

fn triggers(count: usize) -> Ends {
    (0..count).map(|_| Deferred::new()).unzip()
}

/// An error to be told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Why(String);

impl From<timestop::reactor::CancelledError> for Why {
    fn from(_: timestop::reactor::CancelledError) -> Self {
        Self("cancelled".to_owned())
    }
}

fn error(text: &str) -> Why {
    Why(text.to_owned())
}

/// What `f` has reported to the loop's exception handler.
fn reports(f: impl FnOnce() + 'static) -> Vec<String> {
    let event_loop = EventLoop::new().expect("descriptors");
    let told = log();
    let theirs = Rc::clone(&told);
    event_loop.set_exception_handler(move |what| {
        if let Unhandled::Deferred { error, .. } = what {
            theirs.borrow_mut().push((*error).to_owned());
        }
    });
    let this = event_loop.clone();
    event_loop.call_soon(move || {
        f();
        this.stop();
    });
    event_loop.run_forever().expect("it waits for nothing");
    told.take()
}

#[test]
fn callback_without_error() {
    let (trigger, deferred) = Deferred::<u32, Why>::new();
    let got = deferred.add_callbacks(|value| Ok::<_, Why>(value + 1), |_| Ok(0));
    trigger.callback(1).expect("the first time");
    assert_eq!(got.try_result().expect("fired"), Ok(2));
}

#[test]
fn errback_without_callback() {
    let (trigger, deferred) = Deferred::<u32, Why>::new();
    let passed_by = log();
    let theirs = Rc::clone(&passed_by);
    let got = deferred
        .add_callback(move |value| {
            theirs.borrow_mut().push(value);
            Ok(value)
        })
        .add_errback(|why| Err(error(&format!("{} again", why.0))));
    trigger.errback(error("no")).expect("the first time");
    assert_eq!(got.try_result().expect("fired"), Err(error("no again")));
    assert!(passed_by.borrow().is_empty());
}

#[test]
fn two_callbacks_in_order() {
    let (trigger, deferred) = Deferred::<u32, Why>::new();
    let seen = log();
    let (first, second) = (Rc::clone(&seen), Rc::clone(&seen));
    let got = deferred
        .add_callback(move |value| {
            first.borrow_mut().push(value);
            Ok(value * 10)
        })
        .add_callback(move |value| {
            second.borrow_mut().push(value);
            Ok(())
        });
    assert!(!got.is_fired());
    trigger.callback(3).expect("the first time");
    assert!(got.is_fired());
    assert_eq!(*seen.borrow(), [3, 30]);
}

/// An error of a callback goes to the next errback, not to that which was added with it.
#[test]
fn errors_skip_to_the_next_errback() {
    let (trigger, deferred) = Deferred::<u32, Why>::new();
    let got = deferred
        .add_callbacks(
            |_| Err::<u32, _>(error("callback")),
            |_| panic!("not the errback beside it"),
        )
        .add_callback(|_| -> Result<u32, _> { panic!("there is no value") })
        .add_errback(|why| {
            assert_eq!(why, error("callback"));
            Ok(9)
        });
    trigger.callback(1).expect("the first time");
    assert_eq!(got.try_result().expect("fired"), Ok(9));
}

#[test]
fn add_both_sees_both() {
    for result in [Ok(1), Err(error("no"))] {
        let (trigger, deferred) = Deferred::<u32, Why>::new();
        let got = deferred.add_both(Ok::<_, Why>);
        trigger.fire(result.clone()).expect("the first time");
        assert_eq!(got.try_result().expect("fired"), Ok(result));
    }
}

#[test]
fn immediate_success_and_failure() {
    let ran = log();
    let theirs = Rc::clone(&ran);
    let got = succeed::<_, Why>("done").map(move |value| theirs.borrow_mut().push(value));
    assert_eq!(*ran.borrow(), ["done"]);
    drop(got);
    let got = fail::<u32, _>(error("no")).add_errback(|_| Ok(1));
    assert_eq!(got.try_result().expect("fired"), Ok(1));
}

/// A Deferred that a callback returns is waited for.
#[test]
fn returning_a_deferred_chains_it() {
    let (first, deferred) = Deferred::<u32, Why>::new();
    let (second, inner) = Deferred::<&str, Why>::new();
    let got = deferred.add_callback(move |_| inner);
    first.callback(1).expect("the first time");
    assert!(!got.is_fired());
    second.callback("two").expect("the first time");
    assert_eq!(got.try_result().expect("fired"), Ok("two"));
}

#[test]
fn returning_a_fired_deferred_goes_on_at_once() {
    let (trigger, deferred) = Deferred::<u32, Why>::new();
    let got =
        deferred.add_callback(|value| succeed(value + 1)).add_callback(|value| succeed(value * 2));
    trigger.callback(1).expect("the first time");
    assert_eq!(got.try_result().expect("fired"), Ok(4));
    let got = fail::<u32, _>(error("a")).add_errback(|_| fail(error("b")));
    assert_eq!(got.try_result().expect("fired"), Err(error("b")));
}

#[test]
fn deferred_list_waits_for_all() {
    let (triggers, deferreds) = triggers(3);
    let list = DeferredList::new(deferreds).into_deferred();
    triggers[1].errback(error("two")).expect("once");
    triggers[2].callback(3).expect("once");
    assert!(!list.is_fired());
    triggers[0].callback(1).expect("once");
    let all = Listed::All(vec![Ok(1), Err(error("two")), Ok(3)]);
    assert_eq!(list.try_result().expect("fired"), Ok(all));
}

#[test]
fn empty_deferred_list() {
    let list = DeferredList::<u32, Why>::new([]).into_deferred();
    assert_eq!(list.try_result().expect("fired"), Ok(Listed::All(Vec::new())));
    let list = DeferredList::<u32, Why>::new([]).fire_on_one_callback().into_deferred();
    assert!(!list.is_fired());
}

#[test]
fn deferred_list_fires_on_one_callback() {
    let (triggers, deferreds) = triggers(2);
    let list = DeferredList::new(deferreds).fire_on_one_callback().into_deferred();
    triggers[1].callback(7).expect("once");
    assert_eq!(list.try_result().expect("fired"), Ok(Listed::First { index: 1, value: 7 }));
    triggers[0].callback(8).expect("it goes to nobody");
}

#[test]
fn deferred_list_fires_on_one_errback() {
    let (triggers, deferreds) = triggers(3);
    let list = DeferredList::new(deferreds).fire_on_one_errback().into_deferred();
    triggers[0].callback(1).expect("once");
    triggers[1].errback(error("no")).expect("once");
    let first = FirstError { index: 1, error: error("no") };
    assert_eq!(list.try_result().expect("fired"), Err(first));
}

#[test]
fn deferred_list_consumes_errors_or_has_them_reported() {
    for (consume, expected) in [(true, vec![]), (false, vec!["Why(\"late\")".to_owned()])] {
        let told = reports(move || {
            let (triggers, deferreds) = triggers(2);
            let mut list = DeferredList::new(deferreds).fire_on_one_errback();
            if consume {
                list = list.consume_errors();
            }
            let list = list.into_deferred();
            triggers[0].errback(error("first")).expect("once");
            triggers[1].errback(error("late")).expect("once");
            assert!(list.try_result().expect("fired").is_err());
        });
        assert_eq!(told, expected);
    }
}

#[test]
fn deferred_list_of_fired_ones() {
    let list = DeferredList::new([succeed(1), fail(error("x")), succeed(3)]).into_deferred();
    let all = Listed::All(vec![Ok(1), Err(error("x")), Ok(3)]);
    assert_eq!(list.try_result().expect("fired"), Ok(all));
}

#[test]
fn gather_results_gives_values_in_order() {
    let (triggers, deferreds) = triggers(2);
    let all = gather_results(deferreds, false);
    triggers[1].callback(2).expect("once");
    triggers[0].callback(1).expect("once");
    assert_eq!(all.try_result().expect("fired"), Ok(vec![1, 2]));
}

#[test]
fn gather_results_fails_with_the_first_error() {
    let (triggers, deferreds) = triggers(2);
    let all = gather_results(deferreds, true);
    triggers[1].errback(error("no")).expect("once");
    assert_eq!(all.try_result().expect("fired"), Err(FirstError { index: 1, error: error("no") }));
    triggers[0].errback(error("consumed")).expect("once");
}

#[test]
fn maybe_deferred_of_each_kind() {
    let value = maybe_deferred(|| Ok::<_, Why>(10));
    assert_eq!(value.try_result().expect("fired"), Ok(10));
    let failed = maybe_deferred(|| Err::<u32, _>(error("no")));
    assert_eq!(failed.try_result().expect("fired"), Err(error("no")));
    let deferred = maybe_deferred(|| succeed::<_, Why>(11));
    assert_eq!(deferred.try_result().expect("fired"), Ok(11));
    let (trigger, later) = Deferred::<u32, Why>::new();
    let waits = maybe_deferred(move || later);
    trigger.callback(12).expect("once");
    assert_eq!(waits.try_result().expect("fired"), Ok(12));
}

/// A `fire` in a callback has run its callbacks when it returns.
#[test]
fn reentrant_firing_runs_at_once() {
    let seen = log();
    let (inner, other) = Deferred::<u32, Why>::new();
    let theirs = Rc::clone(&seen);
    let other = other.map(move |_| theirs.borrow_mut().push("inner"));
    let (trigger, deferred) = Deferred::<u32, Why>::new();
    let theirs = Rc::clone(&seen);
    let got = deferred.map(move |_| {
        theirs.borrow_mut().push("before");
        inner.callback(1).expect("once");
        theirs.borrow_mut().push("after");
    });
    trigger.callback(1).expect("once");
    assert_eq!(*seen.borrow(), ["before", "inner", "after"]);
    drop((got, other));
}

const DEEP: u32 = 10_000;

#[test]
fn a_long_chain_does_not_recurse() {
    crate::support::on_fiber(|| {
        let (trigger, mut deferred) = Deferred::<u32, Why>::new();
        for _ in 0..DEEP {
            deferred = deferred.add_callback(|value| Ok(value + 1));
        }
        trigger.callback(0).expect("once");
        assert_eq!(deferred.try_result().expect("fired"), Ok(DEEP));
    });
}

/// Each callback returns a Deferred that waits for the one before.
#[test]
fn a_long_chain_of_deferreds_does_not_recurse() {
    crate::support::on_fiber(|| {
        let (trigger, mut deferred) = Deferred::<u32, Why>::new();
        for _ in 0..DEEP {
            let inner = deferred;
            deferred = succeed::<_, Why>(()).add_callback(move |()| inner);
        }
        trigger.callback(7).expect("once");
        assert_eq!(deferred.try_result().expect("fired"), Ok(7));
    });
}

#[test]
fn a_long_chain_that_never_fires_is_dropped_without_recursion() {
    crate::support::on_fiber(|| {
        let alive = Rc::new(());
        let (trigger, mut deferred) = Deferred::<u32, Why>::new();
        for _ in 0..DEEP {
            let theirs = Rc::clone(&alive);
            deferred = deferred.map(move |value| {
                drop(theirs);
                value
            });
        }
        drop(trigger);
        assert_eq!(Rc::strong_count(&alive), 1);
        assert!(!deferred.is_fired());
    });
}

#[test]
fn firing_twice_is_an_error_that_names_the_deferred() {
    let (trigger, deferred) = Deferred::<u32, Why>::new();
    trigger.callback(1).expect("the first time");
    for again in [trigger.callback(2), trigger.errback(error("no"))] {
        let text = again.expect_err("the second time").to_string();
        assert!(text.contains("twisted_defer.rs") && text.contains("fired already"), "{text}");
    }
    assert_eq!(deferred.try_result().expect("fired"), Ok(1));
    let (trigger, deferred) = Deferred::<u32, Why>::new();
    trigger.errback(error("first")).expect("the first time");
    assert!(trigger.callback(1).is_err() && trigger.errback(error("second")).is_err());
    assert_eq!(deferred.try_result().expect("fired"), Err(error("first")));
}

#[test]
fn an_error_that_is_dropped_is_reported() {
    let told = reports(|| {
        drop(fail::<(), _>(error("at once")));
        // Dropped first, failed then.
        let (trigger, deferred) = Deferred::<(), Why>::new();
        drop(deferred);
        trigger.errback(error("later")).expect("once");
        // At the end of a chain, and in a Deferred that a callback has returned.
        drop(succeed::<_, Why>(1).add_callback(|_| fail::<(), _>(error("inner"))));
    });
    assert_eq!(told, [r#"Why("at once")"#, r#"Why("later")"#, r#"Why("inner")"#]);
}

#[test]
fn an_error_that_is_handled_is_not_reported() {
    let told = reports(|| {
        drop(fail::<u32, _>(error("no")).add_errback(|_| Ok(1)));
        let (trigger, deferred) = Deferred::<u32, Why>::new();
        drop(deferred.add_errback(|_| Ok(2)));
        trigger.errback(error("no")).expect("once");
        assert!(fail::<u32, _>(error("taken")).try_result().expect("fired").is_err());
        drop(succeed::<_, Why>(1));
    });
    assert_eq!(told, Vec::<String>::new());
}

/// A panic passes every callback, and is reported where nobody waits.
#[test]
fn a_panic_of_a_callback_passes_the_chain() {
    let told = reports(|| {
        let chain = succeed::<u32, Why>(1)
            .add_callback(|_| -> Result<u32, Why> { panic!("a bug") })
            .add_errback(|_| -> Result<u32, Why> { panic!("it is no error") })
            .add_both(|_| -> Result<(), Failure> { panic!("nor a value") });
        drop(chain);
    });
    assert_eq!(told, ["a panic: a bug"]);
}
