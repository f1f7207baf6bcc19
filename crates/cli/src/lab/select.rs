//! From what was typed to rows and subjects; a name that is none of ours is answered with the nearest that is.

use std::collections::BTreeSet;

use super::experiments::{GROUPS, Row, Subject, experiments};
use super::outside::{Catalogue, Folder};

/// How alike two names must be for one to be taken for a slip of the other, from 0 to 1.
const ALIKE: f64 = 0.5;

/// The rows that `names` ask for, in the order of the table and each once; all of them for no names. With the subjects
/// that are in this binary.
pub(crate) fn rows(names: &[String], quick: bool) -> Result<Vec<Row>, String> {
    let all: Vec<Row> = Row::all(quick).collect();
    for name in names {
        if !all.iter().any(|row| is_meant(&all, row, name)) {
            let known = experiments().map(|e| e.name.to_owned()).chain(all.iter().map(Row::name));
            let known = known.chain(GROUPS.iter().map(|group| group.name.to_owned()));
            return Err(unknown("bench", name, known));
        }
    }
    let wanted = |row: &Row| names.is_empty() || names.iter().any(|name| is_meant(&all, row, name));
    Ok(all.iter().filter(|row| wanted(row)).cloned().collect())
}

/// Leaves in `rows` the subjects that `names` ask for, all of them for no names, and the rows that have any.
pub(crate) fn subjects(
    rows: &mut Vec<Row>,
    names: &[String],
    catalogue: &Catalogue,
) -> Result<(), String> {
    let inside = Subject::INSIDE.iter().map(|subject| subject.name());
    let known: BTreeSet<&str> =
        inside.chain(catalogue.programs.iter().map(|program| program.name())).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(name.as_str())) {
        return Err(unknown("subject", name, known.into_iter().map(str::to_owned)));
    }
    if !names.is_empty() {
        let is_asked_for = |subject: &Subject| names.iter().any(|name| name == subject.name());
        rows.iter_mut().for_each(|row| row.subjects.retain(is_asked_for));
    }
    rows.retain(|row| !row.subjects.is_empty());
    match (rows.is_empty(), names.is_empty()) {
        (false, _) => Ok(()),
        (true, false) => {
            Err("none of these benches has that subject; see `timestop lab list`".to_owned())
        }
        (true, true) => Err("these benches have no subject; see `timestop lab list`".to_owned()),
    }
}

/// The folders of the subjects that `names` ask for, or whose own names these are; all of them for no names.
pub(crate) fn folders(
    catalogue: &Catalogue,
    names: &[String],
) -> Result<Vec<&'static Folder>, String> {
    let mut folders: Vec<&'static Folder> = Vec::new();
    for name in names {
        let by_subject = catalogue.find(name).map(|program| program.folder);
        let by_folder = || catalogue.folders.iter().copied().find(|folder| folder.name == *name);
        let Some(folder) = by_subject.or_else(by_folder) else {
            let programs = catalogue.programs.iter().map(|program| program.name());
            let folders = catalogue.folders.iter().map(|folder| folder.name.as_str());
            return Err(unknown("subject", name, programs.chain(folders).map(str::to_owned)));
        };
        if !folders.iter().any(|other| other.name == folder.name) {
            folders.push(folder);
        }
    }
    Ok(if names.is_empty() { catalogue.folders.clone() } else { folders })
}

/// By its bench's name, by its own, by a group's, or, where the name is none of these, by the family's.
fn is_meant(all: &[Row], row: &Row, name: &str) -> bool {
    if let Some(group) = GROUPS.iter().find(|group| group.name == name) {
        return group.members.contains(&row.experiment.name);
    }
    let is_named = |row: &Row| row.experiment.name == name || row.name() == name;
    is_named(row) || (is_of_family(row, name) && !all.iter().any(is_named))
}

/// `memory` is the family of `memory_recv` and `memory_sleep`.
fn is_of_family(row: &Row, name: &str) -> bool {
    row.experiment.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('_'))
}

