//! Greenlets: stacks that switch to one another, none the caller of the other.
//!
//! Each thread or fiber has a tree of them. The root is the code that was there before; every other has a
//! parent, to which its result goes when it ends. What is handed over lies in the target's `inbox`.
//!
//! Invariants: exactly one of a thread's greenlets runs, [`Hub::current`]. One that is suspended has its
//! registers at `sp`, on its own stack or (it may be within a generator) on one whose frames are beneath it. Whoever
//! arrives lets go of the one that was left ([`Hub::previous`]): it may have ended, and then its stack is free;
//! or nobody refers to it any more, and then it is ended.

use std::any::{Any, type_name};
use std::cell::{Cell, RefCell};
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::ptr::NonNull;
use std::rc::Rc;
use std::{fmt, process, thread};

use timestop_fiber::aside::{self, Base};

use super::raised::Payload;
use super::stacks;

/// The payload by which a greenlet is unwound that nobody refers to any more. One that ends by it hands it to
/// its parent as an ordinary value. greenlet's `GreenletExit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GreenletExit;

/// What greenlets hand to one another: anything.
pub struct Value(Box<dyn Any>);

impl Value {
    /// Wraps a value. (One that is a `Value` already stays as it is.)
    pub fn new<V: Any>(value: V) -> Self {
        let boxed: Box<dyn Any> = Box::new(value);
        boxed.downcast::<Self>().map_or_else(Self, |value| *value)
    }

    /// The value, of the type that it is known to have.
    ///
    /// # Panics
    ///
    /// If it is of another.
    #[must_use]
    pub fn take<V: Any>(self) -> V {
        let Ok(value) = self.downcast() else {
            panic!("a greenlet was handed something else than the expected {}", type_name::<V>());
        };
        value
    }

    /// The value, if it is of this type.
    ///
    /// # Errors
    ///
    /// Itself.
    pub fn downcast<V: Any>(self) -> Result<V, Self> {
        self.0.downcast().map(|value| *value).map_err(Self)
    }

    /// Whether it is of this type.
    #[must_use]
    pub fn is<V: Any>(&self) -> bool {
        self.0.is::<V>()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(..)")
    }
}

enum Message {
    Value(Value),
    Raise(Payload),
}

