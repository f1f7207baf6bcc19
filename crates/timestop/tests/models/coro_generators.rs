//! Generators: the cases of CPython's `test_generators.py` (PEP 255, 342), and what Rust adds to them.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use timestop::coro::{Builder, Generator, IgnoredExit, Raised, Step, Yielder, scoped};

/// Says when it is dropped.
struct Note(Rc<RefCell<Vec<&'static str>>>, &'static str);

impl Drop for Note {
    fn drop(&mut self) {
        self.0.borrow_mut().push(self.1);
    }
}

fn notes() -> Rc<RefCell<Vec<&'static str>>> {
    Rc::default()
}

fn message(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).expect("a text")
}

/// What `body` panics with.
fn panics<T>(body: impl FnOnce() -> T) -> String {
    let result = panic::catch_unwind(AssertUnwindSafe(body));
    message(&*result.err().expect("it is to panic")).to_owned()
}

/// PEP 255's `fib`.
#[test]
fn fibonacci() {
    let fib = Generator::<u32>::new(|y| {
        let (mut a, mut b) = (0, 1);
        loop {
            y.yield_(b);
            (a, b) = (b, a + b);
        }
    });
    assert_eq!(fib.take(9).collect::<Vec<_>>(), [1, 1, 2, 3, 5, 8, 13, 21, 34]);
}

/// PEP 255: "return" ends it, and it stays ended.
#[test]
fn return_ends_it_for_good() {
    let mut g = Generator::<i32, (), &str>::new(|y| {
        y.yield_(1);
        "done"
    });
    assert_eq!((g.next(), g.next(), g.next()), (Some(1), None, None));
    assert_eq!((g.returned(), g.returned()), (Some("done"), None));
    assert!(panics(|| g.resume(())).contains("has finished"), "and says so, with its name");
    assert!(panics(|| g.resume(())).contains(g.name()));
}

/// PEP 255: nothing of the body runs before the first `next`.
#[test]
fn nothing_runs_before_the_first_step() {
    let ran = Rc::new(Cell::new(false));
    let inside = Rc::clone(&ran);
    let mut g = Generator::<()>::new(move |y| {
        inside.set(true);
        y.yield_(());
    });
    assert!(!ran.get());
    g.next();
    assert!(ran.get());
}

/// PEP 255, "yield in try/except": an error ends the generator, and goes on in who resumed it.
#[test]
fn a_panic_reaches_who_resumed_it_and_ends_it() {
    let mut g = Generator::<i32>::new(|y| {
        y.yield_(1);
        panic!("integer division or modulo by zero");
    });
    assert_eq!(g.next(), Some(1));
    assert_eq!(panics(|| g.next()), "integer division or modulo by zero");
    assert!(g.is_finished());
    assert_eq!(g.next(), None);
}

/// `test_generators.py`, coroutine tests: `print(yield i)`.
#[test]
fn send_is_what_yield_returns() {
    let got = Rc::new(RefCell::new(Vec::new()));
    let inside = Rc::clone(&got);
    let mut g = Generator::<i32, &str>::new(move |y| {
        inside.borrow_mut().push(y.first().expect("the first message"));
        assert_eq!(y.first(), None, "once");
        let message = y.yield_(1);
        inside.borrow_mut().push(message);
        let message = y.yield_(2);
        inside.borrow_mut().push(message);
    });
    assert_eq!(g.resume("a"), Step::Yielded(1));
    assert_eq!(g.send("b"), Some(2));
    assert_eq!(g.send("c"), None);
    assert_eq!(*got.borrow(), ["a", "b", "c"]);
}

/// `test_generators.py`: `f()` with `try: … except ValueError as v`.
#[test]
fn throw_is_caught_at_the_yield() {
    let mut g = Generator::<String>::new(|y| {
        let mut text = "nothing".to_owned();
        loop {
            text = match y.try_yield(text) {
                Ok(()) => "nothing".to_owned(),
                Err(raised) => match raised.downcast::<&str>() {
                    Ok(error) => format!("caught {error}"),
                    Err(other) => other.unwind(),
                },
            };
        }
    });
    assert_eq!(g.next().as_deref(), Some("nothing"));
    let step = g.throw(Box::new("one")).expect("it is caught");
    assert_eq!(step, Step::Yielded("caught one".to_owned()));
    assert_eq!(g.next().as_deref(), Some("nothing"));
    // Of another type: not caught, and the very error comes back.
    let error = g.throw(Box::new(7_u8)).expect_err("it is not caught");
    assert_eq!(error.downcast_ref(), Some(&7_u8));
    assert!(g.is_finished());
    let error = g.throw(Box::new("late")).expect_err("it has finished");
    assert_eq!(message(&*error), "late");
}

/// `test_generators.py`: "throw on an unstarted generator" ends it without running it.
#[test]
fn throw_before_it_began_ends_it() {
    let log = notes();
    let note = Note(Rc::clone(&log), "closure dropped");
    let mut g = Generator::<i32>::new(move |y| {
        let _note = &note;
        y.yield_(1);
    });
    let error = g.throw(Box::new("early")).expect_err("nothing could catch it");
    assert_eq!((message(&*error), g.is_finished(), g.next()), ("early", true, None));
    assert_eq!(*log.borrow(), ["closure dropped"]);
}

