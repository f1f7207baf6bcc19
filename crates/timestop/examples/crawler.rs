//! A crawler: a few workers, each with a connection of its own, that fetch pages from a local server and
//! follow their links. `Queue` holds the pages to be fetched and knows when all are done; `RateLimiter` keeps
//! the workers from asking too often; the first error ends all.
//!
//! `cargo run -p timestop --example crawler`

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use timestop::queue::Queue;
use timestop::sync::{Rate, RateLimiter, group};

const WORKERS: usize = 4;
/// Page 1 links to 2 and 3, page n to 2n and 2n + 1.
const PAGES: u32 = 60;
const BURST: u32 = 10;
const PAUSE: Duration = Duration::from_millis(2);

#[timestop::main]
fn main() {
    let address = serve().expect("a port on loopback");
    let start = Instant::now();
    let pages = crawl(address).expect("the server answers");
    let took = start.elapsed();

    // No faster than the limiter lets it.
    assert_eq!(pages.len(), PAGES as usize);
    assert!(took >= PAUSE * (PAGES - BURST));
    println!("{} pages by {WORKERS} connections in {took:.0?}", pages.len());
}

/// Fetches page 1 and all that can be reached from there.
fn crawl(address: SocketAddr) -> io::Result<HashSet<u32>> {
    let pages = Queue::new(0);
    let limiter = RateLimiter::new(Rate::every(PAUSE), BURST);
    let seen = Mutex::new(HashSet::from([1]));
    pages.put(1).map_err(io::Error::other)?;

    let done: io::Result<()> = group(|group| {
        for _ in 0..WORKERS {
            group.spawn(|| {
                let mut connection = BufReader::new(TcpStream::connect(address)?);
                // Until the queue is shut down.
                for page in &pages {
                    limiter.acquire(1).map_err(io::Error::other)?;
                    for link in fetch(&mut connection, page)? {
                        if seen.lock().expect("nobody panics").insert(link) {
                            pages.put(link).map_err(io::Error::other)?;
                        }
                    }
                    pages.task_done();
                }
                Ok(())
            });
        }
        // In the group, so that an error of a worker ends this wait, too.
        group.spawn(|| {
            pages.join().map_err(io::Error::other)?;
            pages.shutdown();
            Ok(())
        });
        Ok(())
    });
    done?;
    Ok(seen.into_inner().expect("nobody panics"))
}

/// Asks for a page; a line with the numbers of those that it links to comes back.
fn fetch(connection: &mut BufReader<TcpStream>, page: u32) -> io::Result<Vec<u32>> {
    connection.get_mut().write_all(format!("{page}\n").as_bytes())?;
    let mut line = String::new();
    if connection.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.split_whitespace().map(|link| link.parse().map_err(io::Error::other)).collect()
}

/// A server with a fiber for each connection.
fn serve() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    timestop::spawn(move || -> io::Result<()> {
        for stream in listener.incoming() {
            let mut stream = stream?;
            timestop::spawn(move || -> io::Result<()> {
                for line in BufReader::new(stream.try_clone()?).lines() {
                    let page: u32 = line?.parse().map_err(io::Error::other)?;
                    let links = [2 * page, 2 * page + 1].map(|link| match link {
                        1..=PAGES => link.to_string(),
                        _ => String::new(),
                    });
                    stream.write_all(format!("{}\n", links.join(" ")).as_bytes())?;
                }
                Ok(())
            });
        }
        Ok(())
    });
    Ok(address)
}
