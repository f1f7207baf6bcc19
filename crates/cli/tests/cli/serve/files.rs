//! A directory over HTTP.

use std::{fs, os::unix::fs::symlink, path::Path};

use super::server::Server;

/// Larger than any buffer on the way.
const LARGE: usize = 3_000_000;

/// Serves `DIR/root`, beside which lies `DIR/secret`.
fn serve() -> (tempfile::TempDir, Server) {
    let top = tempfile::tempdir().expect("there is room");
    let root = top.path().join("root");
    let make = |path: &str, content: &[u8]| {
        let path = top.path().join(path);
        fs::create_dir_all(path.parent().expect("it has a name")).expect("there is room");
        fs::write(path, content).expect("there is room");
    };
    make("secret", b"secret");
    make("root/digits.txt", b"0123456789");
    make("root/empty", b"");
    make("root/page.html", b"<p>");
    make("root/large.bin", &large());
    make("root/site/index.html", b"the index");
    make("root/plain/a & b?.txt", b"x");
    symlink("../secret", root.join("out")).expect("there is room");
    symlink("/", root.join("slash")).expect("there is room");
    let server = Server::start(&[root.to_str().expect("its name is text")]);
    (top, server)
}

fn large() -> Vec<u8> {
    (0..LARGE).map(|index| (index % 251) as u8).collect()
}

#[test]
fn whole_files() {
    let (_top, server) = serve();
    let mut client = server.client();
    let answer = client.get("/digits.txt?query");
    assert_eq!((answer.status, answer.text()), (200, "0123456789"));
    assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.field("accept-ranges"), Some("bytes"));
    assert_eq!(client.get("/page.html").field("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(client.get("/empty").field("content-length"), Some("0"));
    let head = client.request("HEAD /large.bin", "").head();
    assert_eq!((head.status, head.field("content-length")), (200, Some("3000000")));
    let answer = client.get("/large.bin");
    assert_eq!(answer.field("content-type"), Some("application/octet-stream"));
    assert!(answer.body == large());
}

#[test]
fn directories() {
    let (_top, server) = serve();
    let mut client = server.client();
    let answer = client.get("//site?a=b");
    assert_eq!((answer.status, answer.field("location")), (301, Some("/site/?a=b")));
    let answer = client.get("/site/");
    assert_eq!(
        (answer.text(), answer.field("content-type")),
        ("the index", Some("text/html; charset=utf-8"))
    );
    let answer = client.get("/plain/");
    assert!(
        answer.text().contains("<a href=\"a%20%26%20b%3F.txt\">a &amp; b?.txt</a>"),
        "{}",
        answer.text()
    );
    assert_eq!(client.get("/plain/a%20%26%20b%3F.txt").text(), "x");
    assert_eq!(client.get("/").status, 200);
    let answer = client.get("/demo");
    assert_eq!((answer.status, answer.field("location")), (301, Some("/demo/")));
    assert!(client.get("/demo/").text().starts_with("<!doctype html>"));
    assert_eq!(client.get("/demo/hello").text(), "hello, world\n");
}

#[test]
fn nothing_outside_the_directory() {
    let (_top, server) = serve();
    let mut client = server.client();
    for (path, status) in [
        ("/../secret", 400),
        ("/%2e%2e/secret", 400),
        ("/..%2Fsecret", 400),
        ("/site/..%2f..%2fsecret", 400),
        ("/digits.txt%00", 400),
        ("/%zz", 400),
        ("/out", 404),
        ("/slash/", 404),
        ("/slash/etc/passwd", 404),
        ("//etc/passwd", 404),
        ("/digits.txt/", 404),
        ("/none", 404),
    ] {
        let answer = client.get(path);
        assert_eq!(answer.status, status, "{path}");
        assert!(!answer.text().contains("secret"), "{path}");
    }
    let long = format!("/{}", "x".repeat(5_000));
    assert_eq!(client.get(&long).status, 404);
}

#[test]
fn ranges() {
    let (_top, server) = serve();
    let mut client = server.client();
    let mut get =
        |path: &str, fields: &str| client.request(&format!("GET {path}"), fields).answer();

    let answer = get("/digits.txt", "Range: bytes=2-4\r\n");
    assert_eq!((answer.status, answer.text()), (206, "234"));
    assert_eq!(answer.field("content-range"), Some("bytes 2-4/10"));
    assert_eq!(get("/digits.txt", "Range: bytes=-3\r\n").text(), "789");
    assert_eq!(get("/digits.txt", "Range: bytes=7-\r\n").text(), "789");
    assert!(
        get("/large.bin", "Range: bytes=100000-2900000\r\n").body == large()[100_000..=2_900_000]
    );

    let answer = get("/digits.txt", "Range: bytes=10-\r\n");
    assert_eq!((answer.status, answer.field("content-range")), (416, Some("bytes */10")));
    assert_eq!(get("/digits.txt", "Range: bytes=4-2\r\n").status, 200);
    assert_eq!(get("/digits.txt", "Range: lines=1-2\r\n").status, 200);

    let answer = get("/digits.txt", "Range: bytes=0-1, 8-\r\n");
    assert_eq!(answer.status, 206);
    let content_type = answer.field("content-type").expect("it has one");
    let boundary =
        content_type.strip_prefix("multipart/byteranges; boundary=").expect("it has several parts");
    let part = |range, content| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Range: bytes {range}/10\r\n\r\n{content}"
        )
    };
    assert_eq!(
        answer.text(),
        format!("{}{}\r\n--{boundary}--\r\n", part("0-1", "01"), part("8-9", "89"))
    );

    let etag = answer.field("etag").expect("it has one").to_owned();
    let fields = format!("Range: bytes=0-0\r\nIf-Range: {etag}\r\n");
    assert_eq!(get("/digits.txt", &fields).status, 206);
    assert_eq!(get("/digits.txt", "Range: bytes=0-0\r\nIf-Range: \"other\"\r\n").status, 200);
}

#[test]
fn conditions() {
    let (top, server) = serve();
    let mut client = server.client();
    let first = client.get("/digits.txt");
    let etag = first.field("etag").expect("it has one").to_owned();
    let modified = first.field("last-modified").expect("it has one").to_owned();

    let mut status = |fields: &str| {
        let answer = client.request("GET /digits.txt", fields).answer();
        assert!(answer.field("etag").is_some() || answer.status == 412);
        answer.status
    };
    assert_eq!(status(&format!("If-None-Match: \"other\", W/{etag}\r\n")), 304);
    assert_eq!(status(&format!("If-Modified-Since: {modified}\r\n")), 304);
    assert_eq!(
        status(&format!("If-None-Match: \"other\"\r\nIf-Modified-Since: {modified}\r\n")),
        200
    );
    assert_eq!(status("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), 200);
    assert_eq!(status("If-Match: \"other\"\r\n"), 412);
    assert_eq!(status("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), 412);

    fs::write(Path::new(top.path()).join("root/digits.txt"), "changed in length")
        .expect("there is room");
    assert_eq!(status(&format!("If-None-Match: {etag}\r\n")), 200);
}
