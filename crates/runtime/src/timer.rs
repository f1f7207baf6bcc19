//! Timers: a hierarchical wheel for each worker, with one entry for each fiber, and one in each future that
//! waits for a point in time ([`Alarm`]).
//!
//! A fiber waits for at most one point in time, so its slot has the one entry, and millions of
//! timers allocate nothing. Entries lie beside those of other fibers, not in the records, which are a page
//! each: what goes through a list of them touched a page for each, a third of all that a fiber costs that
//! sleeps 100 ms and runs for 10 µs. Arming and cancelling are O(1): link into or out of one list. Level `l`
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
use timestop_fiber::slab::SIDE_BYTES;

use crate::fiber::{Fiber, FiberRef};
use crate::sched::Wakes;
use crate::waker::{self, Target};

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

/// A fiber's entry. All zero: idle, and nobody's.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Timer {
    tick: Cell<u64>,
    next: Cell<Link>,
    previous: Cell<Link>,
    /// Whom it wakes: the word of a [`Target`].
    target: Cell<usize>,
    /// Which worker's wheel it is in.
    wheel: AtomicU32,
    state: AtomicU8,
}

const _: () = assert!(size_of::<Timer>() == SIDE_BYTES);

/// Entries live as long as slots: for ever; or are taken out before they go.
type Link = Option<&'static Timer>;

// SAFETY: what is not atomic belongs to the wheel whose lock is held; `target` is written while the entry is
// not armed.
unsafe impl Sync for Timer {}

impl Timer {
    /// Nobody's.
    const fn new() -> Self {
        Self {
            tick: Cell::new(0),
            next: Cell::new(None),
            previous: Cell::new(None),
            target: Cell::new(0),
            wheel: AtomicU32::new(0),
            state: AtomicU8::new(IDLE),
        }
    }

    /// Says whom it wakes. While it is not armed.
    pub(crate) fn belongs_to(&self, target: Target) {
        self.target.set(target.word());
    }

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
    heads: [[Link; SLOTS]; LEVELS],
}

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

impl Lists {
    fn link(&mut self, timer: &'static Timer, tick: u64) {
        let tick = tick.max(self.elapsed + 1).min(self.elapsed | HORIZON);
        let differing = (tick ^ self.elapsed) | 1;
        let level = ((63 - differing.leading_zeros()) / DIGIT) as usize;
        let slot = (tick >> (DIGIT * level as u32)) as usize % SLOTS;
        let head = self.heads[level][slot];
        timer.tick.set(tick);
        timer.next.set(head);
        timer.previous.set(None);
        if let Some(head) = head {
            head.previous.set(Some(timer));
        }
        self.heads[level][slot] = Some(timer);
        self.occupied[level] |= 1 << slot;
    }

