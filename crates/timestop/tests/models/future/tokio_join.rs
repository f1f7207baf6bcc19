//! The cases of tokio's tests of `JoinHandle`, `spawn_blocking` and abort, for fibers that are awaited.

use std::future::IntoFuture;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use timestop::future::{block_on, spawn_async, unblock};
use timestop::{Builder, JoinHandle};

use crate::support::{on_fiber, until};

fn executors(test: fn(fn(futures::future::BoxFuture<'static, ()>))) {
    test(futures::executor::block_on);
    test(|future| {
        on_fiber(move || block_on(future)).expect("not cancelled");
    });
    test(|future| {
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        tokio.block_on(async { tokio::spawn(future).await }).expect("no panic");
    });
}

fn named<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().name("named".to_owned()).spawn(f).expect("there is room")
}

#[test]
fn awaited_from_any_executor() {
    executors(|run| {
        run(Box::pin(async {
            let fibers: Vec<_> = (0..100).map(|index| timestop::spawn(move || index)).collect();
            for (index, fiber) in fibers.into_iter().enumerate() {
                assert_eq!(fiber.await.unwrap(), index);
            }
            assert_eq!(named(|| 7).await.unwrap(), 7);
        }));
    });
}

#[test]
fn awaited_before_and_after_the_end() {
    executors(|run| {
        run(Box::pin(async {
            let (go, gone) = std::sync::mpsc::channel();
            let fiber = timestop::spawn(move || gone.recv());
            let mut end = Box::pin(fiber.into_future());
            assert!(futures::poll!(&mut end).is_pending());
            go.send(3).unwrap();
            assert_eq!(end.await.unwrap(), Ok(3));

            let fiber = timestop::spawn(|| 4);
            until("it has ended", || fiber.is_finished());
            let polled = futures::poll!(pin!(fiber.into_future()));
            assert_eq!(polled.map(Result::ok), Poll::Ready(Some(4)));
        }));
    });
}

#[test]
fn a_panic_is_an_error() {
    executors(|run| {
        run(Box::pin(async {
            for fiber in [timestop::spawn(|| panic!("oh")), named(|| panic!("oh"))] {
                let payload = fiber.await.unwrap_err();
                assert_eq!(*payload.downcast::<&str>().unwrap(), "oh");
            }
            let polled = spawn_async(async { panic!("in a poll") }).await;
            assert!(polled.is_err());
        }));
    });
}

#[test]
fn the_future_moves_between_tasks() {
    // Polled by one waker, then by another: the last one is woken.
    let (go, gone) = std::sync::mpsc::channel();
    let fiber = timestop::spawn(move || gone.recv());
    let mut end = Box::pin(fiber.into_future());
    futures::executor::block_on(async { assert!(futures::poll!(&mut end).is_pending()) });
    on_fiber(move || {
        timestop::spawn(move || go.send(()));
        block_on(end).unwrap().unwrap().unwrap();
    });
}

#[test]
fn dropped_it_lets_the_fiber_run_on() {
    executors(|run| {
        run(Box::pin(async {
            let (go, gone) = std::sync::mpsc::channel::<()>();
            let done = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&done);
            let fiber = timestop::spawn(move || {
                let _ = gone.recv();
                done.store(true, Ordering::SeqCst);
            });
            let mut end = Box::pin(fiber.into_future());
            assert!(futures::poll!(&mut end).is_pending());
            drop(end);
            go.send(()).expect("it waits");
            until("the fiber is done", || seen.load(Ordering::SeqCst));
        }));
    });
}

#[test]
fn dropped_it_cancels_where_that_was_asked_for() {
    executors(|run| {
        run(Box::pin(async {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            let error = Arc::new(std::sync::Mutex::new(None));
            let seen = Arc::clone(&error);
            let mut read = Box::pin(unblock(move || {
                *error.lock().unwrap() = ours.read(&mut [0]).err();
            }));
            assert!(futures::poll!(&mut read).is_pending());
            drop(read);
            until("the read has failed", || seen.lock().unwrap().is_some());
            let error = seen.lock().unwrap().take().unwrap();
            assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
            drop(theirs);
        }));
    });
}

/// Futures that are dropped just as their fibers end.
#[test]
fn dropped_at_any_moment() {
    executors(|run| {
        run(Box::pin(async {
            for _ in 0..500 {
                let mut end = Box::pin(timestop::spawn(|| vec![1]).into_future());
                let _ = futures::poll!(&mut end);
                drop(end);
            }
        }));
    });
}

/// Tokio's tasks await fibers, which await tokio's tasks.
#[test]
fn back_and_forth() {
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let handle = tokio.handle().clone();
    let sum = tokio.block_on(async move {
        let fibers = (0..50_u64).map(|index| {
            let handle = handle.clone();
            timestop::spawn(move || {
                let task = handle.spawn(async move {
                    tokio::time::sleep(Duration::from_micros(index)).await;
                    index
                });
                block_on(task).unwrap().unwrap()
            })
        });
        futures::future::join_all(fibers.map(IntoFuture::into_future))
            .await
            .into_iter()
            .map(Result::unwrap)
            .sum::<u64>()
    });
    assert_eq!(sum, 49 * 50 / 2);
}

/// The blocking client within async code.
#[test]
fn ureq_within_unblock() {
    let (address, server) = crate::support::echo_server(1);
    let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = tokio.block_on(async move {
        unblock(move || ureq::get(format!("http://{address}/")).call().map(drop)).await
    });
    // An echo is no answer of HTTP: the client has spoken, and says what it thinks of it.
    assert!(error.is_err());
    server.join().unwrap();
}
