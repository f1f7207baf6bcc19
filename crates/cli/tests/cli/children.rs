//! What else is preloaded, what children inherit, and a program that has a runtime of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::{Program, output, text, timestop_run};

/// Prints what `treasure` says, which a library may define, and the list of what is preloaded.
const SHOWS: &str = r#"
#include <stdio.h>
#include <stdlib.h>

__attribute__((weak)) int treasure(void);

int main(void) {
    const char *list = getenv("LD_PRELOAD");
    printf("%d %s\n", treasure ? treasure() : 0, list ? list : "-");
    return 0;
}
"#;

fn library(number: u32) -> Program {
    Program::c_library(&format!("int treasure(void) {{ return {number}; }}"))
}

#[test]
fn what_is_preloaded_stays_in_its_order_behind_the_hooks() {
    let program = Program::c_text(SHOWS, &["-rdynamic"]);
    let (one, two) = (library(1), library(2));
    let list = format!("{}:{}", one.path.display(), two.path.display());
    let run = output(timestop_run().arg(&program.path).env("LD_PRELOAD", &list));
    let stdout = text(&run.stdout);
    assert!(
        stdout.starts_with("1 /"),
        "the first of them is the first still: {stdout}{}",
        text(&run.stderr)
    );
    assert!(stdout.trim_end().ends_with(&format!("/libtimestop_preload.so:{list}")), "{stdout}");
    // Once more, from within: the hooks are not named twice.
    let mut again = timestop_run();
    again
        .arg(env!("CARGO_BIN_EXE_timestop"))
        .arg("run")
        .arg(&program.path)
        .env("LD_PRELOAD", &list);
    assert_eq!(text(&output(&mut again).stdout), stdout);
}

/// Runs itself again, and both say what a thread of theirs is: no OS thread has a number beyond 2²².
const PARENT: &str = r#"
import os, subprocess, sys, threading

def tasks():
    print(sys.argv[1], "fibers" if threading.get_native_id() >= 1 << 22 else "threads",
          *sorted(name for name in os.environ if name.startswith(("TIMESTOP", "LD_PRELOAD"))), flush=True)

thread = threading.Thread(target=tasks)
thread.start()
thread.join()
if sys.argv[1] == "parent":
    for start in [subprocess.call, lambda command: os.spawnv(os.P_WAIT, command[0], command)]:
        assert start([sys.executable, "-c", sys.argv[2], "child"]) == 0
"#;

fn parent() -> (Program, Vec<String>) {
    let python = Program::python("mix", &[]);
    (python, vec!["-c".to_owned(), PARENT.to_owned(), "parent".to_owned(), PARENT.to_owned()])
}

#[test]
fn children_run_on_fibers_unless_they_are_not_to() {
    let (python, arguments) = parent();
    let run = output(timestop_run().arg(&python.path).args(&arguments));
    let both = "fibers LD_PRELOAD TIMESTOP_PRELOAD\n";
    assert_eq!(
        text(&run.stdout),
        format!("parent {both}child {both}child {both}"),
        "{}",
        text(&run.stderr)
    );
    let run = output(timestop_run().arg("--no-children").arg(&python.path).args(&arguments));
    assert_eq!(
        text(&run.stdout),
        "parent fibers\nchild threads\nchild threads\n",
        "{}",
        text(&run.stderr)
    );
}

#[test]
fn without_children_the_others_stay_preloaded() {
    let program = Program::c_text(SHOWS, &["-rdynamic"]);
    let (one, two) = (library(1), library(2));
    let list = format!("{}:{}", one.path.display(), two.path.display());
    for command in [
        vec![program.path.to_str().expect("text")],
        vec!["sh", "-c", program.path.to_str().expect("text")],
    ] {
        let run =
            output(timestop_run().arg("--no-children").args(command).env("LD_PRELOAD", &list));
        assert_eq!(text(&run.stdout), format!("1 {list}\n"), "{}", text(&run.stderr));
    }
}

#[test]
fn a_script_of_env_is_itself_the_program_that_has_no_children() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("script");
    let (python, _) = parent();
    // By the name that env looks up: the folder of the interpreter comes first.
    let name = python.path.file_name().expect("a file").to_str().expect("text");
    fs::write(&path, format!("#!/usr/bin/env {name}\n{PARENT}")).expect("ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    let folder = python.path.parent().expect("a folder").to_str().expect("text");
    let search = format!("{folder}:{}", std::env::var("PATH").expect("it is set"));
    let run = output(
        timestop_run().arg("--no-children").arg(&path).args(["script", ""]).env("PATH", search),
    );
    assert_eq!(text(&run.stdout), "script fibers\n", "{}", text(&run.stderr));
}

/// Makes its threads itself, as an interposer that is linked into a program would.
const OWN_CREATE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

static int made;

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *arg) {
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
    made++;
    return next(thread, attributes, start, arg);
}

static void *nothing(void *arg) {
    return arg;
}

int main(void) {
    pthread_t thread;
    if (pthread_create(&thread, 0, nothing, 0) || pthread_join(thread, 0)) return 1;
    printf("PASS made %d\n", made);
    return 0;
}
"#;

#[test]
fn a_program_that_makes_its_threads_itself_keeps_them() {
    let program = Program::c_text(OWN_CREATE, &["-rdynamic"]);
    let run = program.on_fibers();
    let stderr = text(&run.stderr);
    assert_eq!(text(&run.stdout), "PASS made 1\n", "{stderr}");
    assert!(
        stderr.contains("defines pthread_create")
            && stderr.ends_with("; running on plain threads\n"),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let strict = output(&mut program.run_with(&["--strict"]));
    assert_eq!(strict.status.code(), Some(125), "{}", text(&strict.stderr));
    let checked =
        output(Command::new(env!("CARGO_BIN_EXE_timestop")).arg("check").arg(&program.path));
    assert_eq!(checked.status.code(), Some(1));
    assert!(
        text(&checked.stdout).contains("it defines pthread_create itself"),
        "{}",
        text(&checked.stdout)
    );
}
