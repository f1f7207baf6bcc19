//! Locks: what they guard is changed in two steps, and nobody may see the first without the second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};

use super::dice::Dice;
use super::part::{Outcome, Part, same};

const LOOPS: usize = 6;
const PERMITS: usize = 2;

/// Two words that are equal whenever nobody holds the lock.
type Pair = (u64, u64);

#[derive(Default)]
struct Shared {
    mutex: Mutex<Pair>,
    rw_lock: RwLock<Pair>,
    small_mutex: parking_lot::Mutex<Pair>,
    small_rw_lock: parking_lot::RwLock<Pair>,
    /// A semaphore: permits taken.
    taken: Mutex<usize>,
    returned: Condvar,
    /// How often a pair was changed, all four together.
    changes: AtomicU64,
}

pub(super) fn part() -> Part {
    let shared: Arc<Shared> = Arc::default();
    let in_the_end = {
        let shared = Arc::clone(&shared);
        Box::new(move || shared.in_the_end())
    };
    let loops = Part::of("locks", LOOPS, |_| {
        let shared = Arc::clone(&shared);
        move |dice: &mut Dice| shared.round(dice)
    });
    Part { in_the_end, ..loops }
}

impl Shared {
    fn round(&self, dice: &mut Dice) -> Outcome {
        for _ in 0..16 {
            let steps = dice.below(2_000);
            match dice.below(7) {
                0 | 1 => self.change(&mut *self.mutex.lock().map_err(poisoned)?, steps)?,
                2 => self.change(&mut *self.rw_lock.write().map_err(poisoned)?, steps)?,
                3 => equal(&*self.rw_lock.read().map_err(poisoned)?, steps)?,
                4 => self.change(&mut self.small_mutex.lock(), steps)?,
                5 => self.change(&mut self.small_rw_lock.write(), steps)?,
                _ => equal(&self.small_rw_lock.read(), steps)?,
            }
        }
        self.with_permit(dice)
    }

    fn change(&self, pair: &mut Pair, steps: usize) -> Outcome {
        equal(pair, 0)?;
        pair.0 += 1;
        busy(steps);
        pair.1 += 1;
        self.changes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn with_permit(&self, dice: &mut Dice) -> Outcome {
        let mut taken = self.taken.lock().map_err(poisoned)?;
        while *taken == PERMITS {
            taken = self.returned.wait(taken).map_err(poisoned)?;
        }
        *taken += 1;
        drop(taken);
        busy(dice.below(20_000));
        let mut taken = self.taken.lock().map_err(poisoned)?;
        let before = *taken;
        *taken -= 1;
        drop(taken);
        self.returned.notify_one();
        same("permits in use are as many as there are", (1..=PERMITS).contains(&before), true)
    }

    fn in_the_end(&self) -> Outcome {
        let pairs = [
            *self.mutex.lock().map_err(poisoned)?,
            *self.rw_lock.read().map_err(poisoned)?,
            *self.small_mutex.lock(),
            *self.small_rw_lock.read(),
        ];
        let changes = self.changes.load(Ordering::Relaxed);
        same("changes under locks", pairs.iter().map(|pair| pair.0).sum(), changes)?;
        same("permits in use", *self.taken.lock().map_err(poisoned)?, 0)
    }
}

/// Twice, with some time between.
fn equal(pair: &Pair, steps: usize) -> Outcome {
    let before = *pair;
    same("a guarded pair", before.0, before.1)?;
    busy(steps);
    same("a pair while its lock is held", *std::hint::black_box(pair), before)
}

fn busy(steps: usize) {
    (0..steps).for_each(|step| {
        std::hint::black_box(step);
    });
}

fn poisoned<T>(_: std::sync::PoisonError<T>) -> String {
    "a lock is poisoned".to_owned()
}
