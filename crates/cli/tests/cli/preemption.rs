//! Programs whose threads compute, under `timestop run`: on one worker and on two, with slices alone and with a
//! preemption every 50 µs. Each prints a line "PASS theme" for each theme in which nobody starved and all was right, the
//! same as it prints on plain threads.

use crate::support::Program;

const ONE: (&str, &str) = ("TIMESTOP_WORKERS", "1");
const TWO: (&str, &str) = ("TIMESTOP_WORKERS", "2");
/// All workers but one work only when the monitor calls them.
const RESERVE: (&str, &str) = ("TIMESTOP_RESERVE", "on");
/// Microseconds between the preemptions of a program that has many.
const CHAOS: (&str, &str) = ("TIMESTOP_CHAOS", "50");

/// Seven tests a program: on plain threads, and the same on fibers in six settings.
macro_rules! programs {
    ($($name:ident: $program:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn plain() {
                $program.passes_plainly();
            }

            #[test]
            fn on_one_worker() {
                $program.is_the_same_on_fibers(&[ONE]);
            }

            #[test]
            fn on_one_worker_at_random() {
                $program.is_the_same_on_fibers(&[ONE, CHAOS]);
            }

            #[test]
            fn on_two_workers() {
                $program.is_the_same_on_fibers(&[TWO]);
            }

            #[test]
            fn on_two_workers_at_random() {
                $program.is_the_same_on_fibers(&[TWO, CHAOS]);
            }

            #[test]
            fn on_one_and_a_reserve() {
                $program.is_the_same_on_fibers(&[TWO, RESERVE]);
            }

            #[test]
            fn on_one_and_a_reserve_at_random() {
                $program.is_the_same_on_fibers(&[TWO, RESERVE, CHAOS]);
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
