//! OS threads of the runtime's own that are made when they are first wanted: what reports, traces and
//! answers questions about fibers runs on.
//!
//! Whoever wants one may be anywhere, a signal handler or a stuck fiber's carrier included, so it only
//! says so; the starter makes the thread, in the child of a `fork` too, once that has a runtime of its own.

use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use crate::{sched, sys};

/// A thread that is made when it is wanted, one in a process.
#[derive(Debug)]
pub struct Housekeeper {
    name: &'static CStr,
    work: fn(),
    wanted: AtomicBool,
    /// The process that has the thread: a child of `fork` has none. 0 for none.
    process: AtomicU32,
    is_listed: AtomicBool,
}

/// As many as there are kinds of them.
const MOST: usize = 4;
static ALL: [AtomicPtr<Housekeeper>; MOST] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; MOST];

impl Housekeeper {
    /// One that is not wanted yet. Its OS thread is named so (15 bytes at most), ends with `work`, which
    /// may allocate and block, and takes no signals.
    #[must_use]
    pub const fn new(name: &'static CStr, work: fn()) -> Self {
        Self {
            name,
            work,
            wanted: AtomicBool::new(false),
            process: AtomicU32::new(0),
            is_listed: AtomicBool::new(false),
        }
    }

    /// Has the thread made, if it is not there. Safe in a signal handler. Where no runtime has been
    /// started: when one is.
    ///
    /// # Panics
    ///
    /// If there are more kinds than places: an error in this program.
    pub fn want(&'static self) {
        if !self.is_listed.swap(true, Ordering::AcqRel) {
            let own = std::ptr::from_ref(self).cast_mut();
            let free = |place: &AtomicPtr<Self>| {
                let null = std::ptr::null_mut();
                place.compare_exchange(null, own, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            };
            assert!(ALL.iter().any(free), "more kinds of housekeepers than places");
        }
        self.wanted.store(true, Ordering::Release);
        if !self.is_there()
            && let Some(runtime) = sched::started()
        {
            runtime.spares.ring();
        }
    }

    /// Whether somebody wants the thread.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// Whether this process has the thread, or it is about to begin.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.process.load(Ordering::Acquire) == sys::process_id()
    }

    fn start(&'static self) {
        self.process.store(sys::process_id(), Ordering::Release);
        let argument = std::ptr::from_ref(self).cast_mut().cast();
        // SAFETY: `main` takes one of us.
        if unsafe { timestop_fiber::thread::start(main, argument) }.is_err() {
            self.process.store(0, Ordering::Release);
        }
    }
}

fn all() -> impl Iterator<Item = &'static Housekeeper> {
    // SAFETY: null, or what lasts for ever.
    ALL.iter().filter_map(|place| unsafe { place.load(Ordering::Acquire).as_ref() })
}

/// How many there are.
pub(crate) fn threads() -> usize {
    all().filter(|one| one.is_there()).count()
}

/// Makes those that are wanted and not there. The starter's.
pub(crate) fn start_wanted() {
    for one in all().filter(|one| one.wanted.load(Ordering::Acquire) && !one.is_there()) {
        one.start();
    }
}

extern "C" fn main(argument: *mut c_void) -> *mut c_void {
    // SAFETY: `start` passes one, which lasts for ever.
    let own: &'static Housekeeper = unsafe { &*argument.cast::<Housekeeper>() };
    timestop_fiber::thread::begin(own.name, false);
    (own.work)();
    own.wanted.store(false, Ordering::Release);
    own.process.store(0, Ordering::Release);
    std::ptr::null_mut()
}
