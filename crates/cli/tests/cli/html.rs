//! `timestop run --html`: the live page of a program, and what it has to do with the program's life.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::serve::client::Client;
use crate::support::{Program, output, text};

/// A program that is there until it is told to end, or the guard goes.
struct Running {
    child: Child,
    input: Option<ChildStdin>,
    address: SocketAddr,
    _program: Program,
}

impl Running {
    fn start(what: &str) -> Self {
        let mut program = Program::c("traced");
        program.arguments = vec![what.to_owned()];
        let mut command = program.run_with(&["--workers", "1", "--html"]);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("the program was built");
        let mut line = String::new();
        let mut errors = BufReader::new(child.stderr.take().expect("piped"));
        errors.read_line(&mut line).expect("it prints");
        let (_, url) =
            line.trim_end().split_once(" at http://").unwrap_or_else(|| panic!("{line}"));
        let address = url.trim_end_matches('/').parse().expect("an address");
        let mut ready = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        out.read_line(&mut ready).expect("it prints");
        assert_eq!(ready, "done\n");
        let input = child.stdin.take();
        Self { child, input, address, _program: program }
    }

    fn client(&self) -> Client {
        Client::new(self.address)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("our child");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails if it has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until<T>(what: &str, mut get: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(got) = get() {
            return got;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::yield_now();
    }
}

fn fibers(client: &mut Client, query: &str) -> Value {
    // On a busy machine it may not answer within the page's patience.
    let answer = until("it answers", || {
        let answer = client.get(&format!("/demo/fibers{query}"));
        (answer.status != 503).then_some(answer)
    });
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body)
        .unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

/// What is said once its fibers are known.
fn known_fibers(client: &mut Client) -> Value {
    until("its fibers are shown", || {
        let list = fibers(client, "");
        (!list["process"].is_null()).then_some(list)
    })
}

#[test]
fn the_page_shows_the_programs_fibers() {
    let mut running = Running::start("stay");
    let mut client = running.client();
    let page = client.get("/");
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().contains("data-of=\"program\" data-name=\"program\""), "its name is told");
    let list = known_fibers(&mut client);
    assert_eq!(list["process"], running.child.id());
    assert_eq!(list["processes"][0]["name"], "program");
    assert_eq!((&list["stats"]["fibers"], &list["stats"]["workers"]), (&4.into(), &1.into()));
    let all = list["fibers"].as_array().expect("a list");
    assert_eq!(all.len(), 4, "{list}");
    let named = |name: &str| {
        let mut all = all.iter();
        all.find(|fiber| fiber["name"] == name).unwrap_or_else(|| panic!("no {name} in {list}"))
    };
    for (name, waits) in
        [("reader", "read of descriptor "), ("locker", "mutex 0x"), ("joiner", "join of fiber 3")]
    {
        let fiber = named(name);
        assert_eq!(fiber["state"], "waiting", "{fiber}");
        let what = fiber["waiting_for"].as_str().unwrap_or_default();
        assert!(what.starts_with(waits), "{fiber}");
    }
    assert_eq!(fibers(&mut client, "?limit=2")["fibers"].as_array().map(Vec::len), Some(2));
    let dump = client.get("/demo/dump");
    assert_eq!(dump.status, 200);
    assert!(dump.text().contains("'locker' [mutex 0x"), "{}", dump.text());

    assert_eq!(client.get("/demo/none").status, 404);
    assert_eq!(client.get("/demo/hello").status, 404, "that is of the demonstration");
    assert_eq!(client.get("/demo/fibers?limit=many").status, 400);
    assert_eq!(client.get("/demo/dump?process=1").status, 404);
    let posted = client.request("POST /demo/sleepers?n=3&ms=1", "Content-Length: 0\r\n").answer();
    assert_eq!(posted.status, 405);

    running.input.take().expect("open").write_all(b"x").expect("it reads");
    let status = running.child.wait().expect("our child");
    assert!(status.success(), "{status}");
    until("the page ends with the program", || TcpStream::connect(running.address).err());
}

#[test]
fn pages_of_others_are_refused() {
    let running = Running::start("stay");
    let get = |fields: &str| {
        let mut stream = TcpStream::connect(running.address).expect("it listens");
        let request = format!("GET /demo/fibers HTTP/1.1\r\n{fields}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("it answers");
        line.trim_end().to_owned()
    };
    let own = running.address;
    for fields in [
        format!("Host: {own}\r\n"),
        format!("Host: localhost:{}\r\n", own.port()),
        format!("Host: {own}\r\nOrigin: http://{own}\r\n"),
    ] {
        assert_eq!(get(&fields), "HTTP/1.1 200 OK", "{fields}");
    }
    for fields in [
        "Host: example.com\r\n".to_owned(),
        format!("Host: example.com:{}\r\n", own.port()),
        format!("Host: {own}\r\nOrigin: http://example.com\r\n"),
        format!("Host: {own}\r\nOrigin: null\r\n"),
    ] {
        assert_eq!(get(&fields), "HTTP/1.1 403 Forbidden", "{fields}");
    }
    assert!(own.ip().is_loopback());
}

/// A signal that stops a process reaches its threads one by one.
fn are_stopped(process: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it lives");
    tasks.map(|task| task.expect("a thread").path().join("stat")).all(|stat| {
        let text = std::fs::read_to_string(stat).unwrap_or_default();
        text.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('T'))
    })
}

#[test]
fn a_program_that_is_stopped_does_not_answer_but_the_page_does() {
    let running = Running::start("stay");
    let mut client = running.client();
    known_fibers(&mut client);
    running.signal(Signal::STOP);
    until("all of its threads are stopped", || are_stopped(running.child.id()).then_some(()));
    let answer = client.get("/demo/fibers");
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("does not answer"), "{}", answer.text());
    assert_eq!(client.get("/").status, 200);
    running.signal(Signal::CONT);
    // The answer to what was given up is not taken for another's.
    let list = until("it answers", || {
        let answer = client.get("/demo/fibers?limit=1");
        (answer.status == 200).then_some(answer)
    });
    let list: Value = serde_json::from_slice(&list.body).expect("JSON");
    assert_eq!(list["fibers"].as_array().map(Vec::len), Some(1), "{list}");
}

