//! How the server starts, fails to start, and ends.

use std::net::{Shutdown, TcpStream};

use rustix::process::Signal;

use super::{client::Client, server, server::Server};

/// A request whose header section the server has certainly read: it has asked for the body.
fn begun(server: &Server, path: &str) -> Client {
    let mut client = server.client();
    let fields = "Expect: 100-continue\r\nContent-Length: 1\r\n";
    assert_eq!(client.request(&format!("GET {path}"), fields).head().status, 100);
    client
}

#[test]
fn an_address_in_use_is_one_line() {
    let server = Server::start(&[]);
    let (code, stderr) = server::run(&["serve", "--bind", &server.address.to_string()]);
    assert_eq!((code, stderr.len()), (Some(1), 1), "{stderr:?}");
    assert!(
        stderr[0].contains(&format!("cannot listen on {}: address in use", server.address)),
        "{stderr:?}"
    );
}

#[test]
fn what_cannot_be_served_is_one_line() {
    let (code, stderr) = server::run(&["serve", "/none/such", "--bind", "127.0.0.1:0"]);
    assert_eq!((code, stderr.len()), (Some(1), 1), "{stderr:?}");
    assert!(stderr[0].contains("cannot serve /none/such"), "{stderr:?}");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for arguments in [&["serve", "--bind", "nonsense"][..], &["serve", "--none"], &["none"], &[]] {
        assert_eq!(server::run(arguments).0, Some(2), "{arguments:?}");
    }
}

#[test]
fn requests_in_flight_are_answered_and_idle_connections_closed() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start(&[]);
        let mut idle = server.client();
        assert_eq!(idle.get("/demo/hello").status, 200);
        let mut sleeping = begun(&server, "/demo/sleep?ms=300");
        sleeping.send("x");
        let mut reading = begun(&server, "/demo/hello");

        server.signal(signal);
        server.line_with("stopping");
        idle.closed();
        // No new connection is taken any more (before that one may be, to be closed unanswered).
        while let Ok(stream) = TcpStream::connect(server.address) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let answer = sleeping.answer();
        assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
        sleeping.closed();
        assert_eq!(reading.send("x").answer().status, 200);
        reading.closed();
        assert_eq!(server.end().0.code(), Some(0));
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = Server::start(&[]);
    begun(&server, "/demo/sleep?ms=600000").send("x");
    server.signal(Signal::TERM);
    server.line_with("stopping");
    server.signal(Signal::TERM);
    let (status, rest) = server.end();
    assert_eq!(status.code(), Some(128 + 15));
    assert!(rest.iter().any(|line| line.contains("second signal")), "{rest:?}");
}

#[test]
fn the_drain_has_a_limit() {
    let server = Server::start(&["--drain-timeout", "0.1"]);
    let mut client = begun(&server, "/demo/sleep?ms=600000");
    client.send("x");
    server.signal(Signal::TERM);
    let (status, rest) = server.end();
    assert_eq!(status.code(), Some(1));
    assert!(rest.iter().any(|line| line.contains("1 connections still busy")), "{rest:?}");
}
