//! The subjects `timestop` and `threads` of everything that asks over HTTP: a thread for each connection, blocking
//! `std::net`, and `httparse`.
//!
//! Three views: `/` answers 1,024 bytes at once, `/spin?ms=N` computes, `/wait?ms=N` sleeps. The same as the servers of
//! `lab/subjects` have. Not `timestop serve`: it keeps deadlines and limits that those servers keep in other ways or not
//! at all, and it would open a file for each answer; what is compared here is what waiting costs.
//!
//! `/spin` counts and does not look at a clock: none tells the CPU time of a fiber, and what others get meanwhile must
//! not make the work less.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use httparse::{EMPTY_HEADER, Request, Status};
use socket2::{Domain, Protocol, Socket, Type};

use crate::lab::bench::echo::announce;
use crate::lab::bench::hog::compute;
use crate::lab::subject::Trial;
use crate::lab::threads::{OnThreads, Threads, on};

/// A longer header section is refused, and so are more fields.
const HEAD: usize = 8 << 10;
const FIELDS: usize = 64;
const BACKLOG: i32 = 4096;
const BODY: [u8; 1024] = [b'0'; 1024];

/// Serves until killed; returns only to say what went wrong.
pub(in crate::lab) fn serve(trial: &Trial) -> String {
    match on(trial.subject, Views { workers: trial.row.workers(), pace: Pace::measured() }) {
        Ok(Ok(())) => "the server stopped".to_owned(),
        Ok(Err(error)) => format!("the server failed: {error}"),
        Err(why) => why,
    }
}

struct Views {
    workers: usize,
    pace: Pace,
}

impl OnThreads for Views {
    type Output = io::Result<()>;

    fn on<T: Threads>(self) -> io::Result<()> {
        let Views { workers, pace } = self;
        T::run(workers, || {
            let listener = listen()?;
            announce(listener.local_addr()?.port())?;
            let pace = Arc::new(pace);
            loop {
                let (stream, _) = listener.accept()?;
                let pace = Arc::clone(&pace);
                T::spawn(move || converse(stream, &pace));
            }
        })
    }
}

/// A thousand clients connect at once, and std's backlog may be less.
fn listen() -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// How much of `compute` is a millisecond.
#[derive(Debug, Clone, Copy)]
struct Pace {
    steps: f64,
}

impl Pace {
    /// The best of short tries: one that had the core to itself.
    fn measured() -> Self {
        const STEPS: u64 = 200_000;
        const TRYING: Duration = Duration::from_millis(300);
        let (start, mut best) = (Instant::now(), Duration::MAX);
        while start.elapsed() < TRYING {
            let begin = Instant::now();
            compute(STEPS, 1);
            best = best.min(begin.elapsed());
        }
        Pace { steps: STEPS as f64 / (best.as_secs_f64() * 1e3) }
    }

    fn spin(self, time: Duration) {
        compute((self.steps * time.as_secs_f64() * 1e3) as u64, 1);
    }
}

/// The life of a connection. An error ends it, and nobody has to know.
fn converse(mut stream: TcpStream, pace: &Pace) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; HEAD];
    let mut filled = 0;
    let mut answer = Vec::with_capacity(BODY.len() + 256);
    loop {
        let length = match head(&buffer[..filled]) {
            Ok(Some(Asked { length, view, close })) => {
                view.answer(pace, &mut answer);
                stream.write_all(&answer)?;
                if close {
                    return Ok(());
                }
                length
            }
            Ok(None) if filled < buffer.len() => 0,
            Ok(None) => return refuse(&mut stream, "the header section is too long"),
            Err(why) => return refuse(&mut stream, &why),
        };
        if length > 0 {
            buffer.copy_within(length..filled, 0);
            filled -= length;
            continue;
        }
        match stream.read(&mut buffer[filled..])? {
            0 => return Ok(()),
            bytes => filled += bytes,
        }
    }
}

fn refuse(stream: &mut TcpStream, why: &str) -> io::Result<()> {
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{why}",
        why.len()
    );
    stream.write_all(answer.as_bytes())
}

/// A whole request, `length` bytes of it.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    length: usize,
    view: View,
    close: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum View {
    Hello,
    Spin(Duration),
    Wait(Duration),
    Unknown,
}

/// None if there is more to come.
fn head(bytes: &[u8]) -> Result<Option<Asked>, String> {
    let mut fields = [EMPTY_HEADER; FIELDS];
    let mut request = Request::new(&mut fields);
    let length = match request.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let field = |name: &str| {
        request.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|f| f.value)
    };
    let has_body = field("transfer-encoding").is_some()
        || field("content-length").is_some_and(|length| length != b"0");
    if request.method != Some("GET") || has_body {
        return Err("only GET, and no body".to_owned());
    }
    let close = field("connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
    let view = View::of(request.path.expect("a whole request has a path"))?;
    Ok(Some(Asked { length, view, close }))
}

impl View {
    fn of(target: &str) -> Result<Self, String> {
        let time = |text: &str| match text.parse() {
            Ok(milliseconds) => Ok(Duration::from_millis(milliseconds)),
            Err(error) => Err(format!("ms: {error}")),
        };
        match target.split_once("?ms=") {
            Some(("/spin", text)) => Ok(View::Spin(time(text)?)),
            Some(("/wait", text)) => Ok(View::Wait(time(text)?)),
            None if target == "/" => Ok(View::Hello),
            _ => Ok(View::Unknown),
        }
    }

    /// Takes the time that it takes.
    fn answer(self, pace: &Pace, answer: &mut Vec<u8>) {
        let (status, body): (_, &[u8]) = match self {
            View::Hello => ("200 OK", &BODY),
            View::Spin(time) => {
                pace.spin(time);
                ("200 OK", b"spun\n")
            }
            View::Wait(time) => {
                thread::sleep(time);
                ("200 OK", b"waited\n")
            }
            View::Unknown => ("404 Not Found", b"no such view\n"),
        };
        let (date, length) = (httpdate::fmt_http_date(SystemTime::now()), body.len());
        let mut head = String::with_capacity(160);
        write!(
            head,
            "HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
        )
        .expect("a string takes what is written");
        answer.clear();
        answer.extend_from_slice(head.as_bytes());
        answer.extend_from_slice(body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_or_there_is_more_to_come() {
        let whole = b"GET /wait?ms=50 HTTP/1.1\r\nHost: lab\r\n\r\nGET /";
        let view = View::Wait(Duration::from_millis(50));
        assert_eq!(head(whole), Ok(Some(Asked { length: whole.len() - 5, view, close: false })));
        assert_eq!(head(&whole[..20]), Ok(None));
    }

    #[test]
    fn what_it_has_no_use_for_is_refused() {
        for request in [
            "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi",
            "GET / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /spin?ms=long HTTP/1.1\r\n\r\n",
            "\x01 / HTTP/1.1\r\n\r\n",
        ] {
            assert!(head(request.as_bytes()).is_err(), "{request}");
        }
        let gone = head(b"GET /gone HTTP/1.1\r\nConnection: close\r\n\r\n").expect("a request");
        assert_eq!(gone.map(|asked| (asked.view, asked.close)), Some((View::Unknown, true)));
    }

    #[test]
    fn an_answer_says_how_long_it_is() {
        let mut answer = Vec::new();
        View::Hello.answer(&Pace { steps: 1.0 }, &mut answer);
        let head = answer.strip_suffix(&BODY).expect("the body comes last");
        assert!(head.ends_with(b"\r\nContent-Length: 1024\r\n\r\n"));
    }
}
