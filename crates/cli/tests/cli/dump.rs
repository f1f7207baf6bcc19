//! SIGQUIT under `timestop run`: a dump on stderr, and the program goes on; unless it has said what
//! SIGQUIT is to do. With `--dump-on-quit=off` it does what it does on threads.

use std::os::unix::process::ExitStatusExt;

use crate::support::{Program, output, text};

const NO_DUMPS: [(&str, &str); 1] = [("TIMESTOP_DUMP_ON_QUIT", "off")];

/// Sends itself SIGQUIT, reads its own stderr until the thread's function is named there, and ends as
/// if nothing had been. (The dump may come before the thread has begun to wait: then another.)
const DUMPED: &str = r#"
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int gate[2];

__attribute__((noinline)) static void *waits_deep_in_c(void *arg) {
    char byte;
    return read(gate[0], &byte, 1) == 1 ? arg : 0;
}

int main(void) {
    static char text[1 << 20];
    size_t length = 0;
    int error[2];
    pthread_t thread;
    if (pipe(gate) || pipe(error) || dup2(error[1], 2) < 0) return 1;
    if (pthread_create(&thread, 0, waits_deep_in_c, text)) return 2;
    while (!strstr(text, "waits_deep_in_c")) {
        struct pollfd ready = {.fd = error[0], .events = POLLIN};
        kill(getpid(), SIGQUIT);
        while (poll(&ready, 1, 100) > 0) {
            ssize_t count = read(error[0], text + length, sizeof text - 1 - length);
            if (count <= 0) return 3;
            length += count;
        }
    }
    void *result;
    if (write(gate[1], "x", 1) != 1 || pthread_join(thread, &result) || result != text) return 4;
    fputs(text, stdout);
    return 0;
}
"#;

#[test]
fn a_program_is_dumped_and_goes_on() {
    let fibers = output(&mut Program::c_text(DUMPED, &["-g"]).run_with(&[]));
    assert!(fibers.status.success(), "{}\n{}", fibers.status, text(&fibers.stdout));
    let dump = text(&fibers.stdout);
    let entries: Vec<_> = dump.split("\n\n").collect();
    let thread = entries.iter().find(|entry| entry.contains("waits_deep_in_c"));
    let lines: Vec<_> = thread.expect("the program has seen it").lines().collect();
    assert!(lines[0].contains("[read of descriptor ") && lines[0].contains("(pipe:["), "{dump}");
    assert!(lines[1].contains("waits_deep_in_c"), "the program's line is the first: {dump}");
    assert!(entries.iter().any(|entry| entry.contains("    main ")), "main is a fiber too: {dump}");
}

/// Says what it has got, and then ends. By its argument: a handler set before the first thread, after
/// it, or SIGQUIT ignored.
const OWN: &str = r#"
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t got;

static void handle(int signal) {
    got = signal;
}

static void *nothing(void *arg) {
    return arg;
}

int main(int count, char **words) {
    pthread_t thread;
    if (count != 2) return 1;
    if (!strcmp(words[1], "before")) signal(SIGQUIT, handle);
    if (!strcmp(words[1], "ignored")) signal(SIGQUIT, SIG_IGN);
    if (pthread_create(&thread, 0, nothing, 0) || pthread_join(thread, 0)) return 2;
    if (!strcmp(words[1], "after")) {
        struct sigaction action = {.sa_handler = handle}, old;
        if (sigaction(SIGQUIT, &action, &old) || old.sa_handler != SIG_DFL) return 3;
    }
    kill(getpid(), SIGQUIT);
    if (strcmp(words[1], "ignored"))
        while (!got) poll(0, 0, 10);
    return write(1, "PASS\n", 5) != 5;
}
"#;

#[test]
fn a_program_that_wants_sigquit_keeps_it() {
    let mut program = Program::c_text(OWN, &[]);
    for when in ["before", "after", "ignored"] {
        program.arguments = vec![when.to_owned()];
        for environment in [&NO_DUMPS[..], &[]] {
            let fibers = program.on_fibers_with(environment);
            assert!(fibers.status.success(), "{when}: {}", fibers.status);
            assert_eq!(
                (text(&fibers.stdout), text(&fibers.stderr)),
                ("PASS\n".into(), String::new())
            );
        }
    }
}

#[test]
fn with_dumps_off_sigquit_ends_a_program() {
    let program = Program::c_text(
        r#"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static void *nothing(void *arg) {
    return arg;
}

int main(void) {
    pthread_t thread;
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none)) return 1;
    if (pthread_create(&thread, 0, nothing, 0) || pthread_join(thread, 0)) return 2;
    raise(SIGQUIT);
    return 3;
}
"#,
        &[],
    );
    for ended in [program.plain(), output(&mut program.run_with(&["--dump-on-quit=off"]))] {
        assert_eq!(ended.status.signal(), Some(3), "{}\n{}", ended.status, text(&ended.stderr));
        assert_eq!(text(&ended.stderr), "");
    }
}

#[test]
fn a_child_that_has_no_fibers_dies_of_sigquit() {
    let program = Program::c_text(
        r#"
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void *nothing(void *arg) {
    return arg;
}

int main(void) {
    pthread_t thread;
    int status;
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none)) return 1;
    if (pthread_create(&thread, 0, nothing, 0) || pthread_join(thread, 0)) return 2;
    pid_t child = fork();
    if (!child) {
        raise(SIGQUIT);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child) return 3;
    return !(WIFSIGNALED(status) && WTERMSIG(status) == SIGQUIT);
}
"#,
        &[],
    );
    let fibers = program.on_fibers();
    assert!(fibers.status.success(), "{}\n{}", fibers.status, text(&fibers.stderr));
}
