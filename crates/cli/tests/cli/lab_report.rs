//! What is made from a lab file: the page, Markdown, the README's table, the comparison with another.
//!
//! The file is `fixtures/lab.json`, whose figures nobody measured: it has every kind of cell there is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use scraper::{ElementRef, Html, Selector};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::text;

pub(crate) fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/fixtures/lab.json")
}

fn lab(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_timestop"));
    command.arg("lab").args(args).output().expect("the program starts")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// Writes the fixture's page into `folder`.
pub(crate) fn page_in(folder: &Path) -> PathBuf {
    let page = folder.join("report.html");
    let output = lab(&["report", path(&fixture()), "--html", path(&page)]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    page
}

fn page() -> String {
    let folder = tempfile::tempdir().expect("a temporary directory");
    fs::read_to_string(page_in(folder.path())).expect("it was written")
}

fn lines() -> Vec<Value> {
    let text = fs::read_to_string(fixture()).expect("the repository has it");
    text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
}

/// The fixture with each cell as `change` leaves it.
fn changed(folder: &TempDir, name: &str, change: impl Fn(&mut Value)) -> PathBuf {
    let file = folder.path().join(name);
    let mut lines = lines();
    lines[1..].iter_mut().for_each(change);
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(&file, text).expect("a temporary directory can be written");
    file
}

fn select<'a>(root: ElementRef<'a>, selector: &str) -> Vec<ElementRef<'a>> {
    root.select(&Selector::parse(selector).expect("a selector")).collect()
}

