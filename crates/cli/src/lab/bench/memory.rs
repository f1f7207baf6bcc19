//! What a sleeping fiber holds: the growth of the process, resident and in page tables, over their number.
//!
//! Pages are what is paid for, so pages are what is counted: an allocator's own account would miss stacks and tables.
//! The kernel's part of an OS thread (its own stack, 16 KiB) is in neither figure.

use std::thread;

use super::sleepers::{Arrivals, FOR_EVER};
use crate::lab::machine;
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;
use crate::lab::threads::{OnThreads, Threads, on};

const WORKERS: usize = 2;

struct Asleep {
    fibers: usize,
}

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    on(trial.subject, Asleep { fibers: trial.parameter() })?
}

impl OnThreads for Asleep {
    type Output = Result<Measured, String>;

    fn on<T: Threads>(self) -> Self::Output {
        T::run(WORKERS, || {
            // One, for what is set up once.
            T::join(T::spawn(|| ()));
            let (resident, tables) = (bytes("VmRSS")?, bytes("VmPTE")?);
            let arrivals = Arrivals::of(self.fibers);
            for _ in 0..self.fibers {
                let arrivals = arrivals.clone();
                T::spawn(move || {
                    arrivals.arrive();
                    thread::sleep(FOR_EVER);
                });
            }
            arrivals.wait();
            let each = |before, now| (now - before) / self.fibers as f64;
            Ok(Measured::new(each(resident, bytes("VmRSS")?))
                .with("page_tables", each(tables, bytes("VmPTE")?)))
        })
    }
}

fn bytes(field: &str) -> Result<f64, String> {
    Ok(machine::status("self", field)? as f64 * 1024.0)
}
