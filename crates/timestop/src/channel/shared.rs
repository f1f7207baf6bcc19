//! A channel: what its senders and receivers share, and what they do there.
//!
//! Everything happens under one short lock. Whoever finds a partner waiting serves it there and then: a
//! sender writes into the waiting receiver's stack, a receiver reads from the waiting sender's. So
//!
//! - while a receiver waits that can be served, no message and no sender waits;
//! - while a sender waits that can be served, there is no room;
//! - who was served need not look again: it has its message, or has passed it on;
//! - nobody waits in a closed channel.
//!
//! What is said without the lock ([`Shared::seems_receivable`]) was so a moment ago, and nothing else
//! follows from it.

use std::mem::MaybeUninit;

use super::buffer::{Block, Buffer, Push};
use super::watch::{Watch, Watchers};
use crate::wait::sync::{AtomicBool, AtomicUsize, For, Guard, Interrupted, Limit, Lock, Ordering};
use crate::wait::waiter::{End, Place, Queue, Waiter};

/// Why there was no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoMessage {
    Empty,
    Closed,
    Ended(Interrupted),
}

/// Why a message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotSent {
    Full,
    Closed,
    Ended(Interrupted),
}

/// A channel.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Shared<T> {
    state: Lock<State<T>>,
    /// Written under the lock, as are the three below.
    len: AtomicUsize,
    receiver_waits: AtomicBool,
    sender_waits: AtomicBool,
    closed: AtomicBool,
    /// How many messages may lie here; `usize::MAX` for any number.
    pub(super) capacity: usize,
}

/// What the lock of a channel guards.
#[derive(Debug)]
pub(super) struct State<T> {
    buffer: Buffer<T>,
    receivers: Queue<T>,
    senders: Queue<T>,
    watchers: Watchers,
}

