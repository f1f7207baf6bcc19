//! `timestop run`: a program does on fibers what it does on threads, and its caller cannot tell the difference but by the
//! number of OS threads.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::support::{Program, output, output_of, text, timestop_run};

/// Two tests a program: on plain threads, and the same on fibers.
macro_rules! programs {
    ($($name:ident: $program:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn plain() {
                $program.passes_plainly();
            }

            #[test]
            fn on_fibers() {
                $program.is_the_same_on_fibers(&[]);
            }
        }
    )*};
}

programs! {
    c_threads: Program::c("threads");
    c_c11: Program::c("c11");
    c_bound: Program::c("bound");
    c_cancel: Program::c("cancel");
    c_cancel_by_unwinding: Program::c_with("cancel", &["-fexceptions"]);
    c_credentials: Program::c("credentials");
    c_echo: Program::c("echo");
    c_attributes: Program::c("attributes");
    c_forks: Program::c("forks");
    c_handlers: Program::c("handlers");
    c_jumps: Program::c("jumps");
    c_processes: Program::c("procs");
    c_signals: Program::c("signals");
    python_mix: Program::python("mix", &[]);
    python_threads: Program::python("threads10k", &["1000"]);
    python_server: Program::python("server1000", &["200"]);
    python_subprocesses: Program::python("subprocesses", &[]);
    python_late_library: Program::python("late_library", &[]);
    rust_std: Program::rust("std_threads");
}

#[test]
fn lookups_of_names_are_interrupted_as_on_threads() {
    let (program, module) = (Program::c("names"), Program::nss_module());
    let path = ("LD_LIBRARY_PATH", module.path());
    let plain = output(Command::new(&program.path).envs([path]));
    assert!(plain.status.success(), "{}", text(&plain.stderr));
    for workers in ["1", "2"] {
        let mut command = timestop_run();
        command.args(["--workers", workers]).arg(&program.path).envs([path]);
        let fibers = output(&mut command);
        assert!(fibers.status.success(), "{}: {}", fibers.status, text(&fibers.stderr));
        assert_eq!(text(&fibers.stdout), text(&plain.stdout));
    }
}

/// What a program said of itself in a line "os threads N", read from `/proc/self/status`.
fn os_threads(stderr: &[u8]) -> usize {
    let stderr = text(stderr);
    let count = stderr.lines().find_map(|line| line.strip_prefix("os threads "));
    count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no count in: {stderr}"))
}

#[test]
fn a_thousand_connections_take_few_os_threads() {
    let fibers = Program::python("server1000", &[]).on_fibers();
    assert!(fibers.status.success(), "{}", text(&fibers.stderr));
    assert_eq!(text(&fibers.stdout), "PASS 1000 connections\n");
    assert!(os_threads(&fibers.stderr) < 10, "{}", text(&fibers.stderr));
}

#[test]
fn threads_of_c11_take_few_os_threads() {
    let fibers = Program::c("c11").on_fibers();
    assert!(fibers.status.success(), "{}", text(&fibers.stderr));
    assert_eq!(text(&fibers.stdout), "PASS 200 threads\nPASS exit, detach\n");
    assert!(os_threads(&fibers.stderr) < 20, "{}", text(&fibers.stderr));
}

#[test]
fn ten_thousand_python_threads() {
    let fibers = Program::python("threads10k", &[]).on_fibers();
    assert!(fibers.status.success(), "{}", text(&fibers.stderr));
    assert_eq!(text(&fibers.stdout), "PASS 10000 threads\n");
    assert!(os_threads(&fibers.stderr) < 10, "{}", text(&fibers.stderr));
}

#[test]
fn the_exit_status_is_the_programs() {
    for status in [0, 1, 42, 255] {
        let output = output(timestop_run().args(["sh", "-c", &format!("exit {status}")]));
        assert_eq!(output.status.code(), Some(status), "{}", text(&output.stderr));
    }
}

#[test]
fn death_by_a_signal_is_the_programs() {
    for signal in [9, 15] {
        let output = output(timestop_run().args(["sh", "-c", &format!("kill -{signal} $$")]));
        assert_eq!(output.status.signal(), Some(signal), "{}", text(&output.stderr));
    }
    let aborts = Program::c_text("#include <stdlib.h>\nint main(void) { abort(); }", &[]);
    assert_eq!(aborts.on_fibers().status.signal(), Some(6));
}

#[test]
fn stdin_stdout_and_stderr_are_the_programs() {
    let mut command = timestop_run();
    command.args(["sh", "-c", "cat; echo done >&2"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    let mut stdin = child.stdin.take().expect("piped");
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent));
    let output = output_of(child, &command);
    writer.join().expect("no panic").expect("cat reads");
    assert!(output.status.success() && output.stdout == bytes);
    assert_eq!(text(&output.stderr), "done\n");
}

#[test]
fn arguments_and_environment_are_the_programs() {
    let arguments = ["--help", "-v", "--", "two words", ""];
    let plain = output(Command::new("printf").arg("<%s>\n").args(arguments));
    let fibers = output(timestop_run().args(["printf", "<%s>\n"]).args(arguments));
    assert_eq!(text(&fibers.stdout), text(&plain.stdout));

    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut command = timestop_run();
    command
        .args(["sh", "-c", "echo \"$TREASURE\"; pwd"])
        .env("TREASURE", "gold")
        .current_dir(&directory);
    let place = directory.path().canonicalize().expect("it exists");
    assert_eq!(text(&output(&mut command).stdout), format!("gold\n{}\n", place.display()));
}

#[test]
fn thread_locals_may_begin_at_an_odd_address() {
    // Loaded after libc, as the library below is what needs it: so its block is the lowest.
    let last = Program::c_library(
        "__thread struct { char bytes[25]; } odd = {\"treasure\"}; char *get_odd(void) { return odd.bytes; }",
    );
    let between = "char *get_odd(void); char *get(void) { return get_odd(); }";
    let between = Program::c_text(
        between,
        &["-shared", "-fPIC", "-Wl,--no-as-needed", last.path.to_str().expect("text")],
    );
    let program = Program::c_text(
        r#"
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

char *get(void);

static void *looks(void *expected) {
    return (void *)(intptr_t)(strcmp(get(), expected) == 0);
}

int main(void) {
    pthread_t thread;
    void *same = NULL;
    char first[] = "treasure";
    strcpy(get(), "gone");
    if (pthread_create(&thread, NULL, looks, first) || pthread_join(thread, &same)) return 1;
    puts(same && strcmp(get(), "gone") == 0 && (uintptr_t)get() % 2 ? "PASS" : "FAIL");
    return 0;
}
"#,
        &["-Wl,--no-as-needed", between.path.to_str().expect("text")],
    );
    program.passes_plainly();
    let fibers = output(&mut program.run_with(&["--strict"]));
    assert!(fibers.status.success(), "{}", text(&fibers.stderr));
    assert_eq!(text(&fibers.stdout), "PASS\n");
}
