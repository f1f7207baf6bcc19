//! The live page of another program: `timestop run --html`.
//!
//! The program runs in its own processes, which have no HTTP in them: each connects here
//! (`crates/report/src/live.rs`) and answers two questions, what its fibers do and where they are. So a
//! program disturbs the page no more than the page disturbs the program: one that is stopped, or stuck
//! with every lock held, is a page that says so.
//!
//! The page is for people at this machine. A page of somebody else's in the same browser must not read it,
//! neither directly (`Origin`) nor by a name that leads here (`Host`: a name other than `localhost` is
//! refused, so a rebound one is).

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, TcpListener},
    os::unix::net::{UnixListener, UnixStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc::{self, Sender},
    },
    thread,
    time::Duration,
};

use serde_json::json;

use super::{
    Server, What, accept,
    demo::{self, MAX_LISTED, PAGE, Query},
    drain::Drain,
    http::{Limits, Method, Request, Response, Status},
};

/// How long a program has to say what its fibers do, and where: the latter reads debug information.
const PATIENCE: Duration = Duration::from_secs(2);
const LONG_PATIENCE: Duration = Duration::from_secs(30);
/// What one answer may come to: 10,000 fibers, or a dump of as many stacks.
const MOST: usize = 64 << 20;
/// A first line that is longer is none of ours.
const LONGEST_HELLO: u64 = 256;

/// A program, of one process or more.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    token: String,
    processes: Mutex<BTreeMap<u32, Process>>,
}

/// A process that has fibers: the two things to ask it.
#[derive(Debug, Default)]
struct Process {
    name: String,
    fibers: Option<Arc<Line>>,
    dump: Option<Arc<Line>>,
}

/// A connection to a process.
#[derive(Debug)]
struct Line {
    stream: UnixStream,
    next: AtomicU32,
    /// Who waits for which answer. `None` when there will be no more.
    waiting: Mutex<Option<HashMap<u32, Sender<Vec<u8>>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves the page on `pages` for the processes that come to `processes` with the token, until `ended`
/// returns and none of them is left.
pub(crate) fn serve(
    pages: TcpListener,
    processes: UnixListener,
    (name, token): (String, String),
    ended: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    timestop::Config::new().workers(1).start()?;
    let program = Program { name, token, processes: Mutex::default() };
    let server = Arc::new(Server {
        listener: pages,
        what: What::Program(program),
        limits: Limits::default(),
        drain: Drain::default(),
    });
    timestop::run(move || {
        let of = Arc::clone(&server);
        timestop::Builder::new().spawn(move || accept::serve(&of))?;
        let of = Arc::clone(&server);
        timestop::Builder::new().spawn(move || of.program().welcome(&of, &processes))?;
        ended();
        while !lock(&server.program().processes).is_empty() {
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    })
}

impl Server {
    fn program(&self) -> &Program {
        match &self.what {
            What::Program(program) => program,
            What::Demonstration(_) => unreachable!("called for a server of a program only"),
        }
    }
}

impl Program {
    fn welcome(&self, server: &Arc<Server>, listener: &UnixListener) {
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                thread::sleep(Duration::from_millis(50)); // want of descriptors
                continue;
            };
            let server = Arc::clone(server);
            // Who cannot have a fiber is not shown.
            let _ = timestop::Builder::new().spawn(move || server.program().attend(stream));
        }
    }

