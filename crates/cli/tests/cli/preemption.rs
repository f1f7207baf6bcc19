//! Programs whose threads compute, under `timestop run`: on one worker and on two, with slices alone and with a
//! preemption every 50 µs. Each prints a line "PASS theme" for each theme in which nobody starved and all was right, the
//! same as it prints on plain threads.

use crate::support::{Program, text};

/// Microseconds between the preemptions of a program that has many.
const CHAOS: &str = "50";

fn passes_plainly(program: &Program) {
    let plain = program.plain();
    assert!(plain.status.success(), "{}\n{}", plain.status, text(&plain.stderr));
    assert!(text(&plain.stdout).contains("PASS"), "{}", text(&plain.stdout));
}

fn is_the_same_on_fibers(program: &Program, workers: &str, chaos: Option<&str>) {
    let plain = program.plain();
    let chaos = chaos.map(|microseconds| ("TIMESTOP_CHAOS", microseconds));
    let environment: Vec<_> = [("TIMESTOP_WORKERS", workers)].into_iter().chain(chaos).collect();
    let fibers = program.on_fibers_with(&environment);
    let [stdout, stderr] = [&fibers.stdout, &fibers.stderr].map(|bytes| text(bytes));
    assert_eq!(fibers.status, plain.status, "{environment:?}\n{stdout}\n{stderr}");
    assert_eq!(stdout, text(&plain.stdout), "{environment:?}\n{stderr}");
}

/// Five tests a program: on plain threads, and the same on fibers in four settings.
macro_rules! programs {
    ($($name:ident: $program:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn plain() {
                passes_plainly(&$program);
            }

            #[test]
            fn on_one_worker() {
                is_the_same_on_fibers(&$program, "1", None);
            }

            #[test]
            fn on_one_worker_at_random() {
                is_the_same_on_fibers(&$program, "1", Some(CHAOS));
            }

            #[test]
            fn on_two_workers() {
                is_the_same_on_fibers(&$program, "2", None);
            }

            #[test]
            fn on_two_workers_at_random() {
                is_the_same_on_fibers(&$program, "2", Some(CHAOS));
            }
        }
    )*};
}

programs! {
    c_hogs: Program::c("hogs");
    cpp_exceptions: Program::cpp("exceptions");
    python_spinner: Program::python("spinner", &[]);
    python_hogs: Program::python("hogs", &[]);
}
