//! Timers: a hierarchical wheel for each worker, with the entries inside the fibers' records.
//!
//! A fiber waits for at most one point in time, so its record holds the one entry, and millions of
//! timers allocate nothing. Arming and cancelling are O(1): link into or out of one list. Level `l`
//! of the wheel has 64 slots of 64ˡ ticks; an entry sits on the level of the highest digit in which
//! its tick differs from now, and moves down when that slot comes up. A tick is 32.8 µs, rounded up:
//! a timer fires up to one tick late, never early.
//!
//! Invariant: an entry is linked exactly while its state is ARMED, which only changes under the lock
//! of the wheel that it names. Source: Varghese & Lauck, hashed hierarchical wheels. Rejected: a
//! heap (cancelling is O(log n) with an index kept, or leaves garbage), one wheel for all (a lock
//! that every sleep of every worker takes).

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use timestop_fiber::lock::Lock;

use crate::fiber::{Fiber, FiberRef};

/// Nanoseconds of a tick: 2¹⁵.
const TICK_SHIFT: u32 = 15;
const DIGIT: u32 = 6;
const SLOTS: usize = 1 << DIGIT;
/// 64⁸ ticks are 292 years.
const LEVELS: usize = 8;
/// The farthest tick that fits.
const HORIZON: u64 = (1 << (DIGIT * LEVELS as u32)) - 1;

const IDLE: u8 = 0;
const ARMED: u8 = 1;
const FIRED: u8 = 2;

/// A fiber's entry. All zero: idle.
#[derive(Debug)]
pub(crate) struct Timer {
    state: AtomicU8,
    /// Which worker's wheel it is in.
    wheel: AtomicU32,
    tick: Cell<u64>,
    next: Cell<*mut Fiber>,
    previous: Cell<*mut Fiber>,
}

impl Timer {
    /// Whether the point in time has come since the timer was armed.
    pub(crate) fn has_fired(&self) -> bool {
        self.state.load(Ordering::Acquire) == FIRED
    }
}

/// The lists of one worker.
#[derive(Debug)]
struct Lists {
    /// Every tick before this one has been dealt with.
    elapsed: u64,
    occupied: [u64; LEVELS],
    heads: [[*mut Fiber; SLOTS]; LEVELS],
}

// SAFETY: the pointers are to records that are never unmapped, and only followed under the lock.
unsafe impl Send for Lists {}

/// The timers of one worker.
#[derive(Debug)]
pub(crate) struct Wheel {
    lists: Lock<Lists>,
    /// When the next slot comes up, monotonic nanoseconds; `u64::MAX` where there is none. Never
    /// later than the earliest timer. Written under the lock.
    next: AtomicU64,
}

/// Tick that begins at or after `nanoseconds`.
fn tick_at_or_after(nanoseconds: u64) -> u64 {
    (nanoseconds >> TICK_SHIFT) + u64::from(nanoseconds & ((1 << TICK_SHIFT) - 1) != 0)
}

fn entry(pointer: *mut Fiber) -> Option<FiberRef> {
    FiberRef::from_pointer(pointer)
}

impl Lists {
    fn link(&mut self, fiber: FiberRef, tick: u64) {
        let tick = tick.max(self.elapsed + 1).min(self.elapsed | HORIZON);
        let differing = (tick ^ self.elapsed) | 1;
        let level = ((63 - differing.leading_zeros()) / DIGIT) as usize;
        let slot = (tick >> (DIGIT * level as u32)) as usize % SLOTS;
        let head = self.heads[level][slot];
        fiber.timer.tick.set(tick);
        fiber.timer.next.set(head);
        fiber.timer.previous.set(std::ptr::null_mut());
        if let Some(head) = entry(head) {
            head.timer.previous.set(fiber.as_pointer());
        }
        self.heads[level][slot] = fiber.as_pointer();
        self.occupied[level] |= 1 << slot;
    }

    fn unlink(&mut self, fiber: FiberRef) {
        let (next, previous) = (fiber.timer.next.get(), fiber.timer.previous.get());
        if let Some(next) = entry(next) {
            next.timer.previous.set(previous);
        }
        if let Some(previous) = entry(previous) {
            previous.timer.next.set(next);
            return;
        }
        // First of its list: which one follows from its tick, or from a search where `elapsed`
        // has moved on since (the list is then about to come up).
        for level in 0..LEVELS {
            let slot = (fiber.timer.tick.get() >> (DIGIT * level as u32)) as usize % SLOTS;
            if self.heads[level][slot] == fiber.as_pointer() {
                self.heads[level][slot] = next;
                if next.is_null() {
                    self.occupied[level] &= !(1 << slot);
                }
                return;
            }
        }
    }

