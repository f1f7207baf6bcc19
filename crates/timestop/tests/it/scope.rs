//! Fibers that borrow from their spawner, as in `std::thread::scope`.

use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::on_fiber;

#[test]
fn scope_borrows_and_joins() {
    on_fiber(|| {
        let mut numbers = vec![1, 2, 3];
        let sum = AtomicUsize::new(0);
        let doubled = timestop::scope(|scope| {
            for number in &mut numbers {
                let sum = &sum;
                scope.spawn(move || {
                    timestop::yield_now();
                    sum.fetch_add(*number, Ordering::Relaxed);
                    *number *= 10;
                });
            }
            let handle = scope.spawn(|| 21 * 2);
            handle.join().expect("no panic")
        });
        assert_eq!((doubled, sum.into_inner(), numbers), (42, 6, vec![10, 20, 30]));
    });
}

#[test]
fn scoped_fibers_spawn_into_their_scope() {
    on_fiber(|| {
        let count = AtomicUsize::new(0);
        timestop::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        scope.spawn(|| count.fetch_add(1, Ordering::Relaxed));
                    }
                });
            }
        });
        assert_eq!(count.into_inner(), 100);
    });
}

#[test]
fn spawn_scoped_names_and_sizes() {
    let name = String::from("scoped");
    timestop::scope(|scope| {
        let builder = timestop::Builder::new().name(name.clone()).stack_size(1 << 20);
        let body = || thread::current().name() == Some(&*name);
        let fiber = builder.spawn_scoped(scope, body).expect("spawns");
        assert!(fiber.join().expect("no panic"));
    });
}

#[test]
fn scope_panics_when_an_unjoined_fiber_did() {
    let outcome = panic::catch_unwind(|| {
        timestop::scope(|scope| {
            scope.spawn(|| panic::resume_unwind(Box::new("lost")));
        });
    });
    assert!(outcome.is_err());
    let caught = timestop::scope(|scope| {
        scope.spawn(|| panic::resume_unwind(Box::new("caught"))).join().map_err(drop)
    });
    assert_eq!(caught, Err(()), "a joined panic is the joiner's");
}