/// `test_generators.py`, `GeneratorCloseTest`: close runs `finally`.
#[test]
fn close_unwinds_and_is_idempotent() {
    let log = notes();
    let inside = Rc::clone(&log);
    let mut g = Generator::<i32>::new(move |y| {
        let _finally = Note(inside, "finally");
        y.yield_(1);
        unreachable!("it is closed here");
    });
    g.next();
    assert!(log.borrow().is_empty());
    assert_eq!(g.close(), Ok(None));
    assert_eq!(*log.borrow(), ["finally"]);
    assert_eq!((g.close(), g.next()), (Ok(None), None));
}

/// `test_close_return_value` (3.13): what it returns on `GeneratorExit` is what close returns.
#[test]
fn close_returns_what_it_returns() {
    let mut g = Generator::<i32, (), i32>::new(|y| match y.try_yield(1) {
        Err(Raised::Exit) => 42,
        _ => 0,
    });
    g.next();
    assert_eq!(g.close(), Ok(Some(42)));
}

/// "generator ignored GeneratorExit".
#[test]
fn a_yield_after_exit_is_an_error_of_close() {
    let mut g = Generator::<i32>::new(|y| {
        let _ = y.try_yield(1).is_err();
        y.yield_(2);
    });
    g.next();
    let error: IgnoredExit = g.close().expect_err("it yields again");
    assert!(error.to_string().contains("has ignored its close"), "{error}");
    assert!(!g.is_finished(), "as Python's, it is still there");
    assert_eq!(g.close(), Ok(None), "and the next close finds a yield that does not catch it");
}

/// `test_close_other_exception`.
#[test]
fn a_panic_during_close_goes_on_in_who_closes() {
    let mut g = Generator::<i32>::new(|y| {
        if y.try_yield(1).is_err() {
            panic!("instead");
        }
    });
    g.next();
    assert_eq!(panics(|| g.close()), "instead");
}

/// PEP 342: a generator that is let go of is closed.
#[test]
fn dropping_a_suspended_one_runs_destructors() {
    let log = notes();
    let (inside, captured) = (Rc::clone(&log), Note(Rc::clone(&log), "captured"));
    let mut g = Generator::<i32>::new(move |y| {
        let _captured = captured;
        let _inner = Note(inside, "inner");
        y.yield_(1);
    });
    g.next();
    drop(g);
    assert_eq!(*log.borrow(), ["inner", "captured"]);
}

#[test]
fn dropping_one_that_never_began_drops_its_closure() {
    let log = notes();
    let captured = Note(Rc::clone(&log), "captured");
    drop(Generator::<i32>::new(move |y| {
        let _captured = &captured;
        y.yield_(1);
    }));
    assert_eq!(*log.borrow(), ["captured"]);
}

/// A leaked one keeps its stack: what its frames hold stays as it is, whatever runs afterwards.
#[test]
fn a_leaked_one_keeps_its_stack() {
    let seen = Rc::new(Cell::new(std::ptr::null::<[u64; 64]>()));
    let inside = Rc::clone(&seen);
    let mut g = Generator::<()>::new(move |y| {
        let frame = [0x5eed_u64; 64];
        inside.set(&raw const frame);
        y.yield_(());
        std::hint::black_box(&frame);
    });
    g.next();
    std::mem::forget(g);
    for round in 0..200_u64 {
        let mut other = Generator::<u64>::new(move |y| {
            let frame = std::hint::black_box([round; 4096]);
            y.yield_(frame[7]);
        });
        assert_eq!(other.next(), Some(round));
    }
    // SAFETY: the frame that holds it was never left, and its stack is nobody else's.
    assert_eq!(unsafe { *seen.get() }, [0x5eed; 64]);
}

/// The eight queens of `test_generators.py` in small: generators within generators, by recursion.
#[test]
fn permutations_by_recursion() {
    fn permutations(y: &Yielder<Vec<u8>>, chosen: &mut Vec<u8>, of: u8) {
        if chosen.len() == usize::from(of) {
            y.yield_(chosen.clone());
        }
        for next in 0..of {
            if !chosen.contains(&next) {
                chosen.push(next);
                permutations(y, chosen, of);
                chosen.pop();
            }
        }
    }
    let all = Generator::<Vec<u8>>::new(|y| permutations(y, &mut Vec::new(), 6));
    let queens = all.filter(|places| {
        let attacks = |a: usize, b: usize| places[a].abs_diff(places[b]) as usize == b - a;
        !(0..6).any(|b| (0..b).any(|a| attacks(a, b)))
    });
    assert_eq!(queens.count(), 4);
}

