//! The verdict of an experiment in a sentence or two, made from the numbers and from nothing else.
//!
//! A row says who is first and where timestop stands ([`Standing`]). Over a parameter, rows that say the same are one
//! clause, and the sentence ends with the curves that cross. Nobody's name is treated differently but timestop's, which
//! the sentence begins with where it can.

use super::number::{list, number};
use super::results::{Row, Series};
use super::standing::{Standing, factor};
use crate::lab::record::Record;
use crossings::crossings;

mod crossings;

/// Crossings that are told one by one.
const TOLD: usize = 4;

/// What is to be said of a series, the most telling sentence first.
pub(crate) fn verdict(series: &Series) -> Vec<String> {
    let mut sentences = match series.rows.as_slice() {
        [row] => vec![one(row)],
        rows if rows.iter().any(|row| Standing::of(row).ours().is_some()) => vec![clauses(rows)],
        rows => rows.iter().map(|row| format!("{}: {}", at(&[row]), one(row))).collect(),
    };
    sentences.extend(told_crossings(series));
    let failed: Vec<String> = subjects(series.rows.iter().flat_map(|row| &row.failed));
    let ours = series.rows.iter().find_map(|row| Standing::of(row).ours());
    let others: Vec<String> =
        failed.into_iter().filter(|name| ours.is_none_or(|ours| ours.subject != *name)).collect();
    let has_figures = series.rows.iter().any(|row| !row.measured.is_empty());
    if has_figures && !others.is_empty() {
        let where_ = if series.rows.len() > 1 { " at some values or all" } else { "" };
        sentences.push(format!("No figure{where_}: {}; the table says why.", list(&others)));
    }
    let aside = subjects(series.rows.iter().flat_map(|row| &row.aside));
    if !aside.is_empty() {
        sentences.push(format!("Not ranked, since measured at a smaller size: {}.", list(&aside)));
    }
    sentences.iter().map(|sentence| capital(sentence)).collect()
}

/// The verdict of a single row.
fn one(row: &Row) -> String {
    match Standing::of(row) {
        Standing::Nothing { .. } => "nobody has a figure; the table says why.".to_owned(),
        Standing::Alone(record) => {
            format!("only {} has a figure: {}.", record.subject, told(record))
        }
        Standing::First { ours, next } => first(ours, next),
        Standing::Tied { ours, with, next } => {
            let others: Vec<String> = with.iter().map(|record| named(record)).collect();
            let tie =
                format!("{} and {} are level: their runs overlap", named(ours), list(&others));
            match next {
                Some(next) => format!("{tie}; {} comes next{}.", named(next), behind(ours, next)),
                None => format!("{tie}."),
            }
        }
        Standing::Behind { ours, first, place, of } => format!(
            "{} is first with {}; {} has place {place} of {of} with {}{}.",
            first.subject,
            told(first),
            ours.subject,
            told(ours),
            behind(first, ours)
        ),
        Standing::Failed { ours, first } => format!(
            "{} failed: {}. Of the others {} is first with {}.",
            ours.subject,
            reason(ours),
            first.subject,
            told(first)
        ),
        Standing::Absent { leaders, next } => match (leaders.as_slice(), next) {
            ([leader], Some(next)) => first(leader, next),
            (leaders, _) => {
                let names: Vec<String> = leaders.iter().map(|record| named(record)).collect();
                format!("{} are level: their runs overlap.", list(&names))
            }
        },
    }
}

fn first(winner: &Record, next: &Record) -> String {
    format!(
        "{} is first with {}, ahead of {}{}.",
        winner.subject,
        told(winner),
        named(next),
        by(winner, next)
    )
}

/// The verdict over the values of the parameter.
fn clauses(rows: &[Row]) -> String {
    let judged: Vec<(&Row, Standing)> = rows.iter().map(|row| (row, Standing::of(row))).collect();
    let name = judged.iter().find_map(|(_, standing)| Some(&standing.ours()?.subject));
    let alike = |one: &(&Row, Standing), other: &(&Row, Standing)| {
        let rival = |standing: &Standing| standing.rival().map(|rival| rival.subject.clone());
        std::mem::discriminant(&one.1) == std::mem::discriminant(&other.1)
            && rival(&one.1) == rival(&other.1)
    };
    let clauses: Vec<String> = judged.chunk_by(alike).map(clause).collect();
    format!("{} is {}.", name.map_or("nobody", |name| name), clauses.join("; "))
}

