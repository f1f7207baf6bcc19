//! Sixteen Python threads that compute, and one that sleeps a millisecond again and again: as they are, and under
//! `timestop run`. All want the interpreter's lock.

use std::time::Duration;

use crate::lab::bench::python;
use crate::lab::lateness::Lateness;
use crate::lab::measured::Measured;
use crate::lab::subject::Trial;

const SCRIPT: &str = include_str!("hog.py");
const HOGS: &str = "16";
const SLEEP: Duration = Duration::from_millis(1);

pub(in crate::lab) fn measure(trial: &Trial) -> Result<Measured, String> {
    let (warm_up, window) = trial.pick(("0.5", "5"), ("0.2", "1"));
    let mut command = python::command(trial.subject, SCRIPT)?;
    command.args([HOGS, warm_up, window]);
    let output = command.output().map_err(|error| format!("python3: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("python3 ended ({}): {}", output.status, said.trim()));
    }
    let mut lateness = Lateness::of_every(SLEEP);
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let late = line.parse::<i64>().map_err(|_| format!("python3 said {line:?}"))?;
        lateness.record(Duration::from_nanos(late.max(0).unsigned_abs()));
    }
    lateness.measured()
}
