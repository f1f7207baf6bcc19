//! `timestop lab` beside programs of other people: here shell scripts, which do what a subject may do wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// Subject NAME, bench, then keys. What it was called with is its note.
const SCRIPT: &str = r#"
name=$1 bench=$2; shift 2
for pair; do eval "${pair%%=*}='${pair#*=}'"; done
case $name in
    failing) echo out of luck >&2; exit 3 ;;
    talking) echo hello ;;
    hanging) exec sleep 600 ;;
    small) [ "$tasks" -le 3000 ] || { echo no room >&2; exit 1; } ;;
esac
case $bench in
    memory_*) echo page_tables 2; echo system 3 ;;
    hog) echo 250 >"$late" ;;
esac
echo value 5
echo note "$bench $*"
"#;

/// Echoes, one thread a connection.
const SERVER: &str = r#"
import os, socket, sys, threading
if sys.argv[1:] != ["echo", "workers=1"]:
    sys.exit(f"called with {sys.argv[1:]}")
def echo(socket):
    try:
        while data := socket.recv(512):
            socket.sendall(data)
    except ConnectionError:
        pass
listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
print(listener.getsockname()[1], os.getpid(), flush=True)
while True:
    threading.Thread(target=echo, args=[listener.accept()[0]], daemon=True).start()
"#;

fn subject(name: &str, benches: &str) -> String {
    format!(
        "[[subject]]\nname = '{name}'\ntitle = 'a script'\n\
         run = ['sh', '{{here}}/run.sh', '{name}']\nbenches = [{benches}]\n"
    )
}

/// A checkout with nothing but a folder `lab`.
struct Checkout(TempDir);

impl Checkout {
    fn with(folders: &[(&str, String)]) -> Self {
        let checkout = Checkout(tempfile::tempdir().expect("a folder"));
        fs::create_dir_all(checkout.0.path().join("lab/subjects")).expect("a folder");
        for (name, manifest) in folders {
            let folder = checkout.folder(name);
            fs::create_dir(&folder).expect("a folder");
            fs::write(folder.join("subject.toml"), manifest).expect("a file");
            fs::write(folder.join("run.sh"), SCRIPT).expect("a file");
            fs::write(folder.join("server.py"), SERVER).expect("a file");
        }
        checkout
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.0.path().join("lab/subjects").join(name)
    }

    fn lab(&self, args: &[&str]) -> Output {
        lab(&self.0.path().join("lab"), args)
    }

    /// The records that a quick run with these arguments prints, and its exit status.
    fn measured(&self, args: &[&str]) -> (Vec<Value>, Option<i32>) {
        let output = self.lab(&[&["--quick", "--runs", "1", "--json"], args].concat());
        let parse = |line| serde_json::from_str(line).expect("an object a line");
        let records = text(&output.stdout).lines().skip(1).map(parse).collect();
        (records, output.status.code())
    }
}

fn lab(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_timestop"));
    command.arg("lab").args(args).env("TIMESTOP_LAB", folder);
    command.output().expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// The record of one subject.
fn of<'a>(records: &'a [Value], subject: &str) -> &'a Value {
    let found = records.iter().find(|record| record["subject"] == subject);
    found.unwrap_or_else(|| panic!("no {subject} in {records:?}"))
}

fn word<'a>(record: &'a Value, key: &str) -> &'a str {
    record[key].as_str().unwrap_or_else(|| panic!("no {key} in {record}"))
}

#[test]
fn a_program_is_measured_beside_timestop() {
    let checkout = Checkout::with(&[("x", subject("good", "'yield'"))]);
    let (records, status) = checkout.measured(&["yield"]);
    assert_eq!(status, Some(0));
    let subjects: Vec<_> = records.iter().map(|record| &record["subject"]).collect();
    assert_eq!(subjects, ["timestop", "good"]);
    assert_eq!(of(&records, "good")["value"], 5.0);
    assert!(word(of(&records, "good"), "note").starts_with("yield workers=1 count="));
}

#[test]
fn what_a_program_does_wrong_is_told_in_its_cell() {
    let names = ["failing", "talking", "hanging"];
    let manifest = names.map(|name| subject(name, "'yield'")).concat();
    let checkout = Checkout::with(&[("x", manifest)]);
    let (records, status) = checkout.measured(&["yield", "--limit", "2"]);
    assert_eq!(status, Some(1));
    for (name, why) in [
        ("failing", "out of luck"),
        ("talking", "not `key value`: hello"),
        ("hanging", "not finished after 2 s"),
    ] {
        let record = of(&records, name);
        assert!(record["value"].is_null(), "{record}");
        assert!(word(record, "error").contains(why), "{record}");
    }
    assert!(of(&records, "timestop")["value"].is_number());
}