    fn unlink(&mut self, timer: &'static Timer) {
        let (next, previous) = (timer.next.get(), timer.previous.get());
        if let Some(next) = next {
            next.previous.set(previous);
        }
        if let Some(previous) = previous {
            previous.next.set(next);
            return;
        }
        // First of its list: which one follows from its tick, or from a search where `elapsed`
        // has moved on since (the list is then about to come up).
        for level in 0..LEVELS {
            let slot = (timer.tick.get() >> (DIGIT * level as u32)) as usize % SLOTS;
            if self.heads[level][slot].is_some_and(|head| std::ptr::eq(head, timer)) {
                self.heads[level][slot] = next;
                if next.is_none() {
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
            heads: [[None; SLOTS]; LEVELS],
        };
        Self { lists: Lock::new(lists), next: AtomicU64::new(u64::MAX) }
    }

    /// When this wheel wants to be looked at.
    #[inline]
    pub(crate) fn next_deadline(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Arms a fiber's timer; `index` is this wheel's. True if it became the wheel's first.
    pub(crate) fn arm(&self, index: u32, timer: &'static Timer, deadline: u64) -> bool {
        let mut lists = self.lists.lock();
        timer.wheel.store(index, Ordering::Relaxed);
        timer.state.store(ARMED, Ordering::Relaxed);
        lists.link(timer, tick_at_or_after(deadline));
        let next = lists.next_deadline();
        let first = next < self.next.load(Ordering::Relaxed);
        self.next.store(next, Ordering::Relaxed);
        first
    }

    /// Moves on to `now` and wakes each fiber whose time has come, outside of the lock. Returns how many there
    /// were.
    pub(crate) fn expire(&self, now: u64, mut wakes: Wakes<'_>) -> usize {
        self.expire_each(now, |fiber| wakes.add(Target::fiber(fiber)))
    }

    fn expire_each(&self, now: u64, mut wake: impl FnMut(FiberRef)) -> usize {
        if now < self.next_deadline() {
            return 0;
        }
        let mut total = 0;
        loop {
            let mut due = [std::ptr::null_mut(); BATCH];
            let mut count = 0;
            self.collect(now >> TICK_SHIFT, &mut due, &mut count);
            due[..count].iter().filter_map(|&due| FiberRef::from_pointer(due)).for_each(&mut wake);
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
            while let Some(timer) = lists.heads[level][slot] {
                if *count == BATCH {
                    return; // `next` stays in the past: the caller comes again
                }
                lists.heads[level][slot] = timer.next.get();
                if let Some(next) = timer.next.get() {
                    next.previous.set(None);
                }
                let tick = timer.tick.get();
                if tick <= now {
                    // SAFETY: a target's word; its ring is not freed before the timer has been disarmed, for
                    // which this lock is needed.
                    due[*count] = unsafe { waker::summon_tagged(timer.target.get()) };
                    *count += 1;
                    timer.state.store(FIRED, Ordering::Release);
                } else {
                    lists.link(timer, tick);
                }
            }
            lists.occupied[level] &= !(1 << slot);
        }
        lists.elapsed = lists.elapsed.max(now);
        let next = lists.next_deadline();
        self.next.store(next, Ordering::Relaxed);
    }

    /// Takes the timer out if it has not fired.
    fn cancel(&self, timer: &'static Timer) {
        let mut lists = self.lists.lock();
        if timer.state.load(Ordering::Relaxed) == ARMED {
            lists.unlink(timer);
            // `next` may now be too early: the price is one look at the wheel.
        }
        timer.state.store(IDLE, Ordering::Relaxed);
    }
}

/// Disarms a timer. By whoever waits for it.
pub(crate) fn disarm(timer: &'static Timer, wheels: impl Fn(u32) -> &'static Wheel) {
    match timer.state.load(Ordering::Acquire) {
        ARMED => wheels(timer.wheel.load(Ordering::Relaxed)).cancel(timer),
        FIRED => timer.state.store(IDLE, Ordering::Relaxed),
        _ => {}
    }
}

mod alarm;
pub use alarm::Alarm;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const TICK: u64 = 1 << TICK_SHIFT;

    /// A fiber's entry; of the fiber there is but the address, which nobody follows.
    fn entry() -> &'static Timer {
        let timer: &'static Timer = Box::leak(Box::new(Timer::new()));
        timer.target.set(std::ptr::from_ref(timer) as usize);
        timer
    }

    /// What a wheel said has fired.
    fn fired(fiber: FiberRef) -> &'static Timer {
        // SAFETY: `entry` gave it the address of the timer.
        unsafe { &*(fiber.as_pointer() as *const Timer) }
    }

    fn address(timer: &Timer) -> usize {
        std::ptr::from_ref(timer) as usize
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

    fn is_idle(timer: &Timer) -> bool {
        timer.state.load(Ordering::Relaxed) == IDLE
    }

    fn cancel(wheel: &Wheel, timer: &'static Timer) {
        wheel.cancel(timer);
        assert!(is_idle(timer));
    }

    /// Arms, cancels and lets time pass at random, beside a sorted map: after each look exactly those
    /// timers have fired whose tick has come.
    #[test]
    fn a_wheel_fires_what_a_sorted_map_would() {
        for seed in 1..=30_u64 {
            let mut random = Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
            let mut now = random.below(1 << 50);
            let wheel = Wheel::new(now);
            let timers: Vec<_> = (0..600).map(|_| entry()).collect();
            // What is armed, by address, and when it is due.
            let mut model: BTreeMap<usize, u64> = BTreeMap::new();
            for _ in 0..3_000 {
                let timer = timers[random.below(600) as usize];
                match random.below(40) {
                    0..30 if is_idle(timer) => {
                        // From the past to some levels up.
                        let reach = 6 * random.below(5) + random.below(6);
                        let deadline = (now + random.below(TICK << reach)).saturating_sub(TICK);
                        wheel.arm(0, timer, deadline);
                        // What is due already fires with the tick that comes.
                        let (wanted, tick) = (tick_at_or_after(deadline), timer.tick.get());
                        assert!(wanted <= tick && tick <= wanted.max((now >> TICK_SHIFT) + 1));
                        model.insert(address(timer), tick);
                    }
                    30..37 => {
                        cancel(&wheel, timer);
                        model.remove(&address(timer));
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
        wheel.expire_each(now, |fiber| {
            let timer = fired(fiber);
            let tick = model.remove(&address(timer)).expect("it is armed, and fires once");
            assert!(tick <= already, "fired {} ticks early", tick - already);
            assert!(timer.has_fired());
            timer.state.store(IDLE, Ordering::Relaxed);
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
        let timers: Vec<_> = (0..4 * BATCH as u64).map(|_| entry()).collect();
        for (index, timer) in timers.iter().enumerate() {
            wheel.arm(0, timer, (64 + index as u64 % 64) * TICK);
        }
        assert_eq!(wheel.expire_each((64 + 31) * TICK, |_| {}), timers.len() / 2);
        assert_eq!(wheel.expire_each((64 + 63) * TICK, |_| {}), timers.len() / 2);
    }
}
