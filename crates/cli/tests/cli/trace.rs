//! `timestop run --trace`: what is in the file, and that there is one whatever becomes of the program.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Program, output, output_of, text};

/// What is added to a process's number for its fibers.
const FIBERS: u64 = 1 << 30;

fn program(arguments: &[&str]) -> Program {
    let mut program = Program::c("traced");
    program.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
    program
}

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("trace.json");
    (directory, file)
}

fn options(file: &Path) -> [&str; 4] {
    ["--workers", "1", "--trace", file.to_str().expect("a path of text")]
}

/// The events of a file; `ended` says whether it has an end. Without, the viewers add it as is done here.
fn events(file: &Path, ended: bool) -> Vec<Value> {
    let mut text = fs::read_to_string(file).expect("it was written");
    assert_eq!(text.ends_with("\n]\n"), ended, "…{}", &text[text.len().saturating_sub(200)..]);
    if !ended {
        text = format!("{}]", text.trim_end().trim_end_matches(','));
    }
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

fn name(event: &Value) -> &str {
    event["name"].as_str().expect("events have names")
}

fn is(event: &Value, kind: &str) -> bool {
    event["ph"] == kind
}

/// Nanoseconds.
fn time(event: &Value, key: &str) -> u64 {
    (event[key].as_f64().expect("a number") * 1000.0).round() as u64
}

type Track = (u64, u64);

fn track(event: &Value) -> Track {
    (event["pid"].as_u64().expect("a number"), event["tid"].as_u64().expect("a number"))
}

/// The names of tracks.
fn tracks(events: &[Value]) -> HashMap<String, Track> {
    let named = events.iter().filter(|event| is(event, "M") && name(event) == "thread_name");
    named
        .map(|event| (event["args"]["name"].as_str().expect("text").to_owned(), track(event)))
        .collect()
}

/// The intervals of a track, in order of time.
fn intervals(events: &[Value], of: Track) -> Vec<(&str, u64, u64)> {
    let mut all: Vec<_> = events
        .iter()
        .filter(|event| is(event, "X") && track(event) == of)
        .map(|event| (name(event), time(event, "ts"), time(event, "ts") + time(event, "dur")))
        .collect();
    all.sort_by_key(|(_, from, until)| (*from, *until));
    all
}

/// How many fibers have ended, or were about to when the trace ended: who is joined leaves a moment later.
fn over(events: &[Value]) -> usize {
    let is_over = |event: &&Value| {
        ["ended", "still runs"].contains(&event["args"]["left"].as_str().unwrap_or_default())
    };
    events.iter().filter(is_over).count()
}

/// What holds of every trace: on no track do two intervals overlap, and arrows have two ends, within a run each.
fn is_consistent(events: &[Value]) {
    let all: HashSet<Track> = events.iter().filter(|event| is(event, "X")).map(track).collect();
    for of in &all {
        for pair in intervals(events, *of).windows(2) {
            assert!(pair[0].2 <= pair[1].1, "they overlap on {of:?}: {pair:?}");
        }
    }
    let ends = |kind: &str| -> HashMap<u64, &Value> {
        let ends = events.iter().filter(|event| is(event, kind));
        ends.map(|event| (event["id"].as_u64().expect("a number"), event)).collect()
    };
    let (starts, ends) = (ends("s"), ends("f"));
    assert!(!starts.is_empty(), "nobody wakes anybody");
    assert_eq!(
        starts.keys().collect::<HashSet<_>>(),
        ends.keys().collect::<HashSet<_>>(),
        "arrows with one end"
    );
    for end in starts.values().chain(ends.values()) {
        let at = time(end, "ts");
        let runs = intervals(events, track(end));
        assert!(runs.iter().any(|run| run.1 <= at && at <= run.2), "no run at {end}");
    }
    for (id, start) in starts {
        assert!(time(start, "ts") <= time(ends[&id], "ts"), "woken before: {start}");
    }
}

#[test]
fn waits_and_wakers_are_there() {
    let (_directory, file) = place();
    let run = output(&mut program(&["waits"]).run_with(&options(&file)));
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert_eq!(text(&run.stderr), "");
    let descriptor = text(&run.stdout).trim().to_owned();
    let events = events(&file, true);
    is_consistent(&events);
    let tracks = tracks(&events);
    assert!(tracks.contains_key("worker 0"), "{tracks:?}");
    for (fiber, wait) in [
        ("reader", format!("read of descriptor {descriptor}")),
        ("locker", "mutex 0x".to_owned()),
        ("\"slee\\per\"", "sleep".to_owned()),
    ] {
        let of = *tracks.get(fiber).unwrap_or_else(|| panic!("no {fiber} in {tracks:?}"));
        let life = intervals(&events, of);
        let wait = life.iter().position(|(what, ..)| what.starts_with(&wait));
        let wait = wait.unwrap_or_else(|| panic!("{fiber}: {life:?}"));
        // It ran before and after, and was queued in between.
        let what: Vec<_> = life.iter().map(|(what, ..)| *what).collect();
        assert_eq!(what[wait - 1], "runs", "{fiber}: {life:?}");
        assert!(what[wait + 1..].contains(&"runs"), "{fiber}: {life:?}");
        // The same run is on the worker's track, by name.
        let (_, from, until) = life[wait - 1];
        let (worker, _) = of;
        let runs = intervals(&events, (worker - FIBERS, 1));
        let same = runs.iter().find(|run| (run.1, run.2) == (from, until));
        assert!(same.is_some_and(|run| run.0.starts_with(fiber)), "{fiber}: {same:?}");
    }
    assert_eq!(over(&events), 4, "three threads have ended, and main goes on to the end");
    for counter in ["fibers", "OS threads", "runnable fibers"] {
        assert!(events.iter().any(|event| is(event, "C") && name(event) == counter), "{counter}");
    }
}

#[test]
fn a_hand_off_and_a_preemption_are_there() {
    let (_directory, file) = place();
    let run = output(&mut program(&["stuck"]).run_with(&options(&file)));
    assert!(run.status.success(), "{}", text(&run.stderr));
    let traced = events(&file, true);
    is_consistent(&traced);
    let handed_off: Vec<_> = traced
        .iter()
        .filter(|event| is(event, "i") && name(event).starts_with("handed off"))
        .collect();
    assert!(!handed_off.is_empty());
    // It goes on on its OS thread, from where it left the worker.
    let without = tracks(&traced).into_iter().find(|(name, _)| name.contains("without a worker"));
    let (_, alone) = without.expect("a track of the OS thread");
    let runs = intervals(&traced, alone);
    let is_next = |event: &&Value| runs.iter().any(|run| run.1 == time(event, "ts"));
    assert!(handed_off.iter().any(is_next), "{runs:?}");
    assert!(runs[0].0.starts_with("stuck "), "{runs:?}");

    let (_directory, file) = place();
    let run = output(&mut program(&["compute"]).run_with(&options(&file)));
    assert!(run.status.success(), "{}", text(&run.stderr));
    let events = events(&file, true);
    is_consistent(&events);
    let is_preemption = |event: &&Value| is(event, "i") && name(event).starts_with("preempted: ");
    assert!(events.iter().any(|event| is_preemption(&event)));
}

#[test]
fn every_end_ends_the_trace() {
    for (end, code, signal) in [("_exit", Some(0), None), ("TERM", None, Some(15))] {
        let (_directory, file) = place();
        let run = output(&mut program(&["waits", end]).run_with(&options(&file)));
        assert_eq!((run.status.code(), run.status.signal()), (code, signal), "{end}");
        let events = events(&file, true);
        is_consistent(&events);
        assert_eq!(name(events.last().expect("events")), "0 events lost in all, end of the trace");
    }
}

/// The files beside `file`, it included.
fn files(file: &Path) -> Vec<PathBuf> {
    let folder = file.parent().expect("in a folder").read_dir().expect("a folder");
    let mut files: Vec<_> = folder.map(|file| file.expect("readable").path()).collect();
    files.sort();
    files
}

#[test]
fn each_process_has_a_file() {
    let (_directory, file) = place();
    let run = output(&mut program(&["fork"]).run_with(&options(&file)));
    assert!(run.status.success(), "{}", text(&run.stderr));
    let files = files(&file);
    // The child that had no fibers of its own has none.
    assert_eq!(files.len(), 2, "{files:?}");
    let mut processes = HashSet::new();
    for file in &files {
        let events = events(file, true);
        is_consistent(&events);
        let own = tracks(&events)["worker 0"].0;
        assert_eq!(tracks(&events)["reader"].0, own + FIBERS);
        assert!(processes.insert(own), "one process in two files");
    }
    let child = files[1].extension().expect("a number").to_str().expect("text");
    assert!(processes.contains(&child.parse().expect("a number")), "{files:?}");
}

#[test]
fn another_program_in_its_place_writes_another_file() {
    for how in ["exec", "execv"] {
        let (_directory, file) = place();
        let run = output(&mut program(&[how]).run_with(&options(&file)));
        assert!(run.status.success(), "{}", text(&run.stderr));
        assert_eq!(text(&run.stdout).lines().count(), 2);
        let files = files(&file);
        assert_eq!(files.len(), 2, "{files:?}");
        // What the first did until then is there, and was not overwritten.
        let (first, second) = (events(&files[0], false), events(&files[1], true));
        is_consistent(&second);
        assert_eq!(over(&second), 4);
        if how == "execv" {
            is_consistent(&first);
            assert!(over(&first) >= 2);
        }
    }
}

/// Waits until `condition` holds.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_file_of_one_that_was_killed_is_whole() {
    let (_directory, file) = place();
    let program = program(&["yield-then-wait", "1000"]);
    let mut command = program.run_with(&options(&file));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    out.read_line(&mut line).expect("it prints");
    assert_eq!(line, "done\n");
    let ended = || fs::read_to_string(&file).expect("readable").matches("\"ended\"").count() == 2;
    until("it writes what has ended", ended);
    kill_process(Pid::from_child(&child), Signal::KILL).expect("our child");
    assert_eq!(child.wait().expect("our child").signal(), Some(9));
    let events = events(&file, false);
    is_consistent(&events);
    let yields = events.iter().filter(|event| event["args"]["left"] == "yielded").count();
    assert!(yields >= 1000, "{yields}");
}

