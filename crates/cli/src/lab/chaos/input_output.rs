//! Sockets and pipes: what a partner echoes is what was sent.

use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use super::dice::Dice;
use super::part::{self, Outcome, Part, same};

/// Fits the buffers of all three, so that both ends may write at once.
const MOST: usize = 16 * 1024;
/// Rounds on one pair.
const ROUNDS: usize = 256;

pub(super) fn part() -> Part {
    Part::of("input_output", 6, |nth| {
        let mut line: Option<Line> = None;
        let mut left = 0;
        move |dice| {
            if left == 0 {
                line = None;
                left = ROUNDS;
            }
            left -= 1;
            let told = |error: io::Error| format!("an echo: {error}");
            match &mut line {
                Some(line) => line.round(dice),
                none => none.insert(Line::open(nth).map_err(told)?).round(dice),
            }
        }
    })
}

/// Two ends of the same; the other two are a partner's, which echoes until it reads the end.
struct Line {
    input: Box<dyn Read + Send>,
    output: Box<dyn Write + Send>,
}

impl Line {
    fn open(nth: usize) -> io::Result<Self> {
        match nth % 3 {
            0 => {
                let (ours, theirs) = UnixStream::pair()?;
                part::spawn(None, move || echo(theirs.try_clone()?, theirs));
                Ok(Line::new(ours.try_clone()?, ours))
            }
            1 => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                let address = listener.local_addr()?;
                part::spawn(None, move || {
                    let (stream, _) = listener.accept()?;
                    stream.set_nodelay(true)?;
                    echo(stream.try_clone()?, stream)
                });
                let ours = TcpStream::connect(address)?;
                ours.set_nodelay(true)?;
                Ok(Line::new(ours.try_clone()?, ours))
            }
            _ => {
                let (their_input, our_output): (PipeReader, PipeWriter) = pipe()?;
                let (our_input, their_output) = pipe()?;
                part::spawn(None, move || echo(their_input, their_output));
                Ok(Line::new(our_input, our_output))
            }
        }
    }

    fn new(input: impl Read + Send + 'static, output: impl Write + Send + 'static) -> Self {
        Line { input: Box::new(input), output: Box::new(output) }
    }

    fn round(&mut self, dice: &mut Dice) -> Outcome {
        let mut sent = vec![0; dice.up_to(MOST)];
        dice.fill(&mut sent);
        let mut received = vec![0; sent.len()];
        let told = |error: io::Error| format!("an echo of {} bytes: {error}", sent.len());
        self.output.write_all(&sent).map_err(told)?;
        self.input.read_exact(&mut received).map_err(told)?;
        let wrong = sent.iter().zip(&received).position(|(sent, received)| sent != received);
        same("the first wrong byte of an echo", wrong, None)
    }
}

fn echo(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match input.read(&mut buffer)? {
            0 => return Ok(()),
            bytes => output.write_all(&buffer[..bytes])?,
        }
    }
}
