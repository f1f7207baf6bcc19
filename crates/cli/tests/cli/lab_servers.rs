//! `timestop lab`, where it measures servers: what it promises of them, whatever the figures.

use std::process::{Command, Output};

use serde_json::Value;

fn lab(row: &str, subjects: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_timestop"));
    command.args(["lab", row, "--quick", "--runs", "1", "--json", "--subjects", subjects]);
    command
}

/// An object a metric, after the header.
fn objects(output: &Output) -> Vec<Value> {
    let text = str::from_utf8(&output.stdout).expect("UTF-8");
    let parse = |line| serde_json::from_str(line).expect("an object a line");
    text.lines().skip(1).map(parse).collect()
}

#[test]
fn who_asks_beside_views_that_compute_is_told_how_long_it_takes() {
    let output = lab("view/1", "timestop,threads").output().expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    let objects = objects(&output);
    for metric in ["view/1", "view_p50/1", "view_max/1", "view_unanswered/1"] {
        let of_metric = objects.iter().filter(|object| object["bench"] == metric);
        let told = of_metric.filter(|object| object["value"].is_f64() && object["at"] == 1);
        assert_eq!(told.count(), 2, "{metric}: {objects:?}");
    }
}

#[test]
fn without_wrk_it_says_where_wrk_is_to_be_had() {
    let mut command = lab("http/64", "timestop");
    let output = command.env("PATH", "").output().expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    let error = objects(&output)[0]["error"].to_string();
    assert!(error.contains("apt-get install wrk"), "{error}");
}