    /// The life of a process's connection.
    fn attend(&self, stream: UnixStream) {
        let Ok(copy) = stream.try_clone() else { return };
        let mut reader = BufReader::new(copy);
        let mut hello = String::new();
        let heard = timestop::timeout(PATIENCE, || {
            reader.by_ref().take(LONGEST_HELLO).read_line(&mut hello)
        });
        let mut words = hello.trim_end().splitn(4, ' ');
        let (Some(token), Some(what), Some(process)) = (words.next(), words.next(), words.next())
        else {
            return;
        };
        let Ok(process) = process.parse() else { return };
        if heard.is_err() || token != self.token {
            return;
        }
        let name = words.next().unwrap_or_default().to_owned();
        let waiting = Mutex::new(Some(HashMap::new()));
        let line = Arc::new(Line { stream, next: AtomicU32::new(0), waiting });
        {
            let mut processes = lock(&self.processes);
            let process = processes.entry(process).or_default();
            process.name = name;
            let place = if what == "dump" { &mut process.dump } else { &mut process.fibers };
            *place = Some(Arc::clone(&line));
        }
        let _ = line.listen(&mut reader); // until it is closed
        *lock(&line.waiting) = None;
        let mut processes = lock(&self.processes);
        if let Some(of) = processes.get_mut(&process) {
            let is_it = |place: &Option<Arc<Line>>| {
                place.as_ref().is_some_and(|place| Arc::ptr_eq(place, &line))
            };
            if is_it(&of.fibers) {
                of.fibers = None;
            } else if is_it(&of.dump) {
                of.dump = None;
            }
            if of.fibers.is_none() && of.dump.is_none() {
                processes.remove(&process);
            }
        }
    }

    /// Answers a request.
    pub(super) fn answer(&self, request: &Request) -> Response {
        if let Err(text) = is_ours(request) {
            return Response::plain(Status::FORBIDDEN, &text);
        }
        match request.method {
            Method::Get | Method::Head => {}
            Method::Options => {
                return Response::empty(Status::NO_CONTENT).with("Allow", "GET, HEAD, OPTIONS");
            }
            Method::Unknown => return Response::plain(Status::NOT_IMPLEMENTED, "unknown method"),
            _ => {
                return Response::plain(Status::METHOD_NOT_ALLOWED, "not allowed here")
                    .with("Allow", "GET, HEAD, OPTIONS");
            }
        }
        let query = |path| Query { path, text: request.query.as_deref().unwrap_or_default() };
        let answer = match request.path.as_str() {
            "/" | "/demo/" => return demo::html(self.page().into_bytes()),
            "/demo/fibers" => self.fibers(&query("fibers")),
            "/demo/dump" => self.dump(&query("dump")),
            _ => return Response::plain(Status::NOT_FOUND, "not found"),
        };
        answer.unwrap_or_else(|(status, text)| Response::plain(status, &text))
    }

    /// The page of the demonstration, told that it is another's.
    fn page(&self) -> String {
        let name: String = self.name.chars().filter(|char| !"&<>\"'".contains(*char)).collect();
        PAGE.replacen("data-of=\"demo\"", &format!("data-of=\"program\" data-name=\"{name}\""), 1)
    }

    fn fibers(&self, query: &Query<'_>) -> Result<Response, (Status, String)> {
        let bad = |text| (Status::BAD_REQUEST, text);
        let limit = query.number("limit", Some(100), MAX_LISTED).map_err(bad)?;
        let wanted = query.number("process", Some(0), u32::MAX.into()).map_err(bad)?;
        let processes: Vec<_> = lock(&self.processes)
            .iter()
            .map(|(id, process)| (*id, process.name.clone(), process.fibers.clone()))
            .collect();
        let list: Vec<_> =
            processes.iter().map(|(id, name, _)| json!({ "id": id, "name": name })).collect();
        let list = json!(list).to_string();
        // The one that is asked for, or the first.
        let one = processes
            .iter()
            .find(|(id, ..)| u64::from(*id) == wanted)
            .or_else(|| processes.first().filter(|_| wanted == 0));
        let text = match one {
            Some((id, _, Some(line))) => {
                let members = line.ask(&format!("fibers {limit}"), PATIENCE).ok_or_else(silence)?;
                let members = String::from_utf8_lossy(&members).into_owned();
                format!("{{\"processes\":{list},\"process\":{id},{members}}}")
            }
            _ => format!("{{\"processes\":{list},\"process\":null,\"stats\":null,\"fibers\":[]}}"),
        };
        Ok(Response::new(Status::OK, "application/json", text.into_bytes())
            .with("Cache-Control", "no-store"))
    }

