//! One turn of a loop: wait, gather what is to be run, run it.
//!
//! No `RefCell` is borrowed while code of others runs, or is dropped: it may call the loop.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, process};

use super::EventLoop;
use crate::channel::Interrupted;
use crate::wait::sleeper::interrupted;
use super::node::{Payload, guarded};
use super::poller::{Events, Poller};
use super::remote::{Message, Shared};
use super::report::{self, Unhandled};
use super::handle::Scheduled;
use super::signals::Wish;
use super::timers::Timers;

pub(super) struct Inner {
    ready: RefCell<VecDeque<Job>>,
    pub(super) timers: RefCell<Timers>,
    /// By number: numbers are small, and given out from below.
    watched: RefCell<Vec<Watched>>,
    pub(super) signals: RefCell<HashMap<i32, (Wish, Rc<Repeated>)>>,
    /// What fibers that work for the loop will come back for: it may not be sent along.
    kept: RefCell<HashMap<u64, Box<dyn Any>>>,
    kept_so_far: Cell<u64>,
    pub(super) exception_handler: RefCell<Option<Rc<ExceptionHandler>>>,
    poller: RefCell<Poller>,
    events: RefCell<Box<Events>>,
    pub(super) shared: Arc<Shared>,
    pub(super) running: Cell<bool>,
    pub(super) stopping: Cell<bool>,
    pub(super) closed: Cell<bool>,
    pub(super) process: u32,
}

