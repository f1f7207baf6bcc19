//! Curves over the parameter, each with its name at its end, and the runs' range as a whisker at every point.
//!
//! A curve is told from the others by colour, by the shape of its points, by its dashes and by its name beside it, so none
//! of these has to be seen. Where a subject has no value its curve ends, and begins anew.

use maud::{Markup, html};

use super::scale::{Scale, WIDE};
use super::{Drawing, Layout, fitting, px, series_class, spaced, text_width, values};
use crate::lab::record::Record;
use crate::lab::report::number::{number, short};
use crate::lab::report::results::Series;
use crate::lab::report::standing::is_ours;

/// Between two names, from line to line.
const LINE: f64 = 15.0;
/// Below the curves: values of the parameter, and its name.
const AXIS: f64 = 40.0;
const TOP: f64 = 8.0;

/// One subject's points, from left to right; none where it has no value.
struct Curve<'a> {
    subject: &'a str,
    class: String,
    points: Vec<Option<&'a Record>>,
}

/// Where things are.
struct Frame {
    x: Scale,
    y: Scale,
    left: f64,
    right: f64,
    bottom: f64,
}

pub(super) fn draw(series: &Series, layout: Layout, names: &[&str]) -> Drawing {
    let curves = curves(series, names);
    let y = Scale::of(values(series).into_iter(), series.experiment.log);
    let ticks = y.ticks(5);
    let labels = ticks.iter().map(|tick| text_width(&short(*tick))).fold(0.0, f64::max);
    let widest = curves.iter().map(|curve| text_width(curve.subject)).fold(0.0, f64::max);
    let most = if layout == Layout::Wide { 170.0 } else { 96.0 };
    let left = labels + 8.0;
    let right = layout.width() - widest.min(most) - 20.0;
    let plot = (curves.len() as f64 * LINE).max(if layout == Layout::Wide { 270.0 } else { 220.0 });
    let frame = Frame { x: parameter_scale(series), y, left, right, bottom: TOP + plot };
    // Ours last, on top of the others.
    let (ours, others): (Vec<&Curve>, Vec<&Curve>) =
        curves.iter().partition(|curve| is_ours(curve.subject));
    let content = html! {
        (frame.axes(series, &ticks, layout))
        @for curve in others.iter().chain(&ours) { (frame.curve(curve, series)) }
        @for (curve, y) in frame.label_places(&curves, series) {
            (frame.label(curve, series, y, layout.width()))
        }
    };
    Drawing { content, height: frame.bottom + AXIS, log: y.log }
}

/// In the order of the file, so that a name is looked for in one place.
fn curves<'a>(series: &'a Series, names: &'a [&str]) -> Vec<Curve<'a>> {
    let of = |name: &&'a str| {
        let points: Vec<Option<&Record>> = series
            .rows
            .iter()
            .map(|row| row.measured.iter().find(|record| record.subject == *name).copied())
            .collect();
        let any = points.iter().any(Option::is_some);
        any.then(|| Curve { subject: name, class: series_class(name, names), points })
    };
    names.iter().filter_map(of).collect()
}

/// The parameter's values are sizes: if they span much, each step is a factor.
fn parameter_scale(series: &Series) -> Scale {
    let values = || series.rows.iter().filter_map(|row| row.at).map(|at| at as f64);
    let (least, greatest) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    Scale::of(values(), greatest > WIDE / 4.0 * least)
}

impl Frame {
    fn x(&self, at: Option<u64>) -> f64 {
        let room = 10.0;
        let place = self.x.place(at.unwrap_or(0) as f64);
        self.left + room + place * (self.right - self.left - 2.0 * room)
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom - self.y.place(value) * (self.bottom - TOP)
    }

    fn curve(&self, curve: &Curve, series: &Series) -> Markup {
        let points: Vec<Option<(f64, f64)>> = curve
            .points
            .iter()
            .zip(&series.rows)
            .map(|(point, row)| Some((self.x(row.at), self.y((*point)?.value?))))
            .collect();
        let shape = shape(&curve.class);
        html! {
            g class={ "curve " (curve.class) } {
                @for (record, row) in curve.points.iter().zip(&series.rows) {
                    @if let Some((min, max)) = record.and_then(Record::range) {
                        (self.whisker(self.x(row.at), min, max))
                    }
                }
                @for piece in points.split(Option::is_none).filter(|piece| piece.len() > 1) {
                    polyline class="line" points=(piece.iter().flatten()
                        .map(|(x, y)| format!("{},{}", px(*x), px(*y))).collect::<Vec<_>>().join(" ")) {}
                }
                @for (x, y) in points.iter().flatten() {
                    path class="mark" d=(shape) transform={ "translate(" (px(*x)) " " (px(*y)) ")" } {}
                }
            }
        }
    }

