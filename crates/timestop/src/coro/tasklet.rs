//! Tasklets and their channels: cooperative tasks that take turns on one thread or fiber.
//!
//! A tasklet is a generator that yields nothing but its turn; the queue is the thread's. Whoever is not a tasklet
//! is *main*: it runs the others in [`run`], or while it waits for a channel. Who waits stands in the channel's
//! queue, with a place on the heap for what is handed over, and in the run queue again once it was served.
//!
//! Fibers are the better tasks, for all that may block: the whole thread waits where a tasklet makes a system
//! call. These are for code whose order of steps matters: nothing happens between two calls of this module.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::rc::Rc;

use super::generator::Generator;
use super::greenlet;
use super::raised::IgnoredExit;
use super::yielder::Yielder;

struct Task {
    /// Taken for good when it has ended.
    generator: RefCell<Generator<()>>,
    /// What it yields by, while its body runs or is suspended.
    yielder: Cell<*const Yielder<()>>,
    /// Which greenlet has given it its turn.
    greenlet: Cell<*const ()>,
}

#[derive(Default)]
struct Turns {
    queue: RefCell<VecDeque<Rc<Task>>>,
    current: RefCell<Option<Rc<Task>>>,
}

thread_local! {
    static TURNS: Turns = Turns::default();
}

/// A task that takes turns. Stackless's tasklet.
#[derive(Clone)]
pub struct Tasklet(Rc<Task>);

impl Tasklet {
    /// Queues a tasklet: it runs when its turn comes.
    ///
    /// # Panics
    ///
    /// If there is no room for a stack.
    pub fn new(body: impl FnOnce() + 'static) -> Self {
        let task = Rc::new_cyclic(|task: &std::rc::Weak<Task>| {
            let task = task.clone();
            let body = move |y: &Yielder<()>| {
                if let Some(task) = task.upgrade() {
                    task.yielder.set(std::ptr::from_ref(y));
                }
                body();
            };
            let generator = RefCell::new(Generator::new(body));
            Task { generator, yielder: Cell::new(std::ptr::null()), greenlet: Cell::new(std::ptr::null()) }
        });
        make_ready(Rc::clone(&task));
        Self(task)
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        // One that runs is borrowed.
        self.0.generator.try_borrow().map_or(true, |generator| !generator.is_finished())
    }

    /// Ends it: it unwinds from where it waits.
    ///
    /// # Errors
    ///
    /// It has gone on instead.
    ///
    /// # Panics
    ///
    /// If it is the running one: that returns, or panics. And with what it panics with as it unwinds.
    pub fn kill(&self) -> Result<(), IgnoredExit> {
        let Ok(mut generator) = self.0.generator.try_borrow_mut() else {
            panic!("a tasklet cannot kill itself: let it return");
        };
        let name = generator.name();
        TURNS.with(|turns| turns.queue.borrow_mut().retain(|task| !Rc::ptr_eq(task, &self.0)));
        as_current(&self.0, || generator.close()).map_err(|_| IgnoredExit { name })?;
        Ok(())
    }
}

impl fmt::Debug for Tasklet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasklet").field("alive", &self.is_alive()).finish()
    }
}

fn make_ready(task: Rc<Task>) {
    TURNS.with(|turns| turns.queue.borrow_mut().push_back(task));
}

/// The running tasklet, about to wait; `None` in main.
///
/// # Panics
///
/// In a greenlet that the tasklet has switched to: it would be suspended with another's stack.
fn current() -> Option<Rc<Task>> {
    let current = TURNS.with(|turns| turns.current.borrow().clone());
    if let Some(task) = &current {
        assert!(
            task.greenlet.get() == greenlet::current_id(),
            "a tasklet waits in the greenlet that it has its turn in: switch back first"
        );
    }
    current
}

/// Runs `body` with another tasklet as the running one.
fn as_current<T>(task: &Rc<Task>, body: impl FnOnce() -> T) -> T {
    /// Puts it back, after a panic too.
    struct Back(Option<Rc<Task>>);
    impl Drop for Back {
        fn drop(&mut self) {
            TURNS.with(|turns| turns.current.swap(&RefCell::new(self.0.take())));
        }
    }
    task.greenlet.set(greenlet::current_id());
    let _back = Back(TURNS.with(|turns| turns.current.replace(Some(Rc::clone(task)))));
    body()
}

