//! Tables in Markdown: all of a file for a page, and the overview for the README, which is put between two markers there
//! so that no figure in it is ever typed.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::number::list;
use super::overview::{Line, lines, summary};
use super::results::{Row, Series, findings};
use super::terminal::median;
use crate::lab::lab_file::LabFile;
use crate::lab::record::{Header, Record};

/// Between these lines the README's table stands.
const BEGIN: &str = "<!-- lab table begin -->";
const END: &str = "<!-- lab table end -->";

/// A row a bench and a column a subject. Rows next to each other that have the same subjects are one table, so that few
/// fields are empty.
pub(crate) fn tables(out: &mut impl Write, file: &LabFile) -> io::Result<()> {
    let all = findings(file);
    let rows: Vec<(&Series, &Row, Vec<&str>)> = all
        .iter()
        .flat_map(|found| &found.metrics)
        .flat_map(|series| {
            let subjects = subjects_of(file, series);
            series.rows.iter().map(move |row| (series, row, subjects.clone()))
        })
        .collect();
    for (at, table) in rows.chunk_by(|one, other| one.2 == other.2).enumerate() {
        let subjects = &table[0].2;
        if at > 0 {
            writeln!(out)?;
        }
        write!(out, "| |")?;
        for subject in subjects {
            write!(out, " {} |", plain(subject))?;
        }
        writeln!(out, "\n|---|{}", "---:|".repeat(subjects.len()))?;
        for (series, row, _) in table {
            write!(out, "| {}, {} |", plain(row.bench), plain(&series.unit()))?;
            for subject in subjects {
                let cell = row.cells().find(|record| record.subject == *subject);
                write!(out, " {} |", cell.map_or("—".to_owned(), median))?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

/// The subjects that the experiment of `series` has, in the order of the file.
fn subjects_of<'a>(file: &'a LabFile, series: &Series) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for record in &file.records {
        if record.experiment == series.experiment.name && !names.contains(&record.subject.as_str())
        {
            names.push(&record.subject);
        }
    }
    names
}

/// Puts the overview of `file` into the README at `path`, between the markers.
pub(crate) fn rewrite(path: &Path, file: &LabFile) -> Result<(), String> {
    let told = |why: String| format!("{}: {why}", path.display());
    let text = fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
    let (before, after) = around_the_table(&text).map_err(told)?;
    let table = overview(file);
    fs::write(path, format!("{before}\n{table}{after}")).map_err(|error| told(error.to_string()))
}

/// What comes up to the first marker, with it, and from the second on.
fn around_the_table(text: &str) -> Result<(&str, &str), String> {
    let place = |marker: &str| {
        let mut places = text.match_indices(marker).map(|(at, _)| at);
        match (places.next(), places.next()) {
            (Some(at), None) => Ok(at),
            (None, _) => Err(format!(
                "no line `{marker}`; the table goes between `{BEGIN}` and `{END}`: put both there"
            )),
            (Some(_), Some(_)) => Err(format!("`{marker}` is there more than once")),
        }
    };
    let (begin, end) = (place(BEGIN)?, place(END)?);
    match begin < end {
        true => Ok((&text[..begin + BEGIN.len()], &text[end..])),
        false => Err(format!("`{END}` comes before `{BEGIN}`")),
    }
}

/// What stands between the markers.
fn overview(file: &LabFile) -> String {
    let all = findings(file);
    let lines = lines(&all, |_| true);
    let compared: Vec<&Line> = lines.iter().filter(|line| line.ours.is_some()).collect();
    let mut text = format!("{}\n\n{}\n\n", provenance(file), summary(&lines));
    text += "| | timestop | place | best of the others | |\n|---|---:|---|---:|---:|\n";
    for line in compared {
        let cell = |record: Option<&Record>| {
            record.map_or("—".to_owned(), |record| {
                // The column is named after the crate; another door says so.
                match record.subject.as_str() {
                    "timestop" => median(record),
                    subject => format!("{} {}", plain(subject), median(record)),
                }
            })
        };
        let fields = [
            format!("{}, {}", plain(line.bench), plain(&line.unit)),
            cell(line.ours),
            line.place(),
            cell(line.rival),
            line.times(),
        ];
        text += &format!("| {} |\n", fields.join(" | "));
    }
    text
}

/// When, where, and of how many runs.
fn provenance(file: &LabFile) -> String {
    let Header { date, command, machine, .. } = &file.header;
    let mut runs: Vec<usize> = file
        .records
        .iter()
        .filter(|record| !record.is_failure())
        .map(|record| record.runs)
        .collect();
    runs.sort_unstable();
    runs.dedup();
    let runs: Vec<String> = runs.iter().map(usize::to_string).collect();
    format!(
        "Medians of {} runs, {}, on {} core{} of {}, {}. `{}` measured it; arrows say which way is \
         better, and a place is by the runs, not by the median alone.",
        if runs.is_empty() { "no".to_owned() } else { list(&runs) },
        date.strftime("%-d %B %Y"),
        machine.cores,
        if machine.cores == 1 { "" } else { "s" },
        plain(&machine.cpu),
        plain(&machine.kernel),
        command.replace('`', "'"),
    )
}

/// Text that means nothing to Markdown.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '|' | '*' | '`' | '[' | ']' | '<' | '>' | '\\' => plain.extend(['\\', character]),
            '\n' | '\r' => plain.push(' '),
            _ => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::record::made_up::{header, record};

    fn file() -> LabFile {
        let records = vec![
            record("timestop", Some(64), &[1.0, 1.1, 1.2]),
            record("a|b", Some(64), &[2.0, 2.2, 2.4]),
            record("timestop", Some(1000), &[1000.0]),
            record("a|b", Some(1000), &[]),
        ];
        LabFile { header: header(), records }
    }

    #[test]
    fn a_row_a_bench_and_a_column_a_subject() {
        let mut out = Vec::new();
        tables(&mut out, &file()).expect("memory can be written");
        let expected = "| | timestop | a\\|b |\n|---|---:|---:|\n| echo/64, ms ↓ | 1.10 | 2.20 |\n\
                        | echo/1000, ms ↓ | 1,000 | failed |\n";
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
    }

    #[test]
    fn the_table_goes_between_the_markers() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let readme = folder.path().join("README.md");
        fs::write(&readme, format!("# Title\n\n{BEGIN}\nold\n{END}\n\nEnd.\n")).expect("written");
        for _ in 0..2 {
            rewrite(&readme, &file()).expect("it has markers");
            let text = fs::read_to_string(&readme).expect("it is there");
            assert!(text.starts_with(&format!(
                "# Title\n\n{BEGIN}\nMedians of 1 and 3 runs, 26 November 2026"
            )));
            assert!(text.ends_with(&format!("|\n{END}\n\nEnd.\n")), "{text}");
            assert!(text.contains("| echo/64, ms ↓ | 1.10 | first | a\\|b 2.20 | × 2 |"), "{text}");
            assert!(text.contains("| echo/1000, ms ↓ | 1,000 | — | — |  |"), "{text}");
            assert!(!text.contains("old"), "{text}");
        }
    }

    #[test]
    fn a_page_without_markers_is_left_alone() {
        for (text, why) in [
            ("nothing".to_owned(), "no line `<!-- lab table begin -->`"),
            (BEGIN.to_owned(), "no line `<!-- lab table end -->`"),
            (format!("{END}\n{BEGIN}"), "comes before"),
            (format!("{BEGIN}{BEGIN}{END}"), "more than once"),
        ] {
            let told = around_the_table(&text).expect_err(&text);
            assert!(told.contains(why), "{told}");
        }
    }
}
