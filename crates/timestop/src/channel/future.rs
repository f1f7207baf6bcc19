//! Receiving in async code.

use std::future::Future;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use timestop_runtime::sys;

use super::error::RecvError;
use super::handle::{Receiver, Source};
use super::shared::NoMessage;
use super::watch::Watch;

/// Made by [`Receiver::recv_async`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct RecvFuture<'receiver, T> {
    receiver: &'receiver Receiver<T>,
    watch: Watch,
    /// Whether the channel may know the watch.
    watches: bool,
    /// Whether the channel knows its address.
    _stays: PhantomPinned,
}

// SAFETY: the watch is touched by others under the lock of the channel only, and what it holds may go from
// one thread to another.
unsafe impl<T: Send> Send for RecvFuture<'_, T> {}
// SAFETY: nothing is reached through a shared reference.
unsafe impl<T: Send> Sync for RecvFuture<'_, T> {}

impl<'receiver, T> RecvFuture<'receiver, T> {
    pub(super) fn new(receiver: &'receiver Receiver<T>) -> Self {
        Self { receiver, watch: Watch::new(), watches: false, _stays: PhantomPinned }
    }

    /// Takes the watch back from the channel.
    fn unwatch(&mut self) {
        if std::mem::take(&mut self.watches)
            && let Source::Channel(hold) = &self.receiver.0
        {
            hold.shared().unwatch(&self.watch);
        }
    }
}

impl<T> Future for RecvFuture<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: nothing is moved out of the future.
        let this = unsafe { self.get_unchecked_mut() };
        match &this.receiver.0 {
            Source::Channel(hold) => {
                let shared = hold.shared();
                // Whoever polls may wake another task than before.
                if std::mem::take(&mut this.watches) {
                    shared.forget(&this.watch);
                }
                this.watch.set(context.waker().clone());
                match shared.receive_or_watch(&this.watch) {
                    Ok(message) => Poll::Ready(Ok(message)),
                    Err(NoMessage::Empty) => {
                        this.watches = true;
                        Poll::Pending
                    }
                    Err(why) => Poll::Ready(Err(why.into())),
                }
            }
            Source::Clock(clock) => match clock.take() {
                Some(message) => Poll::Ready(Ok(message)),
                None => {
                    wake_at(clock.due(), context);
                    Poll::Pending
                }
            },
            Source::Never => Poll::Pending,
        }
    }
}

/// A clock wakes nobody by itself: a fiber does.
fn wake_at(due: u64, context: &Context<'_>) {
    if due == u64::MAX {
        return;
    }
    let waker = context.waker().clone();
    crate::spawn(move || {
        std::thread::sleep(Duration::from_nanos(due.saturating_sub(sys::now())));
        waker.wake();
    });
}

impl<T> Drop for RecvFuture<'_, T> {
    fn drop(&mut self) {
        self.unwatch();
    }
}
