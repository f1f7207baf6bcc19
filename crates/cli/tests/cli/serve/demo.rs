//! The addresses of the demonstration.

use super::server::Server;

/// Each is a connection, and a fiber.
const SLEEPERS: usize = 1_000;

#[test]
fn the_page_needs_nothing_from_outside() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let page = client.get("/");
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().starts_with("<!doctype html>"));
    for outside in ["https:", "src=", "href=\"/", "@import", "url("] {
        assert!(!page.text().contains(outside), "{outside}");
    }
    assert_eq!(client.get("/demo/").body, page.body);
    assert_eq!(client.get("/none").status, 404);
    assert_eq!(client.get("/demo/none").status, 404);
}

#[test]
fn work_of_every_kind_ends() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for (path, did) in
        [("sleep", "slept for "), ("spin", "computed for "), ("block", "was blocked for ")]
    {
        let answer = client.get(&format!("/demo/{path}?ms=20"));
        assert_eq!(answer.status, 200);
        let took = answer.text().strip_prefix(did).and_then(|text| text.strip_suffix(" ms\n"));
        let took: f64 = took.and_then(|number| number.parse().ok()).expect("it says how long");
        assert!(took >= 20.0, "{path} took {took} ms");
    }
}

#[test]
fn a_bad_query_is_told_what_is_wrong() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for (query, text) in [
        ("/demo/sleep", "ms is missing"),
        ("/demo/spin?ms=soon", "ms must be a whole number from 0 to 600000"),
        ("/demo/block?ms=600001", "ms must be a whole number from 0 to 600000"),
        ("/demo/sleep?ms=1&ms=2", "ms is given twice"),
        ("/demo/fibers?limit=-1", "limit must be a whole number from 0 to 10000"),
    ] {
        let answer = client.get(query);
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.text().contains(text), "{query}: {}", answer.text());
    }
    let answer = client.request("POST /demo/sleepers?n=100001&ms=1", "").answer();
    assert_eq!(answer.status, 400);
}

#[test]
fn fibers_are_listed_and_started() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for action in ["sleepers", "spinners", "blockers"] {
        let answer = client
            .request(&format!("POST /demo/{action}?n=3&ms=1"), "Content-Length: 0\r\n")
            .answer();
        assert_eq!((answer.status, answer.text()), (202, "{\"started\":3}"));
    }
    let answer = client.get("/demo/fibers?limit=10");
    assert_eq!(answer.field("content-type"), Some("application/json"));
    let list: serde_json::Value = serde_json::from_slice(&answer.body).expect("it is JSON");
    assert!(list["stats"]["workers"].is_u64() && list["fibers"].is_array(), "{list}");
}

#[test]
fn a_thousand_sleep_at_once() {
    let server = Server::start(&[]);
    super::limits::raise_open_files_limit();
    let mut clients: Vec<_> = (0..SLEEPERS).map(|_| server.client()).collect();
    for client in &mut clients {
        client.request("GET /demo/sleep?ms=1000", "");
    }
    // One after the other they would take a thousand seconds, and run into the deadline.
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn a_dump_shows_the_server_at_work() {
    let mut server = Server::start(&[]);
    let mut client = server.client();
    let answer = client.get("/demo/dump");
    assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"));
    let address = server.address;
    assert!(answer.text().contains(&format!("(tcp {address}, listening)")), "{}", answer.text());
    assert!(answer.text().contains("timestop::serve::accept::serve"), "{}", answer.text());

    server.signal(rustix::process::Signal::QUIT);
    server.line_with(" fibers: ");
    server.line_with("timestop::serve::accept::serve");
    assert_eq!(client.get("/demo/hello").status, 200, "it goes on");
}
