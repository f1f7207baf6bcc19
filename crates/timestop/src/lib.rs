//! Green threads for Linux: *a fiber is a thread*.
//!
//! Replace [`std::thread::spawn`] by [`spawn`] and keep the rest: `std::net`, `std::sync`,
//! `thread_local!`, any blocking crate. A call that would block suspends the fiber and lets others
//! run; there is no `async`, and no function has a colour.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//!
//! timestop::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
//!     let address = listener.local_addr().unwrap();
//!     timestop::spawn(move || {
//!         for stream in listener.incoming() {
//!             let mut stream = stream.unwrap();
//!             timestop::spawn(move || stream.write_all(b"hello"));
//!         }
//!     });
//!     let mut text = String::new();
//!     TcpStream::connect(address).unwrap().read_to_string(&mut text).unwrap();
//!     assert_eq!(text, "hello");
//! });
//! ```

#[cfg(not(loom))]
pub mod channel;
#[cfg(loom)]
#[path = "channel/under_loom.rs"]
mod channel;
#[cfg(not(loom))]
pub mod queue;
#[cfg(loom)]
#[path = "queue/under_loom.rs"]
mod queue;
mod wait;

/// What the model checker does not run.
macro_rules! not_under_loom {
    ($($item:item)*) => { $( #[cfg(not(loom))] $item )* };
}

not_under_loom! {
    mod config;
    pub mod coro;
    pub mod future;
    mod packet;
    mod pin;
    pub mod reactor;
    mod report;
    mod scope;
    mod spawn;
    pub mod sync;

    pub use config::{Config, adopt_threads, deadline, run, timeout, without_preemption};
    pub use pin::{Pin, pin};
    pub use report::{FiberInfo, FiberState, dump, dump_to, fibers};
    pub use scope::{Scope, ScopedJoinHandle, scope};
    pub use spawn::{Builder, JoinHandle, is_fiber, spawn, yield_now};
    pub use timestop_macros::main;
    pub use timestop_runtime::report::HogReports;
    pub use timestop_runtime::{Deadlock, Priority, Refusals, Stats, stats};
}