/// `test_generators.py`, "sieve": each prime filters what the one before lets pass.
#[test]
fn sieve_of_generators() {
    fn sieve(mut numbers: Generator<u32>) -> Generator<u32> {
        Generator::new(move |y| {
            let Some(prime) = numbers.next() else { return };
            y.yield_(prime);
            y.yield_from(sieve(Generator::new(move |y| {
                y.yield_all(numbers.filter(|number| number % prime != 0));
            })));
        })
    }
    let primes = sieve(Generator::new(|y| y.yield_all(2..)));
    assert_eq!(primes.take(10).collect::<Vec<_>>(), [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
}

#[test]
fn a_scoped_one_borrows_and_is_ended_with_its_scope() {
    let log = notes();
    let mut sum = 0;
    let first = scoped(
        |y| {
            let _end = Note(Rc::clone(&log), "end");
            for number in 1.. {
                sum += number;
                y.yield_(sum);
            }
        },
        |mut sums| {
            assert_eq!(sums.by_ref().take(3).collect::<Vec<i32>>(), [1, 3, 6]);
            sums.next()
        },
    );
    assert_eq!((first, sum, log.borrow().len()), (Some(10), 10, 1));
}

/// A generator that borrows another's yielder yields out of both.
#[test]
fn yielding_through_another_generator() {
    let log = notes();
    let inside = Rc::clone(&log);
    let mut outer = Generator::<&str>::new(move |out| {
        let _end = Note(Rc::clone(&inside), "outer");
        scoped(
            |own: &Yielder<i32>| {
                let _end = Note(Rc::clone(&inside), "inner");
                own.yield_(1);
                out.yield_("from within the inner one");
                own.yield_(2);
                out.yield_("again");
            },
            |mut inner| {
                assert_eq!(inner.next(), Some(1));
                assert_eq!(inner.next(), Some(2));
                inner.next();
            },
        );
    });
    assert_eq!(outer.next(), Some("from within the inner one"));
    assert_eq!(outer.next(), Some("again"));
    drop(outer);
    assert_eq!(*log.borrow(), ["inner", "outer"], "unwound from the inner one's stack");
}

/// What is large, aligned, or of no size, as value, message, closure and result.
#[test]
fn values_of_all_shapes() {
    #[repr(align(256))]
    #[derive(Clone, Copy, PartialEq, Debug)]
    struct Aligned([u8; 300]);
    let large = [7_u64; 2000];
    let mut g = Generator::<Aligned, [u64; 500], [u64; 1000]>::new(move |y| {
        let mut message = y.first().expect("a message");
        for nth in 0..3 {
            let value = Aligned([nth; 300]);
            assert_eq!((&raw const value) as usize % 256, 0);
            assert_eq!(message, [u64::from(nth); 500]);
            message = y.yield_(value);
        }
        [large[1999]; 1000]
    });
    for nth in 0..3 {
        assert_eq!(g.resume([u64::from(nth); 500]), Step::Yielded(Aligned([nth; 300])));
    }
    assert_eq!(g.resume([3; 500]), Step::Returned([7; 1000]));
    assert_eq!(Generator::<()>::new(|y| y.yield_all([(), ()])).count(), 2);
}

#[test]
fn many_at_once_and_stacks_of_other_sizes() {
    let counter = |from: u32| Generator::<u32>::new(move |y| y.yield_all(from..));
    let mut all: Vec<_> = (0..2_000).map(counter).collect();
    for round in 0..3 {
        for (nth, g) in all.iter_mut().enumerate() {
            assert_eq!(g.next(), Some(nth as u32 + round));
        }
    }
    let deep = Builder::new().name("deep").stack_size(8 << 20);
    let mut deep = deep
        .generator(|y: &Yielder<usize>| {
            let large = std::hint::black_box([1_u8; 4 << 20]);
            y.yield_(large.iter().map(|&byte| usize::from(byte)).sum());
        })
        .expect("there is room");
    assert_eq!((deep.name(), deep.next()), ("deep", Some(4 << 20)));
}

/// A destructor may use a generator while its thread unwinds: one that does not unwind itself.
#[test]
fn generators_in_destructors_while_unwinding() {
    struct Sums(Rc<Cell<u32>>);
    impl Drop for Sums {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            self.0.set(Generator::<u32>::new(|y| y.yield_all(1..=4)).sum());
        }
    }
    let sum = Rc::new(Cell::new(0));
    let sums = Sums(Rc::clone(&sum));
    let text = panics(move || {
        let _sums = sums;
        panic!("outer");
    });
    assert_eq!((text.as_str(), sum.get(), std::thread::panicking()), ("outer", 10, false));
}

/// The backtrace of a panic goes on in whoever resumed the generator.
#[test]
fn a_backtrace_goes_on_in_who_resumed() {
    #[inline(never)]
    fn the_resumer(g: &mut Generator<String>) -> String {
        std::hint::black_box(g.next().expect("a trace"))
    }
    #[inline(never)]
    fn the_body(y: &Yielder<String>) {
        y.yield_(std::backtrace::Backtrace::force_capture().to_string());
    }
    let mut g = Generator::new(the_body);
    let trace = the_resumer(&mut g);
    let body = trace.find("the_body").unwrap_or_else(|| panic!("{trace}"));
    let resumer = trace.find("the_resumer").unwrap_or_else(|| panic!("{trace}"));
    assert!(body < resumer, "{trace}");
}