    fn dump(&self, query: &Query<'_>) -> Result<Response, (Status, String)> {
        let wanted = query.number("process", Some(0), u32::MAX.into());
        let wanted = wanted.map_err(|text| (Status::BAD_REQUEST, text))?;
        let line = {
            let processes = lock(&self.processes);
            let mut all = processes.iter();
            let one = all.find(|(id, _)| wanted == 0 || u64::from(**id) == wanted);
            one.and_then(|(_, process)| process.dump.clone())
        };
        let none = || (Status::NOT_FOUND, "no such process with fibers".to_owned());
        let text = line.ok_or_else(none)?.ask("dump", LONG_PATIENCE).ok_or_else(silence)?;
        Ok(Response::new(Status::OK, "text/plain; charset=utf-8", text)
            .with("Cache-Control", "no-store"))
    }
}

fn silence() -> (Status, String) {
    let text = "the program does not answer: it has ended, is stopped, or the machine is busy";
    (Status::UNAVAILABLE, text.to_owned())
}

/// Whether a request comes from a page of ours, or from no page at all.
fn is_ours(request: &Request) -> Result<(), String> {
    let Some(host) = &request.host else { return Err("no Host".to_owned()) };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    if !name.eq_ignore_ascii_case("localhost") && name.parse::<IpAddr>().is_err() {
        return Err(format!("this page is not {name}: ask for it by address, or as localhost"));
    }
    match &request.origin {
        Some(origin) if *origin != format!("http://{host}") => {
            Err(format!("this page is not for {origin}"))
        }
        _ => Ok(()),
    }
}

impl Line {
    /// Asks, and waits for the answer. `None` where there is none in time.
    fn ask(&self, question: &str, patience: Duration) -> Option<Vec<u8>> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel();
        lock(&self.waiting).as_mut()?.insert(id, sender);
        let question = format!("{question} {id}\n");
        let sent = timestop::timeout(patience, || (&self.stream).write_all(question.as_bytes()));
        let answer = sent.ok().and_then(|()| receiver.recv_timeout(patience).ok());
        if let Some(waiting) = lock(&self.waiting).as_mut() {
            waiting.remove(&id);
        }
        answer
    }

    /// Hands every answer to whoever waits for it.
    fn listen(&self, reader: &mut impl Read) -> io::Result<()> {
        loop {
            let id = number(reader)?;
            let mut answer = Vec::new();
            loop {
                let length = number(reader)? as usize;
                if length == 0 {
                    break;
                }
                if answer.len() + length > MOST {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                let start = answer.len();
                answer.resize(start + length, 0);
                reader.read_exact(&mut answer[start..])?;
            }
            let sender = lock(&self.waiting).as_mut().and_then(|waiting| waiting.remove(&id));
            if let Some(sender) = sender {
                let _ = sender.send(answer); // it may have given up
            }
        }
    }
}

fn number(reader: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_others_are_refused() {
        let ask = |host: Option<&str>, origin: Option<&str>| {
            let [host, origin] = [host, origin].map(|text| text.map(str::to_owned));
            is_ours(&Request { host, origin, ..Request::default() }).is_ok()
        };
        for host in ["127.0.0.1:80", "localhost:8000", "LocalHost", "[::1]:9", "192.168.0.7:1"] {
            assert!(ask(Some(host), None), "{host}");
            assert!(ask(Some(host), Some(&format!("http://{host}"))), "{host}");
            assert!(!ask(Some(host), Some("http://example.com")), "{host}");
            assert!(!ask(Some(host), Some("null")), "{host}");
        }
        for host in ["example.com:8000", "localhost.example.com", "127.0.0.1.example.com", ""] {
            assert!(!ask(Some(host), None), "{host}");
        }
        assert!(!ask(None, None));
    }
}
