//! Draws a trace: a panel a quadrant, a line a fiber, all on one scale of time.
//!
//! A trace (`docs/trace.md`) has an interval for all that a fiber does: it runs, it is queued, or it waits, and for
//! what. Fibers are told apart by name: the quadrant's number is its first character.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde_json::Value;
use svg::Document;
use svg::node::element::{Group, Line, Rectangle, Text, Title};

const PANEL_WIDTH: f64 = 470.0;
const LABEL_WIDTH: f64 = 92.0;
const LINE_HEIGHT: f64 = 24.0;
/// Title and scale of a panel.
const PANEL_REST: f64 = 70.0;
const MARGIN: f64 = 16.0;
/// What is shorter is drawn as wide: a run takes microseconds.
const LEAST_WIDTH: f64 = 1.6;

const RUNS: &str = "#1a7f37";
const QUEUED: &str = "#d29922";
const WAITS: &str = "#d0d7de";
const INK: &str = "#1f2328";
const FAINT: &str = "#818b98";

/// What a fiber does from when until when, in microseconds.
struct Interval {
    what: String,
    from: f64,
    until: f64,
}

type Tracks = BTreeMap<String, Vec<Interval>>;

/// The fibers of the quadrants, by name.
fn read(trace: &str) -> io::Result<Tracks> {
    let events: Vec<Value> = serde_json::from_str(trace)?;
    let key = |event: &Value| (event["pid"].as_u64(), event["tid"].as_u64());
    let mut names = BTreeMap::new();
    for event in &events {
        let named = event["ph"] == "M" && event["name"] == "thread_name";
        let name = event["args"]["name"].as_str().filter(|_| named).unwrap_or_default();
        if name.starts_with(|first: char| ('1'..='4').contains(&first)) {
            names.insert(key(event), name.to_owned());
        }
    }
    let mut tracks = Tracks::new();
    for event in events.iter().filter(|event| event["ph"] == "X") {
        let (Some(from), Some(lasts)) = (event["ts"].as_f64(), event["dur"].as_f64()) else {
            continue;
        };
        if let Some(name) = names.get(&key(event)) {
            let what = event["name"].as_str().unwrap_or_default().to_owned();
            let interval = Interval { what, from, until: from + lasts };
            tracks.entry(name.clone()).or_default().push(interval);
        }
    }
    Ok(tracks)
}

fn text(x: f64, y: f64, size: u32, ink: &str, content: &str) -> Text {
    Text::new(content)
        .set("x", x)
        .set("y", y)
        .set("font-size", size)
        .set("fill", ink)
        .set("font-family", "system-ui, sans-serif")
}

fn rectangle(x: f64, y: f64, width: f64, height: f64, fill: &str) -> Rectangle {
    let two = |number: f64| (number * 100.0).round() / 100.0;
    Rectangle::new()
        .set("x", two(x))
        .set("y", two(y))
        .set("width", two(width))
        .set("height", two(height))
        .set("fill", fill)
}

