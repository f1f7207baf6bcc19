//! `timestop check PROGRAM`: whether a program can work on fibers, what will block an OS thread, and
//! why; before it is run. `timestop run` refuses for the same reasons.
//!
//! - [`program`]: which file is loaded in the end. - [`image`]: what it says of itself.
//! - [`libraries`]: what is loaded with it. - [`calls`]: what it calls, hooked or not.
//! - [`code`]: system calls past libc. - [`privileges`]: set-uid and its kin. - [`verdict`]: what all
//!   that comes to.
//!
//! It looks at files and runs none of the program's code. So what a program loads or starts later is
//! not seen, and no check here stands for the ones at start, which decide.
//!
//! Exit status: 0, it can work; 1, it can, with reservations; 2, it cannot.

mod calls;
mod code;
mod image;
mod libraries;
mod privileges;
pub(crate) mod program;
pub(crate) mod verdict;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use program::Program;
use verdict::Verdict;

use crate::run::preload;

/// The command line of `timestop check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The program, looked up in PATH
    program: OsString,
}

/// Why a program is not run.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Shells' exit statuses: 126 for what cannot be run, 127 for what is not there.
    pub(crate) status: u8,
    pub(crate) text: String,
}

impl Refusal {
    pub(crate) fn missing(text: String) -> Self {
        Self { status: 127, text }
    }

    pub(crate) fn unable(text: String) -> Self {
        Self { status: 126, text }
    }
}

/// Prints what is to be said of a program.
pub(crate) fn run(args: Args) -> ExitCode {
    let looked = program::find(&args.program).and_then(program::follow);
    let (program, preload) = match looked.and_then(|program| Ok((program, preload::find()?))) {
        Ok(found) => found,
        Err(refusal) => {
            println!("{}\ncannot work", refusal.text);
            return ExitCode::from(2);
        }
    };
    let list = preload::list(&preload);
    let verdict = verdict::judge(&program, &preload, &list);
    // Whoever reads may have gone away.
    let _ = print(&mut io::stdout().lock(), &program, &verdict);
    ExitCode::from(if verdict.refusal.is_some() {
        2
    } else {
        u8::from(!verdict.reservations.is_empty())
    })
}

fn print(out: &mut impl Write, program: &Program, verdict: &Verdict) -> io::Result<()> {
    for script in &program.scripts {
        let command: Vec<_> = script.command.iter().map(|word| word.to_string_lossy()).collect();
        writeln!(out, "{} is a script, run by {}", script.path.display(), command.join(" "))?;
    }
    let path = program.image.path.display();
    if let Some(why) = &verdict.refusal {
        return writeln!(out, "{why}\ncannot work");
    }
    let linker = program.image.interpreter.as_deref().unwrap_or(Path::new("?"));
    writeln!(
        out,
        "{path}: x86-64, glibc {} ({}), {} libraries",
        verdict.glibc.as_deref().unwrap_or("?"),
        linker.display(),
        verdict.libraries
    )?;
    let with = if verdict.reservations.is_empty() { "" } else { ", with reservations:" };
    writeln!(out, "can work{with}")?;
    for reservation in &verdict.reservations {
        writeln!(out, "  {reservation}")?;
    }
    if !verdict.notes.is_empty() {
        writeln!(out, "\nworth knowing:")?;
    }
    for note in &verdict.notes {
        writeln!(out, "  {note}")?;
    }
    if !verdict.calls.hooked.is_empty() {
        writeln!(out, "\nsuspends a fiber, or is a fiber's own (it or its libraries call it):")?;
    }
    for (family, names) in &verdict.calls.hooked {
        wrap(out, family, &names.join(" "))?;
    }
    if !verdict.calls.blocking.is_empty() {
        writeln!(out, "\nblocks an OS thread, and nobody else (by hand-off):")?;
    }
    for (what, names) in &verdict.calls.blocking {
        wrap(out, what, names)?;
    }
    writeln!(
        out,
        "\nnot seen: what it loads later (plugins, modules), and the programs that it starts"
    )
}

/// A heading and words, in lines of 100.
fn wrap(out: &mut impl Write, heading: &str, words: &str) -> io::Result<()> {
    const WIDTH: usize = 100;
    let mut line = format!("  {heading}:");
    for word in words.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            writeln!(out, "{line}")?;
            line = "   ".to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    writeln!(out, "{line}")
}