fn unknown(what: &str, name: &str, known: impl Iterator<Item = String>) -> String {
    match nearest(name, known) {
        Some(near) => format!("no {what} '{name}'; did you mean '{near}'?"),
        None => format!("no {what} '{name}'; see `timestop lab list`"),
    }
}

/// The name most like `name`, if any is like it at all.
fn nearest(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    known
        .map(|other| (strsim::normalized_damerau_levenshtein(name, &other), other))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .filter(|(alike, _)| *alike >= ALIKE)
        .map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(rows: &[Row]) -> Vec<String> {
        rows.iter().map(Row::name).collect()
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_bench_means_all_its_rows_and_a_row_means_itself() {
        let chosen = rows(&owned(&["spawn_join", "echo/64"]), false).expect("known names");
        assert_eq!(names(&chosen), ["spawn_join/1", "spawn_join/2", "echo/64"]);
    }

    #[test]
    fn a_family_means_all_its_benches_unless_it_is_one_itself() {
        let chosen = rows(&owned(&["memory"]), false).expect("a known family");
        assert!(chosen.len() > 1);
        assert!(names(&chosen).iter().all(|name| name.starts_with("memory_")), "{chosen:?}");
        let chosen = rows(&owned(&["hog"]), false).expect("a known name");
        assert_eq!(names(&chosen), ["hog/1", "hog/4"]);
    }

    #[test]
    fn a_group_means_all_that_are_in_it() {
        let chosen = names(&rows(&owned(&["models"]), false).expect("a known group"));
        for name in ["generator", "select", "pingpong/1", "ring/2", "mpmc"] {
            assert!(chosen.iter().any(|chosen| chosen == name), "{chosen:?}");
        }
        assert!(!chosen.iter().any(|name| name.starts_with("echo")), "{chosen:?}");
    }

    #[test]
    fn a_name_given_twice_is_measured_once() {
        let chosen = rows(&owned(&["yield", "yield"]), false).expect("known names");
        assert_eq!(names(&chosen), ["yield"]);
    }

    #[test]
    fn no_names_mean_everything() {
        let mut all = rows(&[], false).expect("no names");
        assert_eq!(all.len(), Row::all(false).count());
        subjects(&mut all, &[], &Catalogue::default()).expect("no names");
        // Without programs outside there is nothing to measure in some.
        let in_this_binary = Row::all(false).filter(|row| !row.subjects.is_empty());
        assert_eq!(all.len(), in_this_binary.count());
    }

    #[test]
    fn only_rows_with_the_subject_are_left() {
        let mut all = rows(&[], false).expect("no names");
        subjects(&mut all, &owned(&["plain"]), &Catalogue::default()).expect("a known name");
        assert_eq!(names(&all), ["hog_python", "python"]);
        let mut chosen = rows(&owned(&["yield"]), false).expect("a known name");
        let none = subjects(&mut chosen, &owned(&["epoll"]), &Catalogue::default());
        assert!(none.is_err_and(|why| why.contains("none of these")));
    }

    #[test]
    fn a_slip_is_answered_with_the_nearest_name() {
        let why = rows(&owned(&["yeild"]), false).expect_err("no such bench");
        assert_eq!(why, "no bench 'yeild'; did you mean 'yield'?");
        let why = rows(&owned(&["echo/65"]), false).expect_err("no such row");
        assert_eq!(why, "no bench 'echo/65'; did you mean 'echo/64'?");
        let mut all = rows(&[], false).expect("no names");
        let why = subjects(&mut all, &owned(&["timstop"]), &Catalogue::default());
        assert_eq!(why, Err("no subject 'timstop'; did you mean 'timestop'?".to_owned()));
    }

    #[test]
    fn a_name_like_no_other_is_sent_to_the_list() {
        let why = rows(&owned(&["quux"]), false).expect_err("no such bench");
        assert_eq!(why, "no bench 'quux'; see `timestop lab list`");
    }
}
