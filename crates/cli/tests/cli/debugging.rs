//! What debuggers and profilers see of fibers: `tools/gdb/timestop.py`, `tools/perf/fibers.py`.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Program, output, output_of, text};

fn tool(name: &str) -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools");
    tools.canonicalize().expect("the repository has it").join(name)
}

fn gdb(commands: &[&str]) -> Command {
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-iex", "set debuginfod enabled off", "-x"]);
    gdb.arg(tool("gdb/timestop.py"));
    for command in commands {
        gdb.args(["-ex", command]);
    }
    gdb
}

fn program(mode: &str) -> Program {
    let mut program = Program::c_with("traced", &["-g"]);
    program.arguments = vec![mode.to_owned()];
    program
}

/// The lines of `info fibers` that name a fiber: its number, and what it does.
fn listed(all: &str) -> HashMap<String, (u64, String)> {
    let line = |line: &str| {
        let line = line.trim_start_matches(['*', ' ']);
        let (number, rest) = line.split_once(' ')?;
        let (name, does) = rest.trim_start().split_once(' ')?;
        Some((name.to_owned(), (number.parse().ok()?, does.trim_start().to_owned())))
    };
    all.lines().filter_map(line).collect()
}

/// What gdb said between two of our marks.
fn part<'a>(all: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = all.split_once(from).unwrap_or_else(|| panic!("no {from} in {all}"));
    rest.split_once(to).unwrap_or_else(|| panic!("no {to} in {all}")).0
}

/// The waits of `traced stay`, and a stack of each fiber, whatever gdb looks at.
fn are_as_known(said: &str) {
    let fibers = listed(said);
    let does = |name: &str| &fibers.get(name).unwrap_or_else(|| panic!("no {name} in {said}")).1;
    assert!(does("reader").starts_with("read of descriptor "), "{said}");
    assert!(does("locker").starts_with("mutex 0x"), "{said}");
    assert_eq!(*does("joiner"), format!("end of fiber {}", fibers["reader"].0), "{said}");
    // Each in its own function, and none in another's; up to the end, which is the fiber's first frame.
    for (name, function) in
        [("reader", "in reads ("), ("locker", "in locks ("), ("joiner", "in stays (")]
    {
        let title = format!("\nfiber {} '{name}' [", fibers[name].0);
        let stack = said.split_once(&title).unwrap_or_else(|| panic!("no {title} in {said}")).1;
        let stack = stack.split_once("\n\n").map_or(stack, |(stack, _)| stack);
        assert!(stack.contains("<suspended: fiber "), "{stack}");
        for other in ["in reads (", "in locks (", "in stays (", "in main ("] {
            assert_eq!(stack.contains(other), other == function, "{name}: {stack}");
        }
        assert!(stack.contains("timestop_fiber::switch::start"), "{stack}");
        assert!(!stack.contains("Backtrace stopped"), "{stack}");
    }
}

#[test]
fn gdb_sees_the_fibers_of_a_live_process() {
    let program = program("stay-and-stop");
    let mut command = gdb(&[
        "run",
        "echo <list>\\n",
        "info fibers",
        "fiber apply all bt",
        "echo <frames>\\n",
        "fiber 3",
        "bt -1",
        "fiber",
        "fiber off",
        "frame function stops",
        "print answer",
        "echo <wrong>\\n",
        "fiber 99",
    ]);
    command.arg("--args").arg(env!("CARGO_BIN_EXE_timestop"));
    command.args(["run", "--workers", "1"]).arg(&program.path).args(&program.arguments);
    let run = output(&mut command);
    let said = text(&run.stdout);
    are_as_known(part(&said, "<list>\n", "<frames>\n"));
    // Main runs: it has stopped for us.
    assert!(said.contains("fiber 1 [running on OS thread "), "{said}");
    let looked = part(&said, "<frames>\n", "<wrong>\n");
    assert_eq!(looked.matches("fiber 3 'reader' [read of descriptor ").count(), 2, "{looked}");
    assert!(looked.contains("= 42"), "the registers are as they were: {looked}");
    assert!(text(&run.stderr).contains("there is no fiber 99"), "{}", text(&run.stderr));
}

/// Its registers lie where the signal has found them, not where it called.
#[test]
fn gdb_sees_where_a_fiber_was_preempted() {
    let program = program("compute");
    let mut command = gdb(&[
        "set breakpoint pending on",
        "break stop_computing",
        "run",
        "echo <list>\\n",
        "info fibers",
        "fiber apply 2 bt",
        "echo <end>\\n",
        "kill",
    ]);
    command.arg("--args").arg(env!("CARGO_BIN_EXE_timestop"));
    command.args(["run", "--workers", "1"]).arg(&program.path).args(&program.arguments);
    let run = output(&mut command);
    let said = text(&run.stdout);
    let said = part(&said, "<list>\n", "<end>\n");
    assert_eq!(listed(said)["hog"], (2, "queued".to_owned()), "{said}");
    // (gdb says no address where the fiber was interrupted between two lines.)
    assert!(
        said.contains(" computes (arg=") && said.contains("timestop_fiber::switch::start"),
        "{said}"
    );
}

