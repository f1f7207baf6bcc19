//! What was measured, as a table for people; and the list of what can be.

use std::collections::BTreeSet;
use std::io::{self, Write};

use comfy_table::{
    Cell as Field, CellAlignment, ContentArrangement, Table, TableComponent, presets,
};
use rustix::termios::tcgetwinsize;

use super::experiments::{EXPERIMENTS, Metric, Row, subjects_of};
use super::outside::Catalogue;
use super::record::Record;

/// The table, best read with the unit's arrow: `↓` lower is better, `↑` higher is.
pub(crate) fn table(out: &mut impl Write, records: &[Record]) -> io::Result<()> {
    let mut table = plain_table(["bench", "subject", "median", "unit", "min … max", "remarks"]);
    let mut above = "";
    for record in sorted(records) {
        let shown = if record.bench == above { "" } else { &record.bench };
        let range = match record.range() {
            Some((min, max)) => format!("{} … {}", number(min), number(max)),
            None => String::new(),
        };
        table.add_row([
            Field::new(shown),
            Field::new(&record.subject),
            Field::new(median(record)).set_alignment(CellAlignment::Right),
            Field::new(format!("{} {}", record.unit, record.better.arrow())),
            Field::new(range),
            Field::new(remarks(record)),
        ]);
        above = &record.bench;
    }
    writeln!(out, "{table}")
}

/// The same, a row a bench and a column a subject, for a page.
pub(crate) fn markdown(out: &mut impl Write, records: &[Record]) -> io::Result<()> {
    let records = sorted(records);
    let mut subjects: Vec<&str> = Vec::new();
    for record in &records {
        if !subjects.contains(&record.subject.as_str()) {
            subjects.push(&record.subject);
        }
    }
    write!(out, "| |")?;
    for subject in &subjects {
        write!(out, " {subject} |")?;
    }
    writeln!(out, "\n|---|{}", "---:|".repeat(subjects.len()))?;
    for row in records.chunk_by(|one, other| one.bench == other.bench) {
        write!(out, "| {}, {} {} |", row[0].bench, row[0].unit, row[0].better.arrow())?;
        for subject in &subjects {
            let record = row.iter().find(|record| record.subject == *subject);
            write!(out, " {} |", record.map_or("—".to_owned(), |record| median(record)))?;
        }
        writeln!(out)?;
    }
    Ok(())
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

fn median(record: &Record) -> String {
    record.value.map_or("failed".to_owned(), number)
}

fn remarks(record: &Record) -> String {
    // No errors, nothing stuck: nothing to remark.
    let told = record.also.iter().filter(|(_, value)| **value != 0.0);
    let also = told.map(|(key, value)| format!("{key} {}", number(*value)));
    let noisy = record.noisy.then(|| "noisy".to_owned());
    let failed = record.error.iter().map(|why| match record.is_failure() {
        true => why.clone(),
        false => format!("a run failed: {why}"),
    });
    let remarks = noisy.into_iter().chain(also).chain(record.note.clone()).chain(failed);
    remarks.collect::<Vec<_>>().join("; ")
}

/// What can be measured, and by whom.
pub(crate) fn list(quick: bool, catalogue: &Catalogue) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut table = plain_table(["bench", "question", "unit", "subjects", "rows"]);
    let mut all = BTreeSet::new();
    for experiment in EXPERIMENTS {
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

fn plain_table<const N: usize>(header: [&str; N]) -> Table {
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

/// Three significant digits or more, and thousands apart.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let whole = text.find('.').unwrap_or(text.len());
    let digits = text[..whole].trim_start_matches('-').len();
    let mut grouped = String::new();
    for (at, character) in text.char_indices() {
        let after = whole.saturating_sub(at);
        if at < whole && after < digits && after % 3 == 0 && character.is_ascii_digit() {
            grouped.push(',');
        }
        grouped.push(character);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::super::record::made_up::record;
    use super::*;

    #[test]
    fn a_failed_cell_says_why() {
        let mut out = Vec::new();
        table(&mut out, &[record("a", None, &[])]).expect("memory can be written");
        let shown = String::from_utf8(out).expect("UTF-8");
        assert!(shown.contains("failed") && shown.contains("no luck"), "{shown}");
    }

    #[test]
    fn numbers_are_short_and_grouped() {
        for (value, text) in [
            (0.0, "0"),
            (64.0, "64"),
            (2.345678, "2.35"),
            (23.45678, "23.5"),
            (234.5678, "235"),
            (1000.0, "1,000"),
            (-1234567.0, "-1,234,567"),
            (123456.7, "123,457"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