#[test]
fn a_full_disk_is_told_once() {
    let run = output(&mut program(&["yield", "1000"]).run_with(&options(Path::new("/dev/full"))));
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert_eq!(
        text(&run.stderr),
        "timestop: --trace /dev/full: No space left on device (os error 28); the trace ends there, \
         and the program goes on\n"
    );
}

#[test]
fn a_limit_ends_the_trace() {
    let (_directory, file) = place();
    let path = file.to_str().expect("a path of text");
    let options = ["--workers", "1", "--trace", path, "--trace-limit", "1"];
    let run = output(&mut program(&["yield", "20000"]).run_with(&options));
    assert!(run.status.success(), "{}", text(&run.stderr));
    let line = format!(
        "timestop: --trace {path}: the trace has reached its limit of 1 MB, and ends there\n"
    );
    assert_eq!(text(&run.stderr), line);
    let length = file.metadata().expect("it is there").len();
    assert!((1 << 20..(1 << 20) + (1 << 17)).contains(&length), "{length}");
    events(&file, false);
}

/// Nobody reads what is written until all has happened, so most of it is lost: that is told, in the trace too.
#[test]
fn what_is_lost_is_counted() {
    let (_directory, file) = place();
    let made = std::process::Command::new("mkfifo").arg(&file).status().expect("coreutils");
    assert!(made.success());
    // Open for both, so that nobody waits for the other to open it.
    let mut pipe = OpenOptions::new().read(true).write(true).open(&file).expect("a FIFO");
    let program = program(&["yield-then-wait", "200000"]);
    let mut command = program.run_with(&options(&file));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = child.stdin.take().expect("piped");
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    out.read_line(&mut line).expect("it prints");
    assert_eq!(line, "done\n");
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        let mut bytes = vec![0; 1 << 16];
        while !all.ends_with(b"\n]\n") {
            let count = pipe.read(&mut bytes).expect("a FIFO");
            all.extend_from_slice(&bytes[..count]);
        }
        String::from_utf8(all).expect("text")
    });
    input.write_all(b"x").expect("it reads");
    let run = output_of(child, &command);
    assert!(run.status.success());
    let all: Vec<Value> = serde_json::from_str(&reader.join().expect("it reads")).expect("JSON");
    is_consistent(&all);
    let lost = |event: &Value| -> Option<u64> {
        name(event).strip_suffix(" events lost").map(|count| count.parse().expect("a number"))
    };
    let lost: u64 = all.iter().filter_map(lost).sum();
    assert!(lost > 100_000, "{lost}");
    assert_eq!(
        name(all.last().expect("events")),
        format!("{lost} events lost in all, end of the trace")
    );
    let told = text(&run.stderr).replace(',', "");
    assert!(told.contains(&format!(": {lost} events were lost")), "{told}");
}