/// Gives the next tasklet its turn. False if there is none.
fn turn() -> bool {
    let Some(task) = TURNS.with(|turns| turns.queue.borrow_mut().pop_front()) else { return false };
    // It is suspended: only one of a thread's tasklets runs, and that is in no queue.
    as_current(&task, || task.generator.borrow_mut().next());
    true
}

/// Suspends the running tasklet, as [`current`] has found it, until it has a turn.
fn give_turn(task: &Task) {
    // SAFETY: set when the body began. The tasklet runs, in the greenlet that has resumed it, so its body is
    // among our callers, and its yielder there.
    let yielder = unsafe { &*task.yielder.get() };
    yielder.yield_(());
}

/// Lets the others have their turns first. Stackless's `schedule`. Main runs each that is queued now once.
///
/// # Panics
///
/// In main: with what a tasklet panics with.
pub fn schedule() {
    if let Some(task) = current() {
        make_ready(Rc::clone(&task));
        give_turn(&task);
        return;
    }
    let queued = TURNS.with(|turns| turns.queue.borrow().len());
    for _ in 0..queued {
        turn();
    }
}

/// Runs tasklets until none has anything to do. Those that wait for channels stay. Stackless's `run`.
///
/// # Panics
///
/// In a tasklet. In main: with what a tasklet panics with; the others stay queued.
pub fn run() {
    assert!(current().is_none(), "tasklets are run by who is none");
    while turn() {}
}

/// Why a channel did not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelError {
    /// Main would wait for ever: no tasklet has anything to do.
    Deadlock,
    /// The channel was closed.
    Closed,
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deadlock => "deadlock: main waits for a channel, and no tasklet can run",
            Self::Closed => "the channel is closed",
        })
    }
}

impl Error for ChannelError {}

/// Who goes on first when a sender and a receiver meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preference {
    /// The receiver. (Stackless: -1, the usual.)
    #[default]
    Receiver,
    /// Whoever runs. (0.)
    Neither,
    /// The sender. (1.)
    Sender,
}

/// Somebody who waits.
struct Waiter<T> {
    /// `None` for main.
    task: Option<Rc<Task>>,
    /// A sender's message, or what a receiver was handed.
    place: Cell<Option<T>>,
    served: Cell<bool>,
}

struct Shared<T> {
    /// Of one kind at a time.
    senders: RefCell<VecDeque<Rc<Waiter<T>>>>,
    receivers: RefCell<VecDeque<Rc<Waiter<T>>>>,
    preference: Cell<Preference>,
    closed: Cell<bool>,
}

/// Where tasklets meet: nothing is kept in it, who sends waits for who receives. Stackless's channel. A handle: clones
/// are the same channel.
pub struct Channel<T>(Rc<Shared<T>>);

impl<T> Clone for Channel<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Default for Channel<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Channel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("balance", &self.balance()).finish_non_exhaustive()
    }
}

impl<T> Channel<T> {
    /// A channel, with nobody at it.
    #[must_use]
    pub fn new() -> Self {
        Self(Rc::new(Shared {
            senders: RefCell::default(),
            receivers: RefCell::default(),
            preference: Cell::default(),
            closed: Cell::new(false),
        }))
    }

    /// How many wait: senders if it is positive, receivers if it is negative.
    #[must_use]
    pub fn balance(&self) -> isize {
        self.0.senders.borrow().len() as isize - self.0.receivers.borrow().len() as isize
    }

    /// Says who goes on first.
    pub fn set_preference(&self, preference: Preference) {
        self.0.preference.set(preference);
    }

    /// No more is sent. Who waits to receive is told; who waits to send is still served.
    pub fn close(&self) {
        self.0.closed.set(true);
        let waiting = self.0.receivers.take();
        waiting.into_iter().for_each(|waiter| serve(&waiter));
    }

