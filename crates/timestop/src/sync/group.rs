//! Fibers that work at one thing: if one fails, the others are cancelled.
//!
//! A [`scope`](crate::scope) whose fibers run under a [`Context`]; the first failure is kept and the context
//! given up. A panic is a failure too, and goes before errors: none is lost.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use super::context::{Cancel, Context};
use crate::scope::Scope;
use crate::wait::held::Mutex;
use crate::wait::sync::{For, Limit};
use crate::wait::waiter::Queue;

/// A group to spawn fibers in; made by [`group`]. A clone is the same group, for fibers that spawn others.
pub struct Group<'scope, 'env: 'scope, E> {
    scope: &'scope Scope<'scope, 'env>,
    shared: Arc<Shared<E>>,
}

struct Shared<E> {
    state: Mutex<State<E>>,
    context: Context,
    cancel: Cancel,
}

struct State<E> {
    failure: Option<Failure<E>>,
    running: usize,
    limit: usize,
    /// Who waits to spawn: then `running` is `limit`, or more.
    waiters: Queue<()>,
}

enum Failure<E> {
    Error(E),
    Panic(Box<dyn Any + Send>),
}

/// Runs `f`, and returns when it and every fiber that was spawned in its group have ended: the first error
/// that one of them returned, else the value of `f`.
///
/// With the first error, of a fiber or of `f`, all fibers of the group are
/// [cancelled](crate::JoinHandle::cancel): their blocking calls fail, so that they end. `f` is not; it can
/// look at [`Group::context`]. Those spawned later start cancelled.
///
/// Cancelling the fiber that waits here does not end the wait, as with [`scope`](crate::scope()); to have it
/// reach the group, make that [below a context](group_within).
///
/// In Go you write
///
/// ```go
/// group, ctx := errgroup.WithContext(ctx)
/// group.SetLimit(8)
/// for _, page := range pages {
///     group.Go(func() error { return fetch(ctx, page) })
/// }
/// return group.Wait()
/// ```
///
/// Here you write
///
/// ```
/// # fn fetch(_: &str) -> Result<(), std::io::Error> { Ok(()) }
/// # let pages = ["a".to_owned()];
/// let done = timestop::sync::group(|group| {
///     group.set_limit(8);
///     for page in &pages {
///         group.spawn(move || fetch(page));       // may borrow, as in a scope
///     }
///     Ok(())
/// });
/// # let _: Result<(), std::io::Error> = done;
/// ```
///
/// # Errors
///
/// The first that a fiber or `f` returned.
///
/// # Panics
///
/// With the first panic of a fiber, or of `f`: its own payload, once all have ended.
pub fn group<'env, T, E, F>(f: F) -> Result<T, E>
where
    E: Send + 'env,
    F: for<'scope> FnOnce(&Group<'scope, 'env, E>) -> Result<T, E>,
{
    group_within(&Context::background(), f)
}

/// As [`group`], with a context below `parent`: when that is given up the group's fibers are cancelled, and
/// its deadline is theirs.
///
/// # Errors
///
/// As [`group`]. That the parent was given up is none, unless a fiber says so.
///
/// # Panics
///
/// As [`group`].
pub fn group_within<'env, T, E, F>(parent: &Context, f: F) -> Result<T, E>
where
    E: Send + 'env,
    F: for<'scope> FnOnce(&Group<'scope, 'env, E>) -> Result<T, E>,
{
    let (context, cancel) = parent.with_cancel();
    let state = State { failure: None, running: 0, limit: usize::MAX, waiters: Queue::new() };
    let shared = Arc::new(Shared { state: Mutex::new(state), context, cancel });
    let ours = Arc::clone(&shared);
    let value = crate::scope(move |scope| {
        let group = Group { scope, shared: ours };
        match catch_unwind(AssertUnwindSafe(|| f(&group))) {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => group.shared.fail(Failure::Error(error)),
            Err(payload) => group.shared.fail(Failure::Panic(payload)),
        }
        None
    });
    let failure = shared.state.lock().failure.take();
    match failure {
        Some(Failure::Panic(payload)) => resume_unwind(payload),
        Some(Failure::Error(error)) => Err(error),
        None => Ok(value.expect("without a value there is a failure")),
    }
}

