//! What a run prints: `key number`, and, where there is something to say of the number, `note words`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use std::{panic, process, thread};

use crate::memory::peak_rss_mib;

/// Prints the numbers of a run. `value` is the answer, and every run has it.
pub fn report(numbers: &[(&str, f64)]) {
    for (key, number) in numbers {
        println!("{key} {number}");
    }
}

/// Prints what is to be said of the number where it is shown: that it is not quite what the others did.
pub fn note(words: &str) {
    println!("note {words}");
}

/// Ends the run: nobody is to believe it. Of those that call it at once the first is heard, as what fails after a failure
/// explains nothing.
pub fn fail(why: &str) -> ! {
    static FAILED: AtomicBool = AtomicBool::new(false);
    if !FAILED.swap(true, Ordering::Relaxed) {
        eprintln!("{why}");
        process::exit(1);
    }
    loop {
        thread::park();
    }
}

/// Makes every panic the end of the run, told in one line: the last line of standard error is what people are shown, and
/// tasks that wait for one that panicked would wait for ever.
pub fn fail_on_panic() {
    panic::set_hook(Box::new(|panic| {
        let why = panic.payload_as_str().unwrap_or("a panic without words");
        fail(&why.replace('\n', " "))
    }));
}

/// A moment from which is measured.
#[derive(Debug, Clone, Copy)]
pub struct Timed(Instant);

impl Timed {
    /// From now on.
    pub fn start() -> Timed {
        Timed(Instant::now())
    }

    /// Prints the nanoseconds for each of `count` times.
    pub fn report_each(self, count: u64) {
        report(&[("value", self.0.elapsed().as_nanos() as f64 / count as f64)]);
    }

    /// Prints the milliseconds.
    pub fn report_ms(self) {
        report(&[("value", self.0.elapsed().as_secs_f64() * 1e3)]);
    }
}

/// Prints what tasks that slept for a second at most took beyond it, and the memory that they took.
pub fn report_timers(start: Timed) {
    let beyond = start.0.elapsed().as_secs_f64() * 1e3 - 1e3;
    report(&[("value", beyond), ("rss", peak_rss_mib())]);
}
