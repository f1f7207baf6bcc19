//! The bridge between fibers and async code: futures on fibers, fibers as futures.
//!
//! In Python you write `asyncio.run(main())`, `await asyncio.to_thread(f)`, `await asyncio.gather(a, b)`;
//! here a fiber writes [`block_on`]`(main())`, async code writes [`unblock`]`(f).await` and
//! [`gather`]`([a, b]).await`.
//!
//! ```
//! use timestop::future::{block_on, gather, sleep, unblock};
//!
//! timestop::run(|| {
//!     // Async code on a fiber: only this fiber waits.
//!     block_on(sleep(std::time::Duration::from_millis(1))).unwrap();
//!
//!     // Fibers in async code, on this executor or any other.
//!     let sum = block_on(async {
//!         let one = timestop::spawn(|| 1);
//!         let two = unblock(|| 2).await;
//!         one.await.unwrap() + two
//!     });
//!     assert_eq!(sum, Ok(3));
//! });
//! ```
//!
//! | asyncio | here |
//! |---|---|
//! | `asyncio.run`, `loop.run_until_complete` | [`block_on`] |
//! | `asyncio.create_task` | [`spawn_async`]; [`spawn`](crate::spawn) for what blocks |
//! | `await task` | `handle.await`: a [`JoinHandle`](crate::JoinHandle) is a future |
//! | `task.cancel()` | [`JoinHandle::cancel`](crate::JoinHandle::cancel), [`JoinFuture::cancel`] |
//! | `asyncio.to_thread`, `run_in_executor` | [`unblock`] |
//! | `asyncio.sleep` | [`sleep`] |
//! | `asyncio.wait_for` | [`wait_for`]; of a fiber [`JoinFuture::wait_for`] |
//! | `asyncio.gather` | [`gather`], [`return_exceptions`](Gather::return_exceptions) |
//! | `asyncio.shield` | [`shield`] |
//! | `asyncio.wait(FIRST_COMPLETED)` | [`select`]; futures-util's `select_all`, which keeps the others |
//! | `asyncio.as_completed` | futures-util's `FuturesUnordered` |
//! | `asyncio.open_connection`, `start_server` | [`Async`] over std's sockets |
//!
//! Futures-util works here as anywhere: its streams, `join!`, `select!`, `try_join_all`, `FuturesUnordered`
//! are not made anew.
//!
//! # Features
//!
//! `futures-io` and `tokio` give an [`Async`] stream the traits `AsyncRead` and `AsyncWrite` of those crates.
//!
//! # Tokio
//!
//! Crates that want tokio (reqwest, tokio-postgres, its own sockets and timers) look for its runtime in a
//! thread-local. A fiber has thread-locals of its own, so one that has entered a runtime keeps it while it
//! waits:
//!
//! ```
//! use timestop::future::block_on;
//!
//! let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
//! let handle = tokio.handle().clone();
//! timestop::run(move || {
//!     let _entered = handle.enter();
//!     block_on(tokio::time::sleep(std::time::Duration::from_millis(1))).unwrap();
//! });
//! ```
//!
//! Tokio's worker threads look at its sockets and timers and wake the fiber. They may be OS threads, or
//! fibers ([`adopt_threads`](crate::adopt_threads) before the runtime is built). Hyper needs no tokio runtime:
//! with the feature `tokio` an [`Async`] is what its `TokioIo` (hyper-util) wraps.

mod block_on;
mod foreign;
mod gather;
mod io;
mod join;
mod time;

pub use block_on::block_on;
pub use gather::{Gather, JoinAll, Select, gather, join_all, select};
pub use io::{Accept, Async, Datagrams, Listener, Operation, Socket, Stream};
pub use join::{JoinFuture, Late, Unblock, shield, spawn_async, unblock};
pub use time::{Elapsed, Sleep, sleep, sleep_until, wait_for};

pub use crate::channel::Interrupted;
