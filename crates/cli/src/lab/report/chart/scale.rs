//! From values to places along an axis, linear from nothing or logarithmic, and where its ticks are.

/// Values that span more than this are drawn on a log scale: the small ones could not be told apart.
pub(crate) const WIDE: f64 = 20.0;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    min: f64,
    max: f64,
    pub(crate) log: bool,
}

impl Scale {
    /// For `values`: logarithmic if they span much or if `log` asks for it, unless there is nothing positive to draw.
    /// On a log scale zero lies at the very begin.
    pub(crate) fn of(values: impl Iterator<Item = f64>, log: bool) -> Self {
        let values: Vec<f64> = values.collect();
        let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let positive =
            values.iter().copied().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        let is_wide = greatest > WIDE * positive;
        if least >= 0.0 && positive.is_finite() && (log || is_wide) {
            return Scale { min: positive / 1.3, max: greatest * 1.15, log: true };
        }
        let (min, max) = (least.min(0.0), greatest.max(0.0));
        // All of them nothing: any axis will do.
        let room = if max > min { (max - min) * 0.04 } else { 1.0 };
        Scale { min: if min < 0.0 { min - room } else { 0.0 }, max: max + room, log: false }
    }

    /// Where `value` lies, from 0 to 1.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let place = match self.log {
            true if value <= 0.0 => 0.0,
            true => (value / self.min).ln() / (self.max / self.min).ln(),
            false => (value - self.min) / (self.max - self.min),
        };
        place.clamp(0.0, 1.0)
    }

    /// Round values within it, about `count`, never more than twice as many.
    pub(crate) fn ticks(&self, count: usize) -> Vec<f64> {
        if self.log { self.log_ticks(count) } else { self.linear_ticks(count) }
    }

    fn linear_ticks(&self, count: usize) -> Vec<f64> {
        let raw = (self.max - self.min) / count.max(1) as f64;
        let size = 10f64.powf(raw.log10().floor());
        let step =
            [1.0, 2.0, 2.5, 5.0, 10.0].map(|part| part * size).into_iter().find(|s| *s >= raw);
        let step = step.unwrap_or(10.0 * size);
        let first = (self.min / step).ceil() as i64;
        let last = (self.max / step).floor() as i64;
        (first..=last).map(|at| at as f64 * step).collect()
    }

    /// Powers of ten; where there are few of them, what lies between; where there are many, every second or third.
    fn log_ticks(&self, count: usize) -> Vec<f64> {
        let (first, last) = (self.min.log10().floor() as i32, self.max.log10().ceil() as i32);
        let within = |value: &f64| *value >= self.min && *value <= self.max;
        let of = |parts: &[f64]| -> Vec<f64> {
            (first..=last)
                .flat_map(|power| parts.iter().map(move |part| part * 10f64.powi(power)))
                .filter(within)
                .collect()
        };
        let parts: [&[f64]; 3] = [&[1.0], &[1.0, 3.0], &[1.0, 2.0, 5.0]];
        let enough = parts.iter().map(|parts| of(parts)).find(|ticks| ticks.len() >= 3);
        let ticks = enough.unwrap_or_else(|| of(parts[2]));
        let every = ticks.len().div_ceil(2 * count.max(1)).max(1);
        ticks.into_iter().step_by(every).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_begins_with_nothing() {
        let scale = Scale::of([30.0, 100.0].into_iter(), false);
        assert!(!scale.log);
        assert_eq!(scale.place(0.0), 0.0);
        assert!(scale.place(100.0) > 0.9 && scale.place(100.0) < 1.0);
        assert_eq!(scale.ticks(4), [0.0, 50.0, 100.0]);
    }

    #[test]
    fn a_wide_span_is_logarithmic_and_equal_factors_are_equal_lengths() {
        let scale = Scale::of([1.0, 10.0, 1000.0].into_iter(), false);
        assert!(scale.log);
        let step = |from: f64, to: f64| scale.place(to) - scale.place(from);
        assert!((step(1.0, 10.0) - step(100.0, 1000.0)).abs() < 1e-9);
        assert_eq!(scale.ticks(4), [1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(scale.place(0.0), 0.0);
    }

    #[test]
    fn a_narrow_log_axis_has_ticks_too() {
        let scale = Scale::of([30.0, 90.0].into_iter(), true);
        assert!(scale.log);
        assert!(!scale.ticks(4).is_empty(), "{scale:?}");
        let wide = Scale::of([1e-6, 1e9].into_iter(), false);
        assert!((3..=8).contains(&wide.ticks(4).len()), "{:?}", wide.ticks(4));
    }

    #[test]
    fn nothing_and_less_than_nothing_have_an_axis() {
        for values in [&[0.0][..], &[0.0, 0.0], &[-3.0, 2.0], &[-1.0]] {
            let scale = Scale::of(values.iter().copied(), true);
            assert!(!scale.log);
            assert!(values.iter().all(|value| scale.place(*value).is_finite()), "{values:?}");
            assert!(!scale.ticks(4).is_empty());
        }
    }
}
