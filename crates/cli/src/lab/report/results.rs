//! The records of a file, grouped as they are shown: experiment, metric, row, cells best first.

use std::cmp::Ordering;

use crate::lab::lab_file::LabFile;
use crate::lab::record::{Experiment, Metric, Record};

/// What was found out about one experiment.
#[derive(Debug)]
pub(crate) struct Findings<'a> {
    pub(crate) experiment: &'a Experiment,
    /// A metric without any record is not among them.
    pub(crate) metrics: Vec<Series<'a>>,
}

/// One metric, over all values of the parameter.
#[derive(Debug)]
pub(crate) struct Series<'a> {
    pub(crate) experiment: &'a Experiment,
    pub(crate) metric: &'a Metric,
    /// By the parameter, the least first. Never empty.
    pub(crate) rows: Vec<Row<'a>>,
}

/// What is compared: one metric at one value of the parameter.
#[derive(Debug, Clone)]
pub(crate) struct Row<'a> {
    pub(crate) bench: &'a str,
    pub(crate) at: Option<u64>,
    /// Those that have a value, by their medians, the best first.
    pub(crate) measured: Vec<&'a Record>,
    /// Those that have a value, but of a smaller size than the row's: nobody is compared with them.
    pub(crate) aside: Vec<&'a Record>,
    pub(crate) failed: Vec<&'a Record>,
}

/// Everything in `file`, in the order of its header; an experiment without a record is there, and empty.
pub(crate) fn findings(file: &LabFile) -> Vec<Findings<'_>> {
    let of = |experiment| {
        let series = |metric| Series::of(&file.records, experiment, metric);
        Findings { experiment, metrics: experiment.metrics.iter().filter_map(series).collect() }
    };
    file.header.experiments.iter().map(of).collect()
}

impl<'a> Series<'a> {
    fn of(
        records: &'a [Record],
        experiment: &'a Experiment,
        metric: &'a Metric,
    ) -> Option<Series<'a>> {
        let mut rows: Vec<Row> = Vec::new();
        let ours = records
            .iter()
            .filter(|record| record.experiment == experiment.name && record.metric == metric.key);
        for record in ours {
            match rows.iter_mut().find(|row| row.bench == record.bench) {
                Some(row) => row.push(record),
                None => rows.push(Row::new(&record.bench, vec![record])),
            }
        }
        rows.sort_by_key(|row| row.at);
        (!rows.is_empty()).then_some(Series { experiment, metric, rows })
    }

    /// Is this the number that the question asks for?
    pub(crate) fn is_first(&self) -> bool {
        std::ptr::eq(self.metric, &self.experiment.metrics[0])
    }

    /// `req/s ↑`.
    pub(crate) fn unit(&self) -> String {
        format!("{} {}", self.metric.unit, self.metric.better.arrow())
    }
}

impl<'a> Row<'a> {
    pub(crate) fn new(bench: &'a str, cells: Vec<&'a Record>) -> Self {
        let mut row =
            Row { bench, at: None, measured: Vec::new(), aside: Vec::new(), failed: Vec::new() };
        cells.into_iter().for_each(|record| row.push(record));
        row
    }

    fn push(&mut self, record: &'a Record) {
        self.at = record.at;
        if record.is_failure() {
            return self.failed.push(record);
        }
        if record.smaller.is_some() {
            return self.aside.push(record);
        }
        let at = self.measured.partition_point(|other| by_median(other, record).is_le());
        self.measured.insert(at, record);
    }

    /// All of them, in the order of a table.
    pub(crate) fn cells(&self) -> impl Iterator<Item = &'a Record> {
        self.measured.iter().chain(&self.aside).chain(&self.failed).copied()
    }

    /// `64 conns`.
    pub(crate) fn place(&self) -> Option<String> {
        self.cells().next()?.place()
    }
}

/// The better first.
fn by_median(one: &Record, other: &Record) -> Ordering {
    let (one_value, other_value) = (one.value.unwrap_or(f64::NAN), other.value.unwrap_or(f64::NAN));
    match one.better.is_better(one_value, other_value) {
        true => Ordering::Less,
        false if one_value == other_value => Ordering::Equal,
        false => Ordering::Greater,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::record::made_up::{header, rate, record};

    #[test]
    fn cells_are_sorted_and_rows_by_the_parameter() {
        let records = vec![
            record("a", Some(1000), &[3.0]),
            record("x", Some(64), &[]),
            record("a", Some(64), &[2.0]),
            record("b", Some(64), &[1.0]),
        ];
        let file = LabFile { header: header(), records };
        let all = findings(&file);
        let rows = &all[0].metrics[0].rows;
        let at: Vec<_> = rows.iter().map(|row| row.at).collect();
        assert_eq!(at, [Some(64), Some(1000)]);
        let subjects: Vec<_> = rows[0].cells().map(|record| record.subject.as_str()).collect();
        assert_eq!(subjects, ["b", "a", "x"]);
    }

    #[test]
    fn what_was_measured_at_a_smaller_size_is_not_ranked() {
        let (whole, mut part) = (record("a", None, &[2.0]), record("b", None, &[1.0]));
        part.smaller = Some(100);
        let row = Row::new("echo", vec![&part, &whole]);
        assert_eq!((row.measured.len(), row.aside.len(), row.cells().count()), (1, 1, 2));
    }

    #[test]
    fn the_greatest_rate_is_first() {
        let (slow, fast) = (rate("slow", None, &[1.0]), rate("fast", None, &[2.0]));
        let row = Row::new("echo", vec![&slow, &fast]);
        assert_eq!(row.measured[0].subject, "fast");
    }

    #[test]
    fn an_experiment_without_records_is_not_lost() {
        let file = LabFile { header: header(), records: Vec::new() };
        assert_eq!(findings(&file).len(), 1);
        assert!(findings(&file)[0].metrics.is_empty());
    }
}