impl Message {
    fn open(self) -> Value {
        match self {
            Self::Value(value) => value,
            Self::Raise(payload) => panic::resume_unwind(payload),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fresh,
    Running,
    Suspended,
    Dead,
}

type Body = Box<dyn FnOnce(Value) -> Value>;

struct Inner {
    name: &'static str,
    state: Cell<State>,
    /// From its beginning to its end; the root has none.
    base: Cell<Option<NonNull<Base>>>,
    /// Where it goes on.
    sp: Cell<usize>,
    parent: RefCell<Option<Rc<Inner>>>,
    body: Cell<Option<Body>>,
    inbox: Cell<Option<Message>>,
}

struct Hub {
    current: RefCell<Option<Rc<Inner>>>,
    previous: Cell<Option<Rc<Inner>>>,
}

thread_local! {
    static HUB: Hub = const { Hub { current: RefCell::new(None), previous: Cell::new(None) } };
}

/// A stack that others switch to, and that switches to others. A handle: clones are the same greenlet.
///
/// When the last handle goes of one that is suspended it is unwound with [`GreenletExit`], there and then. It stays
/// on its thread or fiber: not [`Send`].
///
/// Source: Python's greenlet.
///
/// # Example
///
/// ```
/// use timestop::coro::Greenlet;
///
/// let main = Greenlet::current();
/// let echo = Greenlet::new(move |first| {
///     let mut got = first.take::<i32>();
///     loop {
///         got = main.switch(got * 2).take();
///     }
/// });
/// assert_eq!(echo.switch(1).take::<i32>(), 2);
/// assert_eq!(echo.switch(5).take::<i32>(), 10);
/// ```
pub struct Greenlet(Rc<Inner>);

impl Clone for Greenlet {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl PartialEq for Greenlet {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Greenlet {}

impl fmt::Debug for Greenlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.get();
        f.debug_struct("Greenlet").field("name", &self.0.name).field("state", &state).finish()
    }
}

fn current() -> Rc<Inner> {
    let root = || {
        Rc::new(Inner {
            name: "the thread's own",
            state: Cell::new(State::Running),
            base: Cell::new(None),
            sp: Cell::new(0),
            parent: RefCell::new(None),
            body: Cell::new(None),
            inbox: Cell::new(None),
        })
    };
    HUB.with(|hub| Rc::clone(hub.current.borrow_mut().get_or_insert_with(root)))
}

/// Which greenlet runs: null for the thread's own code.
pub(super) fn current_id() -> *const () {
    HUB.with(|hub| match &*hub.current.borrow() {
        Some(current) if current.base.get().is_some() => Rc::as_ptr(current).cast(),
        _ => std::ptr::null(),
    })
}

impl Greenlet {
    /// One that runs `body` with the value that it is first switched to with. Its parent is the running one.
    ///
    /// What `body` returns goes to the parent. It takes a stack (256 KiB of address space) when it is first
    /// switched to.
    pub fn new<V: Any, F: FnOnce(Value) -> V + 'static>(body: F) -> Self {
        Self(Rc::new(Inner {
            name: type_name::<F>(),
            state: Cell::new(State::Fresh),
            base: Cell::new(None),
            sp: Cell::new(0),
            parent: RefCell::new(Some(current())),
            body: Cell::new(Some(Box::new(|first| Value::new(body(first))))),
            inbox: Cell::new(None),
        }))
    }

    /// The running one. greenlet's `getcurrent`.
    #[must_use]
    pub fn current() -> Self {
        Self(current())
    }

    /// Hands `value` to this one and goes on there. Returns what the caller is handed when somebody switches back.
    ///
    /// Of one that is dead its parent is meant, or whichever of its forebears lives.
    ///
    /// Cost: two allocations at most, and a switch.
    ///
    /// # Panics
    ///
    /// If there is no room for a stack; in a destructor that runs because of a panic (who is switched to would
    /// seem to be panicking); and with what is thrown to the caller.
    pub fn switch(&self, value: impl Any) -> Value {
        refuse_if_panicking();
        transfer(living(Rc::clone(&self.0)), Message::Value(Value::new(value)))
    }

    /// Switches to this one, where `payload` unwinds. If nothing there catches it, it goes on in the parent.
    ///
    /// # Panics
    ///
    /// As [`switch`](Self::switch).
    pub fn throw(&self, payload: Payload) -> Value {
        refuse_if_panicking();
        throw(&self.0, payload)
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.0.state.get() == State::Dead
    }

    /// Whether it has begun and not ended. (In Python: what `bool(g)` says.)
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self.0.state.get(), State::Running | State::Suspended)
    }

    /// Where its result goes. `None` for a thread's own code.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.parent.borrow().clone().map(Self)
    }

    /// Has its result go to another one.
    ///
    /// # Panics
    ///
    /// If it would be its own forebear, or is the thread's own code.
    pub fn set_parent(&self, parent: &Self) {
        assert!(self.0.parent.borrow().is_some(), "the thread's own code has no parent");
        let mut forebear = Some(Rc::clone(&parent.0));
        while let Some(one) = forebear {
            assert!(!Rc::ptr_eq(&one, &self.0), "greenlet '{}' as its own forebear", self.0.name);
            forebear = one.parent.borrow().clone();
        }
        let before = self.0.parent.replace(Some(Rc::clone(&parent.0)));
        drop(before.map(Self)); // it may have been the last handle
    }
}

fn refuse_if_panicking() {
    assert!(
        !thread::panicking(),
        "a greenlet must not switch while it unwinds (in a destructor): others would seem to panic"
    );
}

/// It, or the nearest of its forebears that has not ended. The root never ends.
fn living(mut one: Rc<Inner>) -> Rc<Inner> {
    while one.state.get() == State::Dead {
        let parent = one.parent.borrow().clone();
        let Some(parent) = parent else { break };
        one = parent;
    }
    one
}

fn throw(target: &Rc<Inner>, payload: Payload) -> Value {
    if target.state.get() == State::Fresh {
        target.state.set(State::Dead);
        drop(target.body.take());
    }
    let message = match target.state.get() {
        State::Dead => ended(Err(payload)),
        _ => Message::Raise(payload),
    };
    transfer(living(Rc::clone(target)), message)
}

/// What the parent is handed.
fn ended(result: thread::Result<Value>) -> Message {
    match result {
        Ok(value) => Message::Value(value),
        Err(payload) if payload.is::<GreenletExit>() => Message::Value(Value::new(GreenletExit)),
        Err(payload) => Message::Raise(payload),
    }
}

