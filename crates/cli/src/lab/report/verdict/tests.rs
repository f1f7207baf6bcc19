//! Verdicts of records that nobody measured.

use super::super::results::findings;
use super::*;
use crate::lab::lab_file::LabFile;
use crate::lab::record::made_up::{header, rate, record};
use crate::lab::record::{Better, Metric};

/// The verdict of an experiment with these cells.
fn said(records: Vec<Record>) -> String {
    let mut header = header();
    let (unit, better) = (records[0].unit.clone(), records[0].better);
    header.experiments[0].metrics = vec![Metric { key: "value".to_owned(), unit, better }];
    let file = LabFile { header, records };
    verdict(&findings(&file)[0].metrics[0]).join(" ")
}

#[test]
fn a_clear_win_is_a_factor_over_the_next() {
    let records = vec![
        record("go", None, &[2.0, 2.1, 2.2]),
        record("timestop", None, &[1.0, 1.05, 1.1]),
        record("node", None, &[9.0]),
    ];
    assert_eq!(
        said(records),
        "timestop is first with 1.05 ms, ahead of go (2.10 ms) by a factor of 2."
    );
}

#[test]
fn where_more_is_better_the_greatest_is_first() {
    let records = vec![
        rate("timestop", None, &[200.0]),
        rate("epoll", None, &[250.0]),
        rate("go", None, &[90.0]),
    ];
    assert_eq!(records[0].better, Better::Higher);
    assert_eq!(
        said(records),
        "epoll is first with 250 req/s; timestop has place 2 of 3 with 200 req/s, behind by a \
         factor of 1.25."
    );
}

#[test]
fn overlapping_ranges_are_level() {
    let records = vec![
        record("go", None, &[1.0, 2.0, 3.0]),
        record("timestop", None, &[2.0, 2.5, 3.5]),
        record("node", None, &[10.0]),
    ];
    assert_eq!(
        said(records),
        "timestop (2.50 ms) and go (2 ms) are level: their runs overlap; node (10 ms) comes next, behind by a factor of 4."
    );
}

#[test]
fn failures_are_told() {
    let records =
        vec![record("timestop", None, &[]), record("go", None, &[1.0]), record("may", None, &[])];
    assert_eq!(
        said(records),
        "timestop failed: exit status: 1: no luck. Of the others go is first with 1 ms. \
         No figure: may; the table says why."
    );
    let nobody = said(vec![record("timestop", None, &[])]);
    assert_eq!(nobody, "Nobody has a figure; the table says why.");
    let alone = said(vec![record("timestop", None, &[3.0])]);
    assert_eq!(alone, "Only timestop has a figure: 3 ms.");
}

#[test]
fn a_smaller_size_wins_nothing() {
    let part = Record { smaller: Some(10), ..record("may", None, &[0.1]) };
    let records = vec![record("timestop", None, &[1.0]), record("go", None, &[2.0]), part];
    assert_eq!(
        said(records),
        "timestop is first with 1 ms, ahead of go (2 ms) by a factor of 2. Not ranked, since \
         measured at a smaller size: may."
    );
}

#[test]
fn nothing_is_ahead_by_a_difference() {
    let records = vec![record("timestop", None, &[0.0]), record("go", None, &[1.5])];
    assert_eq!(said(records), "timestop is first with 0 ms, ahead of go (1.50 ms) by 1.50 ms.");
}

#[test]
fn who_is_first_is_told_where_timestop_has_no_row() {
    let records = vec![record("go", None, &[1.0]), record("node", None, &[2.0])];
    assert_eq!(said(records), "go is first with 1 ms, ahead of node (2 ms) by a factor of 2.");
}

#[test]
fn crossing_curves_say_between_which_values() {
    let records = vec![
        record("timestop", Some(10), &[1.0]),
        record("epoll", Some(10), &[2.0]),
        record("timestop", Some(100), &[2.0, 3.0]),
        record("epoll", Some(100), &[2.5]),
        record("timestop", Some(1000), &[9.0]),
        record("epoll", Some(1000), &[6.0]),
    ];
    assert_eq!(
        said(records),
        "timestop is first at 10 conns, ahead of epoll by a factor of 2; level with epoll at 100 \
         conns, where their runs overlap; behind epoll at 1,000 conns by a factor of 1.50. With \
         more conns, epoll overtakes timestop between 10 and 1,000."
    );
}

#[test]
fn rows_that_say_the_same_are_one_clause() {
    let records = vec![
        record("timestop", Some(1), &[1.0]),
        record("go", Some(1), &[2.0]),
        record("timestop", Some(2), &[1.0]),
        record("go", Some(2), &[3.0]),
    ];
    assert_eq!(
        said(records),
        "timestop is first at 1 and 2 conns, ahead of go by factors of 2 to 3."
    );
}

#[test]
fn a_size_that_only_timestop_bears_is_told_so() {
    let records = vec![
        record("timestop", Some(10), &[1.0]),
        record("go", Some(10), &[2.0]),
        record("timestop", Some(100), &[3.0]),
        record("go", Some(100), &[]),
    ];
    assert_eq!(
        said(records),
        "timestop is first at 10 conns, ahead of go by a factor of 2; alone at 100 conns, with 3 \
         ms. No figure at some values or all: go; the table says why."
    );
}
