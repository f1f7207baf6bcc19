//! What runs out, and what is killed: a program gets the error that POSIX names, nothing hangs, nothing is left behind.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process_group};

use crate::support::{Program, output, output_of, text};

/// Makes threads that wait, until that fails or there are 600; has them end, and makes some more.
const MANY: &str = r#"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#define MOST 600

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static int open_now, ran;

static void *waits(void *arg) {
    pthread_mutex_lock(&lock);
    while (!open_now) pthread_cond_wait(&opened, &lock);
    ran++;
    pthread_mutex_unlock(&lock);
    return arg;
}

static int round_of_threads(int most) {
    static pthread_t threads[MOST];
    int made = 0, error = 0;
    ran = open_now = 0;
    while (made < most && !(error = pthread_create(&threads[made], 0, waits, threads))) made++;
    if (error && error != EAGAIN) return -1;
    pthread_mutex_lock(&lock);
    open_now = 1;
    pthread_cond_broadcast(&opened);
    pthread_mutex_unlock(&lock);
    for (int index = 0; index < made; index++) {
        void *result;
        if (pthread_join(threads[index], &result) || result != threads) return -1;
    }
    return ran == made ? made : -1;
}

int main(void) {
    int first = round_of_threads(MOST);
    int second = first > 0 ? round_of_threads(first < 10 ? 1 : 10) : 0;
    fprintf(stderr, "made %d\n", first);
    puts(first >= 0 && second >= 0 && (second > 0) == (first > 0) ? "PASS" : "FAIL");
    return 0;
}
"#;

/// How many threads a program says that it has made.
fn made(stderr: &[u8]) -> u32 {
    let stderr = text(stderr);
    let line = stderr.lines().find_map(|line| line.strip_prefix("made "));
    line.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no count in: {stderr}"))
}

/// Runs [`MANY`] on fibers under a limit that `prlimit` sets.
fn under(program: &Program, limit: &str, user: bool) -> (u32, String) {
    // Limits of processes are not root's.
    let other = user && rustix::process::getuid().is_root();
    let mut command = Command::new(if other { "setpriv" } else { "prlimit" });
    if other {
        command.args(["--reuid=54321", "--regid=54321", "--clear-groups", "prlimit"]);
    }
    command
        .arg(limit)
        .arg(env!("CARGO_BIN_EXE_timestop"))
        .args(["run", "--workers", "2"])
        .arg(&program.path);
    let run = output(&mut command);
    let stderr = text(&run.stderr);
    assert!(run.status.success(), "{limit}: {}\n{stderr}", run.status);
    assert_eq!(text(&run.stdout), "PASS\n", "{limit}: {stderr}");
    (made(&run.stderr), stderr)
}

#[test]
fn without_address_space_pthread_create_says_eagain() {
    let program = Program::c_text(MANY, &[]);
    assert_eq!(text(&program.plain().stdout), "PASS\n");
    let (all, stderr) = under(&program, "--as=unlimited", false);
    assert_eq!(all, 600, "{stderr}");
    // Too little for the runtime; for some fibers; for more.
    let counts = [100_u64, 400, 1_000, 3_000].map(|mebibytes| {
        let (made, stderr) = under(&program, &format!("--as={}", mebibytes << 20), false);
        let falls_back = stderr.contains("running on plain threads");
        assert_eq!(stderr.lines().count(), 1 + usize::from(falls_back), "{stderr}");
        made
    });
    assert!(counts[3] > counts[1] && counts[3] < 600, "{counts:?}");
    // A slot for 8 MiB of stack is 16 MiB, and the runtime and libc's arenas take their part.
    assert!(counts[3] >= 100, "stacks fill most of what there is: {counts:?}");
}

#[test]
fn without_descriptors_a_program_runs_on_plain_threads() {
    let program = Program::c_text(MANY, &[]);
    for limit in [4, 5, 6, 8, 12, 16, 24] {
        let (made, stderr) = under(&program, &format!("--nofile={limit}"), false);
        let falls_back = stderr.contains("no descriptor for epoll")
            && stderr.contains("; running on plain threads");
        assert_eq!(stderr.lines().count(), 1 + usize::from(falls_back), "{limit}: {stderr}");
        assert!(made > 0, "{limit}: {stderr}");
    }
}