    fn whisker(&self, x: f64, min: f64, max: f64) -> Markup {
        let (from, to) = (self.y(max), self.y(min));
        let cap = |y: f64| format!("M{} {}h6", px(x - 3.0), px(y));
        html! {
            @if to - from >= 1.0 {
                path class="whisker" d={ "M" (px(x)) " " (px(from)) "V" (px(to)) (cap(from)) (cap(to)) } {}
            }
        }
    }

    /// Where each name goes: at the height of its curve's end, and apart from the others.
    fn label_places<'a>(
        &self,
        curves: &'a [Curve<'a>],
        series: &Series,
    ) -> Vec<(&'a Curve<'a>, f64)> {
        let mut places: Vec<(&Curve, f64)> =
            curves.iter().filter_map(|curve| Some((curve, self.end(curve, series)?.1))).collect();
        places.sort_by(|(_, one), (_, other)| one.total_cmp(other));
        let mut heights: Vec<f64> = places.iter().map(|(_, y)| *y).collect();
        apart(&mut heights, TOP + 4.0, self.bottom - 4.0);
        places.into_iter().zip(heights).map(|((curve, _), y)| (curve, y)).collect()
    }

    /// The last point of a curve.
    fn end(&self, curve: &Curve, series: &Series) -> Option<(f64, f64)> {
        let (record, row) =
            curve.points.iter().zip(&series.rows).rev().find_map(|(p, row)| Some(((*p)?, row)))?;
        Some((self.x(row.at), self.y(record.value?)))
    }

    fn label(&self, curve: &Curve, series: &Series, y: f64, width: f64) -> Markup {
        let x = self.right + 12.0;
        html! {
            g class={ "label " (curve.class) } {
                @if let Some((from, height)) = self.end(curve, series) {
                    path class="leader" d={
                        "M" (px(from + 5.0)) " " (px(height)) "L" (px(self.right)) " " (px(y)) "H" (px(x - 4.0))
                    } {}
                }
                text x=(px(x)) y=(px(y + 4.0)) { (fitting(curve.subject, width - x)) }
            }
        }
    }

    fn axes(&self, series: &Series, ticks: &[f64], layout: Layout) -> Markup {
        let places = series.rows.iter().map(|row| {
            let text = row.at.map_or(String::new(), |at| match layout {
                Layout::Wide => number(at as f64),
                Layout::Compact => short(at as f64),
            });
            (self.x(row.at), text)
        });
        let places: Vec<(f64, String)> = places.collect();
        let bottom = px(self.bottom);
        html! {
            g class="axis" {
                @for tick in ticks {
                    @let y = self.y(*tick);
                    line x1=(px(self.left)) x2=(px(self.right)) y1=(px(y)) y2=(px(y)) {}
                    text x=(px(self.left - 6.0)) y=(px(y + 4.0)) text-anchor="end" { (short(*tick)) }
                }
                @for (x, _) in &places {
                    line class="tick" x1=(px(*x)) x2=(px(*x)) y1=(bottom) y2=(px(self.bottom + 4.0)) {}
                }
                @for (x, text) in spaced(places, 8.0) {
                    text x=(px(x)) y=(px(self.bottom + 18.0)) text-anchor="middle" { (text) }
                }
                text x=(px((self.left + self.right) / 2.0)) y=(px(self.bottom + 34.0)) text-anchor="middle" {
                    (series.experiment.parameter.as_deref().unwrap_or_default())
                }
            }
        }
    }
}

/// Moves sorted heights apart, within `top` and `bottom` as far as they have room there.
fn apart(heights: &mut [f64], top: f64, bottom: f64) {
    let mut least = top;
    for height in heights.iter_mut() {
        *height = height.max(least);
        least = *height + LINE;
    }
    let mut most = bottom;
    for height in heights.iter_mut().rev() {
        *height = height.min(most);
        most = *height - LINE;
    }
}

/// A point's outline, around its middle.
fn shape(class: &str) -> &'static str {
    const CIRCLE: &str = "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z";
    const SHAPES: [&str; 4] = [
        "M-3.8 -3.8h7.6v7.6h-7.6z",
        "M0 -5L4.6 3.4H-4.6z",
        "M0 -5L5 0L0 5L-5 0z",
        "M0 5L4.6 -3.4H-4.6z",
    ];
    let number = class.strip_prefix('s').and_then(|rest| rest.split(' ').next()?.parse().ok());
    // The same colour comes again with dashes, and then with another shape.
    let again = if class.ends_with("d1") { 2 } else { 0 };
    number.map_or(CIRCLE, |at: usize| SHAPES[(at + again) % SHAPES.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_moved_apart_and_stay_inside() {
        let mut heights = [10.0, 11.0, 12.0, 99.0, 99.5];
        apart(&mut heights, 4.0, 100.0);
        assert!(heights.windows(2).all(|pair| pair[1] - pair[0] >= LINE - 1e-9), "{heights:?}");
        assert!(heights[0] >= 4.0 && heights[4] <= 100.0, "{heights:?}");
    }
}
