//! Signals that have come and not been handled: a fixed table of records, without locks, because
//! signal handlers write it.
//!
//! A record is for one fiber or for the process. A signal below 32 that is pending for the same
//! target already is dropped, as the kernel does; later ones queue. The table holds [`RECORDS`]:
//! beyond it signals are lost, as beyond RLIMIT_SIGPENDING.

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use timestop_runtime::FiberRef;

use super::actions::{Set, bit};

/// Signals that may be pending at once in the whole process.
const RECORDS: usize = 256;
/// The first signal that queues.
const FIRST_QUEUED: c_int = 32;

const FREE: u32 = 0;
/// Someone writes it or takes it out.
const BUSY: u32 = 1;
const READY: u32 = 2;

#[derive(Debug)]
struct Record {
    state: AtomicU32,
    signal: AtomicU32,
    /// The fiber's address and number; 0 for the process.
    address: AtomicUsize,
    id: AtomicU64,
    order: AtomicU64,
    /// Touched by whoever has set the state to BUSY.
    info: UnsafeCell<std::mem::MaybeUninit<libc::siginfo_t>>,
}

// SAFETY: `info` belongs to whoever moved the state to BUSY.
unsafe impl Sync for Record {}

static TABLE: [Record; RECORDS] = [const {
    Record {
        state: AtomicU32::new(FREE),
        signal: AtomicU32::new(0),
        address: AtomicUsize::new(0),
        id: AtomicU64::new(0),
        order: AtomicU64::new(0),
        info: UnsafeCell::new(std::mem::MaybeUninit::uninit()),
    }
}; RECORDS];
/// Records in use: lets the usual look at an empty table end at once.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// One pending signal, for a look from outside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) signal: c_int,
    /// `None`: the process.
    pub(super) target: Option<FiberRef>,
}

impl Record {
    fn claim(&self, from: u32) -> bool {
        self.state.compare_exchange(from, BUSY, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn is_for(&self, address: usize, id: u64) -> bool {
        self.address.load(Ordering::Relaxed) == address && self.id.load(Ordering::Relaxed) == id
    }

    /// The signal, if one is here that `fiber` may take.
    fn offers(&self, fiber: FiberRef, set: Set) -> Option<c_int> {
        if self.state.load(Ordering::Acquire) != READY {
            return None;
        }
        let signal = self.signal.load(Ordering::Relaxed) as c_int;
        let ours = self.is_for(0, 0) || self.is_for(fiber.address(), fiber.id());
        (ours && set & bit(signal) != 0).then_some(signal)
    }
}

/// Notes a signal for a fiber, or for the process. False if the table is full.
pub(super) fn push(target: Option<FiberRef>, signal: c_int, info: &libc::siginfo_t) -> bool {
    let (address, id) = target.map_or((0, 0), |fiber| (fiber.address(), fiber.id()));
    if signal < FIRST_QUEUED && COUNT.load(Ordering::Acquire) != 0 {
        let same = |record: &&Record| {
            record.state.load(Ordering::Acquire) == READY
                && record.signal.load(Ordering::Relaxed) as c_int == signal
                && record.is_for(address, id)
        };
        if TABLE.iter().find(same).is_some() {
            return true;
        }
    }
    static ORDER: AtomicU64 = AtomicU64::new(0);
    let Some(record) = TABLE.iter().find(|record| record.claim(FREE)) else {
        return false;
    };
    COUNT.fetch_add(1, Ordering::AcqRel);
    record.signal.store(signal as u32, Ordering::Relaxed);
    record.address.store(address, Ordering::Relaxed);
    record.id.store(id, Ordering::Relaxed);
    record.order.store(ORDER.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    // SAFETY: the record is ours while it is BUSY.
    unsafe { (*record.info.get()).write(*info) };
    record.state.store(READY, Ordering::Release);
    true
}

/// Takes the signal of `set` that comes first for a fiber: the lowest number, then the oldest.
pub(super) fn take(fiber: FiberRef, set: Set) -> Option<(c_int, libc::siginfo_t)> {
    while COUNT.load(Ordering::Acquire) != 0 {
        let (_, _, record) = TABLE
            .iter()
            .filter_map(|record| {
                let signal = record.offers(fiber, set)?;
                Some((signal, record.order.load(Ordering::Relaxed), record))
            })
            .min_by_key(|(signal, order, _)| (*signal, *order))?;
        if !record.claim(READY) {
            continue;
        }
        // Another may have taken it and filled it anew between the look and the claim.
        let signal = record.signal.load(Ordering::Relaxed) as c_int;
        let ours = record.is_for(0, 0) || record.is_for(fiber.address(), fiber.id());
        if !ours || set & bit(signal) == 0 {
            record.state.store(READY, Ordering::Release);
            continue;
        }
        // SAFETY: the record is ours while it is BUSY …
        let info = unsafe { &*record.info.get() };
        // SAFETY: … and was filled before it was READY.
        let info = unsafe { info.assume_init() };
        release(record);
        return Some((signal, info));
    }
    None
}

fn release(record: &Record) {
    record.state.store(FREE, Ordering::Release);
    COUNT.fetch_sub(1, Ordering::AcqRel);
}

/// The signals of `set` that a fiber could take now.
pub(super) fn of(fiber: FiberRef, set: Set) -> Set {
    if COUNT.load(Ordering::Acquire) == 0 {
        return 0;
    }
    TABLE.iter().filter_map(|record| record.offers(fiber, set)).fold(0, |all, one| all | bit(one))
}

/// Everything that is pending. Forgets what was for fibers that have ended.
pub(super) fn all() -> impl Iterator<Item = Pending> {
    let some = COUNT.load(Ordering::Acquire) != 0;
    TABLE.iter().filter(move |_| some).filter_map(|record| {
        if record.state.load(Ordering::Acquire) != READY {
            return None;
        }
        let signal = record.signal.load(Ordering::Relaxed) as c_int;
        let address = record.address.load(Ordering::Relaxed);
        let id = record.id.load(Ordering::Relaxed);
        if address == 0 {
            return Some(Pending { signal, target: None });
        }
        // SAFETY: `push` stored a fiber's address.
        let fiber = unsafe { FiberRef::from_address(address) };
        if fiber.id() == id && fiber.is_live() {
            return Some(Pending { signal, target: Some(fiber) });
        }
        if record.claim(READY) {
            if record.is_for(address, id) {
                release(record);
            } else {
                record.state.store(READY, Ordering::Release);
            }
        }
        None
    })
}

/// In the child of a fork: signals that were pending are the parent's.
pub(super) fn clear() {
    for record in &TABLE {
        record.state.store(FREE, Ordering::Relaxed);
    }
    COUNT.store(0, Ordering::Release);
}
