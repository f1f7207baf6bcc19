//! The channels that fibers are measured with, behind one face: what is measured is changed here and nowhere else.
//!
//! With room for one message, where somebody answers each; or for many, where four send and four receive.

use timestop::channel;

pub(super) type Sender<T> = channel::Sender<T>;
pub(super) type Receiver<T> = channel::Receiver<T>;

/// A channel with room for `capacity` messages.
pub(super) fn bounded<T: Send + 'static>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    channel::bounded(capacity)
}