#[test]
fn without_os_threads_a_program_has_what_it_would_have_had() {
    let program = Program::c_text(MANY, &[]);
    std::fs::set_permissions(
        program.path.parent().expect("a folder"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .expect("ours");
    for limit in 1..=9 {
        let (made, stderr) = under(&program, &format!("--nproc={limit}"), true);
        let falls_back = stderr.contains("; running on plain threads");
        assert_eq!(stderr.lines().count(), 1 + usize::from(falls_back), "{limit}: {stderr}");
        // Some of ours may be about to end, where they were called off; but all run if any is a fiber.
        assert!(falls_back || made == 600, "{limit}: {stderr}");
        assert!(limit < 9 || !rustix::process::getuid().is_root() || made == 600, "{stderr}");
    }
}

/// A server, a thread a connection, that has no descriptors left now and then: it sends those home that it has.
const SERVER: &str = r#"
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM 256

static void *serve(void *arg) {
    int connection = (int)(long)arg;
    char byte;
    // Until we are told to end.
    while (read(connection, &byte, 1) > 0) {}
    if (write(connection, "E", 1) != 1) return arg;
    close(connection);
    return 0;
}

int main(int count, char **words) {
    struct rlimit limit = {40, 40};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    pthread_t threads[ROOM];
    int connections[ROOM], now = 0, served = 0, wanted = 0, refused = 0;
    if (count != 2 || sscanf(words[1], "%d", &wanted) != 1 || setrlimit(RLIMIT_NOFILE, &limit)) return 1;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 1000)) return 2;
    if (getsockname(listener, (struct sockaddr *)&address, &length)) return 3;
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    while (served < wanted) {
        int connection = served + now < wanted ? accept(listener, 0, 0) : -1;
        if (connection >= 0) {
            connections[now] = connection;
            if (now == ROOM || pthread_create(&threads[now], 0, serve, (void *)(long)connection)) return 4;
            now++;
            continue;
        }
        if (served + now < wanted) {
            if (errno != EMFILE) return 5;
            refused++;
        }
        for (int index = 0; index < now; index++) shutdown(connections[index], SHUT_RD);
        for (int index = 0; index < now; index++) {
            void *result;
            if (pthread_join(threads[index], &result) || result) return 6;
        }
        served += now;
        now = 0;
    }
    printf("%s\n", refused > 3 ? "PASS" : "FAIL");
    return 0;
}
"#;

#[test]
fn a_server_without_descriptors_hears_of_it_and_goes_on() {
    const CLIENTS: usize = 300;
    let mut program = Program::c_text(SERVER, &[]);
    program.arguments = vec![CLIENTS.to_string()];
    let mut plain = Command::new(&program.path);
    plain.args(&program.arguments);
    for mut command in [plain, program.run_with(&[]), program.run_with(&["--workers", "2"])] {
        let mut server =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(server.stdout.take().expect("piped"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("it says its port");
        let address = SocketAddr::from(([127, 0, 0, 1], line.trim().parse().expect("a port")));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let stream = TcpStream::connect(address).expect("the backlog has room");
                stream.set_read_timeout(Some(Duration::from_secs(100))).expect("not zero");
                stream
            })
            .collect();
        for mut client in clients {
            let mut answer = String::new();
            client.read_to_string(&mut answer).expect("nobody is forgotten");
            assert_eq!(answer, "E");
        }
        let mut rest = String::new();
        lines.read_to_string(&mut rest).expect("text");
        assert_eq!(rest, "PASS\n", "{command:?}");
        assert!(server.wait().expect("our child").success());
    }
}

/// Says its number, with threads that wait, and waits.
const WAITS: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static void *waits(void *arg) {
    pause();
    return arg;
}

int main(void) {
    pthread_t thread;
    for (int index = 0; index < 10; index++)
        if (pthread_create(&thread, 0, waits, 0)) return 1;
    printf("%d\n", (int)getpid());
    fflush(stdout);
    pause();
    return 0;
}
"#;

#[test]
fn what_is_killed_is_gone_and_a_shell_says_137() {
    let program = Program::c_text(WAITS, &[]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "\"$@\"; echo status $?", "sh"])
        .arg(env!("CARGO_BIN_EXE_timestop"))
        .arg("run")
        .arg(&program.path);
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = shell.spawn().expect("it starts");
    let group = Pid::from_child(&child);
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("it says its number");
    let pid = line.trim().parse().ok().and_then(Pid::from_raw).expect("a number");
    kill_process(pid, Signal::KILL).expect("it is there");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("text");
    assert_eq!(rest, "status 137\n", "killed by 9, as a shell tells it");
    assert!(child.wait().expect("our child").success());
    assert!(test_kill_process_group(group).is_err(), "nothing of it is left");
    // And without a shell in between.
    let mut command = program.run_with(&[]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("its number");
    assert_eq!(line.trim(), child.id().to_string(), "run becomes the program");
    child.kill().expect("it is there");
    assert_eq!(output_of(child, &command).status.signal(), Some(9));
}