impl<'scope, 'env: 'scope, E: Send + 'env> Group<'scope, 'env, E> {
    /// Runs `f` on a new fiber of the group. Waits while as many run as the [limit](Self::set_limit) allows:
    /// until one ends, whatever becomes of the caller. So fibers of a group that spawn others in it, up to
    /// the limit, wait for each other: use [`try_spawn`](Self::try_spawn) there.
    ///
    /// # Panics
    ///
    /// As [`crate::spawn`].
    #[doc(alias = "go")]
    pub fn spawn(&self, f: impl FnOnce() -> Result<(), E> + Send + 'scope) {
        let mut state = self.shared.state.lock();
        if state.running < state.limit {
            state.running += 1;
            drop(state);
        } else {
            // A place is handed over.
            let ended = self.shared.state.stand_by(
                state,
                |state| &mut state.waiters,
                For::Event,
                Limit::COMING,
            );
            debug_assert!(ended.is_ok());
        }
        self.start(f);
    }

    /// Runs `f` on a new fiber of the group, unless as many run as the limit allows: then false, and `f` is
    /// dropped.
    ///
    /// # Panics
    ///
    /// As [`crate::spawn`].
    #[doc(alias = "try_go")]
    pub fn try_spawn(&self, f: impl FnOnce() -> Result<(), E> + Send + 'scope) -> bool {
        {
            let mut state = self.shared.state.lock();
            if state.running >= state.limit {
                return false;
            }
            state.running += 1;
        }
        self.start(f);
        true
    }

    /// Starts a fiber that has a place.
    fn start(&self, f: impl FnOnce() -> Result<(), E> + Send + 'scope) {
        let place = Place(Arc::clone(&self.shared));
        let handle = self.scope.spawn(move || {
            let shared = &place.0;
            match catch_unwind(AssertUnwindSafe(|| shared.context.enter(f))) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => shared.fail(Failure::Error(error)),
                Err(payload) => shared.fail(Failure::Panic(payload)),
            }
        });
        drop(handle);
    }

    /// How many fibers may run at once. Without, any number.
    ///
    /// Source: errgroup's `SetLimit`.
    ///
    /// # Panics
    ///
    /// If `limit` is 0, with which none would ever run; and while fibers of the group run.
    #[track_caller]
    pub fn set_limit(&self, limit: usize) {
        assert!(limit > 0, "timestop::sync::Group: with a limit of 0 no fiber would ever run");
        let mut state = self.shared.state.lock();
        let running = state.running;
        if running == 0 {
            state.limit = limit;
        }
        drop(state);
        assert!(running == 0, "timestop::sync::Group: set_limit() while {running} fibers run");
    }

    /// What the group's fibers run under. Given up with the first failure, and at the end.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.shared.context
    }
}

impl<E> Shared<E> {
    /// The first of its kind counts.
    fn fail(&self, failure: Failure<E>) {
        let mut state = self.state.lock();
        let counts = match (&state.failure, &failure) {
            (None, _) => true,
            (Some(Failure::Error(_)), Failure::Panic(_)) => true,
            (Some(_), _) => false,
        };
        // Dropped without the lock: it is code of others.
        let dropped = if counts { state.failure.replace(failure) } else { Some(failure) };
        drop(state);
        self.cancel.cancel();
        drop(dropped);
    }
}

/// A fiber's right to run in a group.
struct Place<E>(Arc<Shared<E>>);

impl<E> Drop for Place<E> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        match state.waiters.take() {
            Some(waiter) => state.wake(waiter.tell()),
            None => state.running -= 1,
        }
    }
}

impl<E> Clone for Group<'_, '_, E> {
    fn clone(&self) -> Self {
        Self { scope: self.scope, shared: Arc::clone(&self.shared) }
    }
}

impl<E> fmt::Debug for Group<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({} running)", self.shared.state.lock().running)
    }
}
