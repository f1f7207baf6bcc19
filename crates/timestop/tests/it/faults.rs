//! Where fibers cannot run: `spawn` says what was expected and what was found, and nothing has begun.

use std::process::Stdio;
use std::time::{Duration, Instant};

use timestop_fiber::fault::Fault;

use crate::support::{child, is_child};

/// What only the main thread of a program under `timestop run` needs.
fn is_of_run(fault: Fault) -> bool {
    fault == Fault::MainMemory
}

/// As a child: reports what `spawn` says, twice.
fn report() {
    let error = || match timestop::Builder::new().spawn(|| ()) {
        Ok(_) => "it runs".to_owned(),
        Err(error) => error.to_string(),
    };
    let (first, second) = (error(), error());
    println!("\nfirst: {first}\nsecond: {second}");
    // By whatever fault: no thread but those that glibc's own would be missing.
    let tasks = || std::fs::read_dir("/proc/self/task").expect("a process has it").count();
    let deadline = Instant::now() + Duration::from_secs(20);
    // Those that were called off may be about to end.
    while tasks() > 3 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    println!("tasks: {}", tasks());
    std::thread::spawn(|| println!("threads go on")).join().expect("no panic");
}

#[test]
fn spawn_says_what_is_missing() {
    if is_child() {
        return report();
    }
    for &fault in Fault::ALL.iter().filter(|fault| !is_of_run(**fault)) {
        let mut command = child("faults::spawn_says_what_is_missing");
        let output = command.env("TIMESTOP_FAULT", fault.name()).stdin(Stdio::null()).output();
        let stdout =
            String::from_utf8(output.expect("this binary starts again").stdout).expect("text");
        let line = |name: &str| {
            let line = stdout.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("{fault:?}: no {name} in {stdout}"))
        };
        let (first, second) = (line("first: "), line("second: "));
        assert_eq!(first, second, "{fault:?}: an error is no less of one the second time");
        let tells =
            first.starts_with("fibers cannot run here: expected ") && first.contains(", found ");
        let lacks =
            first.starts_with("no descriptor for ") || first.starts_with("no OS thread for ");
        assert!(tells || lacks, "{fault:?}: {first}");
        assert!(stdout.contains("threads go on"), "{fault:?}: {stdout}");
        // main, the test's, and the template that was made before the check. Not one at each attempt,
        // but where memory or threads were missing and may be there the next time.
        let tasks: usize = line("tasks: ").parse().expect("a number");
        assert!(tasks <= 3, "{fault:?}: {tasks} OS threads are left");
    }
}

#[test]
fn spawn_without_a_builder_panics_with_the_reason() {
    if is_child() {
        let panic = std::panic::catch_unwind(|| timestop::spawn(|| ()));
        let panic = panic.expect_err("fibers cannot run");
        println!("\npanic: {}", panic.downcast_ref::<String>().expect("a message"));
        return;
    }
    let mut command = child("faults::spawn_without_a_builder_panics_with_the_reason");
    let output =
        command.env("TIMESTOP_FAULT", Fault::Glibc.name()).output().expect("it starts again");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let wanted = "panic: failed to spawn a fiber: fibers cannot run here: expected glibc 2.31 or later, \
                  found 2.30";
    assert!(stdout.contains(wanted), "{stdout}");
}
