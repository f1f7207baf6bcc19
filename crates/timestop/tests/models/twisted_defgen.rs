//! Cases of Twisted's `test_defgen.py` and `test_inlinecb.py`.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use timestop::reactor::{Deferred, Failure, fail, inline_callbacks, succeed, wait};

use crate::support::on_fiber;

#[test]
fn a_body_waits_and_returns() {
    let (trigger, deferred) = Deferred::<u32>::new();
    let steps = Rc::new(RefCell::new(Vec::new()));
    let theirs = Rc::clone(&steps);
    let body = inline_callbacks(move || {
        theirs.borrow_mut().push("begins");
        let value = wait(deferred)?;
        theirs.borrow_mut().push("goes on");
        Ok::<_, Failure>(value + wait(succeed::<u32, Failure>(1))?)
    });
    assert_eq!(*steps.borrow(), ["begins"]);
    trigger.callback(41).expect("once");
    assert_eq!(*steps.borrow(), ["begins", "goes on"]);
    assert_eq!(body.try_result().expect("fired").expect("no error"), 42);
}

#[test]
fn an_error_is_returned_by_wait() {
    let body = inline_callbacks(|| {
        let error = wait(fail::<(), _>("one".to_owned())).expect_err("it fails");
        Err::<(), _>(format!("{error} and two"))
    });
    assert_eq!(body.try_result().expect("fired"), Err("one and two".to_owned()));
}

#[test]
fn without_any_wait() {
    let body = inline_callbacks(|| Ok::<_, Failure>(5));
    assert_eq!(body.try_result().expect("fired").expect("no error"), 5);
}

#[test]
fn bodies_call_bodies() {
    let (trigger, deferred) = Deferred::<u32>::new();
    let outer = inline_callbacks(move || {
        let inner = inline_callbacks(move || Ok::<_, Failure>(wait(deferred)? + 1));
        Ok::<u32, Failure>(wait(inner)? * 2)
    });
    assert!(!outer.is_fired());
    trigger.callback(1).expect("once");
    assert_eq!(outer.try_result().expect("fired").expect("no error"), 4);
}

/// Two take turns; each holds what the other sees, without a lock.
#[test]
fn bodies_share_without_locks() {
    on_fiber(|| {
        let shared = Rc::new(RefCell::new(Vec::new()));
        let (triggers, bodies): (Vec<_>, Vec<_>) = (0..3)
            .map(|index| {
                let shared = Rc::clone(&shared);
                let (triggers, deferreds): (Vec<_>, Vec<_>) =
                    (0..3).map(|_| Deferred::<u32>::new()).unzip();
                let body = inline_callbacks(move || {
                    for deferred in deferreds {
                        let value = wait(deferred)?;
                        shared.borrow_mut().push((index, value));
                    }
                    Ok::<_, Failure>(())
                });
                (triggers, body)
            })
            .unzip();
        for round in 0..3 {
            for triggers in &triggers {
                triggers[round].callback(round as u32).expect("once");
            }
        }
        assert!(bodies.iter().all(Deferred::is_fired));
        let expected: Vec<_> =
            (0..3).flat_map(|round| (0..3).map(move |index| (index, round))).collect();
        assert_eq!(*shared.borrow(), expected);
    });
}

/// No recursion, nor a stack more, for a wait that need not wait, or one that is answered in a callback.
#[test]
fn ten_thousand_waits() {
    on_fiber(|| {
        let body = inline_callbacks(|| {
            let mut sum = 0;
            for number in 0..10_000_u64 {
                sum += wait(succeed::<_, Failure>(number))?;
            }
            Ok::<_, Failure>(sum)
        });
        assert_eq!(body.try_result().expect("fired").expect("no error"), 49_995_000);
    });
}

#[test]
fn a_thousand_bodies_that_wait_for_each_other() {
    on_fiber(|| {
        let (trigger, mut deferred) = Deferred::<u64>::new();
        // As many stacks at once.
        for _ in 0..1_000 {
            let before = deferred;
            deferred = inline_callbacks(move || Ok(wait(before)? + 1));
        }
        trigger.callback(0).expect("once");
        assert_eq!(deferred.try_result().expect("fired").expect("no error"), 1_000);
    });
}

struct Tells(Rc<Cell<bool>>);

impl Drop for Tells {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

/// Nobody can ever fire what it waits for: it is unwound, so that its destructors run.
#[test]
fn a_body_that_waits_for_nobody_is_unwound() {
    on_fiber(|| {
        let dropped = Rc::new(Cell::new(false));
        let tells = Tells(Rc::clone(&dropped));
        let (trigger, deferred) = Deferred::<u32>::new();
        let body = inline_callbacks(move || {
            let _tells = tells;
            wait(deferred)
        });
        assert!(!dropped.get());
        drop(trigger);
        assert!(dropped.get());
        assert!(!body.is_fired());
    });
}

/// One that catches the unwinding, and waits again: it is refused, and is not taken for the body that drops it.
#[test]
fn a_body_that_will_not_be_unwound() {
    on_fiber(|| {
        let (trigger, deferred) = Deferred::<u32>::new();
        let refused = Rc::new(Cell::new(false));
        let theirs = Rc::clone(&refused);
        let stubborn = inline_callbacks(move || {
            let first = catch_unwind(AssertUnwindSafe(|| wait(deferred)));
            assert!(first.is_err());
            let (_trigger, never) = Deferred::<u32>::new();
            theirs.set(catch_unwind(AssertUnwindSafe(|| wait(never))).is_err());
            Ok::<_, Failure>(())
        });
        let (other, goes_on) = Deferred::<u32>::new();
        let drops = inline_callbacks(move || {
            drop(trigger);
            wait(goes_on)
        });
        assert!(refused.get());
        other.callback(5).expect("once");
        assert_eq!(drops.try_result().expect("fired").expect("no error"), 5);
        drop(stubborn);
    });
}

#[test]
fn a_panic_of_a_body_is_that_of_who_takes_the_result() {
    on_fiber(|| {
        let (trigger, deferred) = Deferred::<u32>::new();
        let body = inline_callbacks(move || {
            wait(deferred)?;
            if true {
                panic!("a bug");
            }
            Ok::<_, Failure>(())
        });
        let outer = inline_callbacks(move || wait(body));
        trigger.callback(1).expect("once");
        let panics = catch_unwind(AssertUnwindSafe(|| outer.try_result()));
        let payload = panics.expect_err("it has panicked");
        assert_eq!(payload.downcast_ref(), Some(&"a bug"));
    });
}

#[test]
fn waiting_outside_of_a_body_panics() {
    on_fiber(|| {
        let (_trigger, deferred) = Deferred::<u32>::new();
        let panics = catch_unwind(AssertUnwindSafe(|| wait(deferred)));
        let text = panics.expect_err("it would wait for ever");
        let text = text.downcast_ref::<String>().expect("it has a message");
        assert!(text.contains("inline_callbacks") && text.contains("EventLoop"), "{text}");
    });
}

/// A callback that a body runs is no body.
#[test]
fn waiting_in_a_callback_of_a_body_panics() {
    on_fiber(|| {
        let body = inline_callbacks(|| {
            let (_trigger, never) = Deferred::<u32>::new();
            let chain = succeed::<_, Failure>(()).add_callback(move |()| wait(never));
            assert!(catch_unwind(AssertUnwindSafe(|| chain.try_result())).is_err());
            wait(succeed::<_, Failure>(3))
        });
        assert_eq!(body.try_result().expect("fired").expect("no error"), 3);
    });
}