impl<T> Shared<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let state = State {
            buffer: Buffer::new(capacity),
            receivers: Queue::new(),
            senders: Queue::new(),
            watchers: Watchers::new(),
        };
        Self {
            state: Lock::new(state),
            len: AtomicUsize::new(0),
            receiver_waits: AtomicBool::new(false),
            sender_waits: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            capacity,
        }
    }

    /// What tells this channel from others, in reports and in the order of a select.
    pub(super) fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether a receiver would not wait, as far as can be told without the lock.
    #[inline]
    pub(super) fn seems_receivable(&self) -> bool {
        self.len() != 0 || self.sender_waits.load(Ordering::Acquire) || self.is_closed()
    }

    /// Whether a sender would not wait, as far as can be told without the lock.
    #[inline]
    pub(super) fn seems_sendable(&self) -> bool {
        self.len() < self.capacity
            || self.receiver_waits.load(Ordering::Acquire)
            || self.is_closed()
    }

    /// The four words that are read without the lock: plain moves both ways, for the holder.
    #[inline]
    fn set_len(&self, len: usize) {
        self.len.store(len, Ordering::Release);
    }

    #[inline]
    fn note_receivers(&self, state: &State<T>) {
        self.receiver_waits.store(!state.receivers.is_empty(), Ordering::Release);
    }

    #[inline]
    fn note_senders(&self, state: &State<T>) {
        self.sender_waits.store(!state.senders.is_empty(), Ordering::Release);
    }

    /// Sends if that needs no waiting. Gives the value back, with the lock held, where it does.
    #[inline]
    fn send_now(&self, value: T) -> Result<(), (T, NotSent, Guard<'_, State<T>>)> {
        let mut state = self.state.lock();
        if self.is_closed() {
            return Err((value, NotSent::Closed, state));
        }
        if !state.receivers.is_empty() {
            let receiver = state.receivers.take();
            self.note_receivers(&state);
            if let Some(receiver) = receiver {
                let wake = receiver.give(value);
                state.wake(wake);
                return Ok(());
            }
        }
        let len = self.len.load(Ordering::Relaxed);
        if len >= self.capacity {
            return Err((value, NotSent::Full, state));
        }
        match state.buffer.push(value, len) {
            Push::Done => {
                self.set_len(len + 1);
                if !state.watchers.is_empty() {
                    let task = state.watchers.call();
                    drop(state);
                    task.wake();
                }
                Ok(())
            }
            Push::Needs(value) => {
                drop(state);
                self.send_with_block(value)
            }
        }
    }

    /// Sends into an unbounded channel that has no block for the message.
    #[cold]
    fn send_with_block(&self, value: T) -> Result<(), (T, NotSent, Guard<'_, State<T>>)> {
        let block = Block::new();
        let too_many = self.state.lock().buffer.supply(block);
        drop(too_many);
        self.send_now(value)
    }

    /// Sends without waiting.
    #[inline]
    pub(super) fn try_send(&self, value: T) -> Result<(), (T, NotSent)> {
        self.send_now(value).map_err(|(value, why, _state)| (value, why))
    }

    /// Sends; waits for room, or for a receiver.
    #[inline]
    pub(super) fn send(&self, value: T, limit: Limit) -> Result<(), (T, NotSent)> {
        match self.send_now(value) {
            Ok(()) => Ok(()),
            Err((value, NotSent::Full, state)) => self.wait_to_send(value, limit, state),
            Err((value, why, _state)) => Err((value, why)),
        }
    }

    fn wait_to_send(
        &self,
        value: T,
        limit: Limit,
        mut state: Guard<'_, State<T>>,
    ) -> Result<(), (T, NotSent)> {
        let waiter = Waiter::alone();
        let place = Place::new(&waiter, 0, MaybeUninit::new(value));
        state.senders.push(&place);
        self.sender_waits.store(true, Ordering::Release);
        if state.watchers.is_empty() {
            drop(state);
        } else {
            let task = state.watchers.call();
            drop(state);
            task.wake();
        }
        let leave = || {
            let mut state = self.state.lock();
            let left = state.senders.remove(&place);
            self.note_senders(&state);
            left
        };
        match waiter.wait_alone((For::Room, self.address()), limit, leave) {
            Ok(End::Served) => Ok(()),
            // SAFETY: who closes leaves the value.
            Ok(End::Closed) => Err((unsafe { place.slot.take() }, NotSent::Closed)),
            // SAFETY: the place was in the queue until now: nobody has taken the value.
            Err(why) => Err((unsafe { place.slot.take() }, NotSent::Ended(why))),
        }
    }

    /// Receives if that needs no waiting. The lock is still held where it does.
    #[inline]
    fn receive_now(&self) -> Result<T, (NoMessage, Guard<'_, State<T>>)> {
        let mut state = self.state.lock();
        let len = self.len.load(Ordering::Relaxed);
        if len != 0 {
            let (value, empty) = state.buffer.pop();
            if !state.senders.is_empty() {
                return Ok(self.let_one_in(value, len - 1, state));
            }
            self.set_len(len - 1);
            drop(state);
            drop(empty);
            return Ok(value);
        }
        if !state.senders.is_empty() {
            let sender = state.senders.take();
            self.note_senders(&state);
            if let Some(sender) = sender {
                let (value, wake) = sender.take();
                state.wake(wake);
                return Ok(value);
            }
        }
        let why = if self.is_closed() { NoMessage::Closed } else { NoMessage::Empty };
        Err((why, state))
    }

    /// There is room for one more beside `len` others: for the first of those who wait to send.
    fn let_one_in(&self, received: T, len: usize, mut state: Guard<'_, State<T>>) -> T {
        let sender = state.senders.take();
        self.note_senders(&state);
        let Some(sender) = sender else {
            self.set_len(len);
            return received;
        };
        let (value, wake) = sender.take();
        let Push::Done = state.buffer.push(value, len) else {
            unreachable!("who sends to an unbounded channel does not wait");
        };
        state.wake(wake);
        received
    }

    /// Receives without waiting. Looks before it takes the lock: an empty channel is left alone.
    #[inline]
    pub(super) fn try_receive(&self) -> Result<T, NoMessage> {
        if !self.seems_receivable() {
            return Err(NoMessage::Empty);
        }
        self.receive_now().map_err(|(why, _state)| why)
    }

    /// Receives; waits for a message.
    #[inline]
    pub(super) fn receive(&self, limit: Limit) -> Result<T, NoMessage> {
        match self.receive_now() {
            Ok(value) => Ok(value),
            Err((NoMessage::Empty, state)) => self.wait_to_receive(limit, state),
            Err((why, _state)) => Err(why),
        }
    }

    fn wait_to_receive(
        &self,
        limit: Limit,
        mut state: Guard<'_, State<T>>,
    ) -> Result<T, NoMessage> {
        let waiter = Waiter::alone();
        let place = Place::new(&waiter, 0, MaybeUninit::uninit());
        state.receivers.push(&place);
        self.receiver_waits.store(true, Ordering::Release);
        drop(state);
        let leave = || {
            let mut state = self.state.lock();
            let left = state.receivers.remove(&place);
            self.note_receivers(&state);
            left
        };
        match waiter.wait_alone((For::Message, self.address()), limit, leave) {
            // SAFETY: who serves leaves a value.
            Ok(End::Served) => Ok(unsafe { place.slot.take() }),
            Ok(End::Closed) => Err(NoMessage::Closed),
            Err(why) => Err(NoMessage::Ended(why)),
        }
    }

    /// Closes the channel: nothing is sent any more, and what was sent may still be received. False if it
    /// was closed already.
    pub(super) fn close(&self) -> bool {
        let state = self.state.lock();
        let was_closed = self.is_closed();
        self.closed.store(true, Ordering::Release);
        drop(state);
        if was_closed {
            return false;
        }
        // One at a time, the lock let go between: nobody new comes to wait.
        loop {
            let mut state = self.state.lock();
            let receiver = state.receivers.take();
            let Some(claimed) = receiver.or_else(|| state.senders.take()) else { break };
            let wake = claimed.close();
            state.wake(wake);
        }
        let mut state = self.state.lock();
        self.note_receivers(&state);
        self.note_senders(&state);
        while !state.watchers.is_empty() {
            let task = state.watchers.call();
            drop(state);
            task.wake();
            state = self.state.lock();
        }
        true
    }

    /// Drops all messages: nobody will receive them. After [`close`](Self::close).
    pub(super) fn discard(&self) {
        loop {
            let mut state = self.state.lock();
            let len = self.len.load(Ordering::Relaxed);
            if len == 0 {
                return;
            }
            let message = state.buffer.pop();
            self.set_len(len - 1);
            drop(state);
            drop(message);
        }
    }
}

