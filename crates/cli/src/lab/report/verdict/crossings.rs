//! Where curves cross: between which values of the parameter one subject overtakes another.
//!
//! Only what the runs tell apart counts. Between the last value at which one beats the other and the first at which it is
//! the other way round they cross; where they are level in between, the crossing may be anywhere there. No figure is
//! worked out for the point itself: nobody has measured there.

use crate::lab::record::Record;
use crate::lab::report::results::Row;
use crate::lab::report::standing::is_ours;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crossing {
    /// Who is ahead at `from`.
    pub(crate) below: String,
    /// Who is ahead at `to`.
    pub(crate) above: String,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// Those of timestop's curves first.
pub(crate) fn crossings(rows: &[Row]) -> Vec<Crossing> {
    let mut names: Vec<&str> = Vec::new();
    for record in rows.iter().flat_map(|row| &row.measured) {
        if !names.contains(&record.subject.as_str()) {
            names.push(&record.subject);
        }
    }
    let mut found: Vec<Crossing> = names
        .iter()
        .enumerate()
        .flat_map(|(at, one)| names[at + 1..].iter().map(move |other| (*one, *other)))
        .flat_map(|(one, other)| of_pair(rows, one, other))
        .collect();
    found.sort_by_key(|crossing| !is_ours(&crossing.below) && !is_ours(&crossing.above));
    found
}

fn of_pair(rows: &[Row], one: &str, other: &str) -> Vec<Crossing> {
    let find = |row: &Row<'_>, name: &str| -> Option<Record> {
        row.measured.iter().find(|record| record.subject == name).map(|&record| record.clone())
    };
    // Who was ahead where it was last clear.
    let mut ahead: Option<(&str, u64)> = None;
    let mut found = Vec::new();
    for row in rows {
        let (Some(at), Some(a), Some(b)) = (row.at, find(row, one), find(row, other)) else {
            continue;
        };
        let leader = match (a.beats(&b), b.beats(&a)) {
            (true, _) => one,
            (_, true) => other,
            _ => continue,
        };
        if let Some((before, from)) = ahead
            && before != leader
        {
            let (below, above) = (before.to_owned(), leader.to_owned());
            found.push(Crossing { below, above, from, to: at });
        }
        ahead = Some((leader, at));
    }
    found
}