#[test]
fn what_hangs_is_not_run_again() {
    let checkout = Checkout::with(&[("x", subject("hanging", "'yield'"))]);
    let args = ["yield", "--quick", "--runs", "50", "--limit", "1", "--subjects", "hanging"];
    let output = checkout.lab(&args);
    assert_eq!(output.status.code(), Some(1));
    let runs = text(&output.stderr).lines().filter(|line| line.starts_with("yield hanging"));
    assert_eq!(runs.count(), 1, "{}", text(&output.stderr));
}

#[test]
fn what_is_missing_is_a_failure_only_if_it_was_asked_for() {
    let need =
        "[[needs]]\ncommand = ['no-such-toolchain']\ninstall = 'apt-get install toolchain'\n";
    let build = "[[build]]\ncommand = ['true']\n";
    let checkout = Checkout::with(&[
        ("absent", format!("{need}{}", subject("absent", "'yield'"))),
        ("unbuilt", format!("{build}{}", subject("unbuilt", "'yield'"))),
        ("unable", format!("{}[subject.unable]\nyield = 'it cannot'\n", subject("unable", ""))),
    ]);
    let (records, status) = checkout.measured(&["yield"]);
    assert_eq!(status, Some(0));
    for (name, why) in [
        ("absent", "needs `no-such-toolchain`"),
        ("absent", "apt-get install toolchain"),
        ("unbuilt", "not built: run `timestop lab prepare unbuilt`"),
        ("unable", "it cannot"),
    ] {
        assert!(word(of(&records, name), "error").contains(why), "{records:?}");
    }
    assert_eq!(checkout.measured(&["yield", "--subjects", "unbuilt"]).1, Some(1));
    assert_eq!(checkout.measured(&["yield", "--subjects", "absent"]).1, Some(1));
    // That is a property of it, and nobody's failure.
    assert_eq!(checkout.measured(&["yield", "--subjects", "unable"]).1, Some(0));
}

#[test]
fn what_is_too_much_for_a_program_is_measured_smaller_and_told() {
    let most = "[subject.at_most]\nmemory = { value = 700, why = 'mappings' }\n\
                workers = { value = 1, why = 'one thread' }\n";
    let benches = "'memory_sleep', 'spawn_join'";
    let manifest = format!("{}{most}{}", subject("limited", benches), subject("small", benches));
    let checkout = Checkout::with(&[("x", manifest)]);
    let (records, status) =
        checkout.measured(&["memory_sleep/10000", "--subjects", "limited,small"]);
    assert_eq!(status, Some(0));
    let note = word(of(&records, "limited"), "note");
    for part in ["measured at 700: mappings", "on 1 core: one thread", "workers=1 tasks=700"] {
        assert!(note.contains(part), "{part}: {note}");
    }
    // It fails at the full size and at half of it.
    let note = word(of(&records, "small"), "note");
    assert!(note.contains("measured at 2,500: 10,000 failed (exit status: 1: no room)"), "{note}");
    // Two cores for one thread are no row of their own.
    let (records, status) = checkout.measured(&["spawn_join/2", "--subjects", "limited"]);
    assert_eq!((word(&records[0], "error"), status), ("one thread", Some(0)));
}

#[test]
fn latenesses_are_read_from_the_file_that_a_program_writes() {
    let checkout = Checkout::with(&[("x", subject("good", "'hog'"))]);
    let (records, status) = checkout.measured(&["hog/1", "--subjects", "good"]);
    assert_eq!(status, Some(0));
    // One line of 250 µs: ninety-nine sleepers never woke, and are late by half a second.
    assert_eq!((word(&records[0], "bench"), word(&records[0], "unit")), ("hog/1", "ms"));
    assert!(word(&records[0], "note").contains("99 of 100 sleepers never woke"), "{records:?}");
    assert!(records[0]["value"].as_f64() > Some(400.0), "{records:?}");
}

