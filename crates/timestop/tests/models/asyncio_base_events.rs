//! Cases of CPython's `test_asyncio/test_base_events.py`.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use timestop::reactor::{Deferred, EventLoop, Failure, RunError, Unhandled, succeed};

use crate::support::on_fiber;

const LATE: Duration = Duration::from_secs(1_000);

/// Runs `test` with a loop, on a fiber, under a watchdog.
pub(crate) fn with_loop(test: impl FnOnce(&EventLoop) + Send + 'static) {
    on_fiber(|| {
        let event_loop = EventLoop::new().expect("descriptors");
        test(&event_loop);
        event_loop.close();
    });
}

/// Steps that callbacks note.
#[derive(Clone, Default)]
pub(crate) struct Steps(Rc<RefCell<Vec<u32>>>);

impl Steps {
    pub(crate) fn note(&self, step: u32) -> impl FnMut() + use<> {
        let steps = Rc::clone(&self.0);
        move || steps.borrow_mut().push(step)
    }

    pub(crate) fn all(&self) -> Vec<u32> {
        self.0.borrow().clone()
    }
}

/// One iteration.
pub(crate) fn run_once(event_loop: &EventLoop) {
    event_loop.stop();
    event_loop.run_forever().expect("it waits for nothing");
}

#[test]
fn call_soon_keeps_the_order() {
    with_loop(|event_loop| {
        let steps = Steps::default();
        for step in 0..5 {
            event_loop.call_soon(steps.note(step));
        }
        assert!(steps.all().is_empty());
        run_once(event_loop);
        assert_eq!(steps.all(), [0, 1, 2, 3, 4]);
    });
}

/// What is scheduled in an iteration runs in the next.
#[test]
fn a_callback_scheduled_by_a_callback_runs_in_the_next_iteration() {
    with_loop(|event_loop| {
        let steps = Steps::default();
        let (this, mut first, second) = (event_loop.clone(), steps.note(1), steps.note(3));
        event_loop.call_soon(move || {
            first();
            this.call_soon(second);
        });
        event_loop.call_soon(steps.note(2));
        run_once(event_loop);
        assert_eq!(steps.all(), [1, 2]);
        run_once(event_loop);
        assert_eq!(steps.all(), [1, 2, 3]);
    });
}

#[test]
fn a_cancelled_callback_does_not_run() {
    with_loop(|event_loop| {
        let steps = Steps::default();
        let handle = event_loop.call_soon(steps.note(1));
        event_loop.call_soon(steps.note(2));
        assert!(!handle.is_cancelled());
        handle.cancel();
        handle.cancel();
        assert!(handle.is_cancelled());
        run_once(event_loop);
        assert_eq!(steps.all(), [2]);
        let ran = event_loop.call_soon(steps.note(3));
        run_once(event_loop);
        ran.cancel();
        assert!(!ran.is_cancelled(), "it has run");
    });
}

/// By a callback of the same iteration.
#[test]
fn a_callback_cancels_another_that_is_due() {
    with_loop(|event_loop| {
        let steps = Steps::default();
        let other = Rc::new(RefCell::new(None::<timestop::reactor::Handle>));
        let theirs = Rc::clone(&other);
        event_loop.call_soon(move || theirs.borrow().as_ref().expect("it is there").cancel());
        *other.borrow_mut() = Some(event_loop.call_soon(steps.note(1)));
        run_once(event_loop);
        assert!(steps.all().is_empty());
    });
}

#[test]
fn call_later_knows_its_time() {
    with_loop(|event_loop| {
        let before = Instant::now();
        let timer = event_loop.call_later(LATE, || {});
        assert!(timer.when() >= before + LATE && timer.when() <= Instant::now() + LATE);
        let never = event_loop.call_later(Duration::MAX, || {});
        assert!(never.when() > timer.when());
    });
}

