//! Subjects that are not in this binary: programs below `lab/subjects`, each as people who know its system would write
//! it. A folder says in `subject.toml` what it needs, how it is built and how it is started (`manifest`); `prepare`
//! builds, `ready` says whether that was done, `call` runs.
//!
//! The catalogue is read once a process and kept for its life: a subject is then a reference that can be copied.
//!
//! Rejected: subjects in Rust, behind a feature of this crate. A reader of Go should be able to judge the Go program, and
//! nobody who builds timestop should have to build tokio.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

mod manifest;
mod needs;
mod prepare;
mod python;
mod ready;

pub(crate) mod call;

pub(crate) use manifest::AtMost;
pub(crate) use prepare::{Args as PrepareArgs, run as prepare};
pub(crate) use ready::{Readiness, readiness};

use manifest::{Manifest, Spec};

/// Where the folder `lab` is, if not where it was when this program was built.
const ELSEWHERE: &str = "TIMESTOP_LAB";
const BUILT_FROM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../lab");

/// A folder below `lab/subjects`.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) name: String,
    path: PathBuf,
    /// What is built goes here.
    build: PathBuf,
    manifest: Manifest,
    places: Places,
}

/// A subject outside of this binary.
#[derive(Debug)]
pub(crate) struct Program {
    /// Among all of them, in the order in which they are shown.
    position: usize,
    pub(crate) folder: &'static Folder,
    spec: &'static Spec,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    pub(crate) folders: Vec<&'static Folder>,
    pub(crate) programs: Vec<&'static Program>,
}

/// The folders that everything else is in.
#[derive(Debug, Clone)]
struct Places {
    subjects: PathBuf,
    /// `target/lab` of the checkout.
    built: PathBuf,
}

/// Why there is no catalogue.
#[derive(Debug)]
pub(crate) enum Missing {
    /// Nobody said where it is, and it is not where it was: the program was moved to another machine.
    Moved(String),
    /// A mistake that has to be told before anything is measured.
    Mistake(String),
}

impl Missing {
    pub(crate) fn why(self) -> String {
        match self {
            Missing::Moved(why) | Missing::Mistake(why) => why,
        }
    }
}

impl Places {
    fn find() -> Result<Self, Missing> {
        let (lab, said) = match env::var_os(ELSEWHERE) {
            Some(folder) => (PathBuf::from(folder), true),
            None => (PathBuf::from(BUILT_FROM), false),
        };
        // `..` in it would be shown to people.
        let subjects = lab.canonicalize().map(|lab| lab.join("subjects"));
        match subjects.ok().filter(|subjects| subjects.is_dir()) {
            Some(subjects) => {
                let checkout = subjects.ancestors().nth(2).unwrap_or(Path::new("/"));
                Ok(Places { built: checkout.join("target/lab"), subjects })
            }
            None if said => Err(Missing::Mistake(format!(
                "{ELSEWHERE} is {}, where no folder `subjects` is",
                lab.display()
            ))),
            None => Err(Missing::Moved(format!(
                "the programs to compare with are not there ({}); set {ELSEWHERE} to the folder `lab` of a checkout",
                lab.display()
            ))),
        }
    }

    /// Of the virtual environment.
    fn python(&self) -> PathBuf {
        self.built.join("python")
    }
}

impl Catalogue {
    /// Reads all manifests.
    pub(crate) fn read() -> Result<Self, Missing> {
        let places = Places::find()?;
        let mistake = |why: String| Missing::Mistake(why);
        let unreadable = |error| mistake(format!("{}: {error}", places.subjects.display()));
        let mut paths = Vec::new();
        for entry in fs::read_dir(&places.subjects).map_err(unreadable)? {
            paths.push(entry.map_err(unreadable)?.path());
        }
        paths.sort();
        let mut catalogue = Catalogue::default();
        for path in paths.into_iter().filter(|path| path.join("subject.toml").is_file()) {
            let folder = Folder::read(path, &places).map_err(mistake)?;
            catalogue.add(Box::leak(Box::new(folder))).map_err(mistake)?;
        }
        Ok(catalogue)
    }

