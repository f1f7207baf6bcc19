//! Channels, as Go has them, between fibers and OS threads in any mixture.
//!
//! In Go you write
//!
//! ```go
//! numbers := make(chan int)             // unbuffered; make(chan int, 8) has room for eight
//! go func() {
//!     defer close(numbers)
//!     for i := 0; i < 3; i++ { numbers <- i }
//! }()
//! for n := range numbers { fmt.Println(n) }
//! ```
//!
//! Here you write
//!
//! ```
//! use timestop::channel;
//!
//! let (sender, numbers) = channel::unbuffered();        // channel::bounded(8) has room for eight
//! timestop::spawn(move || {
//!     for i in 0..3 {
//!         sender.send(i).unwrap();
//!     }                                                 // the last sender is dropped: closed
//! });
//! let received: Vec<i32> = numbers.iter().collect();
//! assert_eq!(received, [0, 1, 2]);
//! ```
//!
//! | Go | here |
//! |---|---|
//! | `make(chan T)`, `make(chan T, n)` | [`unbuffered`], [`bounded`]`(n)`; and [`unbounded`] |
//! | `c <- v`, `<-c` | [`send`](Sender::send), [`recv`](Receiver::recv) |
//! | `v, ok := <-c` | `Ok(v)`, or `Err(RecvError::Disconnected)` |
//! | `for v := range c` | `for v in &receiver` |
//! | `close(c)` | dropping the last [`Sender`], or [`close`](Sender::close) |
//! | `select { case v := <-c: … default: … }` | [`select!`]` { recv(c) -> v => …, default => … }` |
//! | `time.After(d)`, `time.Tick(d)`, a nil channel | [`after`], [`tick`], [`never()`] |
//! | `case <-ctx.Done():` | `cancelled(why) => …`, and [`timeout`](crate::timeout) around it all |
//! | `len(c)`, `cap(c)` | [`len`](Receiver::len), [`capacity`](Receiver::capacity) |
//! | a panic: send on closed channel | `Err(SendError::Disconnected(v))`: the message comes back |
//!
//! **Go or Erlang.** In Go a channel is a *thing* that many may hold: any of them sends, any of them
//! receives, and what goes through may still be shared, so who sends a pointer must remember to let go of
//! it. In Erlang there are no channels: a *process* has one mailbox, messages are copied, nothing else is
//! shared, and a process that fails takes only its own state with it. These channels are Go's; but a message
//! is *moved*, so that the sender has let go of it, and what may not leave its thread ([`Send`]) cannot be
//! sent. Isolation as Erlang's is then a habit: let each fiber own its state, and give it one [`Receiver`].
//!
//! ```
//! // One fiber owns the counts; nobody else can reach them but by message.
//! use std::collections::HashMap;
//! use timestop::channel::{self, Sender};
//!
//! enum Message {
//!     Add(&'static str),
//!     Ask(&'static str, Sender<usize>),
//! }
//!
//! let (mailbox, messages) = channel::unbounded();
//! timestop::spawn(move || {
//!     let mut counts = HashMap::new();
//!     for message in messages {
//!         match message {
//!             Message::Add(word) => *counts.entry(word).or_insert(0) += 1,
//!             Message::Ask(word, reply) => drop(reply.send(counts.get(word).copied().unwrap_or(0))),
//!         }
//!     }
//! });
//! mailbox.send(Message::Add("stop")).unwrap();
//! let (reply, answer) = channel::bounded(1);
//! mailbox.send(Message::Ask("stop", reply)).unwrap();
//! assert_eq!(answer.recv(), Ok(1));
//! ```
//!
//! **Cancelling.** Unlike waits for std's channels and locks, these waits end when the fiber is
//! [cancelled](crate::JoinHandle::cancel) or past its [time limit](crate::timeout): with an error, which for
//! a sender holds the message. A receiver then gets the error even where there is a message, which stays in
//! the channel; a sender sends where it need not wait. `try_…` operations go on as ever.
//!
//! **Order.** Messages come out as they went in, and who waited longest is served first.
//!
//! Works on OS threads and without a running runtime: they sleep in the kernel. How it is made:
//! `docs/channels.md`.

