//! Charts, as SVG that is written when the report is: bars for rows, lines over a parameter.
//!
//! A chart is a template like the page around it (`maud`): its colours are the page's custom properties, so one drawing
//! serves light and dark, and its text is escaped as all text is. Each is drawn twice, wide and compact, and the page
//! shows the one that fits: one drawing scaled down to a phone would have letters of five pixels.
//!
//! The invariant: no two texts overlap and none leaves the drawing, for any data. There are no font metrics here, so a
//! letter is taken to be as wide as the widest of common fonts have it on average (`text_width`); the page's test
//! measures in a browser.
//!
//! Rejected: the crate `plotters`, whose SVG has fixed colours, no title for those who do not see it, and bars and log
//! axes but not both; and anything that draws by a script in the reader's browser.

use maud::{Markup, html};

use super::results::Series;
use super::standing::is_ours;
use super::terminal::{median, range};

mod bars;
mod lines;
mod scale;

/// How large a chart is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// For a window.
    Wide,
    /// For a phone, or for two side by side.
    Compact,
}

impl Layout {
    fn width(self) -> f64 {
        match self {
            Layout::Wide => 760.0,
            Layout::Compact => 340.0,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Layout::Wide => "wide",
            Layout::Compact => "compact",
        }
    }
}

/// From how many values of the parameter on curves say more than bars.
const CURVE: usize = 3;

/// One chart of `series`, by the name `id` in the page. None if there is nothing to draw.
///
/// `names` has the subjects of the whole file, in its order: a subject looks the same in every chart.
pub(crate) fn chart(series: &Series, id: &str, layout: Layout, names: &[&str]) -> Option<Chart> {
    let drawn = series.rows.iter().filter(|row| !row.measured.is_empty()).count();
    let drawing = match drawn {
        0 => return None,
        _ if drawn >= CURVE => lines::draw(series, layout, names),
        _ => bars::draw(series, layout),
    };
    let (title, description) = (format!("{id}-title"), format!("{id}-description"));
    let svg = html! {
        svg class={ "chart " (layout.class()) } viewBox={ "0 0 " (px(layout.width())) " " (px(drawing.height)) }
            role="img" aria-labelledby={ (title) " " (description) } {
            title id=(title) { (heading(series, drawing.log)) }
            desc id=(description) { (describe(series)) }
            (drawing.content)
        }
    };
    Some(Chart { svg, log: drawing.log })
}

/// Are the values of `series` drawn as curves?
pub(crate) fn is_curve(series: &Series) -> bool {
    series.rows.iter().filter(|row| !row.measured.is_empty()).count() >= CURVE
}

/// A chart, ready for the page.
pub(crate) struct Chart {
    pub(crate) svg: Markup,
    /// Is its scale of values logarithmic?
    pub(crate) log: bool,
}

/// What is inside of an `svg`.
struct Drawing {
    content: Markup,
    height: f64,
    log: bool,
}

fn heading(series: &Series, log: bool) -> String {
    let name = &series.experiment.name;
    let key = match series.is_first() {
        true => String::new(),
        false => format!(" {}", series.metric.key),
    };
    let over = series.experiment.parameter.as_ref().map(|name| format!(" over {name}"));
    let scale = if log { ", log scale" } else { "" };
    format!("{name}{key}: {}{}{scale}", series.unit(), over.unwrap_or_default())
}

/// All that the chart shows, for those who do not see it.
fn describe(series: &Series) -> String {
    let row = |row: &super::results::Row| {
        let cells = row.cells().map(|record| match range(record) {
            range if range.is_empty() => format!("{} has no figure", record.subject),
            range => format!("{} {} ({range})", record.subject, median(record)),
        });
        let cells = cells.collect::<Vec<_>>().join(", ");
        row.place().map_or(cells.clone(), |place| format!("{place}: {cells}"))
    };
    series.rows.iter().map(row).collect::<Vec<_>>().join("; ")
}

/// Medians, and the least and greatest runs: what has to fit.
fn values(series: &Series) -> Vec<f64> {
    let measured = series.rows.iter().flat_map(|row| &row.measured);
    measured.flat_map(|record| [record.value, record.min, record.max]).flatten().collect()
}

/// A tenth of a pixel is enough.
fn px(length: f64) -> String {
    let text = format!("{length:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// How wide `text` is at most, in the size that charts are lettered in.
fn text_width(text: &str) -> f64 {
    8.2 * text.chars().count() as f64
}

/// `text`, cut to `width`.
fn fitting(text: &str, width: f64) -> String {
    if text_width(text) <= width {
        return text.to_owned();
    }
    let room = ((width / text_width("x")) as usize).saturating_sub(1);
    text.chars().take(room).chain(['…']).collect()
}

/// Those of `ticks` whose labels do not touch: where each is, and its text.
fn spaced(ticks: Vec<(f64, String)>, gap: f64) -> Vec<(f64, String)> {
    let mut kept: Vec<(f64, String)> = Vec::new();
    for (at, text) in ticks {
        let free = kept.last().is_none_or(|(before, other)| {
            at - before >= (text_width(&text) + text_width(other)) / 2.0 + gap
        });
        if free {
            kept.push((at, text));
        }
    }
    kept
}

/// How `subject` is marked in charts: `ours`, or one of those in the style sheet.
fn series_class(subject: &str, names: &[&str]) -> String {
    if is_ours(subject) {
        return if subject.starts_with("timestop") { "ours" } else { "ours second" }.to_owned();
    }
    let others = names.iter().filter(|name| !is_ours(name));
    let at = others.into_iter().position(|name| *name == subject).unwrap_or(0);
    format!("s{} d{}", at % COLOURS, at / COLOURS % 2)
}

/// As many as the style sheet has, for subjects that are not ours.
const COLOURS: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_do_not_fit_are_cut() {
        assert_eq!(fitting("go", 100.0), "go");
        let cut = fitting("a-subject-with-a-long-name", 100.0);
        assert!(cut.ends_with('…') && text_width(&cut) <= 100.0, "{cut}");
    }

    #[test]
    fn ticks_that_would_touch_are_left_out() {
        let ticks = [0.0, 10.0, 60.0].map(|at| (at, "100".to_owned())).to_vec();
        let kept: Vec<f64> = spaced(ticks, 8.0).into_iter().map(|(at, _)| at).collect();
        assert_eq!(kept, [0.0, 60.0]);
    }

    #[test]
    fn lengths_have_a_decimal_at_most() {
        assert_eq!((px(12.0), px(12.34)), ("12".to_owned(), "12.3".to_owned()));
    }
}
