//! What is said of a handful of runs: the median, the least, the greatest. With three runs, nothing more is honest.

/// The runs of one number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    sorted: Vec<f64>,
}

impl Sample {
    pub(crate) fn push(&mut self, value: f64) {
        let at = self.sorted.partition_point(|other| other.total_cmp(&value).is_le());
        self.sorted.insert(at, value);
    }

    pub(crate) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// All of them, the least first.
    pub(crate) fn values(&self) -> &[f64] {
        &self.sorted
    }

    /// The middle value; the mean of the two in the middle when their number is even.
    pub(crate) fn median(&self) -> Option<f64> {
        let middle = self.sorted.len() / 2;
        let upper = *self.sorted.get(middle)?;
        if self.sorted.len() % 2 == 1 {
            return Some(upper);
        }
        Some((self.sorted[middle - 1] + upper) / 2.0)
    }

    pub(crate) fn min(&self) -> Option<f64> {
        self.sorted.first().copied()
    }

    pub(crate) fn max(&self) -> Option<f64> {
        self.sorted.last().copied()
    }
}

impl FromIterator<f64> for Sample {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut sample = Sample::default();
        values.into_iter().for_each(|value| sample.push(value));
        sample
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_no_median() {
        let none = Sample::default();
        assert_eq!((none.len(), none.median(), none.min(), none.max()), (0, None, None, None));
    }

    #[test]
    fn the_median_of_an_odd_number_is_one_of_them() {
        let sample: Sample = [9.0, 1.0, 4.0].into_iter().collect();
        assert_eq!(
            (sample.median(), sample.min(), sample.max()),
            (Some(4.0), Some(1.0), Some(9.0))
        );
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        let sample: Sample = [4.0, 1.0, 3.0, 100.0].into_iter().collect();
        assert_eq!(sample.median(), Some(3.5));
    }

    #[test]
    fn one_wild_run_does_not_move_the_median() {
        let sample: Sample = [2.0, 1e9, 1.0].into_iter().collect();
        assert_eq!(sample.median(), Some(2.0));
    }
}