    /// Hands `value` to a receiver, and waits for one.
    ///
    /// # Errors
    ///
    /// The value comes back, with the reason.
    ///
    /// # Panics
    ///
    /// In main: with what a tasklet panics with.
    pub fn send(&self, value: T) -> Result<(), (T, ChannelError)> {
        if self.0.closed.get() {
            return Err((value, ChannelError::Closed));
        }
        let receiver = self.0.receivers.borrow_mut().pop_front();
        if let Some(receiver) = receiver {
            receiver.place.set(Some(value));
            serve(&receiver);
            if self.0.preference.get() == Preference::Receiver {
                go_on_with(&receiver);
            }
            return Ok(());
        }
        let (waiter, outcome) = self.wait(&self.0.senders, Some(value));
        match (outcome, waiter.place.take()) {
            (Err(error), Some(value)) => Err((value, error)),
            _ => Ok(()),
        }
    }

    /// Waits for a sender, and takes its value.
    ///
    /// # Errors
    ///
    /// It would wait for ever, or the channel is closed and no sender waits.
    ///
    /// # Panics
    ///
    /// In main: with what a tasklet panics with.
    pub fn receive(&self) -> Result<T, ChannelError> {
        let sender = self.0.senders.borrow_mut().pop_front();
        if let Some(sender) = sender {
            let value = sender.place.take().unwrap_or_else(|| unreachable!("a sender has a value"));
            serve(&sender);
            if self.0.preference.get() == Preference::Sender {
                go_on_with(&sender);
            }
            return Ok(value);
        }
        if self.0.closed.get() {
            return Err(ChannelError::Closed);
        }
        let (waiter, outcome) = self.wait(&self.0.receivers, None);
        outcome?;
        waiter.place.take().ok_or(ChannelError::Closed)
    }

    /// Receives until the channel is closed.
    ///
    /// # Panics
    ///
    /// Where main would wait for ever.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| match self.receive() {
            Ok(value) => Some(value),
            Err(ChannelError::Closed) => None,
            Err(error) => panic!("{error}"),
        })
    }

    fn wait(
        &self,
        queue: &RefCell<VecDeque<Rc<Waiter<T>>>>,
        value: Option<T>,
    ) -> (Rc<Waiter<T>>, Result<(), ChannelError>) {
        let task = current();
        let waiter = Waiter { task, place: Cell::new(value), served: Cell::new(false) };
        let waiter = Rc::new(waiter);
        queue.borrow_mut().push_back(Rc::clone(&waiter));
        /// Takes it out of the queue, if it is there still: it was killed.
        struct Leave<'a, T>(&'a RefCell<VecDeque<Rc<Waiter<T>>>>, &'a Rc<Waiter<T>>);
        impl<T> Drop for Leave<'_, T> {
            fn drop(&mut self) {
                self.0.borrow_mut().retain(|waiter| !Rc::ptr_eq(waiter, self.1));
            }
        }
        let leave = Leave(queue, &waiter);
        while !waiter.served.get() {
            match &waiter.task {
                Some(task) => give_turn(task),
                None if turn() => {}
                None => {
                    drop(leave);
                    return (waiter, Err(ChannelError::Deadlock));
                }
            }
        }
        drop(leave);
        (waiter, Ok(()))
    }
}

/// Says that a waiter was served. Its turn is at the end of the queue.
fn serve<T>(waiter: &Waiter<T>) {
    waiter.served.set(true);
    if let Some(task) = &waiter.task {
        make_ready(Rc::clone(task));
    }
}

/// Has who was just served go on at once, and the caller in turn with the others.
fn go_on_with<T>(served: &Waiter<T>) {
    let Some(task) = &served.task else {
        // Main goes on when no tasklet has a turn before it; who runs gives its own.
        if let Some(task) = current() {
            make_ready(Rc::clone(&task));
            give_turn(&task);
        }
        return;
    };
    TURNS.with(|turns| {
        let mut queue = turns.queue.borrow_mut();
        if let Some(last) = queue.pop_back() {
            debug_assert!(Rc::ptr_eq(&last, task));
            queue.push_front(last);
        }
    });
    match current() {
        Some(task) => {
            make_ready(Rc::clone(&task));
            give_turn(&task);
        }
        None => drop(turn()),
    }
}
