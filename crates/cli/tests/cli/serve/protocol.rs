//! What a connection is, whatever is asked for on it.

use super::{client::Client, server::Server};

/// The status of the answer to `bytes`, after which the server must close.
fn refused(server: &Server, bytes: impl AsRef<[u8]>) -> u16 {
    let mut client = server.client();
    let answer = client.send(bytes).answer();
    assert_eq!(answer.field("connection"), Some("close"));
    client.closed();
    answer.status
}

fn says_hello(client: &mut Client) {
    let answer = client.get("/demo/hello");
    assert_eq!((answer.status, answer.text()), (200, "hello, world\n"));
}

#[test]
fn a_connection_carries_many_requests() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for _ in 0..10 {
        says_hello(&mut client);
    }
    let answer = client.request("GET /demo/hello", "Connection: close\r\n").answer();
    assert_eq!(answer.field("connection"), Some("close"));
    client.closed();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let request =
        |path: &str, fields: &str| format!("GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
    client.send(
        [request("/none", ""), request("/demo/hello", "").repeat(50), request("/demo/sleep", "")]
            .concat(),
    );
    assert_eq!(client.answer().status, 404);
    for _ in 0..50 {
        assert_eq!(client.answer().text(), "hello, world\n");
    }
    assert_eq!(client.answer().status, 400);
    says_hello(&mut client);
    client.send(request("/none", "Connection: close\r\n") + &request("/demo/hello", ""));
    assert_eq!(client.answer().status, 404);
    client.closed();
}

#[test]
fn http_1_0_closes_unless_asked_not_to() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let answer = client.send("GET /demo/hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").answer();
    assert_eq!(answer.field("connection"), Some("keep-alive"));
    assert_eq!(client.send("GET /demo/hello HTTP/1.0\r\n\r\n").answer().status, 200);
    client.closed();
}

#[test]
fn a_request_may_come_byte_by_byte_and_after_empty_lines() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for byte in b"\r\n\r\nGET /demo/hello HTTP/1.1\r\nHost: test\r\n\r\n" {
        client.send([*byte]);
    }
    assert_eq!(client.answer().status, 200);
}

#[test]
fn bodies_are_read_over() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(
        client.request("GET /demo/hello", "Content-Length: 5\r\n").send("GET /").answer().status,
        200
    );
    let chunks = "5;a=b\r\nGET /\r\n0\r\nTrailer: x\r\n\r\n";
    assert_eq!(
        client
            .request("GET /demo/hello", "Transfer-Encoding: chunked\r\n")
            .send(chunks)
            .answer()
            .status,
        200
    );
    let large = vec![b'x'; 1 << 20];
    assert_eq!(
        client
            .request("GET /demo/hello", "Content-Length: 1048576\r\n")
            .send(large)
            .answer()
            .status,
        200
    );
    says_hello(&mut client);
}

#[test]
fn a_client_that_waits_is_told_to_continue() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let fields = "Expect: 100-continue\r\nContent-Length: 3\r\n";
    assert_eq!(client.request("GET /demo/hello", fields).head().status, 100);
    assert_eq!(client.send("abc").answer().status, 200);
    says_hello(&mut client);
    // One that would be refused is refused before it sends its body.
    let fields = "Expect: 100-continue\r\nContent-Length: 3000000\r\n";
    assert_eq!(client.request("GET /demo/hello", fields).answer().status, 413);
    client.closed();
}

#[test]
fn malformed_requests_are_refused() {
    let server = Server::start(&[]);
    let with = |fields: &str| format!("POST /demo/hello HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
    for wrong in [
        "\x16\x03\x01\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\n\n",
        "GET / HTTP/1.1\r\nHost: test\n\r\n",
        "GET noslash HTTP/1.1\r\nHost: test\r\n\r\n",
        &with("Host: again\r\n"),
        &with("A : b\r\n"),
        &with("Content-Length: 3\r\nContent-Length: 4\r\n"),
        &with("Content-Length: x\r\n"),
        &with("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
        &with("Transfer-Encoding: chunked, identity\r\n"),
        &(with("Transfer-Encoding: chunked\r\n") + "3\nabc\n0\n\n"),
        &(with("Transfer-Encoding: chunked\r\n") + "z\r\n"),
    ] {
        assert_eq!(refused(&server, wrong), 400, "{wrong:?}");
    }
    assert_eq!(refused(&server, with("Transfer-Encoding: gzip, chunked\r\n")), 501);
    assert_eq!(refused(&server, with("Expect: a miracle\r\n")), 417);
    assert_eq!(refused(&server, "GET / HTTP/3.0\r\n\r\n"), 505);
    says_hello(&mut server.client());
}

#[test]
fn too_much_is_refused() {
    let server = Server::start(&[]);
    let head = "GET / HTTP/1.1\r\nHost: test\r\n";
    assert_eq!(refused(&server, format!("{head}A: {}\r\n\r\n", "b".repeat(40_000))), 431);
    assert_eq!(refused(&server, format!("{head}{}\r\n", "A: b\r\n".repeat(200))), 431);
    assert_eq!(refused(&server, format!("{head}{}", "A: b\r\n".repeat(8_000))), 431);
    assert_eq!(refused(&server, format!("GET /{}", "x".repeat(40_000))), 414);
    assert_eq!(
        refused(&server, format!("{head}Content-Length: 99999999999999999999\r\n\r\n")),
        413
    );
    let chunks = format!("80000\r\n{}\r\n", "x".repeat(0x80000)).repeat(2) + "1\r\n";
    assert_eq!(refused(&server, format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}")), 413);
}

#[test]
fn methods() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for (line, status, allow) in [
        ("DELETE /", 405, "GET, HEAD, OPTIONS"),
        ("POST /demo/hello", 405, "GET, HEAD, OPTIONS"),
        ("GET /demo/sleepers?n=1&ms=1", 405, "POST, OPTIONS"),
        ("CONNECT test:443", 405, "GET, HEAD, OPTIONS"),
        ("BREW /pot", 501, "GET, HEAD, OPTIONS"),
        ("OPTIONS *", 204, "GET, HEAD, OPTIONS"),
        ("OPTIONS /demo/sleepers", 204, "POST, OPTIONS"),
    ] {
        let answer = client.request(line, "").answer();
        assert_eq!((answer.status, answer.field("allow")), (status, Some(allow)), "{line}");
    }
    let head = client.request("HEAD /demo/hello", "").head();
    assert_eq!((head.status, head.field("content-length")), (200, Some("13")));
    assert!(head.field("date").is_some_and(|date| date.ends_with(" GMT")));
    says_hello(&mut client);
}