    fn add(&mut self, folder: &'static Folder) -> Result<(), String> {
        for spec in &folder.manifest.subjects {
            if let Some(other) = self.find(&spec.name) {
                let (one, two) = (&other.folder.name, &folder.name);
                return Err(format!(
                    "two subjects are called '{}', in {one} and in {two}",
                    spec.name
                ));
            }
            let position = self.programs.len();
            self.programs.push(Box::leak(Box::new(Program { position, folder, spec })));
        }
        self.folders.push(folder);
        Ok(())
    }

    pub(crate) fn find(&self, name: &str) -> Option<&'static Program> {
        self.programs.iter().copied().find(|program| program.name() == name)
    }
}

impl Folder {
    fn read(path: PathBuf, places: &Places) -> Result<Self, String> {
        let manifest = Manifest::read(&path.join("subject.toml"))?;
        if let Some(missing) =
            manifest.shares.iter().find(|name| !places.subjects.join(name).exists())
        {
            return Err(format!(
                "{}/subject.toml: `shares` names {missing}, which is not in {}",
                path.display(),
                places.subjects.display()
            ));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let build = places.built.join(&name);
        Ok(Folder { name, path, build, manifest, places: places.clone() })
    }

    /// A command of the manifest: its placeholders filled in, and what `pip` installed found first.
    fn command(&self, words: &[String]) -> Result<Command, String> {
        let mut words = words.iter().map(|word| self.filled_in(word));
        let mut command = Command::new(words.next().expect("a manifest was checked")?);
        for word in words {
            command.arg(word?);
        }
        let inherited = env::var_os("PATH").unwrap_or_default();
        let ours = std::iter::once(self.places.python().join("bin"));
        let path = env::join_paths(ours.chain(env::split_paths(&inherited)));
        command.env("PATH", path.map_err(|error| format!("PATH: {error}"))?);
        // Or sources would seem to change by being run.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        Ok(command)
    }

    fn filled_in(&self, word: &str) -> Result<String, String> {
        let mut word = word.to_owned();
        for (placeholder, path) in [
            ("{build}", self.build.clone()),
            ("{here}", self.path.clone()),
            ("{python}", self.places.python().join("bin/python")),
        ] {
            word = word.replace(placeholder, &path.to_string_lossy());
        }
        if word.contains("{timestop}") {
            let this = env::current_exe().map_err(|error| format!("this program: {error}"))?;
            word = word.replace("{timestop}", &this.to_string_lossy());
        }
        Ok(word)
    }

    /// Has it anything to build, or can it be run as it lies there?
    fn is_built(&self) -> bool {
        !self.manifest.build.is_empty() || !self.manifest.python.packages.is_empty()
    }

    /// Does it use the virtual environment?
    fn uses_python(&self) -> bool {
        let Manifest { needs, python, build, subjects, .. } = &self.manifest;
        let commands = needs.iter().map(|need| &need.command);
        let commands = commands.chain(build.iter().map(|step| &step.command));
        let mut words = commands.chain(subjects.iter().map(|spec| &spec.run)).flatten();
        !python.packages.is_empty() || words.any(|word| word.contains("{python}"))
    }
}

impl Program {
    pub(crate) fn name(&self) -> &'static str {
        &self.spec.name
    }

    /// As a person would say it.
    pub(crate) fn title(&self) -> &'static str {
        &self.spec.title
    }

    pub(crate) fn has(&self, bench: &str) -> bool {
        self.spec.benches.iter().any(|other| other == bench)
    }

    /// Why it has no such bench, if it says so: of a row, or of all rows of a bench.
    pub(crate) fn unable(&self, row: &str, bench: &str) -> Option<&'static str> {
        let unable = &self.spec.unable;
        unable.get(row).or_else(|| unable.get(bench)).map(String::as_str)
    }

    /// The most that it can bear of what is asked for by any of `names`, and why.
    pub(crate) fn at_most<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Option<&'static AtMost> {
        names.into_iter().find_map(|name| self.spec.at_most.get(name))
    }
}

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        self.position == other.position
    }
}

impl Eq for Program {}

impl PartialOrd for Program {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Program {
    fn cmp(&self, other: &Self) -> Ordering {
        self.position.cmp(&other.position)
    }
}
