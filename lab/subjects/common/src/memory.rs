//! What tasks cost, as the kernel counts it: pages of the process, the page tables that RSS leaves out, and the memory of
//! the whole machine, which alone shows the kernel's stack of an OS thread.

use std::fs;

use crate::report::report;

/// What is used at one moment, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    rss: f64,
    page_tables: f64,
    available: f64,
}

impl Memory {
    /// As it is now.
    pub fn now() -> Memory {
        let status = "/proc/self/status";
        Memory {
            rss: field(status, "VmRSS"),
            page_tables: field(status, "VmPTE"),
            available: field("/proc/meminfo", "MemAvailable"),
        }
    }

    /// Prints how much more is used than at this moment, for each of `tasks`.
    pub fn report_growth(self, tasks: u64) {
        let now = Memory::now();
        let each = |growth: f64| growth / tasks as f64;
        report(&[
            ("value", each(now.rss - self.rss)),
            ("page_tables", each(now.page_tables - self.page_tables)),
            ("system", each(self.available - now.available)),
        ]);
    }
}

/// The most that the process has been so far, in MiB.
pub fn peak_rss_mib() -> f64 {
    field("/proc/self/status", "VmHWM") / 1024.0 / 1024.0
}

/// `field: N kB` of a file in `/proc`, in bytes.
fn field(path: &str, field: &str) -> f64 {
    let text = fs::read_to_string(path).expect("/proc is there");
    let kib = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| *name == field)
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<f64>().ok())
        .expect("the kernel has that field");
    kib * 1024.0
}
