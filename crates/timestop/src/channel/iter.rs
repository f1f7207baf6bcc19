//! Messages, one after the other.

use super::handle::Receiver;

/// Waits for each message; ends with the channel. Made by [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'receiver, T>(pub(super) &'receiver Receiver<T>);

/// Ends where there is no message. Made by [`Receiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'receiver, T>(pub(super) &'receiver Receiver<T>);

/// As [`Iter`], and keeps the receiver.
#[derive(Debug)]
pub struct IntoIter<T>(Receiver<T>);

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.0.try_recv().ok()
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<'receiver, T> IntoIterator for &'receiver Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'receiver, T>;

    fn into_iter(self) -> Iter<'receiver, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter(self)
    }
}