fn said(element: ElementRef) -> String {
    element.text().collect::<Vec<_>>().join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_page_needs_nothing_else() {
    let page = page();
    for reference in ["http://", "https://", "src=", "@import", "<script", "<link", "<iframe"] {
        assert!(!page.contains(reference), "{reference}");
    }
    for (at, _) in page.match_indices("url(") {
        assert!(page[at..].starts_with("url(data:"), "{}", &page[at..at + 40]);
    }
    let document = Html::parse_document(&page);
    for link in select(document.root_element(), "[href]") {
        let target = link.attr("href").expect("selected by it");
        let id = target.strip_prefix('#').unwrap_or_else(|| panic!("a link to {target}"));
        assert_eq!(select(document.root_element(), &format!("[id='{id}']")).len(), 1, "{id}");
    }
}

#[test]
fn the_page_is_well_formed() {
    let page = page();
    let document = Html::parse_document(&page);
    assert!(document.errors.is_empty(), "{:?}", document.errors);
    let root = document.root_element();
    let ids: Vec<&str> = select(root, "[id]").iter().filter_map(|e| e.attr("id")).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id is there twice");
    for labelled in select(root, "[aria-labelledby]") {
        let names = labelled.attr("aria-labelledby").expect("selected by it");
        assert!(names.split(' ').all(|name| ids.contains(&name)), "{names}");
    }
    for table in select(root, "table") {
        assert_eq!(select(table, "caption").len(), 1, "{}", said(table));
        assert!(select(table, "th").iter().all(|th| th.attr("scope").is_some()));
    }
    let charts = select(root, "svg");
    assert!(charts.len() > 10);
    for chart in charts {
        assert_eq!(chart.attr("role"), Some("img"));
        assert!(!said(select(chart, "title")[0]).is_empty());
        assert!(!said(select(chart, "desc")[0]).is_empty());
    }
}

#[test]
fn every_experiment_and_every_cell_is_on_the_page() {
    let page = page();
    let document = Html::parse_document(&page);
    let root = document.root_element();
    let lines = lines();
    for experiment in lines[0]["experiments"].as_array().expect("a list") {
        let name = experiment["name"].as_str().expect("a name");
        let section = select(root, &format!("section#{name}"))[0];
        let text = said(section);
        let question = experiment["question"].as_str().expect("a question").replace('`', "");
        assert!(text.contains(&question.split_whitespace().next().unwrap().to_owned()), "{text}");
        assert!(text.contains(&format!("timestop lab {name} --runs 3")), "{text}");
        let cells: Vec<&Value> =
            lines[1..].iter().filter(|line| line["experiment"] == name).collect();
        // A row each, and another one for remarks on a phone.
        let shown = select(section, "table.cells tr:not(.remark) > th[scope=row]");
        // Those without a figure for the same reason are in one line.
        let subjects: usize = shown.iter().map(|th| said(*th).split(", ").count()).sum();
        assert_eq!(subjects, cells.len(), "{name}");
        let measured = cells.iter().any(|cell| !cell["value"].is_null());
        assert_eq!(select(section, "svg").is_empty(), !measured, "{name}");
        assert!(!said(select(section, "p.verdict")[0]).is_empty(), "{name}");
        for error in cells.iter().filter_map(|cell| cell["error"].as_str()) {
            let plain = |text: &str| text.replace(['`', ' '], "");
            assert!(plain(&text).contains(&plain(error)), "{error}");
        }
    }
}

#[test]
fn a_measurement_can_be_a_page_at_once() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let page = folder.path().join("page.html");
    let options = ["--quick", "--runs", "1", "--subjects", "timestop"];
    let args = [&["yield"], &options[..], &["--json", "--html", path(&page)]].concat();
    let output = lab(&args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let document = Html::parse_document(&fs::read_to_string(&page).expect("it was written"));
    let section = select(document.root_element(), "section#yield")[0];
    assert!(said(section).contains(&format!("timestop lab yield {}", options.join(" "))));
    // What it printed is a lab file, which says the same.
    let file = folder.path().join("lab.json");
    fs::write(&file, &output.stdout).expect("a temporary directory can be written");
    let again = folder.path().join("again.html");
    assert!(lab(&["report", path(&file), "--html", path(&again)]).status.success());
    assert_eq!(fs::read(&page).ok(), fs::read(&again).ok());
}

#[test]
fn a_page_that_cannot_be_written_is_told_before_measuring() {
    let output = lab(&["yield", "--html", "/nonexistent/page.html"]);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(
        told.starts_with("timestop lab: --html /nonexistent/page.html: No such file"),
        "{told}"
    );
}

#[test]
fn markdown_has_a_row_a_bench() {
    let output = lab(&["report", path(&fixture()), "--markdown"]);
    let tables = text(&output.stdout);
    let benches: BTreeSet<String> =
        lines()[1..].iter().filter_map(|line| Some(line["bench"].as_str()?.to_owned())).collect();
    for bench in benches {
        assert_eq!(tables.matches(&format!("| {bench}, ")).count(), 1, "{bench}\n{tables}");
    }
}

#[test]
fn the_readme_gets_its_table_between_the_markers() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let readme = folder.path().join("README.md");
    let file = fixture();
    let args = ["report", path(&file), "--readme", path(&readme)];
    let missing = lab(&args);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("README.md: No such file"));
    fs::write(&readme, "no marker\n").expect("written");
    let output = lab(&args);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no line `<!-- lab table begin -->`"));
    assert_eq!(fs::read_to_string(&readme).expect("it is there"), "no marker\n");
    let around = ("before\n<!-- lab table begin -->\n", "<!-- lab table end -->\nafter\n");
    fs::write(&readme, format!("{}old\n{}", around.0, around.1)).expect("written");
    assert!(lab(&args).status.success());
    let written = fs::read_to_string(&readme).expect("it is there");
    assert!(written.starts_with(around.0) && written.ends_with(around.1), "{written}");
    assert!(written.contains("26 November 2026") && written.contains("2 cores"), "{written}");
    assert!(written.contains("| yield, ns ↓ |") && !written.contains("old"), "{written}");
}

