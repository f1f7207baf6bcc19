//! What is accepted, what is refused, and by which number.

use super::*;

fn request(head: &str) -> Result<Request, u16> {
    parse(head.as_bytes()).map_err(|failure| match failure {
        Failure::Refused(response) => response.status().code(),
        Failure::Io(error) => panic!("{error}"),
    })
}

fn with_fields(fields: &str) -> Result<Request, u16> {
    request(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
}

#[test]
fn targets_in_every_form() {
    let path = |line: &str| {
        request(&format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n")).map(|it| (it.path, it.query))
    };
    let is = |path: &str, query: Option<&str>| Ok((path.to_owned(), query.map(str::to_owned)));
    assert_eq!(path("GET /a%20b?c=d?e"), is("/a%20b", Some("c=d?e")));
    assert_eq!(path("GET HTTP://host:1/a"), is("/a", None));
    assert_eq!(path("GET http://host?q"), is("/", Some("q")));
    assert_eq!(path("OPTIONS *"), is("*", None));
    assert_eq!(path("CONNECT host:443"), is("/", None));
    assert_eq!(path("GET *"), Err(400));
    assert_eq!(path("GET host/a"), Err(400));
    assert_eq!(path("GET /a#b"), Err(400));
}

#[test]
fn versions_and_persistence() {
    let keeps = |head: &str| request(head).map(|it| it.keep_alive);
    assert_eq!(keeps("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(true));
    assert_eq!(keeps("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n"), Ok(false));
    assert_eq!(keeps("GET / HTTP/1.0\r\n\r\n"), Ok(false));
    assert_eq!(keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), Ok(true));
    assert_eq!(
        keeps("GET / HTTP/1.0\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n"),
        Ok(false)
    );
    assert_eq!(keeps("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), Err(505));
}

#[test]
fn exactly_one_host() {
    assert_eq!(request("GET / HTTP/1.1\r\n\r\n").map(|_| ()), Err(400));
    assert_eq!(request("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n").map(|_| ()), Err(400));
    assert_eq!(request("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n").map(|_| ()), Err(400));
    assert_eq!(request("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n").map(|_| ()), Ok(()));
}

#[test]
fn one_framing_or_none() {
    let framing = |fields: &str| with_fields(fields).map(|it| it.body);
    assert_eq!(framing(""), Ok(Framing::None));
    assert_eq!(framing("Content-Length: 5\r\n"), Ok(Framing::Length(5)));
    assert_eq!(framing("Content-Length: 5, 5\r\nContent-Length: 05\r\n"), Ok(Framing::Length(5)));
    assert_eq!(
        framing("Content-Length: 99999999999999999999999\r\n"),
        Ok(Framing::Length(u64::MAX))
    );
    assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
    for wrong in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: \r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        " folded: x\r\n",
    ] {
        assert_eq!(framing(wrong), Err(400), "{wrong:?}");
    }
    assert_eq!(framing("Transfer-Encoding: gzip, chunked\r\n"), Err(501));
    assert_eq!(
        request("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").map(|_| ()),
        Err(400)
    );
}

#[test]
fn expectations() {
    assert_eq!(with_fields("Expect: 100-Continue\r\n").map(|it| it.expects_continue), Ok(true));
    assert_eq!(with_fields("Expect: a miracle\r\n").map(|_| ()), Err(417));
}

#[test]
fn lists_over_several_lines_are_one_list() {
    let request =
        with_fields("If-None-Match: \"a\"\r\nIf-None-Match: \"b\"\r\n").expect("well-formed");
    assert_eq!(request.conditions.if_none_match.as_deref(), Some("\"a\", \"b\""));
}

#[test]
fn too_many_fields() {
    assert_eq!(with_fields(&"A: b\r\n".repeat(MAX_FIELDS)).map(|_| ()), Err(431));
}

#[test]
fn control_characters_are_malformed() {
    assert_eq!(with_fields("A: b\rc\r\n").map(|_| ()), Err(400));
    assert_eq!(with_fields("A: b\0c\r\n").map(|_| ()), Err(400));
    assert_eq!(with_fields("A b: c\r\n").map(|_| ()), Err(400));
    assert_eq!(request("GET  / HTTP/1.1\r\nHost: a\r\n\r\n").map(|_| ()), Err(400));
}
