//! Delegation: the cases of CPython's `test_pep380.py`.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use timestop::coro::{Generator, Raised, Step};

type Log = Rc<RefCell<Vec<String>>>;

fn log(log: &Log, text: impl Into<String>) {
    log.borrow_mut().push(text.into());
}

/// Delegates to `inner`, and logs how it ends.
fn outer<T: 'static>(trace: &Log, inner: Generator<i32, i32, T>) -> Generator<i32, i32, T> {
    let trace = Rc::clone(trace);
    Generator::new(move |y| {
        log(&trace, "start outer");
        let value = y.yield_from(inner);
        log(&trace, "end outer");
        value
    })
}

/// `test_delegation_of_initial_next_to_subgenerator`, `test_delegating_generators_…_return_value`.
#[test]
fn the_first_step_goes_to_the_inner_and_its_value_comes_back() {
    let trace = Log::default();
    let inner = Generator::<i32, i32, &str>::new(|y| {
        assert_eq!(y.first(), Some(0), "as Python's `next`: nothing was sent to it");
        y.yield_(1);
        "inner's value"
    });
    let mut g = outer(&trace, inner);
    assert_eq!(g.resume(5), Step::Yielded(1));
    assert_eq!(g.resume(0), Step::Returned("inner's value"));
    assert_eq!(*trace.borrow(), ["start outer", "end outer"]);
}

/// `test_delegation_of_send`.
#[test]
fn what_is_sent_goes_to_the_inner() {
    let trace = Log::default();
    let inside = Rc::clone(&trace);
    let inner = Generator::<i32, i32>::new(move |y| {
        let mut next = 0;
        for _ in 0..3 {
            next = y.yield_(next + 1);
            log(&inside, format!("got {next}"));
        }
    });
    let mut g = outer(&trace, inner);
    let yielded: Vec<_> = [0, 10, 20, 30].into_iter().map_while(|value| g.send(value)).collect();
    assert_eq!(yielded, [1, 11, 21]);
    assert_eq!(*trace.borrow(), ["start outer", "got 10", "got 20", "got 30", "end outer"]);
}

/// `test_delegation_of_throw`, and a value that is caught within.
#[test]
fn what_is_thrown_goes_to_the_inner() {
    let trace = Log::default();
    let inside = Rc::clone(&trace);
    let inner = Generator::<i32, i32>::new(move |y| {
        if let Err(raised) = y.try_yield(1) {
            log(&inside, format!("caught {}", raised.downcast::<&str>().expect("a text")));
        }
        y.yield_(2);
    });
    let mut g = outer(&trace, inner);
    g.send(0);
    assert_eq!(g.throw(Box::new("one")).expect("it is caught"), Step::Yielded(2));
    let error = g.throw(Box::new("two")).expect_err("nobody catches it");
    assert_eq!(error.downcast_ref(), Some(&"two"));
    assert_eq!(*trace.borrow(), ["start outer", "caught one"]);
}

/// `test_raising_exception_in_initial_next_call`, `test_exception_in_initial_next_call`: the outer may catch it.
#[test]
fn a_panic_of_the_inner_unwinds_the_outer() {
    let mut g = Generator::<i32, (), i32>::new(|y| {
        let inner = Generator::<i32>::new(|y| {
            y.yield_(1);
            panic!("spam");
        });
        let result = panic::catch_unwind(AssertUnwindSafe(|| y.yield_from(inner)));
        assert_eq!(result.expect_err("it panics").downcast_ref(), Some(&"spam"));
        y.yield_(2);
        3
    });
    assert_eq!((g.next(), g.next(), g.next()), (Some(1), Some(2), None));
    assert_eq!(g.returned(), Some(3));
}

