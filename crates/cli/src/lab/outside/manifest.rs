//! `subject.toml`: what a folder of subjects needs, how it is built, and what is in it.
//!
//! `lab/subjects/README.md` is the contract; this is its grammar. Unknown keys are errors, for a reason that is not
//! shown because it was spelled `unabel` would be a reason withheld.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

/// A folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// Files and folders beside this one that it is built from as well.
    #[serde(default)]
    pub(super) shares: Vec<String>,
    #[serde(default)]
    pub(super) needs: Vec<Need>,
    #[serde(default)]
    pub(super) python: Python,
    #[serde(default)]
    pub(super) build: Vec<Step>,
    #[serde(rename = "subject")]
    pub(super) subjects: Vec<Spec>,
}

/// A program that must be there before anything is built.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Need {
    pub(super) command: Vec<String>,
    /// What is installed before anything is looked for, `pip install` of pinned packages: newer than what systems have.
    /// If that fails, what there is will do.
    #[serde(default)]
    pub(super) prefer: String,
    /// For people. What it says of `pip install` and `apt-get install` is also what `prepare` does.
    pub(super) install: String,
}

/// Packages for the lab's virtual environment.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Python {
    pub(super) packages: Vec<String>,
}

/// One command of a build.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    pub(super) command: Vec<String>,
}

/// One subject.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) run: Vec<String>,
    pub(super) benches: Vec<String>,
    #[serde(default)]
    pub(super) unable: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) at_most: BTreeMap<String, AtMost>,
}

/// How large a parameter may be, and why no larger.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AtMost {
    pub(crate) value: usize,
    pub(crate) why: String,
}

impl Manifest {
    /// Reads `file`. The error names it, the line and the key.
    pub(super) fn read(file: &Path) -> Result<Self, String> {
        let told = |why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
        let text = fs::read_to_string(file).map_err(|error| told(&error))?;
        let manifest: Self = toml::from_str(&text).map_err(|error| told(&error))?;
        manifest.check().map_err(|why| told(&why))?;
        Ok(manifest)
    }

    /// What the grammar alone does not say.
    fn check(&self) -> Result<(), String> {
        if self.subjects.is_empty() {
            return Err("there is no [[subject]]".to_owned());
        }
        let commands = self.needs.iter().map(|need| ("needs.command", &need.command));
        let commands =
            commands.chain(self.build.iter().map(|step| ("build.command", &step.command)));
        let commands = commands.chain(self.subjects.iter().map(|spec| ("subject.run", &spec.run)));
        for (key, command) in commands {
            if command.is_empty() {
                return Err(format!("`{key}` is empty: it names a program and its arguments"));
            }
        }
        self.subjects.iter().try_for_each(Spec::check)
    }
}

impl Spec {
    fn check(&self) -> Result<(), String> {
        let Spec { name, benches, unable, at_most, .. } = self;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(format!(
                "`subject.name` is {name:?}: letters, digits, '-', '_' and '.' only"
            ));
        }
        if let Some(bench) = benches.iter().find(|bench| unable.contains_key(*bench)) {
            return Err(format!("'{name}' has `{bench}` in `benches` and in `unable`"));
        }
        match at_most.iter().find(|(_, most)| most.value == 0) {
            Some((key, _)) => {
                Err(format!("'{name}' has `at_most.{key}` of 0: say `unable` instead"))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Manifest, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("subject.toml");
        fs::write(&file, text).expect("a file");
        Manifest::read(&file).map_err(|why| {
            let (path, why) = why.split_once(": ").expect("a path first");
            assert!(path.ends_with("subject.toml"), "{path}");
            why.to_owned()
        })
    }

    const SUBJECT: &str =
        "[[subject]]\nname = 'x'\ntitle = 'X'\nrun = ['x']\nbenches = ['yield']\n";

    #[test]
    fn a_folder_needs_nothing_but_a_subject() {
        let manifest = read(SUBJECT).expect("complete");
        assert_eq!(manifest.subjects[0].benches, ["yield"]);
        assert!(manifest.needs.is_empty() && manifest.python.packages.is_empty());
    }

    #[test]
    fn mistakes_name_the_key() {
        for (text, key) in [
            ("subject = []".to_owned(), "[[subject]]"),
            (SUBJECT.replace("title = 'X'", ""), "title"),
            (SUBJECT.replace("benches", "benchs"), "benchs"),
            (SUBJECT.replace("['x']", "[]"), "subject.run"),
            (SUBJECT.replace("'x'\nt", "'x y'\nt"), "subject.name"),
            (format!("{SUBJECT}[subject.unable]\nyield = 'no'\n"), "`yield`"),
            (
                format!("{SUBJECT}[subject.at_most]\nring = {{ value = 0, why = 'w' }}\n"),
                "at_most.ring",
            ),
            (format!("{SUBJECT}[subject.at_most]\nring = 5\n"), "ring"),
        ] {
            let why = read(&text).expect_err(key);
            assert!(why.contains(key), "{key}: {why}");
        }
    }
}
