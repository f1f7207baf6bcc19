//! Everything that is made from results: tables, the page, the README's table. `timestop lab report FILE` makes them
//! from a file that was measured before.
//!
//! ```text
//! record, lab_file ──▶ results ──▶ standing ──▶ verdict, overview ──▶ html, markdown
//!  what was measured    grouped     who is ahead   in words             on a page
//! ```
//!
//! No sentence and no chart is written by hand: what the report says follows from the file, and another file says
//! something else.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod chart;
pub(crate) mod html;
mod markdown;
mod number;
mod overview;
mod results;
mod standing;
mod terminal;
mod verdict;

pub(crate) use markdown::tables as markdown;
pub(crate) use number::number;
pub(crate) use terminal::{estimate, list, plain_table, range, sorted, table};

use super::USAGE;
use super::lab_file::LabFile;

/// Arguments of `timestop lab report`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What `timestop lab --json` printed
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write a page that needs nothing else: charts, tables, verdicts
    #[arg(long, value_name = "PAGE")]
    html: Option<PathBuf>,
    /// Print Markdown tables
    #[arg(long)]
    markdown: bool,
    /// Replace the table between the markers of this README
    #[arg(long, value_name = "README")]
    readme: Option<PathBuf>,
}

/// Reports `args.file` in each of the forms asked for; as a table if in none.
pub(crate) fn run(args: &Args) -> ExitCode {
    let file = match LabFile::read(&args.file) {
        Ok(file) => file,
        Err(why) => return complain(&why, USAGE),
    };
    if let Some(page) = &args.html
        && let Err(why) = write_page(page, &file)
    {
        return complain(&why, 1);
    }
    if let Some(readme) = &args.readme
        && let Err(why) = markdown::rewrite(readme, &file)
    {
        return complain(&why, 1);
    }
    let out = &mut io::stdout().lock();
    let printed = match args {
        Args { markdown: true, .. } => markdown(out, &file),
        Args { html: None, readme: None, .. } => table(out, &file.records),
        _ => Ok(()),
    };
    super::finish(printed.and_then(|()| out.flush()), ExitCode::SUCCESS)
}

fn complain(why: &str, code: u8) -> ExitCode {
    eprintln!("timestop lab report: {why}");
    ExitCode::from(code)
}

/// Writes the page of `file` to `path`.
pub(crate) fn write_page(path: &Path, file: &LabFile) -> Result<(), String> {
    fs::write(path, html::page(file)).map_err(|error| format!("{}: {error}", path.display()))
}

/// Fails now if `path` cannot be written, rather than after an hour of measuring. What is there stays as it is.
pub(crate) fn can_write(path: &Path) -> Result<(), String> {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.map(drop).map_err(|error| format!("--html {}: {error}", path.display()))
}
