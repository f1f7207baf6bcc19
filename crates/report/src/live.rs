//! What a live page of this process is made of, told to another process that shows it.
//!
//! That process (`timestop run --html`) listens on a socket in the abstract namespace; each process of
//! the program connects twice and answers what it is asked, on an OS thread a connection:
//!
//! | asked | answered | takes memory |
//! |---|---|---|
//! | `fibers LIMIT ID` | counters, and what fibers do, as members of a JSON object | no |
//! | `dump ID` | the dump of all fibers | yes |
//!
//! An answer is its id, and pieces with their lengths (32 bits each, little-endian), the last one empty. The two
//! do not wait for each other: whatever a stuck fiber holds, memory's own lock included, the list comes.
//!
//! Rejected: HTTP in here (its parser, its connections and its time limits would be the program's, and
//! one port a process); reading the records from outside by `process_vm_readv` (Yama forbids it to who is not
//! the parent).

use std::io::{self, Write};
use std::sync::OnceLock;

use syscalls::{Sysno, raw_syscall};
use timestop_runtime::housekeeper::Housekeeper;
use timestop_runtime::own::Own;
use timestop_runtime::{Snapshot, snapshots, stats, sys};

use crate::plain::{ROOM, Text};
use crate::raw::outcome;

/// Where to connect, and what to say first.
#[derive(Debug)]
struct Place {
    name: String,
    token: String,
}

static PLACE: OnceLock<Place> = OnceLock::new();
static FIBERS: Housekeeper = Housekeeper::new(c"timestop-page", || serve("fibers"));
static DUMP: Housekeeper = Housekeeper::new(c"timestop-dump", || serve("dump"));

/// Answers who shows a live page: `NAME:TOKEN`, the name of its socket and what it wants to hear. Once;
/// the runtime has been started. If nobody is there, nothing happens.
pub fn answer(address: &str) {
    let Some((name, token)) = address.split_once(':') else { return };
    let place = Place { name: name.to_owned(), token: token.to_owned() };
    if PLACE.set(place).is_ok() {
        FIBERS.want();
        DUMP.want();
    }
}

/// The OS thread of one connection.
fn serve(what: &str) {
    let Some(place) = PLACE.get() else { return };
    let Ok(socket) = connect(&place.name) else { return };
    let _ = converse(&mut Socket(socket), what, place);
    socket.close();
}

fn converse(socket: &mut Socket, what: &str, place: &Place) -> io::Result<()> {
    let name = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
    let hello = format!("{} {what} {} {}\n", place.token, sys::process_id(), name.trim_end());
    socket.write_all(hello.as_bytes())?;
    // The last memory that the list takes.
    let mut text = Box::new(Text::new());
    let mut line = Line::new();
    while let Some((words, count)) = line.next(socket)? {
        let number = |index: usize| words[..count].get(index).copied().unwrap_or(0);
        match what {
            "fibers" => list(socket, &mut text, number(0), number(1))?,
            _ => {
                let mut text = Vec::new();
                crate::dump(&mut text)?;
                let mut answer = Answer::begin(socket, number(0))?;
                answer.piece(&text)?;
                answer.end()?;
            }
        }
    }
    Ok(())
}

/// A line that was asked: the numbers in it.
#[derive(Debug)]
struct Line {
    bytes: [u8; 128],
    length: usize,
}

impl Line {
    fn new() -> Self {
        Self { bytes: [0; 128], length: 0 }
    }

    /// The numbers of the next line, and how many there are; `None` where nobody asks any more.
    fn next(&mut self, socket: &mut Socket) -> io::Result<Option<([u64; 2], usize)>> {
        loop {
            if let Some(end) = self.bytes[..self.length].iter().position(|byte| *byte == b'\n') {
                let mut numbers = ([0; 2], 0);
                let text = std::str::from_utf8(&self.bytes[..end]).unwrap_or_default();
                for number in text.split(' ').filter_map(|word| word.parse().ok()).take(2) {
                    numbers.0[numbers.1] = number;
                    numbers.1 += 1;
                }
                self.bytes.copy_within(end + 1..self.length, 0);
                self.length -= end + 1;
                return Ok(Some(numbers));
            }
            let count = socket.read(&mut self.bytes[self.length..])?;
            if count == 0 {
                return Ok(None);
            }
            self.length += count;
        }
    }
}

/// An answer, in pieces.
struct Answer<'a>(&'a mut Socket);

impl<'a> Answer<'a> {
    fn begin(socket: &'a mut Socket, id: u64) -> io::Result<Self> {
        socket.write_all(&(id as u32).to_le_bytes())?;
        Ok(Self(socket))
    }

    fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(()); // that would be the end
        }
        self.0.write_all(&(bytes.len() as u32).to_le_bytes())?;
        self.0.write_all(bytes)
    }

    fn end(self) -> io::Result<()> {
        self.0.write_all(&0_u32.to_le_bytes())
    }
}

/// Room that one fiber's line takes at most.
const LONGEST: usize = 512;

fn list(socket: &mut Socket, text: &mut Text, limit: u64, id: u64) -> io::Result<()> {
    let mut answer = Answer::begin(socket, id)?;
    text.clear();
    counters(text);
    text.text(",\"fibers\":[");
    // What runs is of more interest than what waits.
    let busy = snapshots().filter(|fiber| !fiber.parked);
    let waiting = snapshots().filter(|fiber| fiber.parked);
    for (index, fiber) in busy.chain(waiting).take(limit as usize).enumerate() {
        if text.room() < LONGEST {
            answer.piece(text.bytes())?;
            text.clear();
        }
        text.text(if index > 0 { "," } else { "" });
        describe(text, &fiber);
    }
    text.text("]");
    answer.piece(text.bytes())?;
    answer.end()
}

fn counters(text: &mut Text) {
    let stats = stats();
    text.text("\"stats\":{");
    for (index, (name, count)) in [
        ("workers", stats.workers),
        ("os_threads", stats.os_threads),
        ("fibers", stats.fibers),
        ("spawned", stats.spawned),
        ("switches", stats.switches),
        ("steals", stats.steals),
        ("hand_offs", stats.hand_offs),
        ("polls", stats.polls),
        ("preemptions", stats.preemptions),
    ]
    .into_iter()
    .enumerate()
    {
        text.text(if index > 0 { ",\"" } else { "\"" }).text(name).text("\":").number(count);
    }
    text.text("}");
}

fn describe(text: &mut Text, fiber: &Snapshot) {
    text.text("{\"id\":").number(fiber.id).text(",\"name\":");
    let name = fiber.fiber.name();
    match name.bytes() {
        b"" => text.text("null"),
        name => text.text("\"").escaped(name).text("\""),
    };
    let state = match (fiber.parked, fiber.running) {
        (true, _) => "waiting",
        (false, true) => "running",
        (false, false) => "queued",
    };
    text.text(",\"state\":\"").text(state).text("\",\"waiting_for\":");
    if fiber.parked {
        text.text("\"").what((fiber.reason, fiber.argument)).text("\"");
    } else {
        text.text("null");
    }
    text.text(",\"ms\":").number(fiber.waited / 1_000_000);
    text.text(",\"cpu_ms\":").number(fiber.cpu / 1_000_000).text("}");
}

const _: () = assert!(LONGEST * 4 < ROOM);

/// Connects to a socket in the abstract namespace.
fn connect(name: &str) -> io::Result<Own> {
    let failed = |number| io::Error::from_raw_os_error(number);
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: touches no memory.
    let made = unsafe { raw_syscall!(Sysno::socket, libc::AF_UNIX, kind, 0) };
    let socket = Own::adopt(outcome(made).map_err(failed)? as i32);
    let mut address = [0_u8; 108];
    address[..2].copy_from_slice(&(libc::AF_UNIX as u16).to_ne_bytes());
    // A leading zero byte: a name that is no file.
    let end = 3 + name.len();
    let Some(place) = address.get_mut(3..end) else {
        socket.close();
        return Err(failed(libc::ENAMETOOLONG));
    };
    place.copy_from_slice(name.as_bytes());
    // SAFETY: the kernel reads that many bytes.
    let connected = unsafe { raw_syscall!(Sysno::connect, socket.number(), address.as_ptr(), end) };
    match outcome(connected) {
        Ok(_) => Ok(socket),
        Err(number) => {
            socket.close();
            Err(failed(number))
        }
    }
}

/// A connected socket, past libc.
struct Socket(Own);

impl Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            // SAFETY: the kernel writes that many bytes at most.
            let read = unsafe {
                raw_syscall!(Sysno::read, self.0.number(), bytes.as_mut_ptr(), bytes.len())
            };
            match outcome(read) {
                Err(libc::EINTR) => {}
                other => return other.map_err(io::Error::from_raw_os_error),
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: the kernel reads that many bytes. (No SIGPIPE where nobody listens any more.)
        let written = unsafe {
            raw_syscall!(
                Sysno::sendto,
                self.0.number(),
                bytes.as_ptr(),
                bytes.len(),
                libc::MSG_NOSIGNAL,
                0,
                0
            )
        };
        outcome(written).map_err(io::Error::from_raw_os_error)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
