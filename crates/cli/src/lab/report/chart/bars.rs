//! Horizontal bars, the best first, with the runs' range as a whisker. Who has no figure is in the table, which says why.
//!
//! On a log scale a bar's length would mean nothing, for there is no zero to measure it from: there the mark is a dot on
//! a thin stem.

use maud::{Markup, html};

use super::scale::Scale;
use super::{Drawing, Layout, fitting, px, spaced, text_width, values};
use crate::lab::record::Record;
use crate::lab::report::number::short;
use crate::lab::report::results::Series;
use crate::lab::report::standing::is_ours;
use crate::lab::report::terminal::median;

/// Below the bars: room for the axis.
const AXIS: f64 = 24.0;
/// Above a row of several: its name.
const HEADING: f64 = 26.0;
/// Between a name, a bar and a figure.
const GAP: f64 = 10.0;

/// Where things are.
struct Frame {
    layout: Layout,
    scale: Scale,
    left: f64,
    right: f64,
}

pub(super) fn draw(series: &Series, layout: Layout) -> Drawing {
    let scale = Scale::of(values(series).into_iter(), series.experiment.log);
    let cells = || series.rows.iter().flat_map(|row| &row.measured);
    let widest = |texts: &mut dyn Iterator<Item = f64>| texts.fold(0.0, f64::max);
    let names = widest(&mut cells().map(|record| text_width(&record.subject)));
    let figures = widest(&mut cells().map(|record| text_width(&median(record))));
    let (left, right) = match layout {
        Layout::Wide => (names.clamp(60.0, 190.0) + GAP, layout.width() - figures - GAP),
        Layout::Compact => (2.0, layout.width() - 2.0),
    };
    let frame = Frame { layout, scale, left, right };
    let mut top = 0.0;
    let mut rows = Vec::new();
    for row in series.rows.iter().filter(|row| !row.measured.is_empty()) {
        if series.rows.len() > 1 {
            let heading = row.place().unwrap_or_default();
            rows.push(html! { text class="heading" x="0" y=(px(top + 17.0)) { (heading) } });
            top += HEADING;
        }
        for record in &row.measured {
            rows.push(frame.row(record, top));
            top += frame.step();
        }
        if series.rows.len() > 1 {
            top += 6.0;
        }
    }
    let content = html! { (frame.axis(top)) @for row in &rows { (row) } };
    Drawing { content, height: top + AXIS, log: scale.log }
}

impl Frame {
    fn x(&self, value: f64) -> f64 {
        self.left + self.scale.place(value) * (self.right - self.left)
    }

    /// The height of a row: on a phone the name is above the bar.
    fn step(&self) -> f64 {
        match self.layout {
            Layout::Wide => 27.0,
            Layout::Compact => 39.0,
        }
    }

    fn row(&self, record: &Record, top: f64) -> Markup {
        let (text, middle) = match self.layout {
            Layout::Wide => (top + 17.5, top + 13.0),
            Layout::Compact => (top + 14.0, top + 27.0),
        };
        let width = self.layout.width();
        let figure = median(record);
        let (name_x, anchor, room) = match self.layout {
            Layout::Wide => (self.left - GAP, "end", self.left - GAP),
            Layout::Compact => (0.0, "start", width - text_width(&figure) - GAP),
        };
        html! {
            g class=(if is_ours(&record.subject) { "row ours" } else { "row" }) {
                text class="name" x=(px(name_x)) y=(px(text)) text-anchor=(anchor) { (fitting(&record.subject, room)) }
                text class="figure" x=(px(width)) y=(px(text)) text-anchor="end" { (figure) }
                @if let (Some(value), Some(range)) = (record.value, record.range()) {
                    (self.mark(value, middle))
                    (self.whisker(range, middle))
                }
            }
        }
    }

    fn mark(&self, value: f64, middle: f64) -> Markup {
        let (zero, end) = (self.x(0.0), self.x(value));
        html! {
            @if self.scale.log {
                line class="stem" x1=(px(self.left)) x2=(px(end)) y1=(px(middle)) y2=(px(middle)) {}
                circle class="mark" cx=(px(end)) cy=(px(middle)) r="5" {}
            } @else {
                // What is next to nothing is still seen.
                rect class="mark" x=(px(zero.min(end))) y=(px(middle - 6.5))
                    width=(px((end - zero).abs().max(1.0))) height="13" rx="2" {}
            }
        }
    }

    fn whisker(&self, (min, max): (f64, f64), middle: f64) -> Markup {
        let (from, to) = (self.x(min), self.x(max));
        let cap = |x: f64| format!("M{} {}v8", px(x), px(middle - 4.0));
        html! {
            // What the dot covers is no more than the dot says.
            @if to - from >= if self.scale.log { 11.0 } else { 1.0 } {
                path class="whisker" d={
                    "M" (px(from)) " " (px(middle)) "H" (px(to)) (cap(from)) (cap(to))
                } {}
            }
        }
    }

    fn axis(&self, bottom: f64) -> Markup {
        let ticks = self.scale.ticks(if self.layout == Layout::Wide { 6 } else { 4 });
        let inside = |at: &f64, text: &str| {
            let half = text_width(text) / 2.0;
            *at - half >= 0.0 && *at + half <= self.layout.width()
        };
        let lines: Vec<f64> = ticks.iter().map(|tick| self.x(*tick)).collect();
        let labels = ticks.iter().map(|tick| {
            let (x, text) = (self.x(*tick), short(*tick));
            // The first stands at the edge, where half of it would be outside.
            let half = text_width(&text) / 2.0;
            (x.clamp(half, (self.layout.width() - half).max(half)), text)
        });
        let labels = spaced(labels.filter(|(at, text)| inside(at, text)).collect(), 8.0);
        html! {
            g class="axis" {
                @for x in lines { line x1=(px(x)) x2=(px(x)) y1="0" y2=(px(bottom)) {} }
                @for (x, text) in labels {
                    text x=(px(x)) y=(px(bottom + 16.0)) text-anchor="middle" { (text) }
                }
            }
        }
    }
}
