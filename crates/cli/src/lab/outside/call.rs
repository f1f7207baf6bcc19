//! A run of a program outside: `RUN… BENCH key=value…`, as `lab/subjects/README.md` says.
//!
//! The process that is to be that program starts as ours and then becomes it, so that it has what all subjects have:
//! its cores, as many descriptors as may be, and an end when the lab ends.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};

use super::Program;
use crate::lab::child;
use crate::lab::experiments::{Call, Key};
use crate::lab::lateness::Lateness;
use crate::lab::measured::Measured;
use crate::lab::subject::{Given, Trial};

/// What the sleepers of `hog` and `blocked` ask for, and how many they are.
const SLEEP: Duration = Duration::from_millis(1);
const SLEEPERS: f64 = 100.0;
/// Sleepers that are given up for lost below this number may be the start of the program as well.
const SURELY_STARVED: f64 = 10.0;

/// Becomes `program`, which is the subject of `trial`. Returns only if that failed, and says why.
pub(in crate::lab) fn become_it(trial: &Trial, program: &Program, given: &Given) -> String {
    let Some(call) = trial.row.experiment.outside else {
        return format!("'{}' is no program of this bench", program.name());
    };
    let mut command = match program.folder.command(&program.spec.run) {
        Ok(command) => command,
        Err(why) => return why,
    };
    command.arg(call.bench);
    for (name, key) in call.keys {
        let value = match key {
            Key::Number(number) => number.to_string(),
            Key::Parameter => trial.parameter().to_string(),
            Key::Workers => trial.workers().to_string(),
            Key::Amount => trial.amount().to_string(),
            Key::Seconds { full, quick } => (trial.pick(*full, *quick) as f64 / 1e3).to_string(),
            Key::Late => match &given.late {
                Some(file) => file.clone(),
                None => return "--late names the file that latenesses are written to".to_owned(),
            },
            Key::Port => match given.port {
                Some(port) => port.to_string(),
                None => return "--port is that of the server that is asked".to_owned(),
            },
        };
        command.arg(format!("{name}={value}"));
    }
    let error = command.exec();
    format!("{} cannot be started: {error}", command.get_program().display())
}

/// Runs it, and reads what it prints.
pub(in crate::lab) fn measure(trial: &Trial, call: &Call) -> Result<Measured, String> {
    let told = |error: std::io::Error| error.to_string();
    let mut command = trial.command(true).map_err(told)?;
    let window = call.keys.iter().find_map(|(_, key)| match key {
        Key::Seconds { full, quick } => Some(Duration::from_millis(trial.pick(*full, *quick))),
        _ => None,
    });
    let Some(window) = window else { return run(&mut command) };
    // In memory: there is no file to leave behind.
    let late: OwnedFd = memfd_create(c"late", MemfdFlags::CLOEXEC).map_err(|e| e.to_string())?;
    let path = format!("/proc/{}/fd/{}", std::process::id(), late.as_raw_fd());
    run(command.args(["--late", &path]))?;
    let (mut file, mut text) = (File::from(late), String::new());
    file.rewind().and_then(|()| file.read_to_string(&mut text)).map_err(told)?;
    latenesses(&text, window)
}

fn run(command: &mut std::process::Command) -> Result<Measured, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return String::from_utf8_lossy(&output.stdout).parse();
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(match child::last_words(&said) {
        Some(words) => format!("{}: {words}", output.status),
        None => output.status.to_string(),
    })
}

/// What is said of lines of microseconds. Who never woke wrote none: that time is missing from the sum of all sleeps,
/// and counts as sleepers who were late by all of the window.
fn latenesses(text: &str, window: Duration) -> Result<Measured, String> {
    let mut lateness = Lateness::of_every(SLEEP);
    let mut accounted = Duration::ZERO;
    for line in text.lines() {
        let micros: f64 = line.trim().parse().map_err(|_| format!("not a number: {line}"))?;
        if !micros.is_finite() {
            return Err(format!("not a number: {line}"));
        }
        // A timer of milliseconds may be early by less than one.
        let late = Duration::from_secs_f64(micros.max(0.0) / 1e6).min(window);
        accounted += late + SLEEP;
        lateness.record(late);
    }
    let starved = (SLEEPERS - accounted.as_secs_f64() / window.as_secs_f64()).floor();
    if starved < SURELY_STARVED {
        return lateness.measured();
    }
    (0..starved as u32).for_each(|_| lateness.record(window));
    let note = format!("some {starved} of {SLEEPERS} sleepers never woke");
    Ok(lateness.measured()?.with_note(Some(note)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleepers_that_never_woke_were_late_by_the_whole_window() {
        let window = Duration::from_secs(1);
        let measured = latenesses("", window).expect("a starved system has an answer");
        assert!((990.0..1010.0).contains(&measured.numbers["max"]), "{measured:?}");
        assert_eq!(measured.note.as_deref(), Some("some 100 of 100 sleepers never woke"));
    }

    #[test]
    fn sleepers_that_all_woke_are_taken_at_their_word() {
        // A hundred, each 900 times late by 100 µs: 99 seconds of a hundred.
        let text = "100.0\n".repeat(100 * 900);
        let measured = latenesses(&text, Duration::from_secs(1)).expect("numbers");
        assert!((0.099..0.101).contains(&measured.numbers["value"]), "{measured:?}");
        assert_eq!(measured.note, None);
    }

    #[test]
    fn what_is_no_number_is_told() {
        for line in ["late", "NaN", ""] {
            let why = latenesses(&format!("1\n{line}\n"), Duration::from_secs(1));
            assert_eq!(why, Err(format!("not a number: {line}")));
        }
    }
}