#[test]
fn a_file_compared_with_itself_has_not_changed() {
    let file = fixture();
    let output = lab(&["compare", path(&file), path(&file)]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let cells = lines().len() - 1;
    let summary = format!("0 regressed, 0 improved, {cells} unchanged, 0 missing, 0 new\n");
    assert_eq!(text(&output.stdout), summary);
}

#[test]
fn what_became_worse_is_told_and_fails() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let scale = |cell: &mut Value, by: f64| {
        for key in ["value", "min", "max"] {
            cell[key] = (cell[key].as_f64().expect("it was measured") * by).into();
        }
    };
    let slower = changed(&folder, "slower.json", |cell| {
        match (cell["bench"].as_str().unwrap_or(""), cell["subject"].as_str().unwrap_or("")) {
            ("yield", "timestop") => scale(cell, 1.5),
            ("yield", "go") => scale(cell, 0.5),
            ("echo/64", "timestop") => scale(cell, 0.5),
            ("mutex", "go") => cell["subject"] = "gone".into(),
            _ => {}
        }
    });
    let file = fixture();
    let output = lab(&["compare", path(&file), path(&slower), "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let told: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object a line"))
        .collect();
    let summary = &told[0];
    let counts = ["regressed", "improved", "missing", "new"].map(|change| &summary[change]);
    assert_eq!(counts, [2, 1, 1, 1], "{summary}");
    let of = |bench: &str, subject: &str| {
        told.iter().find(|row| row["bench"] == bench && row["subject"] == subject).expect("a row")
    };
    let row = of("yield", "timestop");
    assert_eq!((&row["change"], &row["ratio"]), (&"regressed".into(), &1.5.into()));
    assert_eq!(of("echo/64", "timestop")["change"], "regressed");
    assert_eq!(of("yield", "go")["change"], "improved");
    assert_eq!(of("mutex", "gone")["change"], "new");

    let table = lab(&["compare", path(&file), path(&slower)]);
    assert_eq!(table.status.code(), Some(1));
    let table = text(&table.stdout);
    assert!(table.contains("regressed") && table.contains("improved"), "{table}");
    assert!(!table.contains("pingpong"), "what did not change is left out:\n{table}");
    // The other way round nothing but `go` got worse.
    for (subjects, code) in [("timestop,tokio", 0), ("timestop,go", 1)] {
        let args = ["compare", path(&slower), path(&file), "--subjects", subjects];
        assert_eq!(lab(&args).status.code(), Some(code), "{subjects}");
    }
}

#[test]
fn what_cannot_be_compared_or_reported_is_told() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let broken = folder.path().join("broken.json");
    let fixture_text = fs::read_to_string(fixture()).expect("the repository has it");
    let cut = &fixture_text[..fixture_text.len() - 20];
    fs::write(&broken, cut).expect("written");
    let twice = changed(&folder, "twice.json", |cell| cell["subject"] = "twin".into());
    let other = changed(&folder, "other.json", |cell| {
        cell["subject"] = format!("other {}", cell["subject"].as_str().expect("a name")).into();
    });
    let file = fixture();
    let [file, broken, twice, other] = [&file, &broken, &twice, &other].map(|file| path(file));
    let last = cut.lines().count();
    for (args, code, why) in [
        (
            &["compare", file, broken][..],
            2,
            format!("broken.json: line {last}: ends in the middle"),
        ),
        (&["compare", "/nonexistent", file], 2, "/nonexistent: No such file".to_owned()),
        (&["report", broken], 2, format!("line {last}: ends in the middle")),
        (&["report", "/nonexistent"], 2, "/nonexistent: No such file".to_owned()),
        (&["report", file, "--html", "/nonexistent/a.html"], 1, "No such file".to_owned()),
        (&["compare", file, twice], 2, "of twin a second time, after line 2".to_owned()),
        (&["compare", file, other], 2, "have no row and subject in common".to_owned()),
        (&["compare", file, file, "--subjects", "nobody"], 2, "in common of nobody".to_owned()),
    ] {
        let output = lab(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(&why), "{args:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    }
}