    /// Level, slot and first tick of the slot that comes up next.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let mut next = None;
        for level in 0..LEVELS {
            if self.occupied[level] == 0 {
                continue;
            }
            let shift = DIGIT * level as u32;
            let position = (self.elapsed >> shift) as usize % SLOTS;
            // Slots of a level lie ahead of its position: an entry differs in this digit and in
            // none above, and is later.
            let ahead = self.occupied[level].rotate_right(position as u32).trailing_zeros() as usize;
            let slot = (position + ahead) % SLOTS;
            let above = self.elapsed >> (shift + DIGIT) << (shift + DIGIT);
            let start = above + ((slot as u64) << shift);
            // At its position lies what a full batch has left of a slot: that goes before the lower
            // levels, to which the slot's later entries have moved already.
            if ahead == 0 {
                return Some((level, slot, start));
            }
            // Else a lower level comes first.
            next = next.or(Some((level, slot, start)));
        }
        next
    }

    fn next_deadline(&self) -> u64 {
        self.next_slot().map_or(u64::MAX, |(_, _, tick)| tick.saturating_mul(1 << TICK_SHIFT))
    }
}

/// Fibers whose time has come, a batch at a time.
const BATCH: usize = 64;

impl Wheel {
    pub(crate) fn new(now: u64) -> Self {
        let lists = Lists {
            elapsed: now >> TICK_SHIFT,
            occupied: [0; LEVELS],
            heads: [[std::ptr::null_mut(); SLOTS]; LEVELS],
        };
        Self { lists: Lock::new(lists), next: AtomicU64::new(u64::MAX) }
    }

