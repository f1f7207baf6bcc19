//! Crates that know nothing of fibers, at work on them: HTTP, TLS, data parallelism, an async runtime, random numbers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

use crate::support::{fan_out, listen, on_fiber, pattern};

const USERS: usize = 100;

/// Serves HTTP/1.1 on `listener` to `connections` connections, a fiber each: answers every request with its method, path
/// and body.
fn serve_http(listener: TcpListener, connections: usize) {
    let fibers: Vec<_> = (0..connections)
        .map(|_| {
            let (stream, _) = listener.accept().expect("a client comes");
            timestop::spawn(move || answer_http(stream))
        })
        .collect();
    for fiber in fibers {
        fiber.join().expect("no panic");
    }
}

fn answer_http(stream: TcpStream) {
    let mut writer = stream.try_clone().expect("a descriptor is free");
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request).expect("the client writes") == 0 {
            return;
        }
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).expect("the client writes");
            if header.trim_end().is_empty() {
                break;
            }
            let (name, value) = header.split_once(':').expect("a header has a value");
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().expect("a length is a number");
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("the client writes");
        let mut answer = request.trim_end().trim_end_matches(" HTTP/1.1").as_bytes().to_vec();
        answer.push(b'\n');
        answer.extend(body);
        write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len())
            .expect("open");
        writer.write_all(&answer).expect("the client reads");
    }
}

#[test]
fn ureq() {
    on_fiber(|| {
        let (listener, address) = listen();
        let server = timestop::spawn(move || serve_http(listener, USERS));
        fan_out(USERS, move |user| {
            // Keeps its connection alive between requests.
            let agent = ureq::Agent::new_with_defaults();
            for round in 0..5 {
                let mut response =
                    agent.get(format!("http://{address}/{user}/{round}")).call().expect("answered");
                let text = response.body_mut().read_to_string().expect("text");
                assert_eq!(text, format!("GET /{user}/{round}\n"));
            }
            let body = pattern(user, 10_000);
            let mut response =
                agent.post(format!("http://{address}/post")).send(&body[..]).expect("answered");
            let echoed = response.body_mut().read_to_vec().expect("bytes");
            assert_eq!(echoed, [b"POST /post\n", &body[..]].concat());
        });
        server.join().expect("no panic");
    });
}

#[test]
fn ureq_times_out() {
    on_fiber(|| {
        let (_listener, address) = listen();
        // The kernel accepts, nobody answers.
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_millis(50)));
        let agent = ureq::Agent::from(config.build());
        let error = agent.get(format!("http://{address}/")).call().expect_err("nobody answers");
        assert!(matches!(error, ureq::Error::Timeout(_)), "{error}");
    });
}

/// What the two sides of a TLS connection agree on.
fn tls_configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let certified = rcgen::generate_simple_self_signed(["localhost".into()]).expect("a valid name");
    let certificate = certified.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a valid certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("the key is the certificate's");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

fn serve_tls(listener: TcpListener, config: Arc<ServerConfig>) {
    let fibers: Vec<_> = (0..USERS)
        .map(|_| {
            let (stream, _) = listener.accept().expect("a client comes");
            let session = ServerConnection::new(config.clone()).expect("a valid configuration");
            timestop::spawn(move || {
                let mut tls = StreamOwned::new(session, stream);
                let mut bytes = vec![0; 50_000];
                tls.read_exact(&mut bytes).expect("the client writes");
                tls.write_all(&bytes).expect("the client reads");
                tls.conn.send_close_notify();
                tls.flush().expect("the client reads");
            })
        })
        .collect();
    for fiber in fibers {
        fiber.join().expect("no panic");
    }
}

fn ask_tls(address: SocketAddr, config: Arc<ClientConfig>, user: usize) {
    let name = ServerName::try_from("localhost").expect("a valid name");
    let session = ClientConnection::new(config, name).expect("a valid configuration");
    let mut tls = StreamOwned::new(session, TcpStream::connect(address).expect("connects"));
    let bytes = pattern(user, 50_000);
    tls.write_all(&bytes).expect("the server reads");
    let mut echoed = Vec::new();
    tls.read_to_end(&mut echoed).expect("the server closes in order");
    assert!(echoed == bytes);
}

