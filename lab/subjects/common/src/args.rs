//! `BENCH key=value…`: the benches and their keys as data.
//!
//! A bench has exactly its keys. One that is missing, unknown or no number ends the process with status 2 and a line that
//! says which: a bench that went on with a default would print a number that nobody asked for.

use std::collections::BTreeMap;
use std::process;
use std::time::Duration;

/// What there is, as `lab/subjects/README.md` has it.
const BENCHES: &[(&str, &[&str])] = &[
    ("spawn_join", &["workers", "count"]),
    ("spawn_many", &["workers", "count"]),
    ("yield", &["workers", "count"]),
    ("pingpong", &["workers", "count"]),
    ("ring", &["workers", "tasks", "count"]),
    ("mpmc", &["workers", "count"]),
    ("mutex", &["workers", "count"]),
    ("select", &["workers", "count"]),
    ("skynet", &["workers", "leaves"]),
    ("memory_recv", &["workers", "tasks"]),
    ("memory_sleep", &["workers", "tasks"]),
    ("timers", &["workers", "tasks"]),
    ("multicore", &["workers", "count"]),
    ("hog", &["workers", "hogs", "secs", "late"]),
    ("blocked", &["workers", "stuck", "secs", "late"]),
    ("echo", &["workers"]),
    ("http", &["workers"]),
];

/// A bench and its parameters.
#[derive(Debug)]
pub struct Args {
    /// Which it is.
    pub bench: &'static str,
    values: BTreeMap<&'static str, String>,
}

impl Args {
    /// Reads them from `arguments`, which are those of the process without what is in front of the bench. Ends the
    /// process with status 2 if they are wrong.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Args {
        read(arguments).unwrap_or_else(|why| {
            eprintln!("{why}");
            process::exit(2)
        })
    }

    /// Ends the process with status 2: it is a bench, but none that `system` has.
    pub fn not_of(&self, system: &str) -> ! {
        eprintln!("{system} has no bench {}", self.bench);
        process::exit(2)
    }

    /// The number of a key that the bench has; panics for another.
    pub fn number(&self, key: &str) -> u64 {
        self.values[key].parse().expect("it was read as a number before")
    }

    /// How many cores to use.
    pub fn workers(&self) -> usize {
        self.number("workers") as usize
    }

    /// How many times to do what is measured.
    pub fn count(&self) -> u64 {
        self.number("count")
    }

    /// How many tasks to have.
    pub fn tasks(&self) -> u64 {
        self.number("tasks")
    }

    /// How long the window is.
    pub fn secs(&self) -> Duration {
        Duration::from_secs_f64(self.values["secs"].parse().expect("it was read as seconds before"))
    }

    /// The path of the file of latenesses.
    pub fn late(&self) -> &str {
        &self.values["late"]
    }
}

fn read(mut arguments: impl Iterator<Item = String>) -> Result<Args, String> {
    let name = arguments.next().ok_or("which bench? BENCH key=value…")?;
    let (bench, keys) = *BENCHES
        .iter()
        .find(|(bench, _)| *bench == name)
        .ok_or_else(|| format!("no bench is called {name}"))?;
    let mut values = BTreeMap::new();
    for argument in arguments {
        let (key, value) =
            argument.split_once('=').ok_or_else(|| format!("not key=value: {argument}"))?;
        let key = *keys
            .iter()
            .find(|known| **known == key)
            .ok_or_else(|| format!("{bench} has no key {key}: it has {}", keys.join(", ")))?;
        check(key, value)?;
        values.insert(key, value.to_owned());
    }
    match keys.iter().find(|key| !values.contains_key(**key)) {
        Some(missing) => Err(format!("{bench} needs {missing}=…")),
        None => Ok(Args { bench, values }),
    }
}

fn check(key: &str, value: &str) -> Result<(), String> {
    let wanted = match key {
        "late" if !value.is_empty() => return Ok(()),
        "late" => "a path",
        "secs" if value.parse().is_ok_and(|secs: f64| secs > 0.0 && secs < 1e6) => return Ok(()),
        "secs" => "seconds",
        "hogs" | "stuck" if value.parse::<u64>().is_ok() => return Ok(()),
        "hogs" | "stuck" => "a number",
        "leaves" if value.parse().is_ok_and(is_power_of_ten) => return Ok(()),
        "leaves" => "a power of ten, as each inner task has ten children",
        _ if value.parse().is_ok_and(|number: u64| number > 0) => return Ok(()),
        _ => "a number above zero",
    };
    Err(format!("{key}={value}: {key} is {wanted}"))
}

fn is_power_of_ten(number: u64) -> bool {
    number > 0 && 10_u64.pow(number.ilog10()) == number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: &str) -> String {
        read(line.split_whitespace().map(str::to_owned)).expect_err("it is wrong")
    }

    #[test]
    fn each_mistake_is_told_as_it_is() {
        assert_eq!(error(""), "which bench? BENCH key=value…");
        assert_eq!(error("wait"), "no bench is called wait");
        assert_eq!(error("echo workers"), "not key=value: workers");
        assert_eq!(error("echo port=1"), "echo has no key port: it has workers");
        assert_eq!(error("yield count=5"), "yield needs workers=…");
        assert_eq!(error("yield workers=1 count=0"), "count=0: count is a number above zero");
        assert_eq!(error("hog secs=-1"), "secs=-1: secs is seconds");
        assert!(error("skynet workers=1 leaves=11").contains("a power of ten"));
    }
}
