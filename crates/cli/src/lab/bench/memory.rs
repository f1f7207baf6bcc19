//! What a waiting fiber holds: the growth of the process, resident and in page tables, over their number; and what the
//! whole system has less of.
//!
//! Pages are what is paid for, so pages are what is counted: an allocator's own account would miss stacks and tables.
//! The kernel's part (an OS thread's own stack of 16 KiB, a timer) is in the last figure only, which others on the
//! machine disturb.

use std::thread;

use super::channels::bounded;
use super::sleepers::{Arrivals, FOR_EVER};
use crate::lab::machine;
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;
use crate::lab::threads::{OnThreads, Threads, on};

#[derive(Clone, Copy)]
enum Waiting {
    /// For a message that never comes, on a channel of its own.
    Receiving,
    Sleeping,
}

struct Crowd {
    fibers: usize,
    workers: usize,
    waiting: Waiting,
}

pub(in crate::lab) fn receiving(trial: &Trial) -> Result<Measured, String> {
    measure(trial, Waiting::Receiving)
}

pub(in crate::lab) fn sleeping(trial: &Trial) -> Result<Measured, String> {
    measure(trial, Waiting::Sleeping)
}

fn measure(trial: &Trial, waiting: Waiting) -> Result<Measured, String> {
    let (fibers, workers) = (trial.parameter(), trial.row.workers());
    on(trial.subject, Crowd { fibers, workers, waiting })?
}

impl OnThreads for Crowd {
    type Output = Result<Measured, String>;

    fn on<T: Threads>(self) -> Self::Output {
        T::run(self.workers, || {
            // One, for what is set up once.
            T::join(T::spawn(|| ()));
            let before = Memory::now()?;
            let arrivals = Arrivals::of(self.fibers);
            // The ends that nobody sends on; dropped, they would end the wait.
            let mut silent = Vec::with_capacity(self.fibers);
            for _ in 0..self.fibers {
                let arrivals = arrivals.clone();
                match self.waiting {
                    Waiting::Sleeping => drop(T::spawn(move || {
                        arrivals.arrive();
                        thread::sleep(FOR_EVER);
                    })),
                    Waiting::Receiving => {
                        let (sender, receiver) = bounded::<()>(1);
                        silent.push(sender);
                        drop(T::spawn(move || {
                            arrivals.arrive();
                            receiver.recv()
                        }));
                    }
                }
            }
            arrivals.wait();
            let now = Memory::now()?;
            let each = |before, now| (now - before) / self.fibers as f64;
            Ok(Measured::new(each(before.resident, now.resident))
                .with("page_tables", each(before.tables, now.tables))
                .with("system", each(now.available, before.available)))
        })
    }
}

/// In bytes.
struct Memory {
    resident: f64,
    tables: f64,
    /// Of the whole machine.
    available: f64,
}

impl Memory {
    fn now() -> Result<Self, String> {
        let bytes = |field| Ok::<_, String>(machine::status("self", field)? as f64 * 1024.0);
        Ok(Memory {
            resident: bytes("VmRSS")?,
            tables: bytes("VmPTE")?,
            available: machine::memory_available()? as f64,
        })
    }
}
