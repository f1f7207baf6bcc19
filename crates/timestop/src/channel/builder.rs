//! A select whose arms are known only when the program runs.

use std::fmt;
use std::time::{Duration, Instant};

use super::arm::{ArmRef, ReceiveArm, SendArm};
use super::error::{RecvError, SendError};
use super::handle::{Receiver, Sender};
use super::meeting::Arm;
use super::select::{self, Ended, Patience};
use crate::wait::sync::Interrupted;
use crate::wait::time;

/// Waits for one of any number of channels. [`select!`](crate::channel::select!) is the same where the arms
/// stand in the source.
///
/// Cost: an allocation for each arm, once; the select may be used again and again.
///
/// Source: Go's `reflect.Select`; the shape is crossbeam-channel's, but for messages to be sent, which the
/// arm gets and not the operation.
///
/// # Example
///
/// ```
/// use timestop::channel::{Select, unbounded};
///
/// let channels: Vec<_> = (0..3).map(|_| unbounded()).collect();
/// channels[2].0.send("two").unwrap();
///
/// let mut select = Select::new();
/// for (_, receiver) in &channels {
///     select.recv(receiver);
/// }
/// let chosen = select.wait().unwrap();
/// assert_eq!(chosen.index(), 2);
/// assert_eq!(chosen.recv(&channels[2].1), Ok("two"));
/// ```
#[derive(Default)]
pub struct Select<'channel> {
    arms: Vec<(Box<dyn Arm + 'channel>, bool)>,
}

/// An arm that was chosen. Its operation is done; [`recv`](Self::recv) or [`send`](Self::send) says what
/// came of it.
#[must_use = "what was received is in it"]
pub struct Chosen<'select, 'channel> {
    select: &'select Select<'channel>,
    index: usize,
}

impl<'channel> Select<'channel> {
    /// One without arms.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an arm that receives, and returns its number.
    pub fn recv<T>(&mut self, receiver: &'channel Receiver<T>) -> usize {
        let index = self.arms.len();
        self.arms.push((Box::new(ReceiveArm::new(receiver, index as u32)), false));
        index
    }

    /// Adds an arm that sends this message, once, and returns its number. Where it is not chosen the message
    /// is kept for the next time, and dropped with the select.
    pub fn send<T>(&mut self, sender: &'channel Sender<T>, message: T) -> usize {
        let index = self.arms.len();
        self.arms.push((Box::new(SendArm::new(sender, message, index as u32)), true));
        index
    }

    /// Waits until one of the arms can be done, and does it. Without arms it waits for ever.
    ///
    /// # Errors
    ///
    /// The fiber is cancelled or past its time limit. It then still sends where it need not wait.
    pub fn wait(&mut self) -> Result<Chosen<'_, 'channel>, Interrupted> {
        match self.run(Patience::Endless) {
            Ended::Chose(index) => Ok(Chosen { select: self, index }),
            Ended::Interrupted(why) => Err(why),
            Ended::Nothing => unreachable!("there was no time limit"),
        }
    }

    /// Does one of the arms that need not wait; `None` if there is none. Not ended by cancelling.
    pub fn try_wait(&mut self) -> Option<Chosen<'_, 'channel>> {
        match self.run(Patience::None) {
            Ended::Chose(index) => Some(Chosen { select: self, index }),
            Ended::Nothing | Ended::Interrupted(_) => None,
        }
    }

    /// As [`wait`](Self::wait), and waits so long at most: then `None`.
    ///
    /// # Errors
    ///
    /// As `wait`.
    pub fn wait_timeout(
        &mut self,
        limit: Duration,
    ) -> Result<Option<Chosen<'_, 'channel>>, Interrupted> {
        self.wait_until(time::from_now(limit))
    }

    /// As [`wait`](Self::wait), and waits until that time at most: then `None`.
    ///
    /// # Errors
    ///
    /// As `wait`.
    pub fn wait_deadline(
        &mut self,
        at: Instant,
    ) -> Result<Option<Chosen<'_, 'channel>>, Interrupted> {
        self.wait_until(time::point(at))
    }

    fn wait_until(&mut self, deadline: u64) -> Result<Option<Chosen<'_, 'channel>>, Interrupted> {
        match self.run(Patience::Until(deadline)) {
            Ended::Chose(index) => Ok(Some(Chosen { select: self, index })),
            Ended::Interrupted(why) => Err(why),
            Ended::Nothing => Ok(None),
        }
    }

    fn run(&self, patience: Patience) -> Ended {
        let arms: Vec<_> = self.arms.iter().map(|(arm, _)| ArmRef(&**arm)).collect();
        select::run(&arms, patience)
    }
}

impl Chosen<'_, '_> {
    /// Which arm it is.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// What was received.
    ///
    /// # Errors
    ///
    /// The channel is closed and empty.
    ///
    /// # Panics
    ///
    /// If the arm does not receive from this channel.
    pub fn recv<T>(self, receiver: &Receiver<T>) -> Result<T, RecvError> {
        let (arm, sends) = &self.select.arms[self.index];
        assert!(
            !sends && arm.channel() == receiver.address(),
            "arm {} of the select does not receive from this channel",
            self.index
        );
        // SAFETY: it receives, and from this channel: so its messages are `T`s.
        let arm = unsafe { &*std::ptr::from_ref(&**arm).cast::<ReceiveArm<'_, T>>() };
        arm.take().expect("what was chosen has a result, and this takes it once")
    }

    /// Whether the message was sent.
    ///
    /// # Errors
    ///
    /// The channel is closed. The error holds the message.
    ///
    /// # Panics
    ///
    /// If the arm does not send to this channel.
    pub fn send<T>(self, sender: &Sender<T>) -> Result<(), SendError<T>> {
        let (arm, sends) = &self.select.arms[self.index];
        assert!(
            *sends && arm.channel() == sender.shared().address(),
            "arm {} of the select does not send to this channel",
            self.index
        );
        // SAFETY: it sends, and to this channel: so its messages are `T`s.
        let arm = unsafe { &*std::ptr::from_ref(&**arm).cast::<SendArm<'_, T>>() };
        arm.take().expect("what was chosen has a result, and this takes it once")
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Select({} arms)", self.arms.len())
    }
}

impl fmt::Debug for Chosen<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chosen(arm {})", self.index)
    }
}
