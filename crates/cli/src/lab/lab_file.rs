//! Reading a lab file back. What is wrong with one is told with the line and what to do, because people join, cut and
//! edit such files; nothing is guessed and no line is passed over.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::record::{Header, Record, VERSION};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LabFile {
    pub(crate) header: Header,
    pub(crate) records: Vec<Record>,
}

/// What every version's first line has.
#[derive(Deserialize)]
struct Version {
    lab: u32,
}

impl LabFile {
    /// Errors name the file, the line, and what is wrong with it.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let told = |why: String| format!("{}: {why}", path.display());
        let bytes = fs::read(path).map_err(|error| told(error.to_string()))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| told("not a lab file: not text in UTF-8".to_owned()))?;
        Self::parse(&text).map_err(told)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let lines: Vec<(usize, &str)> = text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line.trim()))
            .filter(|(_, line)| !line.is_empty())
            .collect();
        let Some(((first, header), records)) = lines.split_first() else {
            return Err("empty: a lab file is what `timestop lab --json` prints".to_owned());
        };
        let header = parse_header(header).map_err(|why| format!("line {first}: {why}"))?;
        let mut seen = HashMap::new();
        let mut file = LabFile { header, records: Vec::with_capacity(records.len()) };
        for &(line, text) in records {
            let told = |why: String| format!("line {line}: {why}");
            let record = parse_record(text).map_err(told)?;
            file.fits(&record).map_err(told)?;
            let cell = (record.bench.clone(), record.subject.clone());
            if let Some(before) = seen.insert(cell, line) {
                let (bench, subject) = (&record.bench, &record.subject);
                let why = format!("{bench} of {subject} a second time, after line {before}");
                return Err(told(format!("{why}; a cell has one line")));
            }
            file.records.push(record);
        }
        Ok(file)
    }

    /// Is `record` a cell of what the header tells of?
    fn fits(&self, record: &Record) -> Result<(), String> {
        let name = &record.experiment;
        let experiment = self.header.experiments.iter().find(|e| e.name == *name);
        let Some(experiment) = experiment else {
            return Err(format!("experiment '{name}' is not in the first line"));
        };
        let metric = experiment.metrics.iter().find(|metric| metric.key == record.metric);
        match metric {
            None => Err(format!("'{name}' has no metric '{}' in the first line", record.metric)),
            Some(metric) if metric.unit != record.unit || metric.better != record.better => {
                let key = &metric.key;
                Err(format!("unit or direction of {name}'s '{key}' is not the first line's"))
            }
            Some(_) => record.check(),
        }
    }
}

fn parse_header(line: &str) -> Result<Header, String> {
    let version: Version = serde_json::from_str(line).map_err(|_| {
        "not the first line of a lab file, which begins with {\"lab\":1; \
         `timestop lab --json > FILE` writes one"
            .to_owned()
    })?;
    if version.lab != VERSION {
        return Err(format!(
            "written in form {} of the file, and this timestop reads form {VERSION}; \
             use the version that wrote it, or measure again",
            version.lab
        ));
    }
    let header: Header = serde_json::from_str(line).map_err(|error| reason(&error))?;
    match header.experiments.iter().find(|experiment| experiment.metrics.is_empty()) {
        Some(experiment) => Err(format!("experiment '{}' has no metric", experiment.name)),
        None => Ok(header),
    }
}

fn parse_record(line: &str) -> Result<Record, String> {
    serde_json::from_str(line).map_err(|error| match error.classify() {
        serde_json::error::Category::Eof => {
            "ends in the middle, as when the lab is killed; delete this line".to_owned()
        }
        _ if serde_json::from_str::<Version>(line).is_ok() => {
            "the first line of another lab file; one file, one header".to_owned()
        }
        _ => reason(&error),
    })
}

/// Without serde's own place, which is always line 1.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    format!("column {}: {text}", error.column())
}

#[cfg(test)]
mod tests {
    use super::super::record::made_up;
    use super::*;

    fn line(value: &impl serde::Serialize) -> String {
        serde_json::to_string(value).expect("it can be written")
    }

    fn why(text: &str) -> String {
        LabFile::parse(text).expect_err(text)
    }

    #[test]
    fn what_is_written_is_read() {
        let (header, record) = (made_up::header(), made_up::record("a", Some(64), &[1.0, 2.0]));
        let failed = made_up::record("b", Some(64), &[]);
        let text = format!("{}\n{}\n\n{}\n", line(&header), line(&record), line(&failed));
        let records = vec![record, failed];
        assert_eq!(LabFile::parse(&text), Ok(LabFile { header, records }));
    }

    #[test]
    fn a_field_of_a_later_version_is_passed_over() {
        let header = line(&made_up::header()).replacen('{', "{\"colour\":\"blue\",", 1);
        assert!(LabFile::parse(&header).is_ok());
    }

    #[test]
    fn what_is_no_lab_file_is_told_so() {
        let record = line(&made_up::record("a", None, &[1.0]));
        assert!(why("").starts_with("empty"));
        assert!(why("hello\n").starts_with("line 1: not the first line of a lab file"));
        assert!(why(&record).starts_with("line 1: not the first line of a lab file"));
        let newer = line(&made_up::header()).replace("{\"lab\":1", "{\"lab\":2");
        assert!(why(&newer).starts_with("line 1: written in form 2"), "{}", why(&newer));
        let none = why("{\"lab\":1}");
        assert!(none.contains("missing field `date`"), "{none}");
    }

    #[test]
    fn a_broken_line_is_named() {
        let header = line(&made_up::header());
        let record = line(&made_up::record("a", Some(64), &[1.0]));
        let cut = &record[..record.len() / 2];
        let strange = record.replace("\"value\":1.0", "\"value\":\"1\"");
        let unknown = record.replace("\"experiment\":\"echo\"", "\"experiment\":\"ohce\"");
        let metric = record.replace("\"metric\":\"value\"", "\"metric\":\"p77\"");
        let unit = record.replace("\"ms\"", "\"us\"");
        for (line, place, what) in [
            (cut, "line 3: ", "ends in the middle"),
            (&strange, "line 3: column", "invalid type: string"),
            (&unknown, "line 3: ", "experiment 'ohce' is not"),
            (&metric, "line 3: ", "no metric 'p77'"),
            (&unit, "line 3: ", "unit or direction"),
            (&header, "line 3: ", "another lab file"),
            (&record, "line 3: ", "echo/64 of a a second time, after line 2"),
        ] {
            let told = why(&format!("{header}\n{record}\n{line}\n"));
            assert!(told.starts_with(place) && told.contains(what), "{told}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let told = LabFile::read(Path::new("/nonexistent/lab.json")).expect_err("no such file");
        assert!(told.starts_with("/nonexistent/lab.json: No such file"), "{told}");
    }
}
