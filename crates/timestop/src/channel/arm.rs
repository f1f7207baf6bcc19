//! What a select chooses from: to receive from here, to send there. Each arm holds its place in a queue,
//! and what came of it.

use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;
use std::ptr;

use super::error::{RecvError, SendError};
use super::handle::{Receiver, Sender, Source};
use super::meeting::Arm;
use super::shared::{NoMessage, NotSent};
use crate::wait::sync::Interrupted;
use crate::wait::waiter::{End, Place, Waiter};

/// A reference to an arm.
#[derive(Clone, Copy)]
pub struct ArmRef<'arm>(pub(super) &'arm dyn Arm);

impl std::fmt::Debug for ArmRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ArmRef(channel {:#x})", self.0.channel())
    }
}

/// To receive.
#[derive(Debug)]
pub struct ReceiveArm<'channel, T> {
    receiver: &'channel Receiver<T>,
    place: Place<T>,
    result: UnsafeCell<Option<Result<T, RecvError>>>,
}

impl<'channel, T> ReceiveArm<'channel, T> {
    /// The arm with this number.
    #[must_use]
    pub fn new(receiver: &'channel Receiver<T>, index: u32) -> Self {
        let place = Place::new(ptr::null(), index, MaybeUninit::uninit());
        Self { receiver, place, result: UnsafeCell::new(None) }
    }

    /// As one of several.
    #[inline]
    #[must_use]
    pub fn arm(&self) -> ArmRef<'_> {
        ArmRef(self)
    }

    /// What came of it, if it was chosen.
    #[inline]
    pub fn end(mut self) -> Option<Result<T, RecvError>> {
        self.result.get_mut().take()
    }

    pub(super) fn take(&self) -> Option<Result<T, RecvError>> {
        // SAFETY: only the owner looks at results, one at a time.
        unsafe { &mut *self.result.get() }.take()
    }

    fn set(&self, result: Result<T, RecvError>) {
        // SAFETY: as above. What was there before was not asked for.
        let before = unsafe { &mut *self.result.get() }.replace(result);
        drop(before);
    }
}

impl<T> Arm for ReceiveArm<'_, T> {
    fn channel(&self) -> usize {
        self.receiver.address()
    }

    fn sends(&self) -> bool {
        false
    }

    #[inline]
    fn seems_ready(&self) -> bool {
        match &self.receiver.0 {
            Source::Channel(hold) => hold.shared().seems_receivable(),
            Source::Clock(clock) => clock.is_due(),
            Source::Never => false,
        }
    }

    fn attempt(&self) -> bool {
        let result = match &self.receiver.0 {
            Source::Channel(hold) => hold.shared().try_receive(),
            Source::Clock(clock) => clock.take().ok_or(NoMessage::Empty),
            Source::Never => Err(NoMessage::Empty),
        };
        let done = !matches!(result, Err(NoMessage::Empty));
        if done {
            self.set(result.map_err(RecvError::from));
        }
        done
    }

    fn enlist(&self, waiter: &Waiter) -> bool {
        match &self.receiver.0 {
            Source::Channel(hold) => hold.shared().enlist_receiver(&self.place, waiter),
            // Nothing to queue in: the waiter looks at the time.
            Source::Clock(clock) => !clock.is_due(),
            Source::Never => true,
        }
    }

    fn delist(&self) {
        if let Source::Channel(hold) = &self.receiver.0 {
            hold.shared().delist_receiver(&self.place);
        }
    }

    fn complete(&self, end: End) {
        self.set(match end {
            // SAFETY: the wait is done, and who serves leaves a value.
            End::Served => Ok(unsafe { self.place.slot.take() }),
            End::Closed => Err(RecvError::Disconnected),
        });
    }

    fn fail(&self, why: Interrupted) {
        self.set(Err(why.into()));
    }

    fn due(&self) -> u64 {
        match &self.receiver.0 {
            Source::Clock(clock) => clock.due(),
            Source::Channel(_) | Source::Never => u64::MAX,
        }
    }
}

/// To send.
#[derive(Debug)]
pub struct SendArm<'channel, T> {
    sender: &'channel Sender<T>,
    place: Place<T>,
    /// Whether the message is in the place: it has not been sent, nor given back.
    is_full: Cell<bool>,
    result: UnsafeCell<Option<Result<(), SendError<T>>>>,
}

impl<'channel, T> SendArm<'channel, T> {
    /// The arm with this number.
    #[must_use]
    pub fn new(sender: &'channel Sender<T>, message: T, index: u32) -> Self {
        let place = Place::new(ptr::null(), index, MaybeUninit::new(message));
        Self { sender, place, is_full: Cell::new(true), result: UnsafeCell::new(None) }
    }

    /// As one of several.
    #[inline]
    #[must_use]
    pub fn arm(&self) -> ArmRef<'_> {
        ArmRef(self)
    }

    /// What came of it, if it was chosen. Else the message is dropped.
    #[inline]
    pub fn end(mut self) -> Option<Result<(), SendError<T>>> {
        self.result.get_mut().take()
    }

    pub(super) fn take(&self) -> Option<Result<(), SendError<T>>> {
        // SAFETY: only the owner looks at results, one at a time.
        unsafe { &mut *self.result.get() }.take()
    }

    /// The message, unless it was sent.
    pub(super) fn take_message(&self) -> Option<T> {
        // SAFETY: the flag says that it is there, and the arm stands in no queue.
        self.is_full.replace(false).then(|| unsafe { self.place.slot.take() })
    }

    fn set(&self, result: Result<(), SendError<T>>) {
        // SAFETY: as above. What was there before was not asked for.
        let before = unsafe { &mut *self.result.get() }.replace(result);
        drop(before);
    }
}

impl<T> Arm for SendArm<'_, T> {
    fn channel(&self) -> usize {
        self.sender.shared().address()
    }

    fn sends(&self) -> bool {
        true
    }

    #[inline]
    fn seems_ready(&self) -> bool {
        self.is_full.get() && self.sender.shared().seems_sendable()
    }

    fn attempt(&self) -> bool {
        let Some(message) = self.take_message() else { return false };
        match self.sender.shared().try_send(message) {
            Ok(()) => self.set(Ok(())),
            Err((message, NotSent::Full)) => {
                // SAFETY: its message was just taken out.
                unsafe { self.place.slot.write(message) };
                self.is_full.set(true);
                return false;
            }
            Err((message, why)) => self.set(Err(SendError::new(message, why))),
        }
        true
    }

    fn enlist(&self, waiter: &Waiter) -> bool {
        // One that was done is done once.
        !self.is_full.get() || self.sender.shared().enlist_sender(&self.place, waiter)
    }

    fn delist(&self) {
        if self.is_full.get() {
            self.sender.shared().delist_sender(&self.place);
        }
    }

    fn complete(&self, end: End) {
        match end {
            End::Served => {
                self.is_full.set(false);
                self.set(Ok(()));
            }
            End::Closed => {
                let message = self.take_message().expect("who closes leaves it");
                self.set(Err(SendError::Disconnected(message)));
            }
        }
    }

    fn fail(&self, why: Interrupted) {
        if let Some(message) = self.take_message() {
            self.set(Err(SendError::interrupted(message, why)));
        }
    }

    fn due(&self) -> u64 {
        u64::MAX
    }
}

impl<T> Drop for SendArm<'_, T> {
    fn drop(&mut self) {
        drop(self.take_message());
    }
}