/// Rows next to each other that say the same.
fn clause(alike: &[(&Row, Standing)]) -> String {
    let rows: Vec<&Row> = alike.iter().map(|(row, _)| *row).collect();
    let pairs: Vec<(&Record, &Record)> =
        alike.iter().filter_map(|(_, standing)| standing.ours().zip(standing.rival())).collect();
    let place = at(&rows);
    match &alike[0].1 {
        Standing::First { next, .. } => {
            format!("first {place}, ahead of {}{}", next.subject, by_range(&pairs))
        }
        Standing::Behind { first, .. } => {
            format!("behind {} {place}{}", first.subject, by_range(&pairs))
        }
        Standing::Tied { .. } => {
            let with = subjects(alike.iter().flat_map(|(_, standing)| match standing {
                Standing::Tied { with, .. } => with.as_slice(),
                _ => &[],
            }));
            format!("level with {} {place}, where their runs overlap", list(&with))
        }
        Standing::Alone(record) => {
            let values: Vec<String> =
                rows.iter().filter_map(|row| row.measured.first()).map(|r| told(r)).collect();
            match super::standing::is_ours(&record.subject) {
                true => format!("alone {place}, with {}", list(&values)),
                false => format!("not measured {place}, where {} is alone", record.subject),
            }
        }
        Standing::Failed { ours, first } => {
            let why = reason(ours);
            format!("without a figure {place} ({why}), where {} is first", first.subject)
        }
        Standing::Absent { leaders, .. } => {
            format!("not measured {place}, where {} is first", leaders[0].subject)
        }
        Standing::Nothing { .. } => format!("without a figure {place}, as is everybody"),
    }
}

fn told_crossings(series: &Series) -> Option<String> {
    let crossings = crossings(&series.rows);
    if crossings.is_empty() {
        return None;
    }
    let name = series.experiment.parameter.as_deref().unwrap_or_default();
    let told = crossings.iter().take(TOLD).map(|crossing| {
        let [from, to] = [crossing.from, crossing.to].map(|at| number(at as f64));
        format!("{} overtakes {} between {from} and {to}", crossing.above, crossing.below)
    });
    let told: Vec<String> = told.collect();
    let more = match crossings.len().saturating_sub(TOLD) {
        0 => String::new(),
        1 => "; one more pair crosses".to_owned(),
        more => format!("; {more} more pairs cross"),
    };
    Some(format!("With more {name}, {}{more}.", list(&told)))
}

/// `at 64 and 1,000 conns`.
fn at(rows: &[&Row]) -> String {
    let places: Vec<String> = rows.iter().filter_map(|row| row.place()).collect();
    let (last, others) = match places.split_last() {
        Some(split) => split,
        None => return "here".to_owned(),
    };
    let numbers = others.iter().map(|place| match place.split_once(' ') {
        Some((number, _)) => number.to_owned(),
        None => place.clone(),
    });
    let words: Vec<String> = numbers.chain([last.clone()]).collect();
    format!("at {}", list(&words))
}

/// The names in `records`, each once, in their order.
fn subjects<'a>(records: impl Iterator<Item = &'a &'a Record>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for record in records {
        if !names.contains(&record.subject) {
            names.push(record.subject.clone());
        }
    }
    names
}

fn told(record: &Record) -> String {
    format!("{} {}", number(record.value.unwrap_or(f64::NAN)), record.unit)
}

fn named(record: &Record) -> String {
    format!("{} ({})", record.subject, told(record))
}

fn reason(record: &Record) -> &str {
    record.error.as_deref().unwrap_or("no reason is given")
}

fn by(better: &Record, worse: &Record) -> String {
    match (factor(better, worse), better.value, worse.value) {
        (Some(factor), ..) => format!(" by a factor of {}", number(factor)),
        (None, Some(one), Some(other)) => {
            format!(" by {} {}", number((one - other).abs()), better.unit)
        }
        _ => String::new(),
    }
}

fn behind(better: &Record, worse: &Record) -> String {
    format!(", behind{}", by(better, worse))
}

/// The least and the greatest factor of several pairs.
fn by_range(pairs: &[(&Record, &Record)]) -> String {
    let factors: Option<Vec<f64>> = pairs.iter().map(|(one, other)| factor(one, other)).collect();
    let Some(factors) = factors.filter(|factors| !factors.is_empty()) else {
        return String::new();
    };
    let least = factors.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = factors.iter().copied().fold(0.0, f64::max);
    match (number(least), number(greatest)) {
        (one, other) if one == other => format!(" by a factor of {one}"),
        (one, other) => format!(" by factors of {one} to {other}"),
    }
}

fn capital(sentence: &str) -> String {
    // A subject's name keeps its spelling.
    let is_word = ["only ", "nobody ", "at "].iter().any(|word| sentence.starts_with(word));
    match sentence.split_at_checked(1) {
        Some((head, tail)) if is_word => head.to_uppercase() + tail,
        _ => sentence.to_owned(),
    }
}

#[cfg(test)]
mod tests;
