//! One echo server in four models, and the same tests over all of them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use crate::support::{fan_out, listen, on_fiber, pattern};

/// The example's own module, which is a program too.
macro_rules! example {
    ($($name:ident, $path:literal;)*) => { $(
        #[path = $path]
        #[allow(dead_code, reason = "its `main` is the example's")]
        mod $name;
    )* };
}

example! {
    awaiting, "../../examples/models/awaiting.rs";
    blocking, "../../examples/models/blocking.rs";
    callback, "../../examples/models/callback.rs";
    deferred, "../../examples/models/deferred.rs";
}

type Serve = fn(TcpListener) -> io::Result<()>;

const MODELS: [(&str, Serve); 4] = [
    ("await", awaiting::serve),
    ("blocking", blocking::serve),
    ("callback", callback::serve),
    ("deferred", deferred::serve),
];

/// Has `test` talk to a server of each model, which is then cancelled and ends.
fn each(test: fn(SocketAddr)) {
    for (name, serve) in MODELS {
        on_fiber(move || {
            let (listener, address) = listen();
            let server = timestop::spawn(move || serve(listener));
            test(address);
            server.cancel();
            match server.join() {
                Ok(ended) => {
                    let ended = ended.expect_err("it was cancelled");
                    assert_eq!(ended.raw_os_error(), Some(libc::ECANCELED), "{name}: {ended}");
                }
                // Tokio panics where it cannot wait.
                Err(_) => assert_eq!(name, "await", "no panic"),
            }
        });
    }
}

fn exchange(stream: &mut TcpStream, data: &[u8]) {
    stream.write_all(data).expect("it is read");
    let mut back = vec![0; data.len()];
    stream.read_exact(&mut back).expect("it comes back");
    assert!(back == data, "what comes back differs");
}

#[test]
fn messages_come_back() {
    each(|address| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        for length in [1, 2, 100, 4095, 4096, 4097, 20_000] {
            exchange(&mut stream, &pattern(length, length));
        }
    });
}

/// The end comes back too, after the rest.
#[test]
fn a_half_close_is_answered() {
    each(|address| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(b"the last").expect("it is read");
        stream.shutdown(Shutdown::Write).expect("it is open");
        let mut back = Vec::new();
        stream.read_to_end(&mut back).expect("it comes back");
        assert_eq!(back, b"the last");
    });
}

/// A client that writes more than there is room for before it reads: the server waits for it, and no other does.
#[test]
fn a_slow_reader_holds_up_nobody() {
    each(|address| {
        let mut slow = TcpStream::connect(address).expect("it listens");
        let mut other = TcpStream::connect(address).expect("it listens");
        let data = pattern(7, 1 << 24);
        slow.set_nonblocking(true).expect("a socket can");
        let mut written = 0;
        // Until both directions are full.
        let mut refused = 0;
        while written < data.len() && refused < 100 {
            match slow.write(&data[written..]) {
                Ok(count) => {
                    written += count;
                    refused = 0;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    refused += 1;
                    exchange(&mut other, b"still there?");
                }
            }
        }
        slow.set_nonblocking(false).expect("a socket can");
        let mut back = vec![0; written];
        slow.read_exact(&mut back).expect("it comes back");
        assert!(back == data[..written], "what comes back differs");
    });
}

#[test]
fn clients_that_vanish_harm_nobody() {
    each(|address| {
        let mut stays = TcpStream::connect(address).expect("it listens");
        for number in 0..50 {
            let mut goes = TcpStream::connect(address).expect("it listens");
            goes.write_all(&[number; 100]).expect("room");
            // With something unread: a reset.
            drop(goes);
            exchange(&mut stays, &[number; 10]);
        }
    });
}

#[test]
fn many_clients_at_once() {
    each(|address| {
        fan_out(100, move |client| {
            let mut stream = TcpStream::connect(address).expect("it listens");
            for round in 0..20 {
                exchange(&mut stream, &pattern(client * 100 + round, 200));
            }
        });
    });
}
