//! What is a thread's own: `thread_local!`, `errno`, the handle of the current thread.

use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::hint::black_box;
use std::thread;

use super::dice::Dice;
use super::part::{Outcome, Part, same};

thread_local! {
    static PLAIN: Cell<u64> = const { Cell::new(0) };
    /// Made at first use, and dropped.
    static MADE: RefCell<Vec<u64>> = RefCell::new(vec![7; 4]);
}

unsafe extern "C" {
    /// Where the C library keeps this thread's `errno`.
    safe fn __errno_location() -> *mut c_int;
}

pub(super) fn part() -> Part {
    Part::of("locals", 4, |_| {
        let mut id = None;
        move |dice: &mut Dice| {
            let current = thread::current().id();
            same("the thread's id", current, *id.get_or_insert(current))?;
            (0..16).try_for_each(|_| round(dice))
        }
    })
}

fn round(dice: &mut Dice) -> Outcome {
    let number = dice.number();
    let code = 1 + (number % 4000) as c_int;
    PLAIN.set(number);
    MADE.with_borrow_mut(|words| words.fill(number));
    set_errno(code);
    for step in 0..dice.below(20_000) {
        black_box(step);
    }
    same("errno", errno(), code)?;
    same("a thread-local", PLAIN.get(), number)?;
    MADE.with_borrow(|words| same("a thread-local vector", words.as_slice(), &[number; 4][..]))?;
    thread::yield_now();
    same("a thread-local after a switch", PLAIN.get(), number)
}

#[inline(never)]
fn errno() -> c_int {
    let place = __errno_location();
    // SAFETY: it points to this thread's errno, which lives as long as the thread.
    unsafe { place.read() }
}

#[inline(never)]
fn set_errno(code: c_int) {
    let place = __errno_location();
    // SAFETY: as above, and nobody else writes it.
    unsafe { place.write(code) };
}
