//! What fibers are doing, told to people: stacks of suspended fibers ([`unwind`]), names for addresses
//! ([`symbols`]), the dump of all fibers ([`dump`]), warnings about hogs ([`warn`]), what they have
//! done so far ([`stats`]), when ([`trace`]), and that a process ends ([`end`]).
//!
//! Stands on the runtime and the hooks, which know nothing of it: they call upward through
//! `timestop_runtime::report`. Everything here but [`unwind::walk`] runs on ordinary threads (the
//! runtime's `timestop-report`, or whoever asks for a dump), may allocate and may block.

mod descriptor;
mod dump;
mod end;
mod live;
mod modules;
mod plain;
mod quit;
mod raw;
mod stack;
mod stats;
pub mod symbols;
mod text;
mod trace;
mod trim;
pub mod unwind;
mod waiting;
mod warn;

use std::io;

pub use dump::dump;
pub use end::{at_end, at_end_elsewhere, at_exit};
pub use live::answer as answer_page;
pub use quit::dump_on_quit;
pub use raw::Stderr;
pub use stats::keep_stats;
use timestop_runtime::preempt;
use timestop_runtime::report::{self, Kind, Report};
pub use trace::{DEFAULT_LIMIT as TRACE_LIMIT, start_trace};
pub use trim::trim;
pub use waiting::describe as waiting_for;
pub use warn::to_stderr as warn_on_stderr;

/// Connects the runtime's reports to what prints them. Cheap: nothing is read before there is
/// something to tell.
pub fn install() {
    unwind::set_trampoline(preempt::trampoline_code());
    report::set_sink(receive);
    report::set_unwinder(unwind::walk);
}

fn receive(report: &Report) {
    match report.kind {
        Kind::Dump => dump_to_stderr(),
        Kind::Tick => stats::tick(),
        Kind::End => at_end(),
        _ => warn::warn(report),
    }
}

/// Writes a dump of all fibers to standard error, past std's lock on it.
pub fn dump_to_stderr() {
    let _: io::Result<()> = dump(&mut Stderr);
}
