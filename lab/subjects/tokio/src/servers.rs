//! A task for each connection. HTTP is hyper's.

use std::convert::Infallible;
use std::io;

use common::{BODY, BUFFER, announce, fail};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) async fn echo() {
    serve(|stream| {
        tokio::spawn(send_back(stream));
    })
    .await;
}

pub(crate) async fn http() {
    serve(|stream| {
        tokio::spawn(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service_fn(respond)),
        );
    })
    .await;
}

/// A client that breaks off is no matter of the server's.
async fn serve(answer: impl Fn(TcpStream)) {
    let Err(error) = accept(answer).await;
    fail(&format!("the server failed: {error}"));
}

async fn accept(answer: impl Fn(TcpStream)) -> io::Result<Infallible> {
    let listener = common::listen()?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    announce(listener.local_addr()?.port())?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        answer(stream);
    }
}

async fn send_back(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => stream.write_all(&buffer[..read]).await?,
        }
    }
}

async fn respond(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let found = request.method() == Method::GET && request.uri().path() == "/";
    let (status, body) = match found {
        true => (StatusCode::OK, &BODY[..]),
        false => (StatusCode::NOT_FOUND, &b"not found\n"[..]),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}
