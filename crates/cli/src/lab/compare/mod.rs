//! `timestop lab compare OLD NEW`: what has become better or worse between two lab files, beyond noise.
//!
//! The rule is in `rule`. Exit status 0 if nothing got worse, 1 if something did, 2 if the files cannot be compared: so
//! that a script can stand on it. It is for two runs on one quiet machine; that the machines differ is said, and the rows
//! compared all the same, because ratios within a row may still be of use.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::lab_file::LabFile;
use super::record::{Header, Record};
use super::report::{number, plain_table, range};
use super::{USAGE, finish};
use rule::{Change, Pair};

mod rule;

/// Arguments of `timestop lab compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What `timestop lab --json` printed before the change
    old: PathBuf,
    /// What it printed after
    new: PathBuf,
    /// Only these subjects, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    subjects: Vec<String>,
    /// One JSON object a line: a summary, then the rows
    #[arg(long)]
    json: bool,
    /// Rows that did not change, too
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let files = LabFile::read(&args.old).and_then(|old| Ok((old, LabFile::read(&args.new)?)));
    let (mut old, mut new) = match files {
        Ok(files) => files,
        Err(why) => return complain(&why),
    };
    let is_wanted = |record: &Record| {
        args.subjects.is_empty() || args.subjects.contains(&record.subject)
    };
    old.records.retain(is_wanted);
    new.records.retain(is_wanted);
    let pairs = rule::pairs(&old.records, &new.records);
    if !pairs.iter().any(|pair| pair.old.is_some() && pair.new.is_some()) {
        let [old, new] = [&args.old, &args.new].map(|path| path.display());
        let of = match args.subjects.as_slice() {
            [] => String::new(),
            names => format!(" of {}", names.join(", ")),
        };
        return complain(&format!("{old} and {new} have no row and subject in common{of}"));
    }
    let differences = differences(&old.header, &new.header);
    let out = &mut io::stdout().lock();
    let printed = match args.json {
        true => print_json(out, &pairs, &differences),
        false => print_table(out, &pairs, &differences, args.all),
    };
    let worse = pairs.iter().any(|pair| pair.change() == Change::Regressed);
    let code = if worse { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    finish(printed.and_then(|()| out.flush()), code)
}

fn complain(why: &str) -> ExitCode {
    eprintln!("timestop lab compare: {why}");
    ExitCode::from(USAGE)
}

/// Why two files may differ without anybody's doing, one a line.
fn differences(old: &Header, new: &Header) -> Vec<String> {
    let (a, b) = (&old.machine, &new.machine);
    let mut told = Vec::new();
    let mut compare = |what: &str, old: String, new: String| {
        if old != new {
            told.push(format!("{what}: {old} before, {new} now"));
        }
    };
    compare("processor", a.cpu.clone(), b.cpu.clone());
    compare("cores", a.cores.to_string(), b.cores.to_string());
    compare("kernel", a.kernel.clone(), b.kernel.clone());
    compare("memory", format!("{} MiB", a.memory_mib), format!("{} MiB", b.memory_mib));
    for (subject, version) in &old.versions {
        if let Some(now) = new.versions.get(subject) {
            compare(subject, version.clone(), now.clone());
        }
    }
    told
}

fn counts(pairs: &[Pair]) -> Vec<(Change, usize)> {
    let count = |change| pairs.iter().filter(|pair| pair.change() == change).count();
    Change::ALL.into_iter().map(|change| (change, count(change))).collect()
}

fn print_table(
    out: &mut impl Write,
    pairs: &[Pair],
    differences: &[String],
    all: bool,
) -> io::Result<()> {
    for difference in differences {
        writeln!(out, "not the same {difference}")?;
    }
    let shown = |pair: &&Pair| all || pair.change() != Change::Unchanged;
    let mut table =
        plain_table(["bench", "subject", "old", "new", "unit", "new / old", "change", "remarks"]);
    for pair in pairs.iter().filter(shown) {
        let record = pair.either();
        table.add_row([
            record.bench.clone(),
            record.subject.clone(),
            told(pair.old),
            told(pair.new),
            format!("{} {}", record.unit, record.better.arrow()),
            pair.ratio().map_or(String::new(), |ratio| format!("{ratio:.3}")),
            pair.change().name().to_owned(),
            pair.remark(),
        ]);
    }
    if table.row_count() > 0 {
        writeln!(out, "{table}")?;
    }
    let counts = counts(pairs);
    let told = counts.iter().map(|(change, count)| format!("{count} {}", change.name()));
    writeln!(out, "{}", told.collect::<Vec<_>>().join(", "))
}

/// Median and range.
fn told(record: Option<&Record>) -> String {
    match record.map(|record| (record.value, range(record))) {
        Some((Some(value), range)) => format!("{} ({range})", number(value)),
        Some((None, _)) => "failed".to_owned(),
        None => "—".to_owned(),
    }
}

fn print_json(out: &mut impl Write, pairs: &[Pair], differences: &[String]) -> io::Result<()> {
    let mut summary = json!({ "compare": 1, "machine_differences": differences });
    for (change, count) in counts(pairs) {
        summary[change.name()] = count.into();
    }
    writeln!(out, "{summary}")?;
    for pair in pairs {
        writeln!(out, "{}", object(pair))?;
    }
    Ok(())
}

fn object(pair: &Pair) -> Value {
    let record = pair.either();
    let side = |record: Option<&Record>| {
        record.map(|record| {
            json!({
                "value": record.value, "min": record.min, "max": record.max,
                "runs": record.runs, "error": record.error,
            })
        })
    };
    json!({
        "bench": record.bench,
        "subject": record.subject,
        "unit": record.unit,
        "better": record.better,
        "change": pair.change().name(),
        "ratio": pair.ratio().map(super::record::rounded),
        "threshold": pair.threshold().map(super::record::rounded),
        "old": side(pair.old),
        "new": side(pair.new),
    })
}

#[cfg(test)]
mod tests {
    use super::super::record::made_up::header;
    use super::*;

    #[test]
    fn another_machine_and_another_version_are_told() {
        let mut new = header();
        assert!(differences(&header(), &new).is_empty());
        new.machine.cores = 8;
        new.versions.insert("go".to_owned(), "2".to_owned());
        let mut old = header();
        old.versions.insert("go".to_owned(), "1".to_owned());
        assert_eq!(differences(&old, &new), ["cores: 2 before, 8 now", "go: 1 before, 2 now"]);
    }
}