/// Delays that have passed already, or not at all: by time, then by the order of scheduling.
#[test]
fn timers_are_in_order_of_time_then_of_scheduling() {
    with_loop(|event_loop| {
        let steps = Steps::default();
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        event_loop.call_at(at(2), steps.note(4));
        event_loop.call_at(at(1), steps.note(1));
        event_loop.call_at(at(1), steps.note(2));
        event_loop.call_at(at(1), steps.note(3));
        let this = event_loop.clone();
        event_loop.call_at(at(3), move || this.stop());
        event_loop.run_forever().expect("no error");
        assert_eq!(steps.all(), [1, 2, 3, 4]);
    });
}

#[test]
fn a_timer_does_not_run_before_its_time() {
    with_loop(|event_loop| {
        let late = Rc::new(Cell::new(None));
        let theirs = Rc::clone(&late);
        let this = event_loop.clone();
        let when = Instant::now() + Duration::from_millis(3);
        event_loop.call_at(when, move || {
            theirs.set(Instant::now().checked_duration_since(when));
            this.stop();
        });
        event_loop.run_forever().expect("no error");
        assert!(late.get().is_some());
    });
}

/// `test__run_once_cancelled_event_cleanup`: many that are cancelled do not stay until their time.
#[test]
fn cancelled_timers_are_cleared_away() {
    with_loop(|event_loop| {
        let held = Rc::new(());
        let timers: Vec<_> = (0..1_000)
            .map(|_| {
                let held = Rc::clone(&held);
                event_loop.call_later(LATE, move || drop(held))
            })
            .collect();
        for timer in &timers[100..] {
            timer.cancel();
        }
        assert_eq!(Rc::strong_count(&held), 101, "what they hold goes at once");
        event_loop.call_later(LATE, || {});
        assert!(format!("{event_loop:?}").contains("timers: 101"), "{event_loop:?}");
    });
}

#[test]
fn stop_before_run_runs_one_iteration() {
    with_loop(|event_loop| {
        let steps = Steps::default();
        event_loop.call_soon(steps.note(1));
        event_loop.stop();
        event_loop.run_forever().expect("no error");
        assert_eq!(steps.all(), [1]);
        assert!(!event_loop.is_running());
    });
}

/// All of the iteration in which `stop` is called run, and no other.
#[test]
fn stop_ends_after_the_iteration() {
    with_loop(|event_loop| {
        let steps = Steps::default();
        let this = event_loop.clone();
        let last = steps.note(9);
        event_loop.call_soon(move || {
            this.stop();
            this.call_soon(last);
        });
        event_loop.call_soon(steps.note(1));
        event_loop.run_forever().expect("no error");
        assert_eq!(steps.all(), [1]);
        run_once(event_loop);
        assert_eq!(steps.all(), [1, 9]);
    });
}

#[test]
fn run_until_complete() {
    with_loop(|event_loop| {
        let (trigger, deferred) = Deferred::<u32>::new();
        event_loop.call_soon(move || trigger.callback(3).expect("once"));
        let result = event_loop.run_until_complete(deferred).expect("it completes");
        assert_eq!(result.expect("no error"), 3);
        let result = event_loop.run_until_complete(succeed::<_, Failure>(4));
        assert_eq!(result.expect("it completes").expect("no error"), 4);
    });
}

#[test]
fn run_until_complete_that_is_stopped_gives_the_deferred_back() {
    with_loop(|event_loop| {
        let (trigger, deferred) = Deferred::<u32>::new();
        let this = event_loop.clone();
        event_loop.call_soon(move || this.stop());
        let Err(RunError::Stopped(deferred)) = event_loop.run_until_complete(deferred) else {
            panic!("it was stopped");
        };
        event_loop.call_soon(move || trigger.callback(5).expect("once"));
        let result = event_loop.run_until_complete(deferred).expect("it completes");
        assert_eq!(result.expect("no error"), 5);
    });
}

/// In place of waiting for ever.
#[test]
fn run_until_complete_of_what_never_fires() {
    with_loop(|event_loop| {
        let (trigger, deferred) = Deferred::<u32>::new();
        event_loop.call_later(Duration::from_millis(1), move || drop(trigger));
        let result = event_loop.run_until_complete(deferred);
        assert!(matches!(result, Err(RunError::Dropped)), "{result:?}");
        let (trigger, deferred) = Deferred::<u32>::new();
        drop(trigger);
        // The head of the chain is gone already.
        let result = event_loop.run_until_complete(deferred.map(|value| value + 1));
        assert!(matches!(result, Err(RunError::Dropped)), "{result:?}");
    });
}

