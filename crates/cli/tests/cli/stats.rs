//! `timestop run --stats`: told at every end that leaves time for it, and meanwhile.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use crate::support::{Program, output, text};

/// One fiber has a file lock that another one's OS thread blocks for: it can be given back by a hand-off only. Then it ends as
/// it is told to.
const LOCKS: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[] = "/tmp/timestop-lock-XXXXXX";
static volatile int about_to;

__attribute__((noinline)) static void takes_the_lock(int file) {
    about_to = 1;
    if (flock(file, LOCK_EX)) exit(10);
    __asm__ volatile(""); // not a tail call
}

static void *other(void *arg) {
    int file = open(path, O_RDWR);
    takes_the_lock(file);
    close(file);
    return arg;
}

int main(int count, char **words) {
    pthread_t thread;
    int file = mkstemp(path);
    if (count < 2 || file < 0 || flock(file, LOCK_EX)) return 1;
    if (pthread_create(&thread, 0, other, 0)) return 2;
    while (!about_to) sched_yield();
    sched_yield();
    if (flock(file, LOCK_UN) || pthread_join(thread, 0) || unlink(path)) return 3;
    if (!strcmp(words[1], "return")) return 7;
    if (!strcmp(words[1], "exit")) exit(7);
    if (!strcmp(words[1], "_exit")) _exit(7);
    if (!strcmp(words[1], "fork")) {
        int status;
        pid_t child = fork();
        if (!child) exit(8);
        return waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 8 ? 7 : 4;
    }
    if (!strcmp(words[1], "wait")) {
        struct stat told = {0};
        while (!stat(words[2], &told) && !told.st_size) usleep(10000);
        return 7;
    }
    if (!strcmp(words[1], "own")) signal(SIGTERM, _exit);
    kill(getpid(), strcmp(words[1], "INT") ? SIGTERM : SIGINT);
    pause();
    return 5;
}
"#;

fn program(arguments: &[&str]) -> Program {
    let mut program = Program::c_text(LOCKS, &["-g", "-fno-optimize-sibling-calls"]);
    program.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
    program
}

/// Fails unless these are statistics, once, of a hand-off at the place of the lock.
fn is_told(stats: &str) {
    assert_eq!(stats.matches("timestop: statistics of program (process ").count(), 1, "{stats}");
    for part in [
        "\n  fibers       ",
        " now, 2 in all\n",
        "\n  OS threads   ",
        ", for 1 worker\n",
        "\n  switches     ",
        "\n  preemptions  ",
        "\n  most hand-offs:\n",
    ] {
        assert!(stats.contains(part), "no {part:?} in {stats}");
    }
    let place = stats.lines().find(|line| line.contains("flock, from takes_the_lock"));
    assert!(
        place.is_some_and(|line| line.contains("<stdin>:") || line.contains("takes_the_lock")),
        "{stats}"
    );
}

#[test]
fn every_end_is_told() {
    for (end, code, signal) in [
        ("return", Some(7), None),
        ("exit", Some(7), None),
        ("_exit", Some(7), None),
        ("TERM", None, Some(15)),
        ("INT", None, Some(2)),
        // By the program's own handler, which calls `_exit`.
        ("own", Some(15), None),
    ] {
        let run = output(&mut program(&[end]).run_with(&["--workers", "1", "--stats"]));
        let stderr = text(&run.stderr);
        assert_eq!((run.status.code(), run.status.signal()), (code, signal), "{end}: {stderr}");
        is_told(&stderr);
    }
}

#[test]
fn nothing_is_told_unless_it_is_asked_for() {
    for end in ["return", "_exit", "TERM"] {
        let run = output(&mut program(&[end]).run_with(&["--workers", "1"]));
        assert_eq!(text(&run.stderr), "", "{end}");
    }
}

#[test]
fn a_child_without_fibers_of_its_own_tells_nothing() {
    let run = output(&mut program(&["fork"]).run_with(&["--workers", "1", "--stats"]));
    assert_eq!(run.status.code(), Some(7));
    is_told(&text(&run.stderr));
}

#[test]
fn it_is_told_to_a_file_and_meanwhile() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("stats");
    let path = file.to_str().expect("a path of text");
    let run = output(&mut program(&["return"]).run_with(&["--workers", "1", "--stats-file", path]));
    assert_eq!((run.status.code(), text(&run.stderr).as_str()), (Some(7), ""));
    is_told(&fs::read_to_string(&file).expect("it was written"));

    let second = directory.path().join("second");
    let path = second.to_str().expect("a path of text");
    let run = output(&mut program(&["wait", path]).run_with(&[
        "--workers",
        "1",
        "--stats=1",
        "--stats-file",
        path,
    ]));
    assert_eq!((run.status.code(), text(&run.stderr).as_str()), (Some(7), ""));
    let told = fs::read_to_string(&second).expect("it was written");
    assert!(told.matches("timestop: statistics of program (process ").count() >= 2, "{told}");
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_the_start() {
    let run = output(&mut program(&["return"]).run_with(&["--stats-file", "/nothing/stats"]));
    assert_eq!(run.status.code(), Some(125));
    assert!(
        text(&run.stderr).starts_with("timestop: --stats-file /nothing/stats: "),
        "{}",
        text(&run.stderr)
    );
    assert!(run.stdout.is_empty());
}

/// Two threads compute until the program reads in its own statistics that a worker took one of them.
const COMPUTING: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static volatile int stolen;

static void *computes(void *arg) {
    while (!stolen) {}
    return arg;
}

int main(void) {
    int error[2];
    pthread_t threads[2];
    FILE *told;
    char line[256];
    if (pipe(error) || dup2(error[1], 2) < 0 || !(told = fdopen(error[0], "r"))) return 1;
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], 0, computes, 0)) return 2;
    while (!stolen && fgets(line, sizeof line, told))
        stolen = strstr(line, " steals") && !strstr(line, " 0 steals");
    for (int i = 0; i < 2; i++)
        if (pthread_join(threads[i], 0)) return 3;
    return stolen ? 0 : 4;
}
"#;

#[test]
fn a_reserve_is_called_for_what_computes_at_once() {
    let program = Program::c_text(COMPUTING, &[]);
    let mut run = program.run_with(&["--workers", "2", "--stats=1"]);
    let run = output(run.env("TIMESTOP_RESERVE", "on"));
    assert!(run.status.success(), "{}", run.status);
}
