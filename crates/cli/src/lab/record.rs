//! What a lab file says, as types: a header that tells what was measured where, then one record a cell.
//!
//! The file is JSON lines, so that a lab that is killed leaves what it measured. Everything that is made from results (the
//! tables, the report, the comparison of two files) is made from these types and from nothing else, so it can be made
//! again from the file on another day, by another version. Fields that this version does not know are passed over; a
//! change that old readers would misread raises [`VERSION`].
//!
//! The invariants of a record are in [`Record::check`]: readers may rely on them.
//!
//! Rejected: one JSON object for the whole file. It cannot be written as the lab goes, nor be read with `grep`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The form of the file, which its first line tells under `lab`.
pub(crate) const VERSION: u32 = 1;

/// Which way is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Lower,
    Higher,
}

impl Better {
    pub(crate) fn arrow(self) -> char {
        match self {
            Better::Lower => '↓',
            Better::Higher => '↑',
        }
    }

    /// Is `one` better than `other`?
    pub(crate) fn is_better(self, one: f64, other: f64) -> bool {
        match self {
            Better::Lower => one < other,
            Better::Higher => one > other,
        }
    }
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) lab: u32,
    /// When measuring began.
    pub(crate) date: Timestamp,
    /// What was typed.
    pub(crate) command: String,
    pub(crate) machine: Machine,
    /// Of each subject that has one.
    #[serde(default)]
    pub(crate) versions: BTreeMap<String, String>,
    /// What was asked for, in the order of the report.
    pub(crate) experiments: Vec<Experiment>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    /// That the lab was allowed to use.
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) memory_mib: u64,
    /// Limits that a size may run into; `null` is none.
    #[serde(default)]
    pub(crate) limits: BTreeMap<String, Option<u64>>,
}

/// An experiment as the report needs it: data, without what measures it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Experiment {
    pub(crate) name: String,
    pub(crate) question: String,
    /// The first is the one that the question asks for.
    pub(crate) metrics: Vec<Metric>,
    /// What differs between its rows.
    #[serde(default)]
    pub(crate) parameter: Option<String>,
    /// Is it to be drawn on a log scale, however narrow the values lie?
    #[serde(default)]
    pub(crate) log: bool,
    /// On which cores what runs, in words.
    #[serde(default)]
    pub(crate) pinning: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Metric {
    pub(crate) key: String,
    pub(crate) unit: String,
    pub(crate) better: Better,
}

/// One metric of one subject in one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) experiment: String,
    /// The row: the experiment, the metric unless it is the first, the parameter: `echo_p99/64`.
    pub(crate) bench: String,
    pub(crate) metric: String,
    pub(crate) subject: String,
    /// The median of the runs; none if the cell failed.
    pub(crate) value: Option<f64>,
    pub(crate) unit: String,
    pub(crate) better: Better,
    pub(crate) runs: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<f64>,
    #[serde(default)]
    pub(crate) samples: Vec<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parameter: Option<String>,
    /// The parameter's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<u64>,
    /// The size that it was measured at, where the row's own was too much for it or for the machine. It is not to be
    /// ranked with the others then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) smaller: Option<u64>,
    #[serde(default)]
    pub(crate) noisy: bool,
    /// Medians of what else the runs told.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) also: BTreeMap<String, f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    /// Why it failed, or a run of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl Record {
    /// The least and the greatest run.
    pub(crate) fn range(&self) -> Option<(f64, f64)> {
        Some((self.min?, self.max?))
    }

    pub(crate) fn is_failure(&self) -> bool {
        self.value.is_none()
    }

    /// Is every run of this one better than every run of `other`? Neither way, they are a tie.
    pub(crate) fn beats(&self, other: &Record) -> bool {
        match (self.range(), other.range(), self.better) {
            (Some((_, max)), Some((min, _)), Better::Lower) => max < min,
            (Some((min, _)), Some((_, max)), Better::Higher) => min > max,
            (None, ..) | (_, None, _) => false,
        }
    }

    /// The parameter in words: `64 conns`.
    pub(crate) fn place(&self) -> Option<String> {
        let name = self.parameter.as_deref()?;
        let at = self.at?;
        let name = if at == 1 { name.strip_suffix('s').unwrap_or(name) } else { name };
        Some(format!("{} {name}", super::report::number(at as f64)))
    }

    /// What does not fit together, for whoever wrote the file.
    pub(crate) fn check(&self) -> Result<(), String> {
        let is_whole = |number: usize| number == self.runs;
        match (self.value, self.min, self.max) {
            (None, None, None) if self.error.is_none() => {
                Err("\"value\" is null, and no \"error\" says why".to_owned())
            }
            (None, None, None) => Ok(()),
            (Some(value), Some(min), Some(max)) if min <= value && value <= max => {
                match is_whole(self.samples.len()) && self.runs > 0 {
                    true => Ok(()),
                    false => Err(format!(
                        "\"runs\" is {}, but there are {} \"samples\"",
                        self.runs,
                        self.samples.len()
                    )),
                }
            }
            (Some(value), Some(min), Some(max)) => {
                Err(format!("the value {value} is not within \"min\" {min} and \"max\" {max}"))
            }
            _ => Err("\"value\", \"min\" and \"max\" are there together or not at all".to_owned()),
        }
    }
}

