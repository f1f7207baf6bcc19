//! What a program under `timestop run` is told of its hogs, where that is asked for (`TIMESTOP_HOG=warn`).

use crate::support::{Program, text};

/// Two threads that compute share a worker, until the program reads on its own stderr what it was told of them; with an
/// argument, until others have waited for a while. Prints what stderr has got.
const HUNTERS: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static volatile int found;

__attribute__((noinline)) static void *hunts_for_treasure(void *arg) {
    while (!found) {}
    return arg;
}

int main(int count, char **words) {
    static char text[1 << 16];
    size_t length = 0;
    int error[2];
    pthread_t threads[2];
    (void)words;
    if (pipe(error) || dup2(error[1], 2) < 0) return 1;
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], 0, hunts_for_treasure, 0)) return 2;
    if (count > 1) {
        for (int i = 0; i < 300; i++) usleep(1000);
        if (fcntl(error[0], F_SETFL, O_NONBLOCK)) return 3;
        if (read(error[0], text, sizeof text - 1) < 0) text[0] = 0;
    } else {
        while (!strstr(text, "hunts_for_treasure")) {
            ssize_t more = read(error[0], text + length, sizeof text - 1 - length);
            if (more <= 0) return 4;
            length += more;
        }
    }
    found = 1;
    for (int i = 0; i < 2; i++)
        if (pthread_join(threads[i], 0)) return 5;
    fputs(text, stdout);
    return 0;
}
"#;

#[test]
fn a_hog_is_told_with_its_name_and_place() {
    let program = Program::c_text(HUNTERS, &["-g"]);
    let fibers = program.on_fibers_with(&[("TIMESTOP_WORKERS", "1"), ("TIMESTOP_HOG", "warn")]);
    assert!(fibers.status.success(), "{}\n{}", fibers.status, text(&fibers.stdout));
    let told = text(&fibers.stdout);
    let first = told.lines().next().unwrap_or_default();
    assert!(first.starts_with("timestop: fiber "), "{told}");
    assert!(first.ends_with(" without waiting"), "{told}");
    assert!(told.contains("\n    hunts_for_treasure"), "{told}");
}

#[test]
fn nobody_is_told_who_did_not_ask() {
    let mut program = Program::c_text(HUNTERS, &["-g"]);
    program.arguments.push("waits".to_owned());
    for asks in [&[][..], &[("TIMESTOP_HOG", "off")]] {
        let environment: Vec<_> = [("TIMESTOP_WORKERS", "1")].iter().chain(asks).copied().collect();
        let fibers = program.on_fibers_with(&environment);
        assert!(fibers.status.success(), "{}\n{}", fibers.status, text(&fibers.stdout));
        assert_eq!(text(&fibers.stdout), "");
    }
}
