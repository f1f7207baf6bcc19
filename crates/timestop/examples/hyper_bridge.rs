//! Hyper's server over the bridge, a fiber a connection, beside the same on tokio.
//!
//! ```text
//! hyper_bridge compare [ROUNDS] [CONNECTIONS] [SECONDS]   both in turn, and the ratio
//! hyper_bridge serve bridge|tokio                         prints its address, for another load generator
//! hyper_bridge load ADDRESS CONNECTIONS SECONDS           prints requests/s
//! ```
//!
//! Server and load are processes of their own, and the sides take turns: one after the other they see the
//! same machine. Each connection asks for 1 KB, reads the answer and asks again (keep-alive).

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use std::{env, thread};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use timestop::future::{Async, block_on};

static BODY: [u8; 1024] = [b'x'; 1024];

async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(&BODY))))
}

fn listen() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    println!("{}", listener.local_addr().expect("it is bound"));
    listener
}

fn serve_on_fibers() {
    timestop::run(|| {
        for stream in listen().incoming() {
            let stream = stream.expect("a connection");
            stream.set_nodelay(true).expect("TCP has it");
            let io = TokioIo::new(Async::new(stream).expect("fibers run here"));
            let connection = http1::Builder::new().serve_connection(io, service_fn(answer));
            timestop::spawn(|| block_on(connection));
        }
    });
}

fn serve_on_tokio() {
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_io().build();
    tokio.expect("OS threads can be made").block_on(async {
        let listener = listen();
        listener.set_nonblocking(true).expect("a socket has a mode");
        let listener = tokio::net::TcpListener::from_std(listener).expect("it is registered");
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("TCP has it");
            let io = TokioIo::new(stream);
            tokio::spawn(http1::Builder::new().serve_connection(io, service_fn(answer)));
        }
    });
}

/// One answer to one question, which is as long as the first was.
fn load(address: SocketAddr, connections: usize, seconds: f64) {
    timestop::run(move || {
        let (answers, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let clients: Vec<_> = (0..connections)
            .map(|_| {
                let (answers, over) = (Arc::clone(&answers), Arc::clone(&over));
                timestop::spawn(move || {
                    let mut stream = TcpStream::connect(address).expect("the server listens");
                    stream.set_nodelay(true).expect("TCP has it");
                    let mut buffer = [0; 4096];
                    while !over.load(Ordering::Relaxed) {
                        stream.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").expect("it asks");
                        let mut count = 0;
                        while !buffer[..count].ends_with(&BODY) {
                            let more = stream.read(&mut buffer[count..]).expect("it answers");
                            assert!(more > 0, "the server closed the connection");
                            count += more;
                        }
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        thread::sleep(Duration::from_secs_f64(seconds / 5.0)); // all are connected, caches warm
        let before = answers.load(Ordering::Relaxed);
        thread::sleep(Duration::from_secs_f64(seconds));
        let count = answers.load(Ordering::Relaxed) - before;
        over.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("each was answered");
        }
        println!("{:.0}", count as f64 / seconds);
    });
}

/// A child process that ends with us.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn this_program() -> Command {
    Command::new(env::current_exe().expect("a process knows its program"))
}

fn measure(side: &str, connections: &str, seconds: &str) -> f64 {
    let mut server = this_program();
    server.args(["serve", side]).stdout(Stdio::piped());
    let mut server = Server(server.spawn().expect("this program starts"));
    let mut address = String::new();
    let stdout = server.0.stdout.take().expect("it is a pipe");
    BufReader::new(stdout).read_line(&mut address).expect("it says its address");
    let output = this_program()
        .args(["load", address.trim(), connections, seconds])
        .stderr(Stdio::inherit())
        .output()
        .expect("this program starts");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("requests/s")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn compare(rounds: usize, connections: &str, seconds: &str) {
    let mut ratios = Vec::new();
    for round in 0..rounds {
        let order = if round % 2 == 0 { ["bridge", "tokio"] } else { ["tokio", "bridge"] };
        let [first, second] = order.map(|side| measure(side, connections, seconds));
        let (bridge, tokio) = if round % 2 == 0 { (first, second) } else { (second, first) };
        println!("bridge {bridge:.0}/s  tokio {tokio:.0}/s  ratio {:.3}", bridge / tokio);
        ratios.push(bridge / tokio);
    }
    println!("median ratio {:.3}", median(ratios));
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", "bridge"] => serve_on_fibers(),
        ["serve", "tokio"] => serve_on_tokio(),
        ["load", address, connections, seconds] => load(
            address.parse().expect("an address"),
            connections.parse().expect("a number of connections"),
            seconds.parse().expect("a number of seconds"),
        ),
        ["compare", ref rest @ ..] => compare(
            rest.first().map_or(5, |rounds| rounds.parse().expect("a number of rounds")),
            rest.get(1).unwrap_or(&"1000"),
            rest.get(2).unwrap_or(&"3"),
        ),
        _ => {
            eprintln!(
                "usage: hyper_bridge compare [ROUNDS] [CONNECTIONS] [SECONDS] | serve bridge|tokio"
            );
            std::process::exit(2);
        }
    }
}
