//! What was measured, as a table for people and as JSON lines for programs; and the list of what can be.

use std::io::{self, Write};

use comfy_table::{
    Cell as Field, CellAlignment, ContentArrangement, Table, TableComponent, presets,
};
use rustix::termios::tcgetwinsize;
use serde_json::{Map, Value, json};

use super::experiments::{Better, EXPERIMENTS, Metric, Row, Subject, subjects_of};
use super::runner::Cell;

/// The table, best read with the unit's arrow: `↓` lower is better, `↑` higher is.
pub(crate) fn table(out: &mut impl Write, cells: &[Cell]) -> io::Result<()> {
    let mut table = plain_table(["bench", "subject", "median", "unit", "min … max", "remarks"]);
    let mut above = String::new();
    for cell in sorted(cells) {
        let name = cell.name();
        let shown = if name == above { "" } else { &name };
        let range = match (cell.sample.min(), cell.sample.max()) {
            (Some(min), Some(max)) => format!("{} … {}", number(min), number(max)),
            _ => String::new(),
        };
        let median = cell.sample.median().map_or("failed".to_owned(), number);
        table.add_row([
            Field::new(shown),
            Field::new(cell.subject.name()),
            Field::new(median).set_alignment(CellAlignment::Right),
            Field::new(format!("{} {}", cell.metric.unit, arrow(cell.metric))),
            Field::new(range),
            Field::new(remarks(cell)),
        ]);
        above = name;
    }
    writeln!(out, "{table}")
}

/// The same, a row a bench and a column a subject, for a page.
pub(crate) fn markdown(out: &mut impl Write, cells: &[Cell]) -> io::Result<()> {
    let cells = sorted(cells);
    let subjects: Vec<Subject> = Subject::ALL
        .into_iter()
        .filter(|subject| cells.iter().any(|cell| cell.subject == *subject))
        .collect();
    write!(out, "| |")?;
    for subject in &subjects {
        write!(out, " {} |", subject.name())?;
    }
    writeln!(out, "\n|---|{}", "---:|".repeat(subjects.len()))?;
    for row in cells.chunk_by(|one, other| one.name() == other.name()) {
        write!(out, "| {}, {} {} |", row[0].name(), row[0].metric.unit, arrow(row[0].metric))?;
        for subject in &subjects {
            let cell = row.iter().find(|cell| cell.subject == *subject);
            let median = cell.map_or("—".to_owned(), |cell| {
                cell.sample.median().map_or("failed".to_owned(), number)
            });
            write!(out, " {median} |")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Metric by metric, so that the subjects of one stand below each other.
fn sorted(cells: &[Cell]) -> Vec<&Cell> {
    let mut names: Vec<String> = Vec::new();
    for cell in cells {
        if !names.contains(&cell.name()) {
            names.push(cell.name());
        }
    }
    let of = |name: String| cells.iter().filter(move |cell| cell.name() == name);
    names.into_iter().flat_map(of).collect()
}

fn remarks(cell: &Cell) -> String {
    // No errors, nothing stuck: nothing to remark.
    let told = cell.also.iter().filter(|(_, value)| **value != 0.0);
    let also = told.map(|(key, value)| format!("{key} {}", number(*value)));
    let failed = cell.error.iter().map(|why| match cell.is_failure() {
        true => why.clone(),
        false => format!("a run failed: {why}"),
    });
    also.chain(cell.note.clone()).chain(failed).collect::<Vec<_>>().join("; ")
}

/// One object a line.
pub(crate) fn json(out: &mut impl Write, cells: &[Cell]) -> io::Result<()> {
    for cell in sorted(cells) {
        writeln!(out, "{}", object(cell))?;
    }
    out.flush()
}

fn object(cell: &Cell) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("bench", json!(cell.name()));
    put("subject", json!(cell.subject.name()));
    put("value", json!(cell.sample.median().map(rounded)));
    put("unit", json!(cell.metric.unit));
    put("runs", json!(cell.sample.len()));
    if let (Some(min), Some(max)) = (cell.sample.min(), cell.sample.max()) {
        put("min", json!(rounded(min)));
        put("max", json!(rounded(max)));
    }
    if let Some(parameter) = cell.row.experiment.parameter {
        put(parameter.name, json!(cell.row.value));
    }
    for (key, value) in &cell.also {
        put(key, json!(rounded(*value)));
    }
    if let Some(note) = &cell.note {
        put("note", json!(note));
    }
    if let Some(error) = &cell.error {
        put("error", json!(error));
    }
    Value::Object(object)
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// What can be measured.
pub(crate) fn list(quick: bool) -> io::Result<()> {
    let mut table = plain_table(["bench", "question", "unit", "subjects", "rows"]);
    for experiment in EXPERIMENTS {
        let rows = Row::all(quick).filter(|row| row.experiment.name == experiment.name);
        let subjects = subjects_of(experiment);
        table.add_row([
            experiment.name.to_owned(),
            experiment.question.to_owned(),
            lines(experiment.metrics.iter().map(unit)),
            lines(subjects.into_iter().map(|subject| subject.name().to_owned())),
            lines(rows.map(|row| row.name())),
        ]);
    }
    writeln!(io::stdout().lock(), "{table}")
}

fn lines(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join("\n")
}

fn unit(metric: &Metric) -> String {
    let name = if metric.key == "value" { "" } else { metric.key };
    format!("{name} {} {}", metric.unit, arrow(metric)).trim_start().to_owned()
}

fn arrow(metric: &Metric) -> char {
    match metric.better {
        Better::Lower => '↓',
        Better::Higher => '↑',
    }
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
    use super::super::experiments::Subject;
    use super::super::stats::Sample;
    use super::*;

    fn cell(name: &str, runs: &[f64]) -> Cell {
        let row = Row::all(false).find(|row| row.name() == name).expect("a known row");
        Cell {
            metric: &row.experiment.metrics[0],
            row,
            subject: Subject::Timestop,
            sample: runs.iter().copied().collect::<Sample>(),
            also: Default::default(),
            note: None,
            error: None,
        }
    }

    fn written(cells: &[Cell]) -> String {
        let mut out = Vec::new();
        json(&mut out, cells).expect("memory can be written");
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn a_cell_is_one_line_of_json() {
        let mut cell = cell("echo/64", &[3.0, 1.00049, 2.0]);
        cell.also.insert("errors".to_owned(), 0.0);
        let expected = concat!(
            r#"{"bench":"echo/64","subject":"timestop","value":2.0,"unit":"req/s","runs":3,"#,
            r#""min":1.0,"max":3.0,"conns":64,"errors":0.0}"#,
            "\n"
        );
        assert_eq!(written(&[cell]), expected);
    }

    #[test]
    fn a_failed_cell_says_why_in_either_form() {
        let mut cell = cell("yield", &[]);
        cell.error = Some("exit status: 1: no luck".to_owned());
        let mut out = Vec::new();
        table(&mut out, std::slice::from_ref(&cell)).expect("memory can be written");
        let shown = String::from_utf8(out).expect("UTF-8");
        assert!(shown.contains("failed") && shown.contains("no luck"), "{shown}");
        let expected = concat!(
            r#"{"bench":"yield","subject":"timestop","value":null,"unit":"ns","runs":0,"#,
            r#""error":"exit status: 1: no luck"}"#,
            "\n"
        );
        assert_eq!(written(&[cell]), expected);
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
