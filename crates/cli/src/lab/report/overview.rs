//! One line a row: where timestop stands, who is the best of the others, and by how much.

use super::number::{list, number};
use super::results::{Findings, Row, Series};
use super::standing::{Standing, factor};
use crate::lab::record::Record;

/// How a row ended for timestop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rank {
    First,
    Level,
    Behind {
        place: usize,
        of: usize,
    },
    Failed,
    /// Nobody to compare with, or timestop has no such row.
    None,
}

#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) bench: &'a str,
    /// `req/s ↑`.
    pub(crate) unit: String,
    pub(crate) rank: Rank,
    pub(crate) ours: Option<&'a Record>,
    /// The best of the others.
    pub(crate) rival: Option<&'a Record>,
    /// Of the two medians, at least 1.
    pub(crate) factor: Option<f64>,
}

impl<'a> Line<'a> {
    fn of(series: &Series<'a>, row: &Row<'a>) -> Self {
        let standing = Standing::of(row);
        let rank = match &standing {
            Standing::First { .. } => Rank::First,
            Standing::Tied { .. } => Rank::Level,
            Standing::Behind { place, of, .. } => Rank::Behind { place: *place, of: *of },
            Standing::Failed { .. } => Rank::Failed,
            Standing::Nothing { .. } | Standing::Alone(_) | Standing::Absent { .. } => Rank::None,
        };
        let (ours, rival) = (standing.ours(), standing.rival());
        let factor = ours.zip(rival).and_then(|(ours, rival)| factor(ours, rival));
        Line { bench: row.bench, unit: series.unit(), rank, ours, rival, factor }
    }

    /// `first`, `level`, `3rd of 7`.
    pub(crate) fn place(&self) -> String {
        match self.rank {
            Rank::First => "first".to_owned(),
            Rank::Level => "level".to_owned(),
            Rank::Behind { place, of } => format!("{} of {of}", ordinal(place)),
            Rank::Failed => "no figure".to_owned(),
            Rank::None => "—".to_owned(),
        }
    }

    /// `× 1.40`, ahead or behind as the place says; nothing for a tie, whose factor is noise.
    pub(crate) fn times(&self) -> String {
        match (self.rank, self.factor) {
            (Rank::First | Rank::Behind { .. }, Some(factor)) => format!("× {}", number(factor)),
            _ => String::new(),
        }
    }
}

/// A line a row of those metrics that `wanted` says.
pub(crate) fn lines<'a>(
    findings: &[Findings<'a>],
    wanted: impl Fn(&Series<'a>) -> bool,
) -> Vec<Line<'a>> {
    let series = findings.iter().flat_map(|found| &found.metrics).filter(|series| wanted(series));
    series.flat_map(|series| series.rows.iter().map(|row| Line::of(series, row))).collect()
}

/// The whole in a sentence or two.
pub(crate) fn summary(lines: &[Line]) -> String {
    let count = |wanted: fn(Rank) -> bool| lines.iter().filter(|line| wanted(line.rank)).count();
    let first = count(|rank| rank == Rank::First);
    let level = count(|rank| rank == Rank::Level);
    let failed = count(|rank| rank == Rank::Failed);
    let behind: Vec<&Line> =
        lines.iter().filter(|line| matches!(line.rank, Rank::Behind { .. })).collect();
    let compared = first + level + failed + behind.len();
    if compared == 0 {
        return "No row has timestop beside another subject.".to_owned();
    }
    let counted = [
        ("first in", first),
        ("level with the first in", level),
        ("behind in", behind.len()),
        ("without a figure in", failed),
    ];
    let parts: Vec<String> = counted
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(how, count)| format!("{how} {count}"))
        .collect();
    let rows = if compared == 1 { "row" } else { "rows" };
    let told =
        format!("Of {compared} {rows} with others to compare with, timestop is {}.", list(&parts));
    let most = behind.iter().max_by(|one, other| {
        one.factor.partial_cmp(&other.factor).unwrap_or(std::cmp::Ordering::Equal)
    });
    match most.and_then(|line| Some((line, line.factor?, line.rival?))) {
        Some((line, factor, rival)) => format!(
            "{told} The furthest behind is {}: {} by a factor of {}.",
            line.bench,
            rival.subject,
            number(factor)
        ),
        None => told,
    }
}

fn ordinal(place: usize) -> String {
    let suffix = match (place % 10, place % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{place}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::super::results::findings;
    use super::*;
    use crate::lab::lab_file::LabFile;
    use crate::lab::record::made_up::{header, record};

    #[test]
    fn rows_are_counted_by_how_they_ended() {
        let records = vec![
            record("timestop", Some(1), &[1.0]),
            record("go", Some(1), &[2.0]),
            record("timestop", Some(2), &[1.0, 3.0]),
            record("go", Some(2), &[2.0]),
            record("timestop", Some(3), &[5.0]),
            record("go", Some(3), &[2.0]),
            record("timestop", Some(4), &[5.0]),
        ];
        let file = LabFile { header: header(), records };
        let all = findings(&file);
        let lines = lines(&all, Series::is_first);
        let places: Vec<String> = lines.iter().map(Line::place).collect();
        assert_eq!(places, ["first", "level", "2nd of 2", "—"]);
        let times: Vec<String> = lines.iter().map(Line::times).collect();
        assert_eq!(times, ["× 2", "", "× 2.50", ""]);
        assert_eq!(
            summary(&lines),
            "Of 3 rows with others to compare with, timestop is first in 1, level with the first \
             in 1 and behind in 1. The furthest behind is echo/3: go by a factor of 2.50."
        );
    }

    #[test]
    fn places_are_spelt() {
        let spelt: Vec<String> = [1, 2, 3, 4, 11, 12, 13, 21, 102].map(ordinal).into();
        assert_eq!(spelt, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd"]);
    }
}