#[test]
fn a_loop_that_runs_says_so() {
    with_loop(|event_loop| {
        let seen = Rc::new(Cell::new(false));
        let (theirs, this) = (Rc::clone(&seen), event_loop.clone());
        assert!(!event_loop.is_running() && EventLoop::current().is_none());
        event_loop.call_soon(move || {
            theirs.set(this.is_running() && EventLoop::current().is_some());
            this.stop();
        });
        event_loop.run_forever().expect("no error");
        assert!(seen.get());
        assert!(!event_loop.is_running() && EventLoop::current().is_none());
    });
}

fn message_of(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it panics");
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned())).expect("a text")
}

#[test]
fn running_a_loop_in_its_own_callback_panics() {
    with_loop(|event_loop| {
        let texts = Rc::new(RefCell::new(Vec::new()));
        let (theirs, this) = (Rc::clone(&texts), event_loop.clone());
        event_loop.call_soon(move || {
            let (_trigger, deferred) = Deferred::<u32>::new();
            let mut texts = theirs.borrow_mut();
            texts.push(message_of(|| drop(this.run_forever())));
            texts.push(message_of(|| drop(this.run_until_complete(deferred))));
            texts.push(message_of(|| this.close()));
            let other = EventLoop::new().expect("descriptors");
            texts.push(message_of(|| drop(other.run_forever())));
            // Blocking on itself from within.
            let handle = this.handle();
            texts.push(message_of(|| drop(handle.call(|_| succeed::<u32, String>(1)))));
            this.stop();
        });
        event_loop.run_forever().expect("no error");
        assert_eq!(texts.borrow().len(), 5);
        assert!(texts.borrow().iter().all(|text| text.contains("EventLoop")), "{texts:?}");
    });
}

#[test]
fn a_closed_loop_refuses() {
    with_loop(|event_loop| {
        let held = Rc::new(());
        let (first, second) = (Rc::clone(&held), Rc::clone(&held));
        event_loop.call_soon(move || drop(first));
        event_loop.call_later(LATE, move || drop(second));
        let handle = event_loop.handle();
        event_loop.close();
        event_loop.close();
        assert!(event_loop.is_closed() && handle.is_closed());
        assert_eq!(Rc::strong_count(&held), 1);
        for text in [
            message_of(|| drop(event_loop.call_soon(|| {}))),
            message_of(|| drop(event_loop.call_later(LATE, || {}))),
            message_of(|| drop(event_loop.run_forever())),
        ] {
            assert!(text.contains("EventLoop is closed"), "{text}");
        }
        assert!(handle.call_soon_threadsafe(|_| {}).is_err());
    });
}

#[test]
fn a_panic_is_told_and_the_loop_goes_on() {
    with_loop(|event_loop| {
        let told = Rc::new(RefCell::new(Vec::new()));
        let theirs = Rc::clone(&told);
        event_loop.set_exception_handler(move |what| {
            if let Unhandled::Panic { callback, message } = what {
                theirs.borrow_mut().push(format!("{callback}: {message}"));
            }
        });
        let steps = Steps::default();
        event_loop.call_soon(|| panic!("one"));
        event_loop.call_later(Duration::ZERO, || panic!("{}", "two"));
        event_loop.call_soon(steps.note(1));
        run_once(event_loop);
        assert_eq!(steps.all(), [1]);
        assert_eq!(*told.borrow(), ["call_soon: a panic: one", "call_later: a panic: two"]);
    });
}

#[test]
fn a_panic_of_the_exception_handler_ends_nothing() {
    with_loop(|event_loop| {
        event_loop.set_exception_handler(|_| panic!("the handler"));
        let steps = Steps::default();
        event_loop.call_soon(|| panic!("the callback"));
        event_loop.call_soon(steps.note(1));
        run_once(event_loop);
        assert_eq!(steps.all(), [1]);
    });
}
