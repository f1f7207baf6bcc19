//! The command that measures one experiment again as it was measured.

/// Options of `timestop lab` that change what is measured, and whether they have a value. Others say how it is shown.
const KEPT: [(&str, bool); 4] =
    [("--quick", false), ("--runs", true), ("--subjects", true), ("--limit", true)];

/// `command`, which measured several, for `experiment` alone.
pub(super) fn command(command: &str, experiment: &str) -> String {
    let mut words = vec!["timestop", "lab", experiment];
    let mut typed = command.split_whitespace();
    while let Some(word) = typed.next() {
        let name = word.split('=').next().unwrap_or(word);
        let Some((_, has_value)) = KEPT.iter().find(|(kept, _)| *kept == name) else { continue };
        words.push(word);
        if *has_value && name == word {
            words.extend(typed.next());
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn what_changes_the_measurement_is_kept() {
        for (typed, again) in [
            ("timestop lab", "timestop lab echo"),
            ("timestop lab --json --html a.html", "timestop lab echo"),
            ("timestop lab yield echo --quick --runs 5", "timestop lab echo --quick --runs 5"),
            (
                "timestop lab --subjects=a,b --runs=1 --json",
                "timestop lab echo --subjects=a,b --runs=1",
            ),
        ] {
            assert_eq!(command(typed, "echo"), again);
        }
    }
}
