//! Panics: caught here, or thrown across a join. The payload arrives, every destructor on the way runs once.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::dice::Dice;
use super::part::{self, Outcome, Part, same};

/// A payload of ours.
struct Thrown(u64);

pub(super) fn part() -> Part {
    Part::of("panics", 3, |_| round)
}

/// Keeps what we throw off standard error.
pub(super) fn silence() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !info.payload().is::<Thrown>() {
            tell(info);
        }
    }));
}

fn round(dice: &mut Dice) -> Outcome {
    let (depth, number) = (dice.up_to(20), dice.number());
    let drops = Drops::default();
    let caught = panic::catch_unwind(AssertUnwindSafe(|| deep(depth, number, &drops)));
    same("a caught payload", thrown(caught), Some(number))?;
    same("destructors run by a panic", drops.count(), depth)?;
    same("panicking afterwards", thread::panicking(), false)?;

    let drops = Drops::default();
    let theirs = drops.clone();
    let fiber = part::spawn(None, move || deep(depth, number, &theirs));
    same("a payload from a join", thrown(fiber.join()), Some(number))?;
    same("destructors run in a fiber that panics", drops.count(), depth)
}

#[inline(never)]
fn deep(depth: usize, number: u64, drops: &Drops) -> u64 {
    if depth == 0 {
        panic::panic_any(Thrown(number));
    }
    let _counted = Counted(drops);
    deep(depth - 1, number, drops) + 1
}

fn thrown(result: Result<u64, Box<dyn Any + Send>>) -> Option<u64> {
    result.err()?.downcast_ref::<Thrown>().map(|thrown| thrown.0)
}

#[derive(Clone, Default)]
struct Drops(Arc<AtomicUsize>);

impl Drops {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

struct Counted<'a>(&'a Drops);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}