/// One quadrant: its fibers, from the moment when the first of them began.
fn panel(tracks: &[(&String, &Vec<Interval>)], title: &str, longest: f64) -> Group {
    let all = || tracks.iter().flat_map(|(_, intervals)| intervals.iter());
    let begin = all().map(|interval| interval.from).fold(f64::INFINITY, f64::min);
    let end = all().map(|interval| interval.until).fold(begin, f64::max);
    let scale = (PANEL_WIDTH - LABEL_WIDTH - 8.0) / longest;
    let lasts = format!("{:.0} ms", (end - begin) / 1e3);
    let mut group = Group::new()
        .add(text(0.0, 16.0, 15, INK, title).set("font-weight", 600))
        .add(text(PANEL_WIDTH - 8.0, 16.0, 13, INK, &lasts).set("text-anchor", "end"));
    let bottom = 32.0 + LINE_HEIGHT * tracks.len() as f64;
    let mut mark = 0.0;
    while mark <= longest {
        let x = LABEL_WIDTH + mark * scale;
        let line = Line::new().set("x1", x).set("x2", x).set("y1", 28).set("y2", bottom);
        let label = format!("{:.0}", mark / 1e3);
        group = group.add(line.set("stroke", "#eaeef2"));
        group = group.add(text(x, bottom + 14.0, 11, FAINT, &label).set("text-anchor", "middle"));
        mark += 20_000.0;
    }
    for (line, (name, intervals)) in tracks.iter().enumerate() {
        let top = 32.0 + LINE_HEIGHT * line as f64;
        let label = if name.contains("download") { &name[2..] } else { "fiber" };
        group = group.add(text(0.0, top + 13.0, 12, INK, label));
        // What is short last, so that nothing hides it.
        for pass in [false, true] {
            for interval in intervals.iter().filter(|interval| (interval.what == "runs") == pass) {
                let fill = match interval.what.as_str() {
                    "runs" => RUNS,
                    "queued" => QUEUED,
                    _ => WAITS,
                };
                let width = ((interval.until - interval.from) * scale).max(LEAST_WIDTH);
                let x = LABEL_WIDTH + (interval.from - begin) * scale;
                let (y, height) = if pass { (top, 18.0) } else { (top + 4.0, 10.0) };
                let hint =
                    format!("{}: {:.3} ms", interval.what, (interval.until - interval.from) / 1e3);
                group = group.add(rectangle(x, y, width, height, fill).add(Title::new(hint)));
            }
        }
    }
    group
}

/// Draws the four quadrants of a trace into a file.
pub(crate) fn draw(trace: &str, file: &Path) -> io::Result<()> {
    let tracks = read(trace)?;
    let titles: Vec<_> = tracks.keys().filter(|name| !name.contains("download")).collect();
    if titles.len() != 4 {
        return Err(io::Error::other(format!("the trace has {} quadrants of four", titles.len())));
    }
    let of = |title: &str| -> Vec<_> {
        tracks.iter().filter(|(name, _)| name[..1] == title[..1]).collect()
    };
    let lasts = |title: &&String| {
        let tracks = of(title);
        let all = || tracks.iter().flat_map(|(_, intervals)| intervals.iter());
        let begin = all().map(|interval| interval.from).fold(f64::INFINITY, f64::min);
        all().map(|interval| interval.until).fold(begin, f64::max) - begin
    };
    let longest = titles.iter().map(lasts).fold(0.0, f64::max);
    let most = |titles: &[&String]| titles.iter().map(|title| of(title).len()).max().unwrap_or(0);
    let panel_height = |titles| PANEL_REST + LINE_HEIGHT * most(titles) as f64;
    let upper = panel_height(&titles[..2]);
    let width = 2.0 * PANEL_WIDTH + 3.0 * MARGIN;
    let height = upper + panel_height(&titles[2..]) + 50.0;
    let mut document = Document::new()
        .set("viewBox", (0, 0, width, height))
        .set("width", width)
        .set("height", height)
        .add(rectangle(0.0, 0.0, width, height, "#ffffff"));
    for (index, title) in titles.iter().enumerate() {
        let x = MARGIN + (PANEL_WIDTH + MARGIN) * (index % 2) as f64;
        let y = MARGIN + upper * (index / 2) as f64;
        let panel = panel(&of(title), &title[2..], longest);
        document = document.add(panel.set("transform", format!("translate({x},{y})")));
    }
    let y = height - 22.0;
    let mut x = MARGIN;
    for (fill, what) in [(RUNS, "runs"), (QUEUED, "queued for a worker"), (WAITS, "waits")] {
        document = document.add(rectangle(x, y, 14.0, 10.0, fill));
        document = document.add(text(x + 20.0, y + 9.0, 12, INK, what));
        x += 50.0 + 7.0 * what.len() as f64;
    }
    let note = "milliseconds; a run takes microseconds, and is drawn wider than it is";
    document = document.add(text(x, y + 9.0, 12, FAINT, note));
    svg::save(file, &document)
}