/// Goes on in `target`, which lives. Returns what the caller is handed.
fn transfer(target: Rc<Inner>, message: Message) -> Value {
    let current = current();
    if Rc::ptr_eq(&current, &target) {
        return message.open();
    }
    if target.state.get() == State::Fresh {
        begin(&target);
    }
    target.inbox.set(Some(message));
    current.state.set(State::Suspended);
    leave(current, target);
    arrive()
}

/// Leaves one for another. Returns when somebody goes on with the first; nothing is held meanwhile.
fn leave(from: Rc<Inner>, to: Rc<Inner>) {
    to.state.set(State::Running);
    let cells = [&raw const from.sp, &raw const to.sp];
    HUB.with(|hub| {
        // Who arrives takes `previous` at once: it is none now.
        drop(hub.previous.replace(Some(from)));
        // `from` it was, which lives in `previous`: this ends nothing.
        drop(hub.current.replace(Some(to)));
    });
    let [from, to] = cells.map(|cell| {
        // SAFETY: the hub holds both. The first is written before the stack is left, and so before anyone can
        // let go of it.
        unsafe { &*cell }
    });
    // SAFETY: `to` was suspended here or is fresh, since its state was `Suspended` or it was begun just now, and
    // nobody goes on with it twice, as it is `Running` from here on. It is this thread's: an `Rc` holds it.
    unsafe { aside::transfer(from, to) };
}

/// What who arrives does first: lets go of who was left, and takes what it is handed.
fn arrive() -> Value {
    let (current, previous) = (current(), HUB.with(|hub| hub.previous.take()));
    let message = current.inbox.take().unwrap_or_else(|| unreachable!("who switches hands over"));
    drop(current);
    if let Some(previous) = previous {
        if previous.state.get() == State::Dead
            && let Some(base) = previous.base.take()
        {
            // SAFETY: what ran there has ended and was left for good: its state says so.
            unsafe { stacks::give(base) };
        }
        // The last handle, if it has none: it is ended then.
        drop(Greenlet(previous));
    }
    message.open()
}

/// Gives a stack to one that is to run first.
fn begin(fresh: &Rc<Inner>) {
    let base = stacks::take(stacks::USUAL, fresh.name);
    let base = base.unwrap_or_else(|error| panic!("no greenlet: {error}"));
    fresh.base.set(Some(base));
    // SAFETY: the stack is the greenlet's until its end.
    let record = unsafe { base.as_ref() };
    // SAFETY: nothing lies below the base. `run` catches what its closure unwinds with.
    unsafe { record.prepare(base.as_ptr() as usize, run, 0) };
    fresh.sp.set(record.suspended().get());
}

/// What a greenlet's stack runs. Never returns: its base has no resumer.
unsafe extern "C" fn run(_: usize) {
    let result = panic::catch_unwind(AssertUnwindSafe(|| {
        let body = current().body.take();
        let body = body.unwrap_or_else(|| unreachable!("it begins once"));
        body(arrive())
    }));
    let current = current();
    current.state.set(State::Dead);
    let parent = current.parent.borrow().clone();
    let parent = living(parent.unwrap_or_else(|| unreachable!("only the root has none")));
    if parent.state.get() == State::Fresh {
        begin(&parent);
    }
    parent.inbox.set(Some(ended(result)));
    leave(current, parent);
    // Nobody goes on with a dead one.
    process::abort();
}

impl Drop for Inner {
    fn drop(&mut self) {
        // As a handle: it may be the last one.
        drop(self.parent.take().map(Greenlet));
    }
}

impl Drop for Greenlet {
    /// The last handle of one that is suspended: it is unwound. One that does not end then, but switches back, is
    /// leaked, and that is told on standard error.
    fn drop(&mut self) {
        if Rc::strong_count(&self.0) > 1 || self.0.state.get() != State::Suspended {
            return;
        }
        // (The root is never without: every other's forebears lead to it.)
        // A thread whose thread-locals are gone can switch no more; nor can anything unwind.
        let can_switch = HUB.try_with(|_| ()).is_ok() && cfg!(panic = "unwind");
        if can_switch {
            let before = self.0.parent.replace(Some(current()));
            let ended = panic::catch_unwind(AssertUnwindSafe(|| {
                throw(&self.0, Box::new(GreenletExit));
            }));
            // It was told by the panic hook.
            drop(ended);
            drop(before.map(Self));
        }
        if self.0.state.get() != State::Dead {
            if can_switch {
                eprintln!("greenlet '{}' has not ended when it was to; it is leaked", self.0.name);
            }
            mem::forget(Rc::clone(&self.0));
        }
    }
}
