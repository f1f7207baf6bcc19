//! What one run tells: lines of `key value` from the subject's process to ours.
//!
//! Text, so that a run can be started by hand and read. `value` is the answer; other keys are further metrics or remarks
//! in numbers; `note` is one in words. Unknown lines are an error: a subject that prints to standard output is broken.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Measured {
    pub(crate) numbers: BTreeMap<String, f64>,
    pub(crate) note: Option<String>,
}

impl Measured {
    pub(crate) fn new(value: f64) -> Self {
        Measured::default().with("value", value)
    }

    pub(crate) fn with(mut self, key: &str, number: f64) -> Self {
        self.numbers.insert(key.to_owned(), number);
        self
    }

    pub(crate) fn with_note(mut self, note: Option<String>) -> Self {
        self.note = note;
        self
    }

    pub(crate) fn value(&self) -> Option<f64> {
        self.numbers.get("value").copied()
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, number) in &self.numbers {
            writeln!(f, "{key} {number}")?;
        }
        match &self.note {
            Some(note) => writeln!(f, "note {note}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Measured {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut measured = Measured::default();
        for line in text.lines() {
            let (key, rest) =
                line.split_once(' ').ok_or_else(|| format!("not `key value`: {line}"))?;
            if key == "note" {
                measured.note = Some(rest.to_owned());
            } else {
                let number: f64 = rest.parse().map_err(|_| format!("not a number: {line}"))?;
                measured.numbers.insert(key.to_owned(), number);
            }
        }
        match measured.value().is_some_and(f64::is_finite) {
            true => Ok(measured),
            false => Err("it printed no value".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_what_is_read() {
        let told = Measured::new(1.25).with("p99", 3.0).with_note(Some("one core only".to_owned()));
        assert_eq!(told.to_string().parse(), Ok(told));
    }

    #[test]
    fn noise_and_silence_are_errors() {
        for (text, why) in [
            ("", "it printed no value"),
            ("value NaN\n", "it printed no value"),
            ("value 1\nhello\n", "not `key value`: hello"),
            ("value one\n", "not a number: value one"),
        ] {
            assert_eq!(text.parse::<Measured>(), Err(why.to_owned()));
        }
    }
}
