//! The page: one file that needs no other, no network and no script.
//!
//! It is a template (`maud`, checked when this program is built, escapes all text) around what the other modules of the
//! report found out. From top to bottom: the whole in a sentence, a line a row, a section an experiment, the machine.
//!
//! Rejected: `askama`, whose templates are files of their own, for a page whose half is drawn by functions; and a page
//! that draws in the browser from data, which shows nothing to who prints it, mails it, or has scripts off.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::number::number;
use super::overview::{Line, Rank, lines, summary};
use super::results::{Findings, Series, findings};
use super::terminal::median;
use crate::lab::lab_file::LabFile;
use crate::lab::record::{Header, Record};
use section::section;

mod repeat;
mod section;

const STYLE: &str = include_str!("style.css");

/// The whole page, ending with a line's end.
pub(crate) fn page(file: &LabFile) -> String {
    let all = findings(file);
    let names = names(file);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "timestop lab" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (top(file, &all))
                main {
                    (overview(&all))
                    @for (at, found) in all.iter().enumerate() { (section(file, found, at, &names)) }
                    (how_to_read(file))
                    (machine(&file.header))
                }
            }
        }
    };
    page.into_string() + "\n"
}

/// Every subject of the file, in its order.
fn names(file: &LabFile) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for record in &file.records {
        if !names.contains(&record.subject.as_str()) {
            names.push(&record.subject);
        }
    }
    names
}

fn top(file: &LabFile, all: &[Findings]) -> Markup {
    let header = &file.header;
    let lines = lines(all, Series::is_first);
    html! {
        header {
            h1 { "timestop lab" }
            p class="lead" { (summary(&lines)) }
            p class="soft" {
                time datetime=(header.date) { (header.date.strftime("%-d %B %Y, %H:%M UTC")) }
                " · " (header.machine.cpu) ", " (cores(header.machine.cores)) " · " (header.machine.kernel)
                br;
                code { (header.command) }
            }
        }
    }
}

fn cores(count: usize) -> String {
    format!("{count} core{}", if count == 1 { "" } else { "s" })
}

/// What a section is linked by.
fn anchor(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect()
}

fn overview(all: &[Findings]) -> Markup {
    let first = lines(all, Series::is_first);
    let further = lines(all, |series| !series.is_first());
    html! {
        section class="card" id="overview" aria-labelledby="overview-title" {
            h2 id="overview-title" { "Overview" }
            p class="soft" {
                "A line a row: where timestop stands, and the best of the others with the factor between the two."
            }
            (overview_table("Rows", all, &first))
            @if !further.is_empty() {
                details {
                    summary { (further.len()) " rows of further metrics" }
                    (overview_table("Rows of further metrics", all, &further))
                }
            }
        }
    }
}

fn overview_table(caption: &str, all: &[Findings], lines: &[Line]) -> Markup {
    let section_of = |line: &Line| {
        let has = |found: &&Findings| {
            let mut rows = found.metrics.iter().flat_map(|series| &series.rows);
            rows.any(|row| row.bench == line.bench)
        };
        all.iter().find(has).map_or("", |found| &found.experiment.name)
    };
    html! {
        table class="overview" {
            caption class="unseen" { (caption) }
            thead {
                tr {
                    th scope="col" { "row" }
                    th scope="col" { "timestop" }
                    th scope="col" { "place" }
                    th scope="col" { "best other" }
                }
            }
            tbody {
                @for line in lines {
                    tr {
                        th scope="row" {
                            a href={ "#" (anchor(section_of(line))) } { (breakable(line.bench)) }
                            small { (line.unit) }
                        }
                        td { (figure(line.ours, "timestop")) }
                        td { span class={ "place " (class(line.rank)) } { (line.place()) } }
                        td {
                            (figure(line.rival, ""))
                            @if !line.times().is_empty() { small { (line.times()) } }
                        }
                    }
                }
            }
        }
    }
}

/// A median, and whose it is unless the column says so.
fn figure(record: Option<&Record>, column: &str) -> Markup {
    html! {
        @match record {
            None => "—",
            Some(record) => {
                (figure_of(record))
                @if record.subject != column { small { (record.subject) } }
            }
        }
    }
}

/// A median. Not everything without one has failed: it may have had nothing to run.
fn figure_of(record: &Record) -> String {
    if record.is_failure() { "none".to_owned() } else { median(record) }
}

/// A name that may be broken after `_` and `/`.
fn breakable(name: &str) -> Markup {
    html! {
        @for part in name.split_inclusive(['_', '/']) { (part) wbr; }
    }
}

fn class(rank: Rank) -> &'static str {
    match rank {
        Rank::First => "first",
        Rank::Level => "level",
        Rank::Behind { .. } => "behind",
        Rank::Failed => "lost",
        Rank::None => "none",
    }
}

fn how_to_read(file: &LabFile) -> Markup {
    let has_single = file.records.iter().any(|record| record.runs == 1);
    html! {
        section class="card" id="how-to-read" aria-labelledby="how-to-read-title" {
            h2 id="how-to-read-title" { "How to read this" }
            ul {
                li { "A figure is the median of its runs, each in a fresh process; whiskers go from the least run to the greatest." }
                li {
                    "Subjects whose runs overlap are level: nothing here tells them apart. One is ahead of another if all "
                    "of its runs are better than all of the other's; a place counts those that are ahead."
                }
                li { "Where values span more than a factor of 20 the scale is logarithmic: equal steps are equal factors, and the marks are dots, since lengths would mean nothing." }
                li { "A noisy cell is one whose runs lie far apart, or beside which other processes were busy." }
                li { "Verdicts are made from the figures by the program that wrote this page." }
                @if has_single {
                    li { "Some cells have one run only. They have no spread, so where they are concerned a level finish looks like a difference." }
                }
            }
        }
    }
}

fn machine(header: &Header) -> Markup {
    let machine = &header.machine;
    html! {
        section class="card" id="machine" aria-labelledby="machine-title" {
            h2 id="machine-title" { "Machine and versions" }
            table class="facts" {
                caption class="unseen" { "Machine" }
                tbody {
                    (fact("processor", &machine.cpu))
                    (fact("cores for the lab", &machine.cores.to_string()))
                    (fact("kernel", &machine.kernel))
                    (fact("memory", &format!("{} MiB", number(machine.memory_mib as f64))))
                    @for (name, limit) in &machine.limits {
                        (fact(name, &limit.map_or("no limit".to_owned(), |limit| number(limit as f64))))
                    }
                }
            }
            @if !header.versions.is_empty() {
                h3 { "Versions" }
                table class="facts" {
                    caption class="unseen" { "Versions" }
                    tbody { @for (subject, version) in &header.versions { (fact(subject, version)) } }
                }
            }
        }
    }
}

fn fact(name: &str, value: &str) -> Markup {
    html! { tr { th scope="row" { (name) } td { (value) } } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::record::made_up::{header, record};

    #[test]
    fn text_of_subjects_is_escaped() {
        let mut failed = record("<i>x</i>", Some(64), &[]);
        failed.error = Some("</svg><script>alert(1)</script>".to_owned());
        let records = vec![record("timestop", Some(64), &[1.0]), failed];
        let page = page(&LabFile { header: header(), records });
        assert!(!page.contains("<script") && !page.contains("<i>"), "{page}");
        assert!(page.contains("&lt;script&gt;"));
    }

    #[test]
    fn anchors_have_no_strange_letters() {
        assert_eq!(anchor("hog_share"), "hog_share");
        assert_eq!(anchor("a b\"/c"), "a-b--c");
    }
}