/// `test_delegation_of_close_to_non_generator` and `test_handing_exception_while_delegating_close`: inner first.
#[test]
fn close_ends_the_inner_first() {
    struct Note(Log, &'static str);
    impl Drop for Note {
        fn drop(&mut self) {
            log(&self.0, self.1);
        }
    }
    let trace = Log::default();
    let inside = Rc::clone(&trace);
    let mut g = Generator::<i32>::new(move |y| {
        let _outer = Note(Rc::clone(&inside), "outer");
        y.yield_from(Generator::<i32>::new(move |y| {
            let _inner = Note(inside, "inner");
            y.yield_(1);
        }));
    });
    g.next();
    assert_eq!(g.close(), Ok(None));
    assert_eq!(*trace.borrow(), ["inner", "outer"]);
}

/// `test_close_with_cleared_frame`'s relative: an inner that *returns* on close does not keep the outer.
#[test]
fn the_outer_is_closed_even_if_the_inner_returns() {
    let trace = Log::default();
    let inside = Rc::clone(&trace);
    let mut g = Generator::<i32>::new(move |y| {
        y.yield_from(Generator::<i32>::new(|y| {
            assert!(matches!(y.try_yield(1), Err(Raised::Exit)));
        }));
        log(&inside, "not reached");
    });
    g.next();
    assert_eq!(g.close(), Ok(None));
    assert!(trace.borrow().is_empty());
}

/// `test_next_and_return_with_value`'s relative: an inner that has run before goes on where it was.
#[test]
fn one_that_has_begun_goes_on() {
    let mut inner = Generator::<i32>::new(|y| y.yield_all(0..6));
    assert_eq!((inner.next(), inner.next()), (Some(0), Some(1)));
    let g = Generator::<i32>::new(move |y| {
        y.yield_from(&mut inner);
        assert!(inner.is_finished());
        y.yield_(100);
    });
    assert_eq!(g.collect::<Vec<_>>(), [2, 3, 4, 5, 100]);
}

/// One that is in the middle of delegating when it is delegated to takes its own along.
#[test]
fn a_chain_that_is_delegated_to_in_the_middle() {
    fn chain(depth: i32) -> Generator<i32> {
        Generator::new(move |y| {
            y.yield_(depth);
            if depth > 0 {
                y.yield_from(chain(depth - 1));
            }
            y.yield_(-depth);
        })
    }
    for taken in 0..7 {
        let mut inner = chain(2);
        let mut got: Vec<i32> = inner.by_ref().take(taken).collect();
        let mut g = Generator::<i32>::new(move |y| {
            y.yield_from(Generator::<i32>::new(move |y| {
                y.yield_(1000);
                y.yield_from_with(inner, ());
            }));
            y.yield_(2000);
        });
        assert_eq!(g.next(), Some(1000));
        got.extend(g);
        if taken < 7 {
            assert_eq!(got, [2, 1, 0, 0, -1, -2, 2000], "after {taken} of its own");
        }
    }
}

/// `test_delegator_is_visible_to_debugger`'s point, that many levels are one chain; and its depth costs no stack.
#[test]
fn very_deep_delegation() {
    fn deep(depth: u32) -> Generator<u32, (), u32> {
        Generator::new(move |y| {
            if depth == 0 {
                y.yield_all(0..5);
                return 0;
            }
            y.yield_from(deep(depth - 1)) + 1
        })
    }
    let mut g = deep(3_000);
    assert_eq!(g.by_ref().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(g.returned(), Some(3_000));
    let mut dropped = deep(500);
    dropped.next();
    drop(dropped);
}

/// A sub-generator that borrows the delegating one's yielder may delegate by it too; the chain moves as one.
#[test]
fn delegation_from_within_what_was_delegated_to() {
    let chain = || {
        Generator::<i32>::new(|y| {
            timestop::coro::scoped(
                |own: &timestop::coro::Yielder<&str>| {
                    own.yield_("a");
                    y.yield_from(Generator::<i32>::new(|y| y.yield_all(1..4)));
                    own.yield_("b");
                },
                |mut inner| {
                    assert_eq!(inner.next(), Some("a"));
                    y.yield_(0);
                    assert_eq!(inner.next(), Some("b"));
                    y.yield_(9);
                },
            );
        })
    };
    assert_eq!(chain().collect::<Vec<_>>(), [0, 1, 2, 3, 9]);
    for taken in 0..5 {
        let mut inner = chain();
        let mut got: Vec<_> = inner.by_ref().take(taken).collect();
        got.extend(Generator::<i32>::new(move |y| y.yield_from(inner)));
        assert_eq!(got, [0, 1, 2, 3, 9], "moved after {taken}");
    }
}