/// For a select: one arm of several.
impl<T> Shared<T> {
    /// Puts `place` among the receivers, unless there is a message, or the end. `waiter` is whose it is.
    pub(super) fn enlist_receiver(&self, place: &Place<T>, waiter: &Waiter) -> bool {
        let mut state = self.state.lock();
        let ready = self.len.load(Ordering::Relaxed) != 0
            || self.is_closed()
            || state.senders.has_other(waiter);
        if !ready {
            place.belongs_to(waiter);
            state.receivers.push(place);
            self.receiver_waits.store(true, Ordering::Release);
        }
        !ready
    }

    /// Puts `place` among the senders, unless there is room, or a receiver, or the end.
    pub(super) fn enlist_sender(&self, place: &Place<T>, waiter: &Waiter) -> bool {
        let mut state = self.state.lock();
        let ready = self.len.load(Ordering::Relaxed) < self.capacity
            || self.is_closed()
            || state.receivers.has_other(waiter);
        if !ready {
            place.belongs_to(waiter);
            state.senders.push(place);
            self.sender_waits.store(true, Ordering::Release);
            if !state.watchers.is_empty() {
                let task = state.watchers.call();
                drop(state);
                task.wake();
            }
        }
        !ready
    }

    pub(super) fn delist_receiver(&self, place: &Place<T>) {
        let mut state = self.state.lock();
        state.receivers.remove(place);
        self.note_receivers(&state);
    }

    pub(super) fn delist_sender(&self, place: &Place<T>) {
        let mut state = self.state.lock();
        state.senders.remove(place);
        self.note_senders(&state);
    }
}

/// For futures: they are told that there is something, and come for it.
impl<T> Shared<T> {
    /// Receives, or has the watch called when there is a message or the end.
    pub(super) fn receive_or_watch(&self, watch: &Watch) -> Result<T, NoMessage> {
        match self.receive_now() {
            Ok(value) => Ok(value),
            Err((NoMessage::Empty, mut state)) => {
                state.watchers.push(watch);
                Err(NoMessage::Empty)
            }
            Err((why, _state)) => Err(why),
        }
    }

    /// Takes the watch back from whoever is about to look for himself.
    pub(super) fn forget(&self, watch: &Watch) {
        self.state.lock().watchers.remove(watch);
    }

    /// Takes the watch back. One that was called for a message that is still there calls the next.
    pub(super) fn unwatch(&self, watch: &Watch) {
        let mut state = self.state.lock();
        if !state.watchers.remove(watch) && !state.watchers.is_empty() && self.seems_receivable() {
            let task = state.watchers.call();
            drop(state);
            task.wake();
        }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        self.discard();
    }
}
