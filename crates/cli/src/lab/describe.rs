//! From what was measured to what a lab file says: the header, and a record a cell.

use std::collections::BTreeMap;
use std::fs;

use jiff::{Timestamp, Unit};

use super::bench;
use super::experiments::{self, Row, Subject};
use super::machine;
use super::record::{Experiment, Header, Machine, Metric, Record, VERSION, rounded};
use super::runner::Runner;
use super::turn::Cell;

/// What is about to be measured, and where.
pub(crate) fn header(rows: &[Row], runner: &Runner) -> Header {
    let now = Timestamp::now();
    let words = std::env::args_os().skip(1);
    let typed: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let is_chosen = |name: &str| rows.iter().any(|row| row.experiment.name == name);
    let chosen = experiments::experiments().filter(|experiment| is_chosen(experiment.name));
    Header {
        lab: VERSION,
        date: now.round(Unit::Second).unwrap_or(now),
        command: format!("timestop {}", typed.join(" ")),
        machine: this_machine(),
        versions: versions(rows, runner),
        experiments: chosen.map(experiment).collect(),
    }
}

fn versions(rows: &[Row], runner: &Runner) -> BTreeMap<String, String> {
    let ours = || Some(env!("CARGO_PKG_VERSION").to_owned());
    let mut versions = BTreeMap::new();
    for &subject in rows.iter().flat_map(|row| &row.subjects) {
        if versions.contains_key(subject.name()) {
            continue;
        }
        let version = match subject {
            Subject::Timestop | Subject::Threads | Subject::Epoll | Subject::Run => ours(),
            Subject::Plain => bench::python::version(),
            Subject::Outside(_) => runner.version(subject),
        };
        versions.extend(version.map(|version| (subject.name().to_owned(), version)));
    }
    versions
}

fn experiment(experiment: &experiments::Experiment) -> Experiment {
    let metric = |metric: &experiments::Metric| Metric {
        key: metric.key.to_owned(),
        unit: metric.unit.to_owned(),
        better: metric.better,
    };
    Experiment {
        name: experiment.name.to_owned(),
        question: experiment.question.to_owned(),
        metrics: experiment.metrics.iter().map(metric).collect(),
        parameter: experiment.parameter.map(|parameter| parameter.name.to_owned()),
        log: false,
        pinning: experiment.pinned.words().to_owned(),
    }
}

fn this_machine() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |path: &str, name: &str| {
        let text = read(path);
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let memory_kib = memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0_u64);
    let sysctl = |path: &str| -> Option<(String, Option<u64>)> {
        let limit = read(path).trim().parse().ok()?;
        Some((path.rsplit('/').next()?.to_owned(), Some(limit)))
    };
    let mut limits: BTreeMap<String, Option<u64>> =
        ["/proc/sys/vm/max_map_count", "/proc/sys/kernel/threads-max", "/proc/sys/kernel/pid_max"]
            .into_iter()
            .filter_map(sysctl)
            .collect();
    limits.insert("open files".to_owned(), machine::most_descriptors());
    Machine {
        cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
        cores: machine::cores().len(),
        kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        memory_mib: memory_kib / 1024,
        limits,
    }
}

impl Cell {
    /// This cell as a line of the file.
    pub(crate) fn record(&self) -> Record {
        let Cell { row, metric, sample, .. } = self;
        let parameter = row.experiment.parameter;
        Record {
            experiment: row.experiment.name.to_owned(),
            bench: self.name(),
            metric: metric.key.to_owned(),
            subject: self.subject.name().to_owned(),
            value: sample.median().map(rounded),
            unit: metric.unit.to_owned(),
            better: metric.better,
            runs: sample.len(),
            min: sample.min().map(rounded),
            max: sample.max().map(rounded),
            samples: sample.values().iter().copied().map(rounded).collect(),
            parameter: parameter.map(|parameter| parameter.name.to_owned()),
            at: parameter.map(|_| row.value as u64),
            smaller: self.smaller.map(|amount| amount as u64),
            noisy: self.noisy,
            also: self.also.iter().map(|(key, value)| (key.clone(), rounded(*value))).collect(),
            note: self.note.clone(),
            error: self.error.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stats::Sample;
    use super::*;

    fn cell(name: &str, runs: &[f64]) -> Cell {
        let row = Row::all(false).find(|row| row.name() == name).expect("a known row");
        Cell {
            metric: &row.experiment.metrics[0],
            row,
            subject: Subject::Timestop,
            sample: runs.iter().copied().collect::<Sample>(),
            smaller: None,
            noisy: false,
            also: BTreeMap::new(),
            note: None,
            error: None,
            is_excused: false,
        }
    }

    fn written(cell: &Cell) -> String {
        serde_json::to_string(&cell.record()).expect("it can be written")
    }

    #[test]
    fn a_cell_is_one_line_of_json() {
        let mut cell = cell("echo/64", &[3.0, 1.000_499_9, 2.0]);
        cell.also.insert("errors".to_owned(), 0.0);
        cell.noisy = true;
        let expected = concat!(
            r#"{"experiment":"echo","bench":"echo/64","metric":"value","subject":"timestop","#,
            r#""value":2.0,"unit":"req/s","better":"higher","runs":3,"min":1.0005,"max":3.0,"#,
            r#""samples":[1.0005,2.0,3.0],"parameter":"conns","at":64,"noisy":true,"#,
            r#""also":{"errors":0.0}}"#,
        );
        assert_eq!(written(&cell), expected);
    }

    #[test]
    fn a_failed_cell_says_why() {
        let mut cell = cell("yield", &[]);
        cell.error = Some("exit status: 1: no luck".to_owned());
        let expected = concat!(
            r#"{"experiment":"yield","bench":"yield","metric":"value","subject":"timestop","#,
            r#""value":null,"unit":"ns","better":"lower","runs":0,"samples":[],"noisy":false,"#,
            r#""error":"exit status: 1: no luck"}"#,
        );
        assert_eq!(written(&cell), expected);
    }

    #[test]
    fn this_machine_is_described() {
        let machine = this_machine();
        assert!(machine.cores > 0 && machine.memory_mib > 0, "{machine:?}");
        assert!(machine.kernel.len() > "Linux ".len(), "{machine:?}");
        assert!(machine.limits.contains_key("open files"), "{machine:?}");
    }
}