mod arm;
mod buffer;
mod builder;
mod clock;
mod counted;
mod error;
mod future;
mod handle;
mod iter;
mod meeting;
mod select;
mod select_macro;
mod shared;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use clock::Clock;
use handle::Source;

pub use crate::__channel_select as select;
pub use builder::{Chosen, Select};
pub use error::{
    Interrupted, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError,
    TrySendError,
};
pub use future::RecvFuture;
pub use handle::{Receiver, Sender};
pub use iter::{IntoIter, Iter, TryIter};

/// A channel with room for `capacity` messages; without any, an [`unbuffered`] one.
///
/// Cost: one allocation, and one for the messages.
///
/// # Panics
///
/// If there cannot be room for so many.
#[must_use]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity < isize::MAX as usize, "a channel with room for {capacity} messages");
    make(capacity)
}

/// A channel that keeps no messages: a send waits for a receiver, and hands the message over.
#[must_use]
pub fn unbuffered<T>() -> (Sender<T>, Receiver<T>) {
    make(0)
}

/// A channel with room for any number of messages: a send never waits.
///
/// If receivers are slower than senders it grows until there is no memory left; a [`bounded`] one makes the
/// senders wait instead.
#[must_use]
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    make(usize::MAX)
}

fn make<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = counted::channel(capacity);
    (Sender(sender), Receiver(Source::Channel(receiver)))
}

/// A receiver that gets one message, the time, after `wait`. It is never closed.
///
/// Cost: an allocation; a timer for each wait.
///
/// Source: Go's `time.After`.
///
/// ```
/// use std::time::Duration;
/// use timestop::channel::{after, never, select};
///
/// let nobody = never::<()>();
/// select! {
///     recv(nobody) -> _ => unreachable!(),
///     recv(after(Duration::from_millis(1))) -> _ => println!("nobody came"),
/// }
/// ```
#[must_use]
pub fn after(wait: Duration) -> Receiver<Instant> {
    Receiver(Source::Clock(Arc::new(Clock::after(wait))))
}

/// A receiver that gets a message, the time, each `pause`. Ticks that nobody receives in time are left out,
/// but for one.
///
/// Source: Go's `time.Tick`.
#[must_use]
pub fn tick(pause: Duration) -> Receiver<Instant> {
    Receiver(Source::Clock(Arc::new(Clock::tick(pause))))
}

/// A receiver that never gets a message: for an arm of a [`select!`] that is not there. Source: Go's nil
/// channel.
#[must_use]
pub fn never<T>() -> Receiver<T> {
    Receiver(Source::Never)
}

/// What [`select!`] expands to.
#[doc(hidden)]
pub mod __private {
    pub use super::arm::{ArmRef, ReceiveArm, SendArm};
    use super::error::Interrupted;
    pub use super::select::{Ended, Patience, patience, run as told};

    /// Runs a select; where the fiber is to end, the first arm says so.
    #[inline]
    pub fn first(arms: &[ArmRef<'_>], patience: Patience) -> Ended {
        let ended = told(arms, patience);
        if let (Ended::Interrupted(why), Some(ArmRef(arm))) = (ended, arms.first()) {
            arm.fail(why);
        }
        ended
    }

    /// A select that waits for ever has ended with nothing done.
    pub fn impossible(ended: Ended) -> ! {
        unreachable!("a select without a time limit ended with {ended:?}")
    }

    /// Why a select that waits for ever has ended with nothing done.
    #[must_use]
    pub fn why(ended: Ended) -> Interrupted {
        match ended {
            Ended::Interrupted(why) => why,
            ended => impossible(ended),
        }
    }
}