/// A process that writes its trace to a pipe ends even if nobody reads it.
#[test]
fn a_pipe_that_nobody_reads_is_given_up_at_the_end() {
    let (_directory, file) = place();
    let made = std::process::Command::new("mkfifo").arg(&file).status().expect("coreutils");
    assert!(made.success());
    let _pipe = OpenOptions::new().read(true).write(true).open(&file).expect("a FIFO");
    let program = program(&["yield-then-wait", "200000"]);
    let run = output(program.run_with(&options(&file)).stdin(Stdio::null()));
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert!(text(&run.stderr).contains(": nobody reads it; the trace ends there"));
}

#[test]
fn a_trace_that_cannot_be_written_is_told_before_the_start() {
    let run = output(&mut program(&["waits"]).run_with(&["--trace", "/nothing/trace"]));
    assert_eq!(run.status.code(), Some(125));
    assert!(text(&run.stderr).starts_with("timestop: --trace /nothing/trace: "));
    assert!(run.stdout.is_empty());
    // What was there is overwritten.
    let (_directory, file) = place();
    File::create(&file).expect("a folder of ours").write_all(b"old").expect("room");
    let run = output(&mut program(&["waits"]).run_with(&options(&file)));
    assert!(run.status.success());
    is_consistent(&events(&file, true));
    assert_eq!(files(&file).len(), 1);
}
