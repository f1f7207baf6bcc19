//! Callbacks: an event loop as asyncio's, Deferreds as Twisted's, and `inline_callbacks`.
//!
//! For code, and for people, that think in events. Everything here runs on one fiber: callbacks never run at the
//! same time, so they share by `Rc` and `RefCell` and need no locks. A program may have many loops, and plain
//! blocking fibers beside them.
//!
//! In Python you write, with asyncio or Twisted
//!
//! ```python
//! loop.call_later(0.001, print, "later")
//! loop.add_reader(sock, on_readable)
//! d = getPage(url); d.addCallback(len); d.addErrback(log.err)
//! ```
//!
//! and here:
//!
//! ```
//! use std::io::Read;
//! use std::os::unix::net::UnixStream;
//! use std::rc::Rc;
//! use std::time::Duration;
//! use timestop::reactor::{Deferred, EventLoop, Failure};
//!
//! let event_loop = EventLoop::new()?;
//! event_loop.call_later(Duration::from_millis(1), || println!("later"));
//!
//! // A Deferred and what fires it.
//! let (trigger, line) = Deferred::<Vec<u8>>::new();
//! let (ours, theirs) = UnixStream::pair()?;
//! let ours = Rc::new(ours);
//! let (this, mine) = (event_loop.clone(), Rc::clone(&ours));
//! event_loop.add_reader(&ours, move || {
//!     let mut buffer = [0; 64];
//!     let count = (&*mine).read(&mut buffer).expect("the loop says that there is something");
//!     this.remove_reader(&mine);
//!     trigger.callback(buffer[..count].to_vec()).expect("it fires once");
//! })?;
//! let length = line
//!     .add_callback(|line| Ok::<_, Failure>(line.len()))
//!     .add_errback(|error| {
//!         eprintln!("no line: {error}");
//!         Ok(0)
//!     });
//!
//! std::io::Write::write_all(&mut &theirs, b"hello")?;
//! assert_eq!(event_loop.run_until_complete(length).unwrap().unwrap(), 5);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! | asyncio | here |
//! |---|---|
//! | `loop.call_soon`, `call_later`, `call_at` | the same: [`EventLoop`]; each gives a handle to cancel by |
//! | `loop.add_reader(fd, f)`, `remove_reader` | the same, on anything [`AsFd`](std::os::fd::AsFd) |
//! | `loop.add_signal_handler` | the same; any loop may have it, not the main thread's alone |
//! | `loop.call_soon_threadsafe` | [`EventLoopHandle::call_soon_threadsafe`]: the loop itself is not `Send` |
//! | `run_forever`, `run_until_complete(future)` | the same, of a [`Deferred`] |
//! | `loop.run_in_executor(None, f)` | [`EventLoop::defer_to_fiber`] |
//! | `set_exception_handler` | the same |
//!
//! | Twisted | here |
//! |---|---|
//! | `d = Deferred()`, `d.callback(x)`, `d.errback(e)` | `let (trigger, d) = `[`Deferred::new`]`()`, and [`Trigger`] |
//! | `addCallback`, `addErrback`, `addCallbacks`, `addBoth` | `let d = d.`[`add_callback`](Deferred::add_callback)`(…)`, … |
//! | `return value`, `raise`, `return d2` in a callback | `Ok(value)`, `Err(error)`, `d2` |
//! | `Failure`, `trap` | any type, by default [`Failure`]; `match` |
//! | `d.cancel()`, `d.addTimeout(seconds, reactor)` | [`cancel`](Deferred::cancel), [`add_timeout`](Deferred::add_timeout) |
//! | `DeferredList`, `gatherResults` | [`DeferredList`], [`gather_results`] |
//! | `succeed`, `fail`, `maybeDeferred` | [`succeed`], [`fail`], [`maybe_deferred`] |
//! | `@inlineCallbacks`, `x = yield d` | [`inline_callbacks`], `let x = `[`wait`]`(d)?` |
//! | `deferToThread`, `blockingCallFromThread` | [`EventLoop::defer_to_fiber`], [`EventLoopHandle::call`] |
//!
//! **Typed, not in place.** Twisted's `addCallback` changes the Deferred and returns the same object. Here each
//! callback may change the type, so adding one consumes the Deferred and returns the chain's new end. Two parts of
//! a program cannot add to one chain unless they hand it on, and nobody adds a callback in the middle. That
//! cancels, waits and drops look through the chain is as there.
//!
//! **The wrong thread does not compile**: loops and Deferreds are neither `Send` nor `Sync`. See [`EventLoop`].
//!
//! ```compile_fail,E0277
//! let deferred = timestop::reactor::succeed::<u32, String>(1);
//! timestop::spawn(move || drop(deferred));
//! ```
//!
//! How it is made, and what was rejected: `docs/callbacks.md`.

mod deferred;
mod error;
mod event_loop;
mod handle;
mod inline;
mod list;
mod node;
mod poller;
mod remote;
mod report;
mod signals;
mod timers;
mod turn;

pub use deferred::{Deferred, Reply, Trigger, fail, maybe_deferred, succeed};
pub use error::{
    AlreadyCalledError, CallError, CancelledError, ClosedError, Failure, FirstError, RunError,
    TimeoutError,
};
pub use event_loop::EventLoop;
pub use handle::{Handle, TimerHandle};
pub use inline::{inline_callbacks, wait};
pub use list::{DeferredList, Listed, gather_results};
pub use remote::EventLoopHandle;
pub use report::Unhandled;
