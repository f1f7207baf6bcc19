//! `tests/conformance`: small programs that each show something which threads are promised, with what
//! they print then. Most are here because a test suite of somebody else's found it broken.

use std::process::Output;

use crate::support::{Program, text};

/// Why an output is not what was expected, if it is not.
fn difference(output: &Output, expected: &str) -> Option<String> {
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let same = output.status.success() && stdout == expected;
    (!same).then(|| format!("{}\n{stdout}{stderr}", output.status))
}

#[test]
fn programs_print_on_threads_and_on_fibers_what_they_promise() {
    let mut failures = String::new();
    for (path, program, expected) in Program::conformance() {
        let outputs = [
            ("on threads", program.plain()),
            ("on one worker", program.on_fibers_with(&[("TIMESTOP_WORKERS", "1")])),
            ("on two workers", program.on_fibers_with(&[("TIMESTOP_WORKERS", "2")])),
            ("with a reserve", program.on_fibers_with(&[("TIMESTOP_RESERVE", "on")])),
        ];
        for (how, output) in outputs {
            if let Some(difference) = difference(&output, &expected) {
                failures += &format!("{} {how}: {difference}\n", path.display());
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