    /// When this wheel wants to be looked at.
    #[inline]
    pub(crate) fn next_deadline(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Arms the fiber's timer; `index` is this wheel's. True if it became the wheel's first.
    pub(crate) fn arm(&self, index: u32, fiber: FiberRef, deadline: u64) -> bool {
        let mut lists = self.lists.lock();
        fiber.timer.wheel.store(index, Ordering::Relaxed);
        fiber.timer.state.store(ARMED, Ordering::Relaxed);
        lists.link(fiber, tick_at_or_after(deadline));
        let next = lists.next_deadline();
        let first = next < self.next.load(Ordering::Relaxed);
        self.next.store(next, Ordering::Relaxed);
        first
    }

    /// Moves on to `now` and calls `wake` for each fiber whose time has come. `wake` runs outside
    /// the lock. Returns how many there were.
    pub(crate) fn expire(&self, now: u64, mut wake: impl FnMut(FiberRef)) -> usize {
        if now < self.next_deadline() {
            return 0;
        }
        let mut total = 0;
        loop {
            let mut due = [std::ptr::null_mut(); BATCH];
            let mut count = 0;
            self.collect(now >> TICK_SHIFT, &mut due, &mut count);
            for &pointer in &due[..count] {
                if let Some(fiber) = entry(pointer) {
                    wake(fiber);
                }
            }
            total += count;
            if count < BATCH {
                return total;
            }
        }
    }

    fn collect(&self, now: u64, due: &mut [*mut Fiber; BATCH], count: &mut usize) {
        let mut lists = self.lists.lock();
        while let Some((level, slot, start)) = lists.next_slot() {
            if start > now {
                break;
            }
            lists.elapsed = lists.elapsed.max(start);
            while let Some(fiber) = entry(lists.heads[level][slot]) {
                if *count == BATCH {
                    return; // `next` stays in the past: the caller comes again
                }
                lists.heads[level][slot] = fiber.timer.next.get();
                if let Some(next) = entry(fiber.timer.next.get()) {
                    next.timer.previous.set(std::ptr::null_mut());
                }
                if fiber.timer.tick.get() <= now {
                    fiber.timer.state.store(FIRED, Ordering::Release);
                    due[*count] = fiber.as_pointer();
                    *count += 1;
                } else {
                    let tick = fiber.timer.tick.get();
                    lists.link(fiber, tick);
                }
            }
            lists.occupied[level] &= !(1 << slot);
        }
        lists.elapsed = lists.elapsed.max(now);
        let next = lists.next_deadline();
        self.next.store(next, Ordering::Relaxed);
    }

    /// Takes the fiber's timer out if it has not fired.
    fn cancel(&self, fiber: FiberRef) {
        let mut lists = self.lists.lock();
        if fiber.timer.state.load(Ordering::Relaxed) == ARMED {
            lists.unlink(fiber);
            // `next` may now be too early: the price is one look at the wheel.
        }
        fiber.timer.state.store(IDLE, Ordering::Relaxed);
    }
}

/// Disarms the fiber's timer. On the fiber itself.
pub(crate) fn disarm(fiber: FiberRef, wheels: impl Fn(u32) -> &'static Wheel) {
    match fiber.timer.state.load(Ordering::Acquire) {
        ARMED => wheels(fiber.timer.wheel.load(Ordering::Relaxed)).cancel(fiber),
        FIRED => fiber.timer.state.store(IDLE, Ordering::Relaxed),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::alloc::{Layout, alloc_zeroed};
    use std::collections::BTreeMap;

    use super::*;

    const TICK: u64 = 1 << TICK_SHIFT;

    /// A record that serves nobody. Never freed, as all are.
    fn record() -> FiberRef {
        // SAFETY: a record is not of size zero.
        let memory = unsafe { alloc_zeroed(Layout::new::<Fiber>()) };
        // All-zero is a valid record.
        FiberRef::from_pointer(memory.cast()).expect("there is memory")
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, end: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % end
        }
    }

    fn is_idle(fiber: FiberRef) -> bool {
        fiber.timer.state.load(Ordering::Relaxed) == IDLE
    }

    fn cancel(wheel: &Wheel, fiber: FiberRef) {
        wheel.cancel(fiber);
        assert!(is_idle(fiber));
    }

    /// Arms, cancels and lets time pass at random, beside a sorted map: after each look exactly those
    /// timers have fired whose tick has come.
    #[test]
    fn a_wheel_fires_what_a_sorted_map_would() {
        for seed in 1..=30_u64 {
            let mut random = Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
            let mut now = random.below(1 << 50);
            let wheel = Wheel::new(now);
            let fibers: Vec<_> = (0..600).map(|_| record()).collect();
            // What is armed, by address, and when it is due.
            let mut model: BTreeMap<usize, u64> = BTreeMap::new();
            for _ in 0..3_000 {
                let fiber = fibers[random.below(600) as usize];
                match random.below(40) {
                    0..30 if is_idle(fiber) => {
                        // From the past to some levels up.
                        let reach = 6 * random.below(5) + random.below(6);
                        let deadline = (now + random.below(TICK << reach)).saturating_sub(TICK);
                        wheel.arm(0, fiber, deadline);
                        // What is due already fires with the tick that comes.
                        let (wanted, tick) = (tick_at_or_after(deadline), fiber.timer.tick.get());
                        assert!(wanted <= tick && tick <= wanted.max((now >> TICK_SHIFT) + 1));
                        model.insert(fiber.address(), tick);
                    }
                    30..37 => {
                        cancel(&wheel, fiber);
                        model.remove(&fiber.address());
                    }
                    37 => {
                        let reach = 6 * random.below(4) + random.below(6);
                        now += random.below(TICK << reach);
                        look(&wheel, &mut model, now);
                    }
                    _ => {}
                }
            }
            look(&wheel, &mut model, now + (TICK << 30));
            assert!(model.is_empty());
            assert_eq!(wheel.lists.lock().occupied, [0; LEVELS]);
        }
    }

    fn look(wheel: &Wheel, model: &mut BTreeMap<usize, u64>, now: u64) {
        let earliest = model.values().min().map_or(u64::MAX, |tick| tick << TICK_SHIFT);
        assert!(wheel.next_deadline() <= earliest, "the wheel would be looked at too late");
        let already = now >> TICK_SHIFT;
        wheel.expire(now, |fiber| {
            let tick = model.remove(&fiber.address()).expect("it is armed, and fires once");
            assert!(tick <= already, "fired {} ticks early", tick - already);
            assert!(fiber.timer.has_fired());
            fiber.timer.state.store(IDLE, Ordering::Relaxed);
        });
        if let Some(late) = model.values().find(|tick| **tick <= already) {
            panic!("{} ticks late", already - late);
        }
    }

    /// A look that comes late finds more due timers in one slot than fit a batch, among others that
    /// are not due yet.
    #[test]
    fn many_due_timers_in_one_slot_all_fire() {
        let wheel = Wheel::new(0);
        let fibers: Vec<_> = (0..4 * BATCH as u64).map(|_| record()).collect();
        for (index, fiber) in fibers.iter().enumerate() {
            wheel.arm(0, *fiber, (64 + index as u64 % 64) * TICK);
        }
        assert_eq!(wheel.expire((64 + 31) * TICK, |_| {}), fibers.len() / 2);
        assert_eq!(wheel.expire((64 + 63) * TICK, |_| {}), fibers.len() / 2);
    }
}