#[test]
fn the_page_ends_with_a_program_that_is_killed() {
    let mut running = Running::start("stay");
    known_fibers(&mut running.client());
    running.signal(Signal::KILL);
    running.child.wait().expect("our child");
    until("the page ends with the program", || TcpStream::connect(running.address).err());
}

#[test]
fn each_process_can_be_shown() {
    let running = Running::start("stay-and-fork");
    let mut client = running.client();
    let list = until("both are there", || {
        let list = fibers(&mut client, "");
        (list["processes"].as_array()?.len() == 2).then_some(list)
    });
    let of = |process: &Value| fibers(&mut client, &format!("?process={}", process["id"]));
    let lists: Vec<_> = list["processes"].as_array().expect("a list").iter().map(of).collect();
    assert_ne!(lists[0]["process"], lists[1]["process"]);
    for list in lists {
        let all = list["fibers"].as_array().expect("a list");
        assert!(all.iter().any(|fiber| fiber["name"] == "reader"), "{list}");
    }
}

#[test]
fn what_stands_in_the_way_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = taken.local_addr().expect("bound");
    let mut program = Program::c("traced");
    program.arguments = vec!["waits".to_owned()];
    let run = output(&mut program.run_with(&[&format!("--html={address}")]));
    assert_eq!(run.status.code(), Some(125));
    let line = text(&run.stderr);
    assert!(line.starts_with(&format!("timestop: --html: cannot listen on {address}: ")), "{line}");
    assert_eq!(text(&run.stdout), "");
    let run = output(&mut program.run_with(&["--html=somewhere"]));
    assert_eq!(run.status.code(), Some(2), "{}", text(&run.stderr));
    // The page's process holds nothing of the program's: its output ends with it.
    let run = output(&mut program.run_with(&["--html"]));
    assert!(run.status.success());
    assert!(text(&run.stderr).starts_with("timestop: live page of "));
}