#[test]
fn a_server_is_put_under_load() {
    let manifest = subject("server", "'echo'").replace("'sh'", "'python3'");
    let manifest = manifest.replace("{here}/run.sh', 'server'", "{here}/server.py'");
    let checkout = Checkout::with(&[("x", manifest)]);
    let args = ["echo/64", "storm", "slow_clients", "--subjects", "server"];
    let (records, status) = checkout.measured(&args);
    assert_eq!(status, Some(0), "{records:?}");
    for bench in ["echo/64", "echo_p99/64", "storm", "storm_cpu", "slow_clients/1000"] {
        let record = records.iter().find(|record| record["bench"] == bench);
        let value = record.and_then(|record| record["value"].as_f64());
        assert!(value.is_some_and(|value| value >= 0.0), "{bench}: {record:?}");
    }
}

#[test]
fn prepare_builds_and_says_what_is_ready() {
    let build = "[[needs]]\ncommand = ['echo', 'Shell 1.0']\ninstall = 'a shell'\n\
                 [[build]]\ncommand = ['cp', '{here}/run.sh', '{build}/run.sh']\n";
    let manifest = format!("{build}{}", subject("built", "'yield'"))
        .replace("'{here}/run.sh', 'b", "'{build}/run.sh', 'b");
    let checkout = Checkout::with(&[("x", manifest)]);
    for _ in 0..2 {
        let output = checkout.lab(&["prepare", "built"]);
        assert_eq!(text(&output.stdout), "built: ready (Shell 1.0)\n", "{output:?}");
        assert!(output.status.success());
    }
    let output = checkout.lab(&["yield", "--quick", "--json", "--subjects", "built"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let header = text(&output.stdout).lines().next().expect("a header");
    assert!(header.contains(r#""built":"Shell 1.0""#), "{header}");
    // A change of the sources is seen.
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    let source = fs::File::options().append(true).open(checkout.folder("x").join("run.sh"));
    source.and_then(|file| file.set_modified(later)).expect("our own file");
    let (records, status) = checkout.measured(&["yield", "--subjects", "built"]);
    let why = "changed since it was built: run `timestop lab prepare built`";
    assert_eq!((word(&records[0], "error"), status), (why, Some(1)));
}

#[test]
fn prepare_says_what_it_could_not_do() {
    let need =
        "[[needs]]\ncommand = ['no-such-toolchain']\ninstall = 'apt-get install toolchain'\n";
    let build = "[[build]]\ncommand = ['sh', '-c', 'echo first; echo the reason >&2; exit 9']\n";
    let checkout = Checkout::with(&[
        ("absent", format!("{need}{}", subject("absent", "'yield'"))),
        ("broken", format!("{build}{}", subject("broken", "'yield'"))),
        ("fine", subject("fine", "'yield'")),
    ]);
    let output = checkout.lab(&["prepare"]);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<_> = text(&output.stdout).lines().collect();
    assert!(lines[0].starts_with("absent: not ready: needs `no-such-toolchain`"), "{lines:?}");
    assert!(lines[0].contains("apt-get install toolchain"), "{lines:?}");
    assert!(lines[1].starts_with("broken: not ready:"), "{lines:?}");
    assert!(lines[1].ends_with("failed (exit status: 9): the reason"), "{lines:?}");
    assert_eq!(lines[2], "fine: ready");
    // All that the build said is shown.
    assert!(text(&output.stderr).contains("first\nthe reason\n"), "{}", text(&output.stderr));
    assert!(checkout.lab(&["prepare", "fine"]).status.success());
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    let checkout = Checkout::with(&[("x", subject("erlang", "'yield'"))]);
    for args in [&["prepare", "erlnag"][..], &["yield", "--subjects", "erlnag"]] {
        let output = checkout.lab(args);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("did you mean 'erlang'?"), "{output:?}");
    }
}

#[test]
fn a_mistake_in_a_manifest_names_the_file_and_the_key() {
    let manifest = subject("x", "'yield'").replace("benches", "benchs");
    let checkout = Checkout::with(&[("x", manifest)]);
    for args in [&["yield", "--quick"][..], &["list"], &["prepare"]] {
        let output = checkout.lab(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said = text(&output.stderr);
        assert!(said.contains("subjects/x/subject.toml") && said.contains("benchs"), "{said}");
    }
    let two = Checkout::with(&[("a", subject("x", "")), ("b", subject("x", ""))]).lab(&["list"]);
    assert!(text(&two.stderr).contains("two subjects are called 'x', in a and in b"), "{two:?}");
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let output = lab(Path::new("/nonexistent"), &["yield", "--quick"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("TIMESTOP_LAB is /nonexistent"), "{output:?}");
}
