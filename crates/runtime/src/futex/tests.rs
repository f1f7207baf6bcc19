//! The order of a queue, and what it costs to keep.

use super::*;

thread_local! {
    /// Waiters that were compared with one who looked for its place.
    pub(super) static STEPS: Cell<usize> = const { Cell::new(0) };
}

fn waiter() -> Waiter {
    Waiter {
        fiber: None,
        address: AtomicUsize::new(64),
        bits: ANY,
        ticket: Cell::new(0),
        next: Cell::new(ptr::null_mut()),
        previous: Cell::new(ptr::null_mut()),
        meets: false,
        due: Cell::new(false),
        woken: AtomicU32::new(0),
    }
}

/// A queue in which all of them stand.
fn queue_of(waiters: &[Waiter]) -> Queue {
    let mut queue = Queue::EMPTY;
    for waiter in waiters {
        waiter.ticket.set(queue.ticket());
        queue.insert(waiter);
    }
    queue
}

/// The tickets from the first to the last; the way back has the same.
fn tickets(queue: &Queue) -> Vec<u64> {
    let walk = |from: *mut Waiter, on: fn(&Waiter) -> *mut Waiter| {
        // SAFETY: the waiters of a test outlive its queue.
        std::iter::successors(unsafe { from.as_ref() }, move |one| unsafe { on(one).as_ref() })
            .map(|one| one.ticket.get())
            .collect::<Vec<_>>()
    };
    let forth = walk(queue.first, |one| one.next.get());
    let mut back = walk(queue.last, |one| one.previous.get());
    back.reverse();
    assert_eq!(forth, back);
    forth
}

#[test]
fn who_comes_again_has_its_place_whatever_the_order() {
    let waiters: Vec<_> = (0..60).map(|_| waiter()).collect();
    let mut queue = queue_of(&waiters);
    let mut stand = vec![true; waiters.len()];
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..20_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let at = random as usize % waiters.len();
        if stand[at] {
            queue.remove(&waiters[at]);
        } else {
            queue.insert(&waiters[at]);
        }
        stand[at] = !stand[at];
        let expected: Vec<_> =
            (0..waiters.len()).filter(|at| stand[*at]).map(|at| waiters[at].ticket.get()).collect();
        assert_eq!(tickets(&queue), expected);
    }
}

/// Threads that wait for CPython's lock time out every 5 ms, one after the other, and come again.
#[test]
fn a_place_is_found_at_once_by_many_who_come_again_in_turn() {
    const MANY: usize = 1_000;
    let waiters: Vec<_> = (0..MANY).map(|_| waiter()).collect();
    let mut queue = queue_of(&waiters);
    STEPS.set(0);
    for _ in 0..3 {
        for waiter in &waiters {
            queue.remove(waiter);
            queue.insert(waiter);
        }
    }
    assert!(STEPS.get() < 3 * MANY * 5, "{} steps", STEPS.get());

    // Now as it is where some are served meanwhile, and others are new.
    STEPS.set(0);
    for (served, waiter) in waiters.iter().enumerate().skip(1).step_by(2) {
        queue.remove(&waiters[served - 1]);
        queue.remove(waiter);
        queue.insert(waiter);
        waiters[served - 1].ticket.set(queue.ticket());
        queue.insert(&waiters[served - 1]);
    }
    assert!(STEPS.get() < MANY * 5, "{} steps", STEPS.get());
}
