//! A section an experiment: the question, the verdict, charts, tables, and the command that measures it again.

use maud::{Markup, html};

use super::super::chart::{Chart, Layout, chart, is_curve};
use super::super::results::{Findings, Row, Series};
use super::super::standing::is_ours;
use super::super::terminal::{range, remarks};
use super::super::verdict::verdict;
use super::{anchor, figure_of, repeat};
use crate::lab::lab_file::LabFile;
use crate::lab::record::{Better, Record};

pub(super) fn section(file: &LabFile, found: &Findings, at: usize, names: &[&str]) -> Markup {
    let experiment = found.experiment;
    let id = anchor(&experiment.name);
    let further: Vec<&Series> = found.metrics.iter().filter(|series| !series.is_first()).collect();
    html! {
        section class="card experiment" id=(id) aria-labelledby={ (id) "-title" } {
            h2 id={ (id) "-title" } { (experiment.name) }
            p class="question" { (prose(&experiment.question)) }
            @if found.metrics.is_empty() {
                p class="verdict" { "Not measured: the lab ended before it came to this." }
            }
            @for series in found.metrics.iter().filter(|series| series.is_first()) {
                (verdict_of(series))
                (figure(series, &format!("chart-{at}"), &[Layout::Wide, Layout::Compact], names))
                (table(series))
            }
            @if !further.is_empty() {
                div class="further" {
                    @for (number, series) in further.iter().enumerate() {
                        div {
                            h3 { (series.metric.key) }
                            (verdict_of(series))
                            (figure(series, &format!("chart-{at}-{number}"), &[Layout::Compact], names))
                            details { summary { "Table of " (series.metric.key) } (table(series)) }
                        }
                    }
                }
            }
            p class="soft again" {
                @if !experiment.pinning.is_empty() { (prose(&sentence(&experiment.pinning))) br; }
                "Again: " code { (repeat::command(&file.header.command, &experiment.name)) }
            }
        }
    }
}

/// `words` with a capital and a full stop.
fn sentence(words: &str) -> String {
    let mut letters = words.trim_end_matches('.').chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).chain(['.']).collect()
}

/// What stands between backticks is code.
fn prose(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn verdict_of(series: &Series) -> Markup {
    let sentences = verdict(series);
    html! {
        @if let Some((first, others)) = sentences.split_first() {
            p class="verdict" { strong { (first) } @for other in others { " " (other) } }
        }
    }
}

fn figure(series: &Series, id: &str, layouts: &[Layout], names: &[&str]) -> Markup {
    let charts: Vec<Chart> = layouts
        .iter()
        .enumerate()
        .filter_map(|(at, layout)| chart(series, &format!("{id}-{at}"), *layout, names))
        .collect();
    html! {
        @if !charts.is_empty() {
            figure class=(if layouts.len() > 1 { "both" } else { "single" }) {
                figcaption {
                    (series.metric.unit) ", "
                    (match series.metric.better { Better::Lower => "lower is better", Better::Higher => "higher is better" })
                    @if is_curve(series) {
                        @if let Some(parameter) = &series.experiment.parameter { ", over " (parameter) }
                    }
                    @if charts.iter().any(|chart| chart.log) { ", log scale" }
                }
                @for chart in &charts { (chart.svg) }
            }
        }
    }
}

fn table(series: &Series) -> Markup {
    let parameter = series.experiment.parameter.is_some();
    let any = series.rows.iter().flat_map(Row::cells).any(|record| !remarks(record).is_empty());
    html! {
        table class="cells" {
            caption class="unseen" { (series.experiment.name) ": " (series.metric.key) " in " (series.metric.unit) }
            thead {
                tr {
                    th scope="col" { "subject" }
                    th scope="col" { "median" small { (series.unit()) } }
                    th scope="col" { "min … max" }
                    th scope="col" { "runs" }
                    @if any { th scope="col" class="remarks" { "remarks" } }
                }
            }
            @for row in &series.rows {
                tbody {
                    @if parameter {
                        tr class="group" { th scope="rowgroup" colspan=(if any { "5" } else { "4" }) { (row.place().unwrap_or_default()) } }
                    }
                    (cells(row, any))
                }
            }
        }
    }
}

/// Remarks have a column in a window, and a line of their own on a phone. Those without a figure for one and the same
/// reason are one line: a toolchain that is not installed is told of once.
fn cells(row: &Row, any: bool) -> Markup {
    let mut reasons: Vec<(String, Vec<&Record>)> = Vec::new();
    for record in &row.failed {
        let said = remarks(record);
        match reasons.iter_mut().find(|(reason, _)| *reason == said) {
            Some((_, records)) => records.push(record),
            None => reasons.push((said, vec![record])),
        }
    }
    html! {
        @for record in row.measured.iter().chain(&row.aside) {
            (line(&[record], &remarks(record), any))
        }
        @for (reason, records) in &reasons { (line(records, reason, any)) }
    }
}

/// A cell, or several that have no figure for the same reason.
fn line(records: &[&Record], said: &str, any: bool) -> Markup {
    let record = records[0];
    let names: Vec<&str> = records.iter().map(|record| record.subject.as_str()).collect();
    html! {
        tr class=(class(record)) {
            th scope="row" { (names.join(", ")) }
            td { (figure_of(record)) }
            td { (range(record)) }
            td { (record.runs) }
            @if any { td class="remarks" { (prose(said)) } }
        }
        @if !said.is_empty() {
            tr class={ "remark " (class(record)) } { td colspan="4" { (prose(said)) } }
        }
    }
}

fn class(record: &Record) -> &'static str {
    match (is_ours(&record.subject), record.is_failure()) {
        (true, false) => "ours",
        (true, true) => "ours failed",
        (false, true) => "failed",
        (false, false) => "other",
    }
}