type ExceptionHandler = dyn Fn(&Unhandled<'_>);

#[derive(Clone, Copy)]
pub(super) enum Direction {
    Reader,
    Writer,
}

/// Who waits for a descriptor.
#[derive(Default)]
struct Watched {
    reader: Option<Rc<Repeated>>,
    writer: Option<Rc<Repeated>>,
}

/// A callback that runs until it is removed.
pub(super) struct Repeated {
    callback: RefCell<Option<Box<dyn FnMut()>>>,
    removed: Cell<bool>,
}

/// What is to be run.
pub(super) enum Job {
    Once(&'static str, Rc<Scheduled>),
    Repeated(&'static str, Rc<Repeated>),
    Message(Message),
}

impl Repeated {
    fn new(callback: Box<dyn FnMut()>) -> Rc<Self> {
        Rc::new(Self { callback: RefCell::new(Some(callback)), removed: Cell::new(false) })
    }

    /// It runs no more. One that removes itself is dropped when it has returned.
    pub(super) fn remove(&self) {
        self.removed.set(true);
        let callback = self.callback.borrow_mut().take();
        drop(callback);
    }

    /// Runs it, and says what it has panicked with.
    fn run(&self) -> Result<(), Payload> {
        // Taken out meanwhile: it may remove itself.
        let callback = self.callback.borrow_mut().take();
        let Some(mut callback) = callback else { return Ok(()) };
        let result = guarded(&mut callback);
        if !self.removed.get() {
            *self.callback.borrow_mut() = Some(callback);
        }
        result
    }
}

impl Inner {
    pub(super) fn new() -> io::Result<Self> {
        let poller = Poller::new()?;
        let shared = Shared::new()?;
        poller.watch(shared.bell(), true, false)?;
        Ok(Self {
            ready: RefCell::default(),
            timers: RefCell::default(),
            watched: RefCell::default(),
            signals: RefCell::default(),
            kept: RefCell::default(),
            kept_so_far: Cell::new(0),
            exception_handler: RefCell::default(),
            poller: RefCell::new(poller),
            events: RefCell::new(Box::new(Events::new())),
            shared: Arc::new(shared),
            running: Cell::new(false),
            stopping: Cell::new(false),
            closed: Cell::new(false),
            process: process::id(),
        })
    }

    pub(super) fn push(&self, job: Job) {
        self.ready.borrow_mut().push_back(job);
    }

    pub(super) fn watch(
        &self,
        fd: RawFd,
        direction: Direction,
        callback: Box<dyn FnMut()>,
    ) -> io::Result<()> {
        let index = fd as usize;
        let mut all = self.watched.borrow_mut();
        if all.len() <= index {
            all.resize_with(index + 1, Watched::default);
        }
        let watched = &mut all[index];
        let (reads, writes) = match direction {
            Direction::Reader => (true, watched.writer.is_some()),
            Direction::Writer => (watched.reader.is_some(), true),
        };
        // Even where the kernel was told: the number may have been closed meanwhile.
        self.poller.borrow().watch(fd, reads, writes)?;
        let before = watched.of(direction).replace(Repeated::new(callback));
        drop(all);
        if let Some(before) = before {
            before.remove();
        }
        Ok(())
    }

    pub(super) fn unwatch(&self, fd: RawFd, direction: Direction) -> bool {
        let mut all = self.watched.borrow_mut();
        let Some(watched) = all.get_mut(fd as usize) else { return false };
        let Some(removed) = watched.of(direction).take() else { return false };
        let (reads, writes) = (watched.reader.is_some(), watched.writer.is_some());
        drop(all);
        // Nothing can be done about a failure: a number that was closed is forgotten in the kernel.
        let _ = self.poller.borrow().watch(fd, reads, writes);
        removed.remove();
        true
    }

    pub(super) fn add_signal(
        &self,
        signal: i32,
        wish: Wish,
        callback: Box<dyn FnMut()>,
    ) -> Option<Wish> {
        let before = self.signals.borrow_mut().insert(signal, (wish, Repeated::new(callback)));
        before.map(|(wish, callback)| {
            callback.remove();
            wish
        })
    }

    pub(super) fn keep(&self, what: Box<dyn Any>) -> u64 {
        let number = self.kept_so_far.get();
        self.kept_so_far.set(number + 1);
        self.kept.borrow_mut().insert(number, what);
        number
    }

    pub(super) fn give_back(&self, number: u64) -> Option<Box<dyn Any>> {
        self.kept.borrow_mut().remove(&number)
    }

    /// Waits, unless there is something to be run, and gathers what is to be run.
    fn gather(&self) -> io::Result<()> {
        let limit = if self.stopping.get() || !self.ready.borrow().is_empty() {
            Some(Duration::ZERO)
        } else {
            let next = self.timers.borrow_mut().next();
            next.map(|when| when.saturating_duration_since(Instant::now()))
        };
        // Nobody else borrows the events: nothing of others runs before they are jobs.
        let mut events = self.events.borrow_mut();
        self.poller.borrow().wait(&mut events, limit)?;
        let mut ready = self.ready.borrow_mut();
        let (mut rung, mut stranger) = (false, false);
        let watched = self.watched.borrow();
        for event in events.iter() {
            if event.fd == self.shared.bell() {
                rung = true;
                continue;
            }
            let nobody = Watched::default();
            let watched = watched.get(event.fd as usize).unwrap_or(&nobody);
            stranger |= watched.reader.is_none() && watched.writer.is_none();
            if event.readable
                && let Some(reader) = &watched.reader
            {
                ready.push_back(Job::Repeated("add_reader", Rc::clone(reader)));
            }
            if event.writable
                && let Some(writer) = &watched.writer
            {
                ready.push_back(Job::Repeated("add_writer", Rc::clone(writer)));
            }
        }
        if rung {
            let (signals, messages) = self.shared.answer();
            let callbacks = self.signals.borrow();
            let came = (1..=64).filter(|number| signals & 1 << (number - 1) != 0);
            ready.extend(came.filter_map(|number| callbacks.get(&number)).map(|(_, callback)| {
                Job::Repeated("add_signal_handler", Rc::clone(callback))
            }));
            ready.extend(messages.into_iter().map(Job::Message));
        }
        drop(watched);
        if stranger {
            self.renew_poller()?;
        }
        let mut timers = self.timers.borrow_mut();
        if timers.len() > 0 {
            let now = Instant::now();
            while let Some(timer) = timers.take_due(now) {
                ready.push_back(Job::Once("call_later", timer));
            }
        }
        Ok(())
    }

    /// Leaves an epoll that tells of a number that nobody watches. It was closed without being removed while a
    /// duplicate keeps the file open, and cannot be removed any more: the loop would never wait again.
    fn renew_poller(&self) -> io::Result<()> {
        let poller = Poller::new()?;
        poller.watch(self.shared.bell(), true, false)?;
        for (fd, watched) in self.watched.borrow().iter().enumerate() {
            if watched.reader.is_some() || watched.writer.is_some() {
                // A number that was closed meanwhile is silent.
                let (reads, writes) = (watched.reader.is_some(), watched.writer.is_some());
                let _ = poller.watch(fd as RawFd, reads, writes);
            }
        }
        self.poller.replace(poller);
        Ok(())
    }

    pub(super) fn close(&self) {
        self.closed.set(true);
        let messages = self.shared.close();
        // Taken out first, then dropped: what is dropped may look at the loop.
        let ready = self.ready.take();
        let timers = self.timers.take();
        let watched = self.watched.take();
        let signals = self.signals.take();
        let kept = self.kept.take();
        for (fd, watched) in watched.iter().enumerate() {
            if watched.reader.is_some() || watched.writer.is_some() {
                let _ = self.poller.borrow().watch(fd as RawFd, false, false);
            }
        }
        drop((messages, ready, timers, watched, signals, kept));
    }
}

impl Watched {
    fn of(&mut self, direction: Direction) -> &mut Option<Rc<Repeated>> {
        match direction {
            Direction::Reader => &mut self.reader,
            Direction::Writer => &mut self.writer,
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl EventLoop {
    /// One iteration: what is ready when it begins to run callbacks is run, what these add is left for the next.
    ///
    /// Fails where the fiber is to end: a wait does so only where nothing is ready, and callbacks whose I/O is
    /// refused would leave everything ready for ever.
    pub(super) fn turn(&self) -> io::Result<()> {
        if let Some(why) = interrupted() {
            return Err(io::Error::from_raw_os_error(match why {
                Interrupted::Cancelled => libc::ECANCELED,
                Interrupted::TimedOut => libc::ETIMEDOUT,
            }));
        }
        self.0.gather()?;
        let count = self.0.ready.borrow().len();
        for _ in 0..count {
            let job = self.0.ready.borrow_mut().pop_front();
            let Some(job) = job else { break };
            self.run(job);
        }
        Ok(())
    }

    fn run(&self, job: Job) {
        let (callback, result) = match job {
            Job::Once(name, scheduled) => {
                let Some(callback) = scheduled.take() else { return };
                (name, guarded(callback))
            }
            Job::Repeated(name, repeated) => (name, repeated.run()),
            Job::Message(message) => ("call_soon_threadsafe", guarded(|| message(self))),
        };
        if let Err(payload) = result {
            let message = report::panic_text(&*payload);
            self.call_exception_handler(&Unhandled::Panic { callback, message: &message });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::{AsRawFd, BorrowedFd};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::super::poller::Events;
    use super::EventLoop;

    /// What the kernel tells of without waiting.
    fn told(event_loop: &EventLoop) -> usize {
        let mut events = Events::new();
        let poller = event_loop.0.poller.borrow();
        poller.wait(&mut events, Some(Duration::ZERO)).expect("no error");
        events.iter().count()
    }

    #[test]
    fn a_number_that_cannot_be_removed_is_left_behind() {
        let event_loop = EventLoop::new().expect("descriptors");
        let (ours, mut theirs) = UnixStream::pair().expect("descriptors");
        let (other, mut to_other) = UnixStream::pair().expect("descriptors");
        let duplicate = ours.try_clone().expect("descriptors");
        event_loop.add_reader(&duplicate, || {}).expect("it can be watched");
        event_loop.add_reader(&other, || {}).expect("it can be watched");
        let number = duplicate.as_raw_fd();
        drop(duplicate);
        // SAFETY: it is used as a number only.
        let closed = unsafe { BorrowedFd::borrow_raw(number) };
        assert!(event_loop.remove_reader(&closed));
        theirs.write_all(b"x").expect("room");
        assert_eq!(told(&event_loop), 1, "the file is still open");
        event_loop.0.gather().expect("no error");
        assert_eq!(told(&event_loop), 0);
        // What is watched still is.
        to_other.write_all(b"x").expect("room");
        assert_eq!(told(&event_loop), 1);
    }
}
