//! What happens when there is too little: of descriptors, or of patience.

use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::server::Server;

/// Many tests at once hold many connections.
pub(super) fn raise_open_files_limit() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .expect("it is below the hard limit");
}

#[test]
fn without_descriptors_it_says_so_once_and_goes_on_later() {
    let few = "ulimit -n 128 && exec \"$0\" serve --bind 127.0.0.1:0";
    let mut server =
        Server::start_as(Command::new("sh").args(["-c", few, env!("CARGO_BIN_EXE_timestop")]));
    let mut clients: Vec<_> = (0..200).map(|_| server.client()).collect();
    for client in &mut clients {
        client.request("GET /demo/hello", "Connection: close\r\n");
    }
    // Those that wait in the backlog are served as the others leave.
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }

    let idle: Vec<_> = (0..200).map(|_| server.client()).collect();
    server.line_with("cannot take more connections for now");
    drop(idle);
    assert_eq!(server.client().get("/demo/hello").status, 200);
    server.signal(rustix::process::Signal::TERM);
    let (status, rest) = server.end();
    assert!(status.success());
    assert!(!rest.iter().any(|line| line.contains("cannot take")), "{rest:?}");
}

#[test]
fn a_slow_header_section_is_answered_408() {
    let server = Server::start(&["--header-timeout", "0.1"]);
    let mut client = server.client();
    assert_eq!(client.send("GET / HTTP/1.1\r\nHost:").answer().status, 408);
    client.closed();
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let server = Server::start(&["--idle-timeout", "0.1"]);
    let mut client = server.client();
    assert_eq!(client.get("/demo/hello").status, 200);
    client.closed();
    server.client().closed();
}
