//! What was measured, and what can be, as tables on a terminal.

use std::collections::BTreeSet;
use std::io::{self, Write};

use comfy_table::{
    Cell as Field, CellAlignment, ContentArrangement, Table, TableComponent, presets,
};
use rustix::termios::tcgetwinsize;

use super::number::number;
use crate::lab::estimate::Estimate;
use crate::lab::experiments::{Metric, Row, experiments, subjects_of};
use crate::lab::outside::Catalogue;
use crate::lab::record::Record;

/// The table, best read with the unit's arrow: `↓` lower is better, `↑` higher is.
pub(crate) fn table(out: &mut impl Write, records: &[Record]) -> io::Result<()> {
    let mut table = plain_table(["bench", "subject", "median", "unit", "min … max", "remarks"]);
    let mut above = "";
    for record in sorted(records) {
        let shown = if record.bench == above { "" } else { &record.bench };
        table.add_row([
            Field::new(shown),
            Field::new(&record.subject),
            Field::new(median(record)).set_alignment(CellAlignment::Right),
            Field::new(format!("{} {}", record.unit, record.better.arrow())),
            Field::new(range(record)),
            Field::new(remarks(record)),
        ]);
        above = &record.bench;
    }
    writeln!(out, "{table}")
}

/// Metric by metric, so that the subjects of one stand below each other.
pub(crate) fn sorted(records: &[Record]) -> Vec<&Record> {
    let mut names: Vec<&str> = Vec::new();
    for record in records {
        if !names.contains(&record.bench.as_str()) {
            names.push(&record.bench);
        }
    }
    let of = |name| records.iter().filter(move |record| record.bench == name);
    names.into_iter().flat_map(of).collect()
}

/// `1,098`, or `failed`.
pub(crate) fn median(record: &Record) -> String {
    record.value.map_or("failed".to_owned(), number)
}

/// The least and the greatest run.
pub(crate) fn range(record: &Record) -> String {
    match record.range() {
        Some((min, max)) => format!("{} … {}", number(min), number(max)),
        None => String::new(),
    }
}

/// What else is to be known of a cell: above all why it failed.
pub(crate) fn remarks(record: &Record) -> String {
    // No errors, nothing stuck: nothing to remark.
    let told = record.also.iter().filter(|(_, value)| **value != 0.0);
    let also = told.map(|(key, value)| format!("{key} {}", number(*value)));
    // A note says so, and why.
    let smaller = record.smaller.filter(|_| record.note.is_none());
    let smaller = smaller.map(|size| format!("measured at {}", number(size as f64)));
    let noisy = record.noisy.then(|| "noisy".to_owned());
    let failed = record.error.iter().map(|why| match record.is_failure() {
        true => why.clone(),
        false => format!("a run failed: {why}"),
    });
    let remarks =
        smaller.into_iter().chain(noisy).chain(also).chain(record.note.clone()).chain(failed);
    remarks.collect::<Vec<_>>().join("; ")
}

/// What would be run, and how long it would take.
pub(crate) fn estimate(out: &mut impl Write, estimate: &Estimate) -> io::Result<()> {
    let mut table = plain_table(["row", "cells", "runs each", "s a run", "s"]);
    for row in &estimate.rows {
        let time = row.time().as_secs_f64();
        let numbers = [
            row.cells.to_string(),
            row.runs.to_string(),
            format!("{:.2}", row.each.as_secs_f64()),
            format!("{time:.0}"),
        ];
        let numbers = numbers.map(|number| Field::new(number).set_alignment(CellAlignment::Right));
        table.add_row([Field::new(&row.name)].into_iter().chain(numbers));
    }
    writeln!(out, "{table}\n\n{estimate}")
}

/// What can be measured, and by whom.
pub(crate) fn list(quick: bool, catalogue: &Catalogue) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut table = plain_table(["bench", "question", "unit", "subjects", "rows"]);
    let mut all = BTreeSet::new();
    for experiment in experiments() {
        let rows = Row::all(quick).filter(|row| row.experiment.name == experiment.name);
        let subjects = subjects_of(experiment, catalogue);
        all.extend(subjects.iter().copied());
        let names: Vec<_> = subjects.into_iter().map(|subject| subject.name()).collect();
        table.add_row([
            experiment.name.to_owned(),
            format!("{}\n({})", experiment.question, experiment.pinned.words()),
            lines(experiment.metrics.iter().map(unit)),
            names.join(" "),
            lines(rows.map(|row| row.name())),
        ]);
    }
    writeln!(out, "{table}\n")?;
    let mut table = plain_table(["subject", ""]);
    for subject in all {
        table.add_row([subject.name(), subject.title()]);
    }
    writeln!(out, "{table}")
}

fn lines(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join("\n")
}

fn unit(metric: &Metric) -> String {
    let name = if metric.key == "value" { "" } else { metric.key };
    format!("{name} {} {}", metric.unit, metric.better.arrow()).trim_start().to_owned()
}

pub(crate) fn plain_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_style(TableComponent::HeaderLines, '─');
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    // What is not shown on a terminal is for a file, where lines may be long.
    if let Ok(size) = tcgetwinsize(io::stdout())
        && size.ws_col > 0
    {
        table.set_width(size.ws_col);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::record::made_up::record;

    #[test]
    fn a_failed_cell_says_why() {
        let mut out = Vec::new();
        let mut noisy = record("go", None, &[1.0, 2.0, 30.0]);
        noisy.noisy = true;
        noisy.also.insert("errors".to_owned(), 0.0);
        noisy.also.insert("stuck".to_owned(), 2.0);
        table(&mut out, &[noisy, record("timestop", None, &[])]).expect("memory can be written");
        let shown = String::from_utf8(out).expect("UTF-8");
        assert!(shown.contains("failed") && shown.contains("no luck"), "{shown}");
        assert!(shown.contains("noisy; stuck 2") && !shown.contains("errors"), "{shown}");
        assert_eq!(shown.matches("echo").count(), 1, "a row is named once:\n{shown}");
    }
}
