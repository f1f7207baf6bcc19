//! std's sockets in async code, on fibers and on executors of OS threads.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::pin::Pin;

use futures::{AsyncReadExt, AsyncWriteExt};
use timestop::future::{Async, block_on, gather, spawn_async};

use crate::support::{listen, on_fiber, pattern, tcp_pair};

type Test = fn() -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// On a fiber, on futures' executor, and on tokio's OS threads.
fn everywhere(test: Test) {
    on_fiber(move || block_on(test()).expect("not cancelled"));
    futures::executor::block_on(test());
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    tokio.block_on(async move { tokio::spawn(test()).await }).expect("no panic");
}

async fn echo<S: timestop::future::Stream + Unpin>(mut stream: Async<S>) {
    let mut buffer = [0; 1024];
    loop {
        let count = AsyncReadExt::read(&mut stream, &mut buffer).await.expect("reads");
        if count == 0 {
            return;
        }
        AsyncWriteExt::write_all(&mut stream, &buffer[..count]).await.expect("writes");
    }
}

/// More than the buffers of a connection hold goes both ways at once.
async fn there_and_back<S: timestop::future::Stream + Unpin>(stream: Async<S>) {
    let sent = pattern(7, 3_000_000);
    let (mut reader, mut writer) = stream.split();
    let writes = async {
        writer.write_all(&sent).await?;
        writer.close().await
    };
    let mut received = Vec::new();
    let reads = reader.read_to_end(&mut received);
    let (written, _) = futures::try_join!(writes, reads).expect("both go well");
    let () = written;
    assert!(received == sent);
}

#[test]
fn tcp_echo() {
    everywhere(|| {
        Box::pin(async {
            let listener = Async::new(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
            let address = listener.get_ref().local_addr().unwrap();
            let server = async {
                let (stream, peer) = listener.accept().await.expect("accepts");
                assert!(peer.ip().is_loopback());
                echo(stream).await;
            };
            let client = async {
                let stream = Async::<TcpStream>::connect(address).await.expect("connects");
                there_and_back(stream).await;
            };
            futures::join!(server, client);
        })
    });
}

#[test]
fn unix_echo() {
    everywhere(|| {
        Box::pin(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("socket");
            let listener = Async::new(UnixListener::bind(&path).unwrap()).unwrap();
            let server = async {
                echo(listener.accept().await.expect("accepts").0).await;
            };
            let client = async {
                there_and_back(Async::<UnixStream>::connect(&path).await.expect("connects")).await;
            };
            futures::join!(server, client);
        })
    });
}

#[test]
fn tokios_traits() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    everywhere(|| {
        Box::pin(async {
            let (ours, theirs) = tcp_pair();
            let (mut ours, mut theirs) = (Async::new(ours).unwrap(), Async::new(theirs).unwrap());
            let sent = pattern(3, 500_000);
            let writes = async {
                AsyncWriteExt::write_all(&mut ours, &sent).await?;
                AsyncWriteExt::shutdown(&mut ours).await
            };
            let mut received = Vec::new();
            let reads = AsyncReadExt::read_to_end(&mut theirs, &mut received);
            futures::try_join!(writes, reads).expect("both go well");
            assert!(received == sent);
        })
    });
}

#[test]
fn datagrams() {
    everywhere(|| {
        Box::pin(async {
            let [one, two] =
                [0, 1].map(|_| Async::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap());
            let [to_one, to_two] =
                [&one, &two].map(|socket| socket.get_ref().local_addr().unwrap());
            let (mut buffer, mut back) = ([0; 16], [0; 16]);
            let answer = async {
                let (count, from) = two.recv_from(&mut buffer).await?;
                assert_eq!(from, to_one);
                two.send_to(&buffer[..count], from).await
            };
            let ask = async {
                one.send_to(b"ping", to_two).await?;
                one.recv(&mut back).await
            };
            assert_eq!(futures::try_join!(answer, ask).expect("both go well"), (4, 4));
            assert_eq!(&back[..4], b"ping");

            let (one, two) = UnixDatagram::pair().unwrap();
            let (one, two) = (Async::new(one).unwrap(), Async::new(two).unwrap());
            let both = futures::join!(two.recv(&mut buffer), one.send(b"hello"));
            assert_eq!((both.0.unwrap(), both.1.unwrap()), (5, 5));
        })
    });
}

/// Blocking code and async code on one listener and one connection.
#[test]
fn beside_blocking_code() {
    on_fiber(|| {
        let (listener, address) = listen();
        let server = spawn_async(async move {
            let listener = Async::new(listener).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let stream = stream.into_inner().unwrap();
            let listener = listener.into_inner().unwrap();
            (listener, stream)
        });
        let mut client = TcpStream::connect(address).unwrap();
        let (listener, mut stream) = server.join().unwrap().unwrap();
        let writer = timestop::spawn(move || {
            timestop::yield_now();
            client.write_all(b"blocking").unwrap();
            client
        });
        let mut text = [0; 8];
        stream.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"blocking");
        let client = writer.join().unwrap();
        // The listener waits again as std's do.
        let other = timestop::spawn(move || TcpStream::connect(address));
        listener.accept().unwrap();
        other.join().unwrap().unwrap();
        drop(client);
    });
}

/// Several tasks accept on one listener, and several read one connection: each gets something.
#[test]
fn several_wait_for_one() {
    everywhere(|| {
        Box::pin(async {
            let listener = Async::new(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
            let address = listener.get_ref().local_addr().unwrap();
            let accepted = gather((0..5).map(|_| listener.accept()));
            let connected = gather((0..5).map(|_| Async::<TcpStream>::connect(address)));
            let (servers, clients) = futures::join!(accepted, connected);
            assert_eq!((servers.unwrap().len(), clients.unwrap().len()), (5, 5));
        })
    });
}

/// A read that is dropped while it waits takes no byte, and leaves no waker behind.
#[test]
fn a_dropped_read_loses_nothing() {
    everywhere(|| {
        Box::pin(async {
            let (ours, mut theirs) = tcp_pair();
            let ours = Async::new(ours).unwrap();
            for round in 0..50_u8 {
                let mut byte = [0];
                {
                    let mut read = std::pin::pin!(ours.read(&mut byte));
                    assert!(futures::poll!(read.as_mut()).is_pending());
                    theirs.write_all(&[round]).unwrap();
                }
                assert_eq!(ours.read(&mut byte).await.unwrap(), 1);
                assert_eq!(byte[0], round);
            }
        })
    });
}

#[test]
fn connecting_to_nobody() {
    everywhere(|| {
        Box::pin(async {
            let (listener, address) = listen();
            drop(listener);
            let error = Async::<TcpStream>::connect(address).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        })
    });
}

/// A peer that goes away ends reads and writes.
#[test]
fn a_peer_that_goes_away() {
    everywhere(|| {
        Box::pin(async {
            let (ours, theirs) = tcp_pair();
            let mut ours = Async::new(ours).unwrap();
            let mut buffer = [0; 8];
            {
                let mut read = std::pin::pin!(ours.read(&mut buffer));
                assert!(futures::poll!(read.as_mut()).is_pending());
                drop(theirs);
                assert_eq!(read.await.unwrap(), 0);
            }
            let error = loop {
                if let Err(error) = AsyncWriteExt::write_all(&mut ours, &[0; 4096]).await {
                    break error;
                }
            };
            use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
            assert!(matches!(error.kind(), BrokenPipe | ConnectionReset), "{error}");
        })
    });
}
