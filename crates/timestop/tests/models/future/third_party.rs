//! Async crates as they are, on fibers: hyper over our sockets, and what wants tokio in a runtime that a fiber
//! has entered.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use timestop::future::{Async, block_on, spawn_async, unblock};

use crate::support::{child_passes, fan_out, is_child, on_fiber};

const CLIENTS: usize = 20;
const REQUESTS: usize = 10;

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    // Blocking code within the service: a fiber's right.
    let text = timestop::spawn(move || format!("{path}:{}", body.len())).join().expect("no panic");
    Ok(Response::new(Full::new(Bytes::from(text))))
}

/// Hyper's server: a fiber a connection. How many there were.
fn serve() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    timestop::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            let io = TokioIo::new(Async::new(stream.unwrap()).unwrap());
            let http = hyper::server::conn::http1::Builder::new();
            spawn_async(http.serve_connection(io, service_fn(answer)));
        }
    });
    (address, connections)
}

/// Keep-alive: a connection for many requests.
#[test]
fn hyper_server_and_client() {
    on_fiber(|| {
        let (address, connections) = serve();
        fan_out(CLIENTS, move |client| {
            block_on(async move {
                let io = TokioIo::new(Async::<TcpStream>::connect(address).await.unwrap());
                let (mut sender, connection) =
                    hyper::client::conn::http1::handshake(io).await.unwrap();
                spawn_async(connection);
                for request in 0..REQUESTS {
                    let body = Full::new(Bytes::from(vec![b'x'; 1000 * request]));
                    let request = Request::post(format!("/{client}")).header("host", "here");
                    let size = body.clone().collect().await.unwrap().to_bytes().len();
                    let response = sender.send_request(request.body(body).unwrap()).await.unwrap();
                    let text = response.into_body().collect().await.unwrap().to_bytes();
                    assert_eq!(text, format!("/{client}:{size}"));
                }
            })
            .expect("not cancelled");
        });
        assert_eq!(connections.load(Ordering::SeqCst), CLIENTS);
    });
}

fn tokio(threads: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .unwrap()
}

/// In a runtime that the fiber has entered, with worker threads of whatever kind.
fn reqwest_on_fibers() {
    let tokio = tokio(2);
    let handle = tokio.handle().clone();
    on_fiber(move || {
        let (address, _) = serve();
        let client = reqwest::Client::new();
        fan_out(CLIENTS, move |index| {
            let _entered = handle.enter();
            for _ in 0..REQUESTS {
                let request = client.post(format!("http://{address}/{index}")).body("four");
                let text = block_on(async { request.send().await?.text().await }).unwrap();
                assert_eq!(text.unwrap(), format!("/{index}:4"));
            }
        });
    });
}

#[test]
fn reqwest_with_tokio_on_os_threads() {
    reqwest_on_fibers();
}

/// Tokio's worker threads are fibers themselves.
#[test]
fn reqwest_with_tokio_on_fibers() {
    if is_child() {
        timestop::adopt_threads().unwrap();
        reqwest_on_fibers();
        return;
    }
    let name = "future::third_party::reqwest_with_tokio_on_fibers";
    child_passes(name);
}

/// The handle of the client's connection is a task of tokio's; queries run on fibers, at once over one
/// connection.
#[test]
fn tokio_postgres() {
    const USERS: usize = 30;
    let server = crate::servers::postgres(4);
    let address = server.address.clone();
    let tokio = tokio(1);
    let handle = tokio.handle().clone();
    on_fiber(move || {
        let _entered = handle.enter();
        let connected = block_on(tokio_postgres::connect(&address, tokio_postgres::NoTls)).unwrap();
        let (client, connection) = connected.expect("the server is up");
        handle.spawn(connection);
        let client = Arc::new(client);
        let doubles = fan_out(USERS, {
            let client = Arc::clone(&client);
            move |user| {
                let user = user as i32;
                let row = block_on(client.query_one("SELECT $1::int4 * 2", &[&user])).unwrap();
                row.map(|row| row.get::<_, i32>(0))
            }
        });
        for (user, double) in doubles.into_iter().enumerate() {
            assert_eq!(double.expect("valid SQL"), 2 * user as i32);
        }
        // A query that a limit ends: the connection serves the next one.
        let limit = std::time::Duration::from_millis(5);
        let slept =
            timestop::timeout(limit, || block_on(client.batch_execute("SELECT pg_sleep(0.05)")));
        assert!(slept.is_err());
        let row = block_on(client.query_one("SELECT 7", &[])).unwrap().expect("valid SQL");
        assert_eq!(row.get::<_, i32>(0), 7);
    });
    drop(server);
}

/// The blocking client in async code on OS threads: as many at once as there are tasks.
#[test]
fn ureq_under_tokio() {
    let (address, _) = serve();
    let tokio = tokio(2);
    tokio.block_on(async move {
        let tasks: Vec<_> = (0..CLIENTS)
            .map(|index| {
                tokio::spawn(unblock(move || {
                    let url = format!("http://{address}/{index}");
                    ureq::get(url).call().and_then(|mut answer| answer.body_mut().read_to_string())
                }))
            })
            .collect();
        for (index, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.expect("no panic").expect("answers"), format!("/{index}:0"));
        }
    });
}
