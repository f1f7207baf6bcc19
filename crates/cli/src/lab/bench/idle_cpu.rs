//! Idleness: a crowd with nothing to do must cost nothing. Half of it sleeps, half waits in `recv` for bytes that never
//! come; the CPU time of the whole process is read before and after a while.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use super::sleepers::{Arrivals, FOR_EVER};
use crate::lab::machine;
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;
use crate::lab::threads::{OnThreads, Threads, on};

const WORKERS: usize = 2;

struct Idle {
    fibers: usize,
    window: Duration,
}

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    let window = trial.pick(Duration::from_secs(3), Duration::from_millis(500));
    on(trial.subject, Idle { fibers: trial.amount(), window })?
}

impl OnThreads for Idle {
    type Output = Result<Measured, String>;

    fn on<T: Threads>(self) -> Self::Output {
        T::run(WORKERS, || {
            let arrivals = Arrivals::of(self.fibers);
            // The ends nobody writes to; closed, they would end the wait.
            let mut silent = Vec::new();
            for at in 0..self.fibers {
                let arrivals = arrivals.clone();
                if at % 2 == 0 {
                    T::spawn(move || {
                        arrivals.arrive();
                        thread::sleep(FOR_EVER);
                    });
                    continue;
                }
                let (mut socket, other) =
                    UnixStream::pair().map_err(|error| format!("socket pair {at}: {error}"))?;
                silent.push(other);
                T::spawn(move || {
                    arrivals.arrive();
                    socket.read(&mut [0])
                });
            }
            arrivals.wait();
            let (cpu, begin) = (machine::cpu_time(), Instant::now());
            thread::sleep(self.window);
            let used = machine::cpu_time() - cpu;
            Ok(Measured::new(used.as_secs_f64() * 1e3 / begin.elapsed().as_secs_f64()))
        })
    }
}