#[test]
fn gdb_sees_the_fibers_in_a_core_file() {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("procfs");
    if pattern.starts_with('|') || pattern.starts_with('/') {
        eprintln!("core files go to {pattern}, not to the working directory: nothing to look at");
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = program("stay");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh"]);
    command.arg(env!("CARGO_BIN_EXE_timestop")).args(["run", "--workers", "1"]);
    command.arg(&program.path).args(&program.arguments).current_dir(&directory);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh starts");
    is_ready(&mut child);
    kill_process(Pid::from_child(&child), Signal::ABORT).expect("our child");
    child.wait().expect("our child");
    let files = directory.path().read_dir().expect("a folder");
    let core = files.map(|file| file.expect("readable").path()).next().expect("it dumps core");
    let mut command = gdb(&["info fibers", "fiber apply all bt"]);
    let run = output(command.arg(&program.path).arg(&core));
    let said = text(&run.stdout);
    are_as_known(&said);
    let stack = said.split_once("\nfiber 1 [").unwrap_or_else(|| panic!("{said}")).1;
    assert!(stack.contains("in told (") && stack.contains("in main ("), "{said}");
}

fn is_ready(child: &mut Child) {
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.as_mut().expect("piped"));
    out.read_line(&mut line).expect("it prints");
    assert_eq!(line, "done\n");
}

/// A program that holds the crate: this one, as it serves.
#[test]
fn gdb_sees_the_fibers_of_the_crate() {
    let program = env!("CARGO_BIN_EXE_timestop");
    // It stops where the first connection is accepted, by what its main fiber calls then.
    let mut command = gdb(&[
        "set breakpoint pending on",
        "break timestop::serve::connection::serve",
        "run",
        "echo <list>\\n",
        "info fibers",
        "fiber apply all bt",
        "echo <end>\\n",
        "kill",
    ]);
    command.args(["--args", program, "serve", "--bind", "127.0.0.1:0"]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("gdb: {error}; install it first: apt-get install gdb"));
    let mut errors = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("listening on http://") {
        line.clear();
        assert_ne!(errors.read_line(&mut line).expect("text"), 0, "gdb has ended");
    }
    let address = line.trim_end().rsplit_once("http://").expect("a URL").1.to_owned();
    let _client = std::net::TcpStream::connect(address).expect("it listens");
    let run = output_of(child, &command);
    let said = text(&run.stdout);
    let said = part(&said, "<list>\n", "<end>\n");
    let fibers = listed(said);
    let main = fibers.get("main").unwrap_or_else(|| panic!("no main in {said}"));
    assert!(main.1.starts_with("read of descriptor ") || main.1 == "queued", "{said}");
    assert!(said.contains("serve::accept::serve"), "{said}");
    assert!(said.contains("running on OS thread "), "{said}");
}

/// Samples made up from a real trace: each is told of the fiber that ran there then.
#[test]
fn perf_samples_are_told_of_fibers() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("trace.json");
    let path = file.to_str().expect("a path of text");
    let run = output(&mut program("waits").run_with(&["--workers", "1", "--trace", path]));
    assert!(run.status.success(), "{}", text(&run.stderr));
    let events: Vec<serde_json::Value> =
        serde_json::from_str(&fs::read_to_string(&file).expect("readable")).expect("JSON");
    let mut samples = String::new();
    let mut expected: HashMap<String, usize> = HashMap::new();
    for event in events.iter().filter(|event| event["args"]["thread"].is_u64()) {
        let number = |key: &str| (event[key].as_f64().expect("a number") * 1000.0).round() as u64;
        let (start, length) = (number("ts"), number("dur"));
        let (seconds, rest) =
            ((start + length / 2) / 1_000_000_000, (start + length / 2) % 1_000_000_000);
        samples +=
            &format!("{} {seconds}.{rest:09}:\n\t    7f00 [unknown]\n", event["args"]["thread"]);
        samples += "\t    55aa compute\n\t    55bb main\n\n";
        *expected.entry(event["name"].as_str().expect("text").to_owned()).or_default() += 1;
    }
    // Another OS thread, and a time before all.
    samples += "1 5.000000000: \t 55aa idle\n";
    expected.insert("no fiber".to_owned(), 1);
    // A file without its end is read too.
    let whole = fs::read_to_string(&file).expect("readable");
    let cut = directory.path().join("cut.json");
    fs::write(&cut, whole.trim_end().trim_end_matches(']').to_owned() + "{\"ph\":\"X\",\"na")
        .expect("room");
    for trace in [&file, &cut] {
        let mut command = Command::new("python3");
        command.arg(tool("perf/fibers.py")).arg(trace);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("python3");
        let mut input = child.stdin.take().expect("piped");
        input.write_all(samples.as_bytes()).expect("it reads");
        drop(input);
        let run = output_of(child, &command);
        let said = text(&run.stdout);
        assert!(run.status.success(), "{}", text(&run.stderr));
        for (fiber, count) in &expected {
            let line = said.lines().find(|line| line.ends_with(&format!("  {fiber}")));
            let line = line.unwrap_or_else(|| panic!("no {fiber} in {said}"));
            assert_eq!(line.split_whitespace().nth(1), Some(count.to_string().as_str()), "{said}");
        }
        assert!(said.contains("  compute\n") && said.contains("  idle\n"), "{said}");
        assert!(!said.contains("unknown"), "{said}");
    }
}