/// Six significant digits, which is more than any of it is worth.
pub(crate) fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

#[cfg(test)]
pub(crate) mod made_up {
    //! Records with numbers that nobody measured.

    use super::*;

    /// A cell of `echo` with these runs, lower being better; none of them: a failed one.
    pub(crate) fn record(subject: &str, at: Option<u64>, runs: &[f64]) -> Record {
        let mut samples = runs.to_vec();
        samples.sort_by(f64::total_cmp);
        Record {
            experiment: "echo".to_owned(),
            bench: at.map_or("echo".to_owned(), |at| format!("echo/{at}")),
            metric: "value".to_owned(),
            subject: subject.to_owned(),
            value: samples.get(samples.len() / 2).copied(),
            unit: "ms".to_owned(),
            better: Better::Lower,
            runs: samples.len(),
            min: samples.first().copied(),
            max: samples.last().copied(),
            parameter: at.map(|_| "conns".to_owned()),
            at,
            smaller: None,
            noisy: false,
            also: BTreeMap::new(),
            note: None,
            error: samples.is_empty().then(|| "exit status: 1: no luck".to_owned()),
            samples,
        }
    }

    /// The same, higher being better.
    pub(crate) fn rate(subject: &str, at: Option<u64>, runs: &[f64]) -> Record {
        Record { better: Better::Higher, unit: "req/s".to_owned(), ..record(subject, at, runs) }
    }

    pub(crate) fn header() -> Header {
        Header {
            lab: VERSION,
            date: "2026-11-26T12:34:56Z".parse().expect("a date"),
            command: "timestop lab echo --json".to_owned(),
            machine: Machine {
                cpu: "none".to_owned(),
                cores: 2,
                kernel: "Linux 0.0".to_owned(),
                memory_mib: 1,
                limits: BTreeMap::new(),
            },
            versions: BTreeMap::new(),
            experiments: vec![Experiment {
                name: "echo".to_owned(),
                question: "How soon?".to_owned(),
                metrics: vec![Metric {
                    key: "value".to_owned(),
                    unit: "ms".to_owned(),
                    better: Better::Lower,
                }],
                parameter: Some("conns".to_owned()),
                log: false,
                pinning: String::new(),
            }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::made_up::{rate, record};
    use super::*;

    #[test]
    fn who_beats_whom_is_said_by_the_ranges() {
        let one = record("a", None, &[1.0, 2.0, 3.0]);
        assert!(one.beats(&record("b", None, &[4.0, 5.0, 6.0])));
        assert!(!one.beats(&record("b", None, &[3.0, 5.0, 6.0])));
        assert!(!one.beats(&record("b", None, &[])));
        assert!(!record("b", None, &[]).beats(&one));
        assert!(rate("a", None, &[7.0]).beats(&rate("b", None, &[6.0])));
        assert!(!rate("a", None, &[6.0]).beats(&rate("b", None, &[6.0])));
    }

    #[test]
    fn a_record_that_contradicts_itself_is_told_of() {
        let good = record("a", None, &[1.0, 2.0, 3.0]);
        assert_eq!(good.check(), Ok(()));
        assert_eq!(record("a", None, &[]).check(), Ok(()));
        for (broken, why) in [
            (Record { value: Some(4.0), ..good.clone() }, "is not within"),
            (Record { runs: 2, ..good.clone() }, "there are 3"),
            (Record { max: None, ..good.clone() }, "together"),
            (Record { error: None, ..record("a", None, &[]) }, "no \"error\""),
        ] {
            let told = broken.check().expect_err(why);
            assert!(told.contains(why), "{told}");
        }
    }

    #[test]
    fn numbers_keep_six_digits() {
        for (value, kept) in
            [(0.0, 0.0), (1.000_494_9, 1.000_49), (123_456_789.0, 123_457_000.0), (-0.25, -0.25)]
        {
            assert_eq!(rounded(value), kept);
        }
    }

    #[test]
    fn a_parameter_is_said_in_words() {
        assert_eq!(record("a", Some(8000), &[1.0]).place().as_deref(), Some("8,000 conns"));
        assert_eq!(record("a", Some(1), &[1.0]).place().as_deref(), Some("1 conn"));
        assert_eq!(record("a", None, &[1.0]).place(), None);
    }
}
