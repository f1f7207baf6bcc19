//! SIGQUIT (`^\` on a terminal, `kill -QUIT`) prints a dump, and the program goes on, as under the
//! JVM. In place of the signal's default, which ends the program: a handler of the program's own, set
//! before or after, gets the signal as ever, and a program that ignores it goes on ignoring it.
//!
//! Rejected: to end the program afterwards, as Go does (who looks at a server that hangs wants to look
//! twice; `kill -ABRT` still leaves a core).

use timestop_hooks::signal;
use timestop_runtime::report;

/// Has SIGQUIT print a dump of all fibers wherever its default action would be taken.
pub fn dump_on_quit() {
    signal::replace_default(libc::SIGQUIT, report::request_dump);
}
