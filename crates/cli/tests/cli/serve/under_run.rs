//! A program that holds the crate already, under `timestop run`: one runtime is active, its own.

use std::fs;
use std::process::Command;
use std::time::Instant;

use super::DEADLINE;
use super::server::Server;

#[test]
fn a_program_that_holds_the_crate_keeps_its_one_runtime() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_timestop"));
    // `run` execs: the process is the server.
    command.arg("run").arg(env!("CARGO_BIN_EXE_timestop")).args(["serve", "--bind", "127.0.0.1:0"]);
    let server = Server::start_as(&mut command);
    let mut client = server.client();
    for (path, did) in
        [("sleep", "slept for "), ("spin", "computed for "), ("block", "was blocked for ")]
    {
        let answer = client.get(&format!("/demo/{path}?ms=20"));
        assert!(answer.text().starts_with(did), "{}", answer.text());
    }
    let deadline = Instant::now() + DEADLINE;
    loop {
        let tasks = fs::read_dir(format!("/proc/{}/task", server.id())).expect("it runs");
        let names: Vec<String> = tasks
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok())
            .map(|name| name.trim_end().to_owned())
            .collect();
        let count = |wanted: &str| names.iter().filter(|name| *name == wanted).count();
        let (starters, monitors) = (count("timestop-start"), count("timestop-monito"));
        assert!(starters <= 1 && monitors <= 1, "two runtimes: {names:?}");
        // They name themselves as they begin.
        if (starters, monitors) == (1, 1) {
            break;
        }
        assert!(Instant::now() < deadline, "no runtime: {names:?}");
    }
    let maps = fs::read_to_string(format!("/proc/{}/maps", server.id())).expect("it runs");
    assert!(maps.contains("libtimestop_preload.so"), "the hooks are loaded, and do nothing");
}
