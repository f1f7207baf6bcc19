//! The OS threads that a runtime begins with: all of them, or none.
//!
//! An OS thread may be refused (`ulimit -u`, the cgroup's limit, memory), and a fiber that runs by
//! then could not be made a thread again. So all are made before the first of them does anything: they
//! wait at a gate, which is opened when nothing can fail any more, or tells them to end.
//!
//! Rejected: to start them one after the other and to end those that run (a carrier that has begun
//! sleeps where only work wakes it).

use std::ffi::c_void;
use std::io;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use timestop_fiber::fault::{self, Fault};

use super::{Carrier, Worker, spare};
use crate::{monitor, sys};

/// What an OS thread runs.
type Main = extern "C" fn(*mut c_void) -> *mut c_void;

const CLOSED: u32 = 0;
const OPEN: u32 = 1;
const CALLED_OFF: u32 = 2;

/// One that waits at the gate.
struct Member {
    gate: AtomicU32,
    main: Main,
    argument: AtomicPtr<c_void>,
}

impl Member {
    /// Starts the OS thread; `what` is it to the reader of an error.
    fn start(main: Main, what: &str, fault: Fault) -> io::Result<Arc<Self>> {
        let member =
            Self { gate: AtomicU32::new(CLOSED), main, argument: AtomicPtr::new(ptr::null_mut()) };
        let member = Arc::new(member);
        let theirs = Arc::into_raw(Arc::clone(&member)).cast_mut();
        let started = if fault::is(fault) {
            Err(io::Error::from_raw_os_error(libc::EAGAIN))
        } else {
            // SAFETY: `wait` takes over the reference.
            unsafe { timestop_fiber::thread::start(wait, theirs.cast()) }
        };
        match started {
            Ok(()) => Ok(member),
            Err(error) => {
                // SAFETY: no thread was made that would have it.
                drop(unsafe { Arc::from_raw(theirs) });
                let text = format!("no OS thread for {what} ({error}): see `ulimit -u` and `ulimit -v`");
                Err(io::Error::new(error.kind(), text))
            }
        }
    }

    fn pass(&self, gate: u32, argument: *mut c_void) {
        self.argument.store(argument, Ordering::Relaxed);
        self.gate.store(gate, Ordering::Release);
        sys::futex_wake(self.gate.as_ptr() as usize, 1);
    }
}

extern "C" fn wait(member: *mut c_void) -> *mut c_void {
    // SAFETY: `start` gives this thread a reference of its own.
    let member = unsafe { Arc::from_raw(member.cast::<Member>()) };
    let gate = loop {
        match member.gate.load(Ordering::Acquire) {
            CLOSED => drop(sys::futex_wait(&member.gate, CLOSED, None)),
            gate => break gate,
        }
    };
    let (main, argument) = (member.main, member.argument.load(Ordering::Relaxed));
    if gate == CALLED_OFF {
        return ptr::null_mut();
    }
    // Held for ever: to free it would have this thread allocate before it is what it is to be.
    std::mem::forget(member);
    main(argument)
}

/// Carriers, monitor and starter, at the gate. Dropped without having begun, they end.
pub(crate) struct Crew {
    carriers: Vec<Arc<Member>>,
    others: Vec<Arc<Member>>,
}

impl Crew {
    /// Makes `carriers` carriers, and one of each of the others.
    ///
    /// # Errors
    ///
    /// One of them was refused; the text says which.
    pub(crate) fn gather(carriers: usize) -> io::Result<Self> {
        let mut crew = Self { carriers: Vec::with_capacity(carriers), others: Vec::with_capacity(2) };
        for _ in 0..carriers {
            crew.carriers.push(Member::start(spare::carrier_main, "a worker", Fault::Carrier)?);
        }
        crew.others.push(Member::start(monitor::main, "the monitor", Fault::Monitor)?);
        crew.others.push(Member::start(spare::starter_main, "the starter", Fault::Starter)?);
        Ok(crew)
    }

    /// Has all begin, a carrier for each worker. The runtime is in its place.
    pub(crate) fn begin(mut self, workers: impl Iterator<Item = &'static Worker>) {
        for (member, worker) in self.carriers.drain(..).zip(workers) {
            let carrier: *const Carrier = spare::new_carrier(Some(worker));
            member.pass(OPEN, carrier.cast_mut().cast());
        }
        for member in self.others.drain(..) {
            member.pass(OPEN, ptr::null_mut());
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for member in self.carriers.iter().chain(&self.others) {
            member.pass(CALLED_OFF, ptr::null_mut());
        }
    }
}
