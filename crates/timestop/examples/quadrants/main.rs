//! Synchronous or asynchronous, blocking or non-blocking: one small task in each of the four ways.
//!
//! `cargo run --example quadrants` does four downloads in each way and prints when what happened; with
//! `-- --svg docs/quadrants.svg` it draws what the fibers did, from a recorded trace. What the words mean:
//! `docs/quadrants.md`.
//!
//! The server is this process; the downloads run in a child of it, so that the trace has nothing else.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use timestop::reactor::EventLoop;

mod picture;

/// How long the server takes for each download, in milliseconds.
const DELAYS: [u8; 4] = [40, 10, 30, 20];

/// How often the one who does not wait asks again.
const PAUSE: Duration = Duration::from_millis(2);

type Quadrant = (&'static str, fn(&Timeline, u16) -> io::Result<()>);

const QUADRANTS: [Quadrant; 4] = [
    ("1 synchronous, blocking", synchronous_blocking),
    ("2 synchronous, non-blocking", synchronous_non_blocking),
    ("3 asynchronous, blocking", asynchronous_blocking),
    ("4 asynchronous, non-blocking", asynchronous_non_blocking),
];

/// Each download is asked for and waited for, one after the other.
fn synchronous_blocking(timeline: &Timeline, port: u16) -> io::Result<()> {
    for (number, delay) in DELAYS.into_iter().enumerate() {
        let mut stream = ask(timeline, port, number, delay)?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        timeline.say(number, &page);
    }
    Ok(())
}

/// All are asked for; then one after the other is asked whether it is there, again and again.
fn synchronous_non_blocking(timeline: &Timeline, port: u16) -> io::Result<()> {
    let mut waiting = Vec::new();
    for (number, delay) in DELAYS.into_iter().enumerate() {
        let stream = ask(timeline, port, number, delay)?;
        stream.set_nonblocking(true)?;
        waiting.push((number, stream));
    }
    let mut in_vain = 0;
    while !waiting.is_empty() {
        let mut left = Vec::new();
        for (number, mut stream) in waiting {
            match read_page(&mut stream) {
                Ok(page) => timeline.say(number, &page),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    in_vain += 1;
                    left.push((number, stream));
                }
                Err(error) => return Err(error),
            }
        }
        waiting = left;
        std::thread::sleep(PAUSE);
    }
    println!("            asked {in_vain} times in vain");
    Ok(())
}

/// A fiber for each download waits; who has asked does something else, and comes back for the pages.
fn asynchronous_blocking(timeline: &Timeline, port: u16) -> io::Result<()> {
    let mut fibers = Vec::new();
    for (number, delay) in DELAYS.into_iter().enumerate() {
        let timeline = *timeline;
        let builder = timestop::Builder::new().name(format!("3 download {}", number + 1));
        fibers.push(builder.spawn(move || {
            let mut stream = ask(&timeline, port, number, delay)?;
            let mut page = String::new();
            stream.read_to_string(&mut page)?;
            timeline.say(number, &page);
            io::Result::Ok(())
        })?);
    }
    for fiber in fibers {
        fiber.join().map_err(|_| io::Error::other("a download has panicked"))??;
    }
    Ok(())
}

/// One fiber, which nothing suspends but the loop: whatever is there calls back.
fn asynchronous_non_blocking(timeline: &Timeline, port: u16) -> io::Result<()> {
    let event_loop = EventLoop::new()?;
    let left = Rc::new(std::cell::Cell::new(DELAYS.len()));
    for (number, delay) in DELAYS.into_iter().enumerate() {
        let stream = ask(timeline, port, number, delay)?;
        stream.set_nonblocking(true)?;
        let stream = Rc::new(stream);
        let (this, mine, left, timeline) =
            (event_loop.clone(), Rc::clone(&stream), Rc::clone(&left), *timeline);
        event_loop.add_reader(&stream, move || {
            match read_page(&mut &*mine) {
                Ok(page) => timeline.say(number, &page),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => timeline.say(number, &error.to_string()),
            }
            this.remove_reader(&mine);
            left.set(left.get() - 1);
            if left.get() == 0 {
                this.stop();
            }
        })?;
    }
    event_loop.run_forever()?;
    event_loop.close();
    Ok(())
}

/// Sends the request of a download.
fn ask(timeline: &Timeline, port: u16, number: usize, delay: u8) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.write_all(&[delay])?;
    timeline.say(number, "asked for");
    Ok(stream)
}

/// A page is one message: it is there, or not.
fn read_page(stream: &mut impl Read) -> io::Result<String> {
    let mut page = [0; 64];
    let count = stream.read(&mut page)?;
    Ok(String::from_utf8_lossy(&page[..count]).into_owned())
}

/// Prints what happens when.
#[derive(Clone, Copy)]
struct Timeline(Instant);

impl Timeline {
    fn say(&self, number: usize, what: &str) {
        let at = self.0.elapsed().as_secs_f64() * 1e3;
        println!("  {at:6.1} ms  download {}: {what}", number + 1);
    }
}

/// Answers each request after as many milliseconds as it asks for.
fn serve(listener: &TcpListener) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept()?;
        timestop::spawn(move || {
            let mut delay = [0];
            stream.read_exact(&mut delay)?;
            std::thread::sleep(Duration::from_millis(delay[0].into()));
            stream.write_all(format!("page after {} ms", delay[0]).as_bytes())
        });
    }
}

/// The child: all four, with a trace.
fn download(port: u16, trace: &Path) -> io::Result<()> {
    timestop::Config::new().trace(trace).run(|| {
        for (name, quadrant) in QUADRANTS {
            println!("{name}");
            let builder = timestop::Builder::new().name(name.to_owned());
            let fiber = builder.spawn(move || {
                let timeline = Timeline(Instant::now());
                quadrant(&timeline, port)?;
                let all = timeline.0.elapsed().as_secs_f64() * 1e3;
                println!("  {all:6.1} ms  done");
                io::Result::Ok(())
            })?;
            fiber.join().map_err(|_| io::Error::other("a quadrant has panicked"))??;
        }
        Ok(())
    })
}

fn main() -> io::Result<()> {
    let usage = || io::Error::new(io::ErrorKind::InvalidInput, "usage: quadrants [--svg FILE]");
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let svg = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => None,
        ["--svg", file] => Some(PathBuf::from(file)),
        // How this program starts itself.
        ["--download", port, trace] => {
            return download(port.parse().map_err(|_| usage())?, Path::new(trace));
        }
        _ => return Err(usage()),
    };
    let directory = tempfile::tempdir()?;
    let trace = directory.path().join("trace.json");
    let file = trace.clone();
    let status = timestop::run(move || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let server = timestop::spawn(move || serve(&listener));
        let status = Command::new(std::env::current_exe()?)
            .args(["--download", &port.to_string()])
            .arg(&file)
            .status();
        server.cancel();
        status
    })?;
    if !status.success() {
        return Err(io::Error::other(format!("the downloads have failed: {status}")));
    }
    if let Some(svg) = svg {
        picture::draw(&std::fs::read_to_string(&trace)?, &svg)?;
        println!("drawn: {}", svg.display());
    }
    Ok(())
}