#[test]
fn rustls() {
    on_fiber(|| {
        let (server_config, client_config) = tls_configs();
        let (listener, address) = listen();
        let server = timestop::spawn(move || serve_tls(listener, server_config));
        fan_out(USERS, move |user| ask_tls(address, client_config.clone(), user));
        server.join().expect("no panic");
    });
}

#[test]
fn rayon_in_a_fiber() {
    on_fiber(|| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads start");
        let pool = Arc::new(pool);
        let sums = fan_out(USERS, move |user| {
            pool.install(|| (0..1_000_u64).into_par_iter().map(|n| n * user as u64).sum::<u64>())
        });
        for (user, sum) in sums.into_iter().enumerate() {
            assert_eq!(sum, 499_500 * user as u64);
        }
        let (left, right) = rayon::join(|| 1, || 2);
        assert_eq!(left + right, 3);
    });
}

/// Runs an echo server and [`USERS`] clients as tasks of the runtime that polls it.
async fn echo_in_tasks() -> usize {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let server = tokio::spawn(async move {
        for _ in 0..USERS {
            let (mut stream, _) = listener.accept().await.expect("a client comes");
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    let mut clients = tokio::task::JoinSet::new();
    for user in 0..USERS {
        clients.spawn(async move {
            let mut stream = tokio::net::TcpStream::connect(address).await.expect("connects");
            let bytes = pattern(user, 2_000);
            stream.write_all(&bytes).await.expect("the server reads");
            stream.shutdown().await.expect("connected");
            let mut echoed = Vec::new();
            stream.read_to_end(&mut echoed).await.expect("the server echoes");
            tokio::time::sleep(Duration::from_millis(1)).await;
            let blocking = tokio::task::spawn_blocking(move || echoed == bytes);
            usize::from(blocking.await.expect("no panic"))
        });
    }
    let right = clients.join_all().await.into_iter().sum();
    server.await.expect("no panic");
    right
}

#[test]
fn a_multi_thread_tokio_in_a_fiber() {
    let right = on_fiber(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().expect("threads start");
        runtime.block_on(echo_in_tasks())
    });
    assert_eq!(right, USERS);
}

#[test]
fn a_current_thread_tokio_in_each_of_many_fibers() {
    let right = on_fiber(|| {
        fan_out(5, |_| {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().build().expect("a descriptor is free");
            runtime.block_on(echo_in_tasks())
        })
    });
    assert_eq!(right, [USERS; 5]);
}

#[test]
fn tokio_channels_between_fibers_and_tasks() {
    on_fiber(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).build().expect("threads start");
        let (ask, mut asked) =
            tokio::sync::mpsc::channel::<(usize, tokio::sync::oneshot::Sender<usize>)>(4);
        let task = runtime.spawn(async move {
            while let Some((number, answer)) = asked.recv().await {
                answer.send(number + 1).expect("the fiber waits");
            }
        });
        fan_out(USERS, move |user| {
            let (answer, answered) = tokio::sync::oneshot::channel();
            ask.blocking_send((user, answer)).expect("the task listens");
            assert_eq!(answered.blocking_recv(), Ok(user + 1));
        });
        runtime.block_on(task).expect("no panic");
    });
}

#[test]
fn random_numbers_differ_in_each_fiber() {
    let mut all = on_fiber(|| {
        fan_out(USERS, |_| {
            // The generator is a thread-local behind an `Rc`: kept across suspension.
            let mut rng = rand::rng();
            let first = rng.next_u64();
            timestop::yield_now();
            [first, rng.next_u64(), rand::random()]
        })
    })
    .concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 3 * USERS);
}

#[test]
fn crossbeam_scope() {
    on_fiber(|| {
        let numbers: Vec<usize> = (0..USERS).collect();
        let sum = crossbeam::thread::scope(|scope| {
            let halves =
                numbers.chunks(USERS / 2).map(|half| scope.spawn(|_| half.iter().sum::<usize>()));
            let halves: Vec<_> = halves.collect();
            halves.into_iter().map(|half| half.join().expect("no panic")).sum::<usize>()
        });
        assert_eq!(sum.expect("no panic"), USERS * (USERS - 1) / 2);
    });
}
