//! What a lab file says, as types: a header that tells what was measured where, then one record a cell.
//!
//! The file is JSON lines, so that a lab that is killed leaves what it measured. Everything that is made from results (the
//! tables, the report, the comparison of two files) is made from these types and from nothing else, so it can be made
//! again from the file on another day, by another version. Fields that this version does not know are passed over; a
//! change that old readers would misread raises [`VERSION`].
//!
//! A record without a value has an error that says why.
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
            noisy: false,
            also: BTreeMap::new(),
            note: None,
            error: samples.is_empty().then(|| "exit status: 1: no luck".to_owned()),
            samples,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_six_digits() {
        for (value, kept) in
            [(0.0, 0.0), (1.000_494_9, 1.000_49), (123_456_789.0, 123_457_000.0), (-0.25, -0.25)]
        {
            assert_eq!(rounded(value), kept);
        }
    }
}
