//! `timestop lab`: that what it prints has the shape it promises. What it measures is no business of a test.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Beside no programs but its own: what else there is, is another test's.
fn lab(args: &[&str]) -> Command {
    let folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/alone/lab");
    fs::create_dir_all(format!("{folder}/subjects")).expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_timestop"));
    command.arg("lab").args(args).env("TIMESTOP_LAB", folder);
    command
}

fn output(args: &[&str]) -> Output {
    lab(args).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// The objects of these lines, after the header.
fn parsed(lines: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str::<Value>(line).expect("an object a line");
    let mut objects: Vec<Value> = lines.lines().map(parse).collect();
    assert_eq!(objects.remove(0)["lab"], 1, "the header comes first");
    objects
}

/// The objects that a run with these arguments prints.
fn objects(args: &[&str]) -> Vec<Value> {
    let output = output(&[&["--quick", "--runs", "1", "--json"], args].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    parsed(text(&output.stdout))
}

#[test]
fn the_header_tells_of_the_machine_and_of_what_is_measured() {
    let output = output(&["yield", "--quick", "--runs", "1", "--json"]);
    let line = text(&output.stdout).lines().next().expect("a first line");
    let header: Value = serde_json::from_str(line).expect("an object");
    assert_eq!(header["experiments"][0]["name"], "yield");
    assert_eq!(header["versions"]["timestop"], env!("CARGO_PKG_VERSION"));
    assert_eq!(header["command"], "timestop lab yield --quick --runs 1 --json");
    assert!(header["machine"]["cores"].as_u64() >= Some(1), "{header}");
    assert!(header["date"].as_str().is_some_and(|date| date.ends_with('Z')), "{header}");
}

#[test]
fn a_row_is_an_object_for_each_subject() {
    let objects = objects(&["yield_many"]);
    let subjects: Vec<_> = objects.iter().map(|object| &object["subject"]).collect();
    assert_eq!(subjects, ["timestop", "threads"]);
    for object in &objects {
        assert_eq!(
            (&object["bench"], &object["experiment"]),
            (&"yield_many".into(), &"yield_many".into())
        );
        assert_eq!(object["unit"], "ns");
        assert_eq!((&object["runs"], &object["better"]), (&1.into(), &"lower".into()));
        assert_eq!(object["samples"].as_array().map(Vec::len), Some(1));
        assert!(object["value"].as_f64().is_some_and(|value| value > 0.0), "{object}");
        assert_eq!(object["min"], object["max"]);
    }
}

#[test]
fn a_parameter_is_in_the_name_and_a_field() {
    let objects = objects(&["spawn_join/1", "--subjects", "timestop"]);
    assert_eq!(objects.len(), 1);
    assert_eq!(objects[0]["bench"], "spawn_join/1");
    assert_eq!((&objects[0]["parameter"], &objects[0]["at"]), (&"workers".into(), &1.into()));
}

#[test]
fn other_metrics_are_objects_of_their_own() {
    let objects = objects(&["echo/64", "--subjects", "timestop,epoll"]);
    for metric in ["echo/64", "echo_p50/64", "echo_p99/64", "echo_cpu/64"] {
        let of_metric = objects.iter().filter(|object| object["bench"] == metric);
        let conns: Vec<_> = of_metric.map(|object| &object["at"]).collect();
        assert_eq!(conns, [64, 64], "{metric}");
    }
    let errors = objects.iter().filter_map(|object| object["also"]["errors"].as_f64());
    assert_eq!(errors.collect::<Vec<_>>(), [0.0, 0.0]);
}

#[test]
fn a_family_is_all_its_benches() {
    let list = output(&["list"]);
    let table = text(&list.stdout);
    for bench in ["hog/4", "hog_loss", "hog_preemption", "hog_python"] {
        assert!(table.contains(bench), "{bench}");
    }
    // Nothing in common with these: a mistake, and no measurement.
    assert_eq!(output(&["memory", "--subjects", "epoll"]).status.code(), Some(2));
    assert_eq!(output(&["hogs", "--quick"]).status.code(), Some(2));
}

#[test]
fn hogs_are_measured_in_their_units() {
    let objects = objects(&["hog", "blocked", "hog_loss", "hog_demo", "hog_share"]);
    let rows: Vec<_> = objects
        .iter()
        .map(|object| {
            let word = |key: &str| object[key].as_str().unwrap_or_default();
            let value = object["value"].as_f64().unwrap_or_else(|| panic!("{object}"));
            assert!(value >= 0.0, "{object}");
            (word("bench"), word("subject"), word("unit"))
        })
        .collect();
    for row in [
        ("hog/1", "timestop", "ms"),
        ("hog_p50/1", "timestop", "ms"),
        ("hog_max/1", "timestop", "ms"),
        ("blocked", "timestop", "ms"),
        ("hog_loss", "timestop", "%"),
        ("hog_demo", "timestop", "ms"),
        ("hog_demo_max", "timestop", "ms"),
        ("hog_share/10", "timestop", "ratio"),
        ("hog_share/10", "threads", "ratio"),
    ] {
        assert!(rows.contains(&row), "{row:?} is not among {rows:?}");
    }
    let shares = objects.iter().filter(|object| object["unit"] == "ratio");
    assert!(shares.filter_map(|object| object["value"].as_f64()).all(|share| share <= 1.0));
}

#[test]
fn python_hogs_are_measured_plain_and_run() {
    let objects = objects(&["hog_python"]);
    let values = objects.iter().filter(|object| object["bench"] == "hog_python");
    let values: Vec<_> = values.map(|object| (&object["subject"], &object["unit"])).collect();
    assert_eq!(values.len(), 2, "{objects:?}");
    assert!(values.iter().all(|(_, unit)| **unit == "ms"), "{values:?}");
}

#[test]
fn a_preemption_has_a_cost() {
    let objects = objects(&["hog_preemption"]);
    assert_eq!(objects[0]["unit"], "us");
    assert!(objects[0]["also"]["preemptions"].as_f64() > Some(0.0), "{objects:?}");
}

/// A second, or a minute where nobody waits for it.
#[test]
fn chaos_finds_nothing_wrong() {
    let secs = if std::env::var_os("CI").is_some() { "60" } else { "1" };
    let output = output(&["chaos", "--secs", secs, "--seed", "7", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let object: Value = serde_json::from_str(text(&output.stdout)).expect("one object");
    assert_eq!(object["seed"], 7);
    assert_eq!((&object["mismatches"], &object["lost"]), (&0.into(), &0.into()), "{object}");
    for part in ["allocation", "locks", "registers", "floats", "panics", "input_output", "channels"]
    {
        assert!(object["operations"][part].is_u64(), "{part}: {object}");
    }
    assert!(text(&output.stderr).contains(&format!("lab chaos --secs {secs} --seed 7")));
}

#[test]
fn chaos_prints_its_seed_and_a_table() {
    let output = output(&["chaos", "--secs", "1"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stderr).strip_prefix("seed ").and_then(|said| said.split_once(':'));
    let (seed, _) = said.expect("the seed comes first");
    let mut lines = text(&output.stdout).lines().map(|line| line.split_whitespace());
    assert!(lines.any(|mut line| line.next() == Some("seed") && line.next() == Some(seed)));
}

#[test]
fn unknown_options_are_mistakes() {
    for args in [&["chaos", "--sec", "1"][..], &["chaos", "--secs", "0"], &["yield", "--secs", "1"]]
    {
        let output = output(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_table_names_rows_and_subjects_and_progress_goes_elsewhere() {
    let output = output(&["yield_many", "--quick", "--runs", "2"]);
    assert!(output.status.success());
    let table = text(&output.stdout);
    assert_eq!(table.lines().count(), 4, "a header, its line, two subjects:\n{table}");
    assert!(table.contains("timestop") && table.contains("threads"), "{table}");
    let progress: Vec<&str> = text(&output.stderr).lines().collect();
    assert_eq!(progress.len(), 5, "{progress:?}");
    assert!(progress[0].starts_with("2 cells in 1 row, 2 runs each: about"), "{progress:?}");
    let turns = ["timestop 1/2", "threads 1/2", "timestop 2/2", "threads 2/2"];
    for (line, turn) in progress[1..].iter().zip(turns) {
        assert!(line.starts_with(&format!("yield_many {turn}: ")), "{line}");
    }
}

#[test]
fn the_list_has_every_bench() {
    for args in [["list"], ["--list"]] {
        let output = output(&args);
        assert!(output.status.success());
        let benches =
            ["yield", "spawn_join/2", "pingpong", "memory_sleep", "timers", "mutex", "echo/8000"];
        for bench in benches.iter().chain(&["python", "idle_cpu"]) {
            assert!(text(&output.stdout).contains(bench), "{bench}");
        }
    }
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    for (args, nearest) in
        [(["yeild", "--quick"], "'yield'"), (["yield", "--subjects=thread"], "'threads'")]
    {
        let output = output(&args);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(nearest), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_bench_without_the_subject_is_a_mistake() {
    assert_eq!(output(&["yield", "--subjects", "epoll"]).status.code(), Some(2));
}

#[test]
fn a_cell_that_failed_says_why() {
    let mut command = lab(&["python", "--quick", "--runs", "1", "--json", "--subjects", "plain"]);
    // No python3 there, whatever this machine has.
    let output = command.env("PATH", "").output().expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    let object = &parsed(text(&output.stdout))[0];
    assert!(object["value"].is_null());
    assert_eq!(object["runs"], 0);
    let error = object["error"].as_str().expect("a reason");
    assert!(error.contains("python3"), "{error}");
}

#[test]
fn ctrl_c_prints_and_saves_what_was_measured() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lab.jsonl");
    let mut child = lab(&["yield_many", "--quick", "--runs", "1000000", "--json", "--output"])
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let progress = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut progress = progress.lines();
    // What is to come, and then one run of each subject is over.
    for _ in 0..3 {
        progress.next().expect("a line a run").expect("UTF-8");
    }
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupt.expect("kill starts").success());
    // Read to the end, or the program might wait for room in the pipe.
    progress.for_each(drop);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    let objects = parsed(text(&output.stdout));
    let subjects: Vec<_> = objects.iter().map(|object| &object["subject"]).collect();
    assert_eq!(subjects, ["timestop", "threads"]);
    let saved = fs::read_to_string(&file).expect("the file is there");
    assert_eq!(saved, text(&output.stdout));
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_anything_is_measured() {
    let output = output(&["yield", "--quick", "--output", "/nonexistent/lab.jsonl"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--output /nonexistent/lab.jsonl: No such file"));
}
