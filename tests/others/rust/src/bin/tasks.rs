//! A task a connection, on tokio's runtime with several threads: what comes is sent back.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn main() {
    let port = std::env::args().nth(1).expect("a port");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_io().build();
    runtime.expect("a runtime").block_on(async move {
        let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await.expect("a free port");
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..count]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
}
